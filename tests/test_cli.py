"""The command line: help, flags, mistakes, exit codes, and what reaches which stream."""

import ast
import io
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from kerastl.__main__ import main
from kerastl.cli.evaluate import match_labels
from kerastl.cli.finetune import read_options
from kerastl.cli.program import COMMANDS, build_parser
from kerastl.errors import (
    DataError,
    FolderInUseError,
    KerastlError,
    NothingSucceededError,
    ResumeRefusedError,
    StorageError,
    UsageError,
)
from kerastl.options import FIELDS, Options, from_toml
from kerastl.runs import RunFolder

HEAVY = {"tensorflow", "keras", "pandas", "matplotlib", "scipy", "sklearn"}
INTERRUPTIBLE = pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="started in a shell's background, where Ctrl-C is ignored",
)
QUICK = ("--base", "tiny", "--weights", "none", "--fast-dev-run")


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, stdout and stderr."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def start(*arguments: object, **settings: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "kerastl", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, **settings)


def read_help(capsys, *command: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def parse_options(*arguments: str) -> Options:
    return read_options(build_parser().parse_args(["finetune", *arguments]))


def list_heavy(*arguments: object) -> set[str]:
    """Return which heavy packages a command imports, in a process of its own."""
    script = (
        "import sys\nfrom kerastl.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    command = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "MODULES" in result.stdout, result.stderr
    names = result.stdout.rpartition("MODULES")[2].split()
    return {name.split(".")[0] for name in names} & HEAVY


# Help


def test_help_is_quick():
    def measure() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start("--help").communicate()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(measure() for _ in range(5)) < 0.3


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command):
    assert list_heavy(*command.split(), "--help") == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_are_valid(capsys, command):
    text = read_help(capsys, command)
    examples = re.findall(rf"^  (kerastl {command}.*)$", text, flags=re.M)
    assert len(examples) >= 2
    assert text.index("examples:") < text.index("--help")
    for example in examples:
        given, unknown = build_parser().parse_known_args(shlex.split(example)[1:])
        assert unknown == []
        if command == "finetune" and given.resume is None:
            assert isinstance(read_options(given), Options)


def test_examples_of_the_program_are_valid(capsys):
    text = read_help(capsys)
    examples = re.findall(r"^  (kerastl .*?)(?:   .*)?$", text, flags=re.M)
    assert len(examples) == 5
    for example in examples:
        assert build_parser().parse_known_args(shlex.split(example)[1:])[1] == []


def test_finetune_has_a_flag_for_every_option(capsys):
    text = read_help(capsys, "finetune")
    for name, field in FIELDS.items():
        if name == "stages":  # tables, in files only
            continue
        assert f"--{name.replace('_', '-')}" in text
        if isinstance(field.default, str | float | int) and field.default is not False:
            assert f"(default: {field.default})" in " ".join(text.split())


def test_each_group_of_the_help_fits_a_screen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in COMMANDS:
        text = read_help(capsys, command)
        for section in text.split("\n\n"):
            assert len(section.splitlines()) <= 30
        assert max(map(len, text.splitlines())) <= 80


def test_no_arguments_show_the_help(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "commands:" in capsys.readouterr().out


# Options: defaults < file < flags


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--epochs 5", {"epochs": 5}),
        ("--epochs 3,5", {"epochs": (3, 5)}),
        ("--learning-rate 1e-3,1e-5", {"learning_rate": (1e-3, 1e-5)}),
        ("--image-size 224", {"image_size": (224, 224)}),
        ("--image-size 224x160", {"image_size": (224, 160)}),
        ("--hidden 256,128", {"hidden": (256, 128)}),
        ("--hidden 256", {"hidden": (256,)}),
        ("--hidden none", {"hidden": ()}),
        ("--augment flip,crop", {"augment": ("flip", "crop")}),
        ("--augment none", {"augment": ()}),
        ("--weights none", {"weights": None}),
        ("--multi-label", {"multi_label": True}),
        ("--no-train-batchnorm", {"train_batchnorm": False}),
        ("--cache-budget 2GB", {"cache_budget": 2 << 30}),
        ("--label-column 3", {"label_column": "3"}),
        ("--dropout 0.5 --seed 7", {"dropout": 0.5, "seed": 7}),
    ],
)
def test_flags_become_options(flags, expected):
    assert parse_options(*flags.split()) == Options(**expected)


