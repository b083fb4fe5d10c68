"""`kerastl search` and `python -m kerastl.search` as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scipy.stats import uniform
from sklearn.model_selection import ParameterSampler

import kerastl
from kerastl.cli.program import run_program
from kerastl.search import driver
from tests.fake_trials import fake_run

# where the package is, whatever the folder a command runs in
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(kerastl.__file__).parents[1])}
FLAGS = ["search", "--base", "tiny", "--weights", "none", "--refit", "none"]


@pytest.fixture(autouse=True)
def instant(monkeypatch, tmp_path):
    monkeypatch.setattr(driver, "run_requests", fake_run())
    monkeypatch.chdir(tmp_path)


def test_a_search_prints_trials_as_they_end_and_a_table_at_last(capsys):
    assert run_program([*FLAGS, "--n-iter", "3"]) == 0
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("trial ")]
    assert [line.split("  ")[0] for line in lines] == [
        "trial 1 (1/3)", "trial 2 (2/3)", "trial 3 (3/3)",
    ]  # fmt: skip
    assert all("best 0." in line for line in lines)
    assert [line.split("  ")[1].split(" of ")[1] for line in lines] == ["1", "2", "3"]
    assert "rank" in printed.out
    assert "selected" in printed.out
    assert "runs/search-1/report.html" in printed.err


def test_json_is_all_that_reaches_stdout(capsys):
    assert run_program([*FLAGS, "--n-iter", "2", "--json", "--out", "one"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["folder"] == "one"
    assert set(values["best"]["params"]) == {"learning_rate", "batch_size", "dropout"}
    assert values["trials"] == {"planned": 2, "done": 2, "failed": 0, "not_run": 0}
    metrics = json.loads(Path("one/metrics.json").read_text())
    assert values == {"folder": "one", **metrics}


def test_several_bases_are_searched_and_one_is_not(capsys):
    flags = ["search", "--weights", "none", "--mode", "grid", "--param", "dropout=0,0.5"]
    assert run_program([*flags, "--base", "tiny,vgg16", "--dry-run"]) == 0
    assert "base     tiny, vgg16" in capsys.readouterr().out
    assert run_program([*flags, "--base", "tiny", "--dry-run"]) == 0
    assert "2 points" in capsys.readouterr().out


def test_the_space_may_be_a_file_that_flags_add_to(capsys):
    with open("space.toml", "w") as file:
        file.write('learning_rate = "loguniform(1e-4, 1e-1)"\nhidden = [[], [256]]\n')
    flags = [*FLAGS, "--space", "space.toml", "--param", "2__epochs=3,5", "--n-iter", "2"]
    assert run_program([*flags, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "loguniform(0.0001, 0.1)" in text
    assert "2__epochs" in text


def test_the_tutorials_space_is_the_classic_one(capsys):
    flags = ["search", "--space", "tutorial", "--weights", "none", "--dry-run"]
    assert run_program([*flags, "--mode", "grid"]) == 0
    grid = capsys.readouterr().out
    assert "0.001, 0.01, 0.1" in grid
    assert "3 x 3 = 9 points" in grid
    assert "resnet50 at 32x32" in grid
    assert run_program([*flags, "--n-iter", "5", "--seed", "42"]) == 0
    drawn = capsys.readouterr().out
    assert "uniform(0.001, 0.1): 0.001 to 0.101" in drawn
    space = {"learning_rate": uniform(0.001, 0.1), "batch_size": [16, 32, 64]}
    for params in ParameterSampler(space, 5, random_state=42):
        assert f"learning_rate={params['learning_rate']:.4g}" in drawn


def test_advice_comes_with_its_reason(capsys):
    flags = [*FLAGS, "--n-iter", "auto", "--batch-size", "auto", "--param", "dropout=0,0.1"]
    assert run_program([*flags, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "batch_size  16, 32" in text
    assert "1,438 images: 10 to 20 trials and batches of 16 or 32, because" in text


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--mode", "grud"], 2, "mode='grud' is not one of: grid, random, halving, tpe."),
        (["--n-iter", "0"], 2, "n_iter=0: give a whole number of at least 1."),
        (["--n-iter", "5", "--mode", "grid"], 2, "n_iter=5 draws candidates"),
        (["--param", "learning_rte=0.1"], 2, "Did you mean 'learning_rate'?"),
        (["--param", "learning_rate"], 2, "names no setting"),
        (["--param", "seed=1,2"], 2, "'seed' cannot be searched"),
        (["--param", "head__epochs=1,2"], 2, "has no stage 'head'"),
        (["--space", "nowhere.toml"], 2, "--space nowhere.toml: there is no such file"),
        (["--engine", "spark"], 2, "(--engine)='spark' is not one of: loky, ray, dask."),
        (["--nested", "3", "--max-minutes", "5"], 2, "nested=3 runs 4: leave one out"),
        (["--gpus", "1"], 2, "needs executor='ray'"),
        (["--jbos", "2"], 2, "Did you mean '--jobs'?"),
        (["--resume", "runs"], 2, "There is no run folder runs"),
        (["--out", "a", "--resume", "b"], 2, "name two folders"),
        (["--data", "nowhere"], 2, "nowhere"),
    ],
)
def test_mistakes_end_in_a_sentence_and_a_code(capsys, flags, code, said):
    assert run_program([*FLAGS, *flags]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert list(Path().glob("runs/*")) == []


def test_batch_sizes_are_named_once(capsys):
    flags = [*FLAGS, "--batch-size", "auto", "--param", "batch_size=8,16", "--dry-run"]
    assert run_program(flags) == 2
    assert "batch_size='auto' searches the sizes" in capsys.readouterr().err


def test_failed_trials_end_in_4_and_only_failed_ones_in_8(capsys):
    some = [*FLAGS, "--mode", "grid", "--param", "momentum=0.5,0.9"]
    assert run_program(some) == 4
    assert "ValueError: no" in capsys.readouterr().out
    assert run_program([*FLAGS, "--mode", "grid", "--param", "momentum=0.5,0.7"]) == 8
    assert (
        "All 2 trials failed, the first because: ValueError: no" in capsys.readouterr().err
    )


def test_resume_takes_everything_from_the_folder_and_refuses_changes(capsys):
    assert run_program([*FLAGS, "--n-iter", "2", "--out", "one"]) == 0
    assert run_program(["search", "--resume", "one"]) == 0
    assert "2 of 2 trials are finished already" in capsys.readouterr().err
    assert run_program(["search", "--resume", "one", "--n-iter", "4"]) == 7
    assert "n_iter: 2 in the search, 4 now" in capsys.readouterr().err
    os.mkdir("empty")
    assert run_program(["search", "--resume", "empty"]) == 7


def run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def test_a_plan_needs_no_tensorflow():
    code = "import sys; from kerastl.cli.program import run_program; "
    code += f"run_program({[*FLAGS, '--n-iter', '2', '--dry-run']}); "
    code += "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert run([sys.executable, "-c", code]).returncode == 0


def test_the_module_runs_as_the_command_does():
    command = [sys.executable, "-m", "kerastl.search", "--mode", "random", "--n-iter", "5"]
    ran = run([*command, "--base", "tiny", "--dry-run"])
    assert ran.returncode == 0
    assert ran.stderr == ""
    assert "trials    5, mode random" in ran.stdout


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="started in the background, where Ctrl-C is ignored and children inherit that",
)
def test_an_interrupted_search_says_how_to_go_on(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kerastl", *FLAGS, "--out", str(out)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    deadline = time.monotonic() + 60
    while not (out / "search.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, printed = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"kerastl search --resume {out}" in printed
    assert "Traceback" not in printed