def test_flags_rule_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text('base = "vgg16"\nepochs = [1, 2]\nseed = 3\n', encoding="utf-8-sig")
    options = parse_options("--config", str(file), "--seed", "4")
    assert options == Options(base="vgg16", epochs=(1, 2), seed=4)


def test_print_config_can_be_fed_back(capsys, tmp_path):
    flags = ("--hidden", "64", "--weights", "none", "--augment", "flip", "--epochs", "2,3")
    code, out, _ = call(capsys, "finetune", *flags, "--print-config")
    assert code == 0
    assert from_toml(out) == parse_options(*flags)
    (tmp_path / "config.toml").write_text(out)
    assert parse_options("--config", str(tmp_path / "config.toml")) == parse_options(*flags)


def test_paths_are_absolute_so_that_a_run_resumes_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("digits").mkdir()
    assert parse_options("--data", "photos").data == str(tmp_path / "photos")
    assert parse_options("--data", "digits").data == "digits"


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("finetun", "command='finetun' is not one of: ... Did you mean 'finetune'?"),
        ("finetune --bach-size 3", "no flag --bach-size. Did you mean '--batch-size'?"),
        ("finetune --learning_rate=3", "no flag --learning_rate. Did you mean '--learn"),
        ("finetune --batch 3", "no flag --batch."),
        ("finetune photos", "'photos' is one argument too many ... --data photos?"),
        ("check a b", "'b' is one argument too many for `kerastl check`."),
        ("predict", "required: MODEL, PATH. See `kerastl predict --help`"),
        ("predict model.keras a.jpg --out a.xls", "--out a.xls: ... .csv or .json"),
        ("predict m.keras a.jpg --top-k 0", "top_k=0: give a whole number"),
        ("predict m.keras a.jpg --top-k many", "top_k='many': give a whole number"),
        ("pretrain", "required: --data"),
        ("pretrain --data x --epochs 0", "epochs=0: give a whole number"),
        ("--verson", "`kerastl` has no flag --verson. Did you mean '--version'?"),
        ("finetune --epochs", "--epochs: expected one argument"),
        ("finetune --epochs abc", "epochs='abc': give a whole number"),
        ("finetune --epochs 3,,5", "epochs='': give a whole number"),
        ("finetune --image-size 12y", "image_size='12y': give a whole number"),
        ("finetune --learning-rate nan", "learning_rate=nan: give a number"),
        ("finetune --schedule hybird", "schedule='hybird' ... Did you mean 'hybrid'?"),
        ("finetune --augment flop", "augment='flop' is not one of"),
        ("finetune --optimizer adm --dropout 2", "dropout=2:  ... Did you mean 'adam'?"),
        ("finetune --base resnet5 --dry-run", "base='resnet5' ... Did you mean 'resnet50'"),
        ("predict no-run a.jpg", "There is no run folder or .keras file 'no-run'."),
        ("finetune --data no/such --dry-run", "no/such"),
        ("finetune --weights none", "base='auto' chooses the weights as well"),
        ("finetune --out a --resume b", "--out a and --resume b name two folders"),
        ("finetune --resume no-such-run", "There is no run folder no-such-run"),
        ("evaluate no-such-run", "There is no run folder no-such-run"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    capsys, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments.split())
    assert all(part in err for part in sentence.split(" ... ")), err
    assert err.startswith("kerastl: ")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_resuming_a_folder_without_a_run_is_refused(capsys, tmp_path):
    code, _, err = call(capsys, "finetune", "--resume", tmp_path)
    assert code == 7
    assert f"{tmp_path} holds no run to go on with" in err


def test_a_config_that_is_missing_or_wrong_is_named(capsys, tmp_path):
    code, _, err = call(capsys, "finetune", "--config", tmp_path / "no.toml")
    assert (code, "no.toml: there is no such file" in err) == (2, True)
    code, _, err = call(capsys, "finetune", "--config", tmp_path)
    assert (code, f"{tmp_path} could not be read: Is a directory." in err) == (5, True)
    (tmp_path / "bad.toml").write_text("epoch = 3")
    code, _, err = call(capsys, "finetune", "--config", tmp_path / "bad.toml")
    assert (code, "no option 'epoch'. Did you mean 'epochs'?" in err) == (2, True)
    assert f"--config {tmp_path}/bad.toml: " in err
    code, _, err = call(capsys, "finetune", "--config", tmp_path / "bat.toml")
    assert "Did you mean 'bad.toml'?" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 2),
        (DataError, 3),
        (StorageError, 5),
        (FolderInUseError, 6),
        (ResumeRefusedError, 7),
        (NothingSucceededError, 8),
        (KerastlError, 1),
    ],
)
def test_errors_become_their_exit_codes(capsys, monkeypatch, error, code):
    def fail(given):
        raise error("a bad \x1b[31mname")

    monkeypatch.setattr(COMMANDS["doctor"], "run", fail)
    assert call(capsys, "doctor") == (code, "", "kerastl: a bad \\x1b[31mname\n")


def test_bugs_keep_their_traceback(monkeypatch):
    def fail(given):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(COMMANDS["doctor"], "run", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["doctor"])


# Signals and pipes


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(given):
        error = KeyboardInterrupt()
        error.run_folder = Path("runs/finetune-3")
        raise error

    monkeypatch.setattr(COMMANDS["doctor"], "run", interrupt)
    code, _, err = call(capsys, "doctor")
    assert code == 130
    assert "kerastl finetune --resume runs/finetune-3" in err


def test_the_command_to_go_on_can_be_pasted_into_a_shell(capsys, monkeypatch):
    folder = Path("it's 개/run 1")

    def interrupt(given):
        error = KeyboardInterrupt()
        error.run_folder = folder
        raise error

    monkeypatch.setattr(COMMANDS["doctor"], "run", interrupt)
    _, _, err = call(capsys, "doctor")
    command = shlex.split(err.splitlines()[-1])
    assert command == ["kerastl", "finetune", "--resume", str(folder)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=INTERRUPTIBLE), signal.SIGTERM]
)
def test_interrupted_pretraining_says_that_nothing_is_kept(image_folder, tmp_path, number):
    folder = image_folder({"train/a": 20, "train/b": 20, "test/a": 4, "test/b": 4})
    out = tmp_path / "out"
    process = start("pretrain", "--data", folder, "--epochs", 500, "--out", out)
    while not (line := process.stderr.readline()).startswith("epoch 1/"):
        assert line, process.wait()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Pretraining keeps nothing before its end: start it again." in err
    assert "--resume" not in err
    assert not out.exists()


def test_terminate_ends_with_143_and_restores_the_handler(capsys, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def terminate(given):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(COMMANDS["doctor"], "run", terminate)
    code, _, err = call(capsys, "doctor")
    assert (code, err) == (143, "kerastl: terminated.\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_closed_pipe_is_quiet():
    process = start("bases")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() in (0, 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_output_that_cannot_be_written_is_one_sentence():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "kerastl", "bases"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    sentence = "kerastl: The output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (5, sentence)


def test_without_any_stdout_commands_work():
    script = f"exec {shlex.quote(sys.executable)} -m kerastl bases >&-"
    done = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_without_korean_shows_escapes(image_folder):
    folder = image_folder({"고양이": 6, "개": 6})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = start("check", folder, env=environment)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert r"\uac1c" in out


# check


def test_check_passes_good_images(capsys, image_folder):
    code, out, err = call(capsys, "check", image_folder({"cat": 8, "dog": 8}))
    assert (code, err) == (0, "")
    assert "16 images" in out


def test_check_names_bad_files_and_exits_3(capsys, image_folder, tmp_path):
    folder = image_folder({"cat": 8, "dog": 8})
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, _ = call(capsys, "check", folder, "--json", "--fix", folder / "clean.csv")
    report = json.loads(out)
    assert code == 3
    assert report["ok"] is False
    assert (report["unusable"], report["images"]) == (1, {"all": 16})
    assert "cat/broken.png" in [each["path"] for each in report["findings"]]
    assert len(pd.read_csv(folder / "clean.csv")) == 16
    assert (folder / "cat" / "broken.png").exists()
    code, _, _ = call(capsys, "check", folder / "clean.csv")
    assert code == 0


def test_check_says_what_is_wrong_with_an_empty_folder(capsys, tmp_path):
    code, out, err = call(capsys, "check", tmp_path)
    assert code == 3
    assert str(tmp_path) in out + err


def test_doctor_knows_the_cache(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "kerastl/activations/key").mkdir(parents=True)
    (tmp_path / "kerastl/activations/key/0.npy").write_bytes(bytes(5_000_000))
    code, out, _ = call(capsys, "doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["cache_folder"] == str(tmp_path / "kerastl")
    assert facts["cache_gb"] == 0.005


def test_check_and_dry_run_never_import_tensorflow(image_folder):
    folder = image_folder({"cat": 8, "dog": 8})
    assert not list_heavy("check", folder) & {"tensorflow", "keras"}
    dry = ("finetune", "--data", folder, "--base", "vgg16", "--dry-run")
    assert not list_heavy(*dry) & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    "command",
    [
        "finetune --epochs 0",
        "predict no.keras a.jpg",
        "pretrain --data x --epochs 0",
        "evaluate no-such-run",
    ],
)
def test_usage_errors_never_import_tensorflow(command):
    assert not list_heavy(*command.split()) & {"tensorflow", "keras"}


def test_dry_run_prints_the_stages_and_writes_nothing(
    capsys, image_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = image_folder({"cat": 8, "dog": 8})
    flags = ("--base", "vgg16", "--schedule", "fine-tune", "--epochs", "2,3", "--dry-run")
    code, out, _ = call(capsys, "finetune", "--data", folder, *flags)
    assert code == 0
    assert "vgg16" in out
    assert "block5" in out
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_dry_run_of_a_run_that_tries_things_out_says_what_it_leaves_out(capsys):
    flags = ("--base", "tiny", "--schedule", "lp-ft", "--epochs", "1,9", "--dry-run")
    code, out, _ = call(capsys, "finetune", "--data", "digits", *flags)
    assert code == 0
    assert "9 epochs" in out
    assert "34 steps each" in out
    code, out, _ = call(capsys, "finetune", "--data", "digits", *flags, "--fast-dev-run")
    assert code == 0
    assert "1 epoch at" in out
    assert "2 steps each" in out
    assert "34 steps" not in out


# bases and doctor


def test_bases_lists_every_base(capsys):
    from kerastl.bases import base_names

    code, out, _ = call(capsys, "bases")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(base_names())
    code, out, _ = call(capsys, "bases", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["vgg16"]["blocks"][-1] == "block5"
    assert rows["vgg16"]["parameters"] == 14_714_688
    origins = [rows[name]["from"] for name in ("tiny", "vgg16", "resnet18", "alexnet")]
    assert origins == ["package", "web", "keras-hub", "none"]


def test_doctor_describes_the_machine(capsys):
    code, out, _ = call(capsys, "doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["packages"]["numpy"] == np.__version__
    assert any(device.startswith("CPU") for device in facts["devices"])
    assert facts["free_disk_gb"] > 0
    code, out, _ = call(capsys, "doctor")
    assert (code, "korean font" in out, "free disk (GB)" in out) == (0, True, True)


def test_doctor_says_that_tensorflow_is_broken(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    code, out, _ = call(capsys, "doctor")
    assert (code, "TensorFlow cannot be imported" in out) == (0, True)


# evaluate: labels by name


def test_labels_are_matched_by_name():
    labels = match_labels(np.array([0, 1, 1]), ("dog", "cat"), ("cat", "cow", "dog"))
    assert labels.tolist() == [2, 0, 0]
    hot = match_labels(np.array([[1.0, 0.0]]), ("dog", "cat"), ("cat", "cow", "dog"))
    assert hot.tolist() == [[0, 0, 1]]
    with pytest.raises(DataError, match=r"no class 'cats'.*Did you mean 'cat'\?"):
        match_labels(np.array([0]), ("cats",), ("cat", "dog"))


# The main job, its results and what follows


class Finished(NamedTuple):
    photos: Path
    run: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Finished:
    """Run one short job; return its images, its folder and what it printed."""
    from PIL import Image

    root = tmp_path_factory.mktemp("job")
    noise = np.random.default_rng(0)
    for name, shade in (("=cat", 40), ("개", 180)):
        (root / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = shade + noise.integers(0, 60, (32, 32, 3))
            path = root / "photos" / name / f"{number}.png"
            Image.fromarray(pixels.astype("uint8")).save(path)
    flags = ["--data", f"{root}/photos", "--out", f"{root}/run", *QUICK]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["finetune", *flags])
    assert code == 0, err.getvalue()
    return Finished(root / "photos", root / "run", out.getvalue(), err.getvalue())


def test_finetune_leaves_a_run_and_says_where(capsys, finished):
    run = finished.run
    assert "test accuracy" in finished.out
    assert f'keras.models.load_model("{run}/model.keras")' in finished.err
    assert f"{run}/report.html" in finished.err
    for name in ("config.toml", "model.keras", "labels.json", "history.csv"):
        assert (run / name).is_file()
    accuracy = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert list(run.rglob(".tmp-*")) == []


@pytest.mark.parametrize(
    "weights", [pytest.param("none", marks=pytest.mark.slow), "model.keras"]
)
def test_the_configuration_of_a_run_runs_again(
    capsys, finished, tmp_path, monkeypatch, weights
):
    """Also with weights that are random or a file, and before there is a checkpoint."""
    one, two, cut = (tmp_path / name for name in ("one", "two", "cut"))
    flags = ("--data", finished.photos, *QUICK, "--weights", weights, "--out", one)
    monkeypatch.chdir(finished.run)
    assert call(capsys, "finetune", *flags)[0] == 0
    stored = weights if weights == "none" else str(finished.run / weights)
    assert f'\nweights = "{stored}"\n' in (one / "config.toml").read_text()
    with zipfile.ZipFile(one / "model.keras") as model:  # no folders of this machine
        assert str(finished.run) not in model.read("kerastl.json").decode()

    monkeypatch.chdir(tmp_path)
    cut.mkdir()
    for name in ("config.toml", "data.json", "environment.json"):
        (cut / name).write_bytes((one / name).read_bytes())
    for flags in (("--config", one / "config.toml", "--out", two), ("--resume", cut)):
        code, _, err = call(capsys, "finetune", *flags, "--fast-dev-run")
        assert code == 0, err
    texts = {(path / "predictions.csv").read_text() for path in (one, two, cut)}
    assert len(texts) == 1
    assert not (cut / "checkpoint").exists()


def test_a_full_disk_says_how_to_go_on_and_the_commands_can_be_pasted(
    image_folder, tmp_path, monkeypatch, capsys
):
    folder, out = image_folder({"it's": 10, "개": 10}), tmp_path / "a 'run'"
    flags = ["--data", folder, "--base", "tiny", "--weights", "none", "--epochs", "2"]
    environment = dict(os.environ, KERASTL_FAILPOINT="60:enospc")
    process = start("finetune", *flags, "--out", out, env=environment)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "No space left on device" in err) == (5, True), err
    assert "Every finished epoch is kept." in err
    command = shlex.split(err.splitlines()[-1])
    code, _, err = call(capsys, *command[1:])
    assert code == 0, err
    (written,) = re.findall(r"load_model\((.*)\)", err)
    assert ast.literal_eval(written) == f"{out}/model.keras"
    follow_up = err[err.index("kerastl predict") :].splitlines()[0]
    assert shlex.split(follow_up)[2] == str(out)


def test_finetune_refuses_to_overwrite_a_run(capsys, finished):
    flags = ("--data", finished.photos, *QUICK, "--out", finished.run)
    code, _, err = call(capsys, "finetune", *flags)
    assert (code, "holds a finished run" in err) == (2, True)


def test_a_folder_that_cannot_be_resumed_is_refused_before_images_are_listed(
    capsys, finished, tmp_path
):
    flags = ("--data", tmp_path / "no-such-photos")
    for _ in range(2):  # the first refusal does not leave it locked
        code, _, err = call(capsys, "finetune", "--resume", finished.run, *flags)
        assert (code, "is finished, so there is nothing to go on with" in err) == (2, True)
    (tmp_path / "cut").mkdir()
    for name in ("config.toml", "data.json"):
        (tmp_path / "cut" / name).write_bytes((finished.run / name).read_bytes())
    with RunFolder.open(tmp_path / "cut"):
        code, _, err = call(capsys, "finetune", "--resume", tmp_path / "cut", *flags)
    assert (code, f"is in use by process {os.getpid()}" in err) == (6, True)


def test_finetune_quiet_and_json_print_data_only(capsys, image_folder, tmp_path):
    folder = image_folder({"cat": 10, "dog": 10})
    flags = ("--data", folder, *QUICK, "--out", tmp_path / "out", "--quiet", "--json")
    code, out, err = call(capsys, "finetune", *flags)
    assert (code, err) == (0, "")
    assert json.loads(out)["folder"] == str(tmp_path / "out")


def test_predict_reads_files_folders_and_globs(capsys, finished):
    photos, run = finished.photos, finished.run
    code, out, err = call(capsys, "predict", run, photos, "--json")
    rows = json.loads(out)
    assert (code, err, len(rows)) == (0, "", 24)
    assert {row["label"] for row in rows} <= {"=cat", "개"}
    assert all(row["confidence"] >= row["confidence_2"] for row in rows)
    pattern = f"{photos}/*/1*.png"
    code, out, _ = call(capsys, "predict", run / "model.keras", pattern, "--json")
    assert (code, len(json.loads(out))) == (0, 6)
    code, out, _ = call(capsys, "predict", run, photos / "개" / "1.png", "--top-k", 1)
    assert out.splitlines()[0].split() == ["path", "label", "confidence"]


def test_predict_writes_tables_that_are_no_formulas(capsys, finished, tmp_path):
    from kerastl.runs.tables import parse_csv

    photos, run = finished.photos, finished.run
    code, out, _ = call(capsys, "predict", run, photos, "--out", tmp_path / "p.csv")
    assert (code, out) == (0, "")
    text = (tmp_path / "p.csv").read_text()
    assert ",'=cat," in text
    assert set(parse_csv(text)["label"]) <= {"=cat", "개"}
    call(capsys, "predict", run, photos, "--out", tmp_path / "p.json")
    assert len(json.loads((tmp_path / "p.json").read_text())) == 24


def test_predict_reports_unreadable_files_as_rows(capsys, finished, tmp_path):
    photos, run = finished.photos, finished.run
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    good = photos / "개" / "0.png"
    code, out, err = call(capsys, "predict", run, tmp_path / "broken.jpg", good, "--json")
    broken, fine = json.loads(out)
    assert code == 3
    assert broken["label"] is None
    assert broken["error"] != ""
    assert fine["error"] == ""
    assert fine["confidence"] > 0
    assert f'"path": "{good}"' in out  # no escapes: people read it too
    assert "1 of 2 files could not be read" in err


def test_predict_refuses_no_model_and_no_match(capsys, finished, tmp_path):
    photos, run = finished.photos, finished.run
    code, _, err = call(capsys, "predict", tmp_path, photos)
    assert (code, "has no model.keras" in err) == (2, True)
    code, _, err = call(capsys, "predict", run, f"{tmp_path}/*.jpg")
    assert (code, "matches no image" in err) == (2, True)


def test_evaluate_counts_looks_at_the_test_set(capsys, finished):
    run = finished.run
    first = json.loads((run / "metrics.json").read_text())["test"]
    code, out, err = call(capsys, "evaluate", run, "--json")
    second = json.loads(out)
    assert code == 0
    assert second["look"] == 2
    assert second["accuracy"] == first["accuracy"]
    assert "look number 2" in err
    code, out, _ = call(capsys, "evaluate", run, "--json")
    assert json.loads(out)["look"] == 3
    log = json.loads((run / "test_log.json").read_text())
    assert [entry["images"] for entry in log] == [first["n"]] * 2


def test_evaluate_scores_other_images_by_class_name(capsys, finished, image_folder):
    run = finished.run
    other = image_folder({"개": 6, "=cat": 4}, root="other")
    code, out, err = call(capsys, "evaluate", run, "--data", other, "--json")
    assert (code, err) == (0, "")
    assert (json.loads(out)["n"], json.loads(out)["look"]) == (10, 1)
    unknown = image_folder({"개": 6, "cow": 4}, root="unknown")
    code, _, err = call(capsys, "evaluate", run, "--data", unknown)
    assert (code, "no class 'cow'" in err) == (3, True)


@INTERRUPTIBLE
def test_ctrl_c_keeps_epochs_and_resume_goes_on(image_folder, tmp_path, capsys):
    folder = image_folder({"cat": 30, "dog": 30})
    flags = ["--data", folder, "--base", "tiny", "--epochs", "20"]
    process = start("finetune", *flags, "--out", tmp_path / "run")
    progress = tmp_path / "run" / "checkpoint" / "progress.json"
    while not progress.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"kerastl finetune --resume {tmp_path}/run" in err
    assert "Traceback" not in err
    code, _, err = call(capsys, "finetune", "--resume", tmp_path / "run", "--epochs", 3)
    assert (code, "epochs: 20 in the run, 3 now" in err) == (7, True)
    assert "weights" not in err  # the checkpoint has them, which is no difference
    for weights in ("none", "imagenet"):
        flags = ("--resume", tmp_path / "run", "--weights", weights)
        code, _, err = call(capsys, "finetune", *flags)
        sentence = f"weights: cifar10 in the run, {weights} now"
        assert (code, sentence in err) == (7, True)
    code, _, err = call(capsys, "finetune", "--resume", tmp_path / "run")
    assert code == 0, err
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 41))
    assert not progress.exists()
