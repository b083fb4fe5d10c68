"""Comparing bases and schedules: real small trainings, kills, failures, what is said."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import wait_until

import kerastl
from kerastl.__main__ import main
from kerastl.bases import get_base
from kerastl.comparing import jobs
from kerastl.comparing.collecting import conclude
from kerastl.comparing.entries import Entrants, list_entries, share_epochs
from kerastl.errors import NothingSucceededError, ResumeRefusedError, UsageError
from kerastl.evaluation import compare_repeats
from kerastl.finetuning.planning import read_schedule
from kerastl.options import Options, parse_toml
from kerastl.reporting import plot_histories
from kerastl.schedules import SCHEDULES
from kerastl.stages import Schedule, Stage

SMALL = {"weights": None, "epochs": 2, "image_size": 32, "verbose": 0}
MEASURED = ["seconds"]


def make_data(*, noise=False, seed=0):
    """Images whose brightest channel is their class, or with labels that mean nothing."""
    generator = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    images = generator.integers(0, 150, (60, 16, 16, 3))
    if not noise:
        images[np.arange(60), :, :, labels] += 100
    return kerastl.load_images(images.astype("uint8"), labels=labels, seed=0)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "out"
    return kerastl.compare(make_data(), ["tiny"], out=out, repeats=2, **SMALL)


# What is compared


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [10, 23])
def test_every_schedule_gets_as_many_epochs(name, total):
    base = get_base("tiny")
    schedule = share_epochs(read_schedule(Options(base="tiny", schedule=name), base), total)
    assert sum(stage.epochs for stage in schedule) == total
    assert all(stage.epochs == 1 for stage in schedule if stage.solver == "exact")


def test_epochs_are_those_of_the_longest_schedule():
    entrants = Entrants(("tiny",), ("feature-extraction", "hybrid"))
    entries, total = list_entries(entrants, Options(weights=None))
    assert total == 20
    epochs = [[stage["epochs"] for stage in entry.options.stages] for entry in entries]
    assert epochs == [[20], [10, 10]]


def test_fewer_epochs_than_stages_are_refused():
    stages = Schedule("two", (Stage(name="a"), Stage(name="b")))
    with pytest.raises(UsageError, match="epochs=1 of all stages"):
        share_epochs(stages, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bases": ("resnet5", "tiny")}, "resnet50"),
        ({"schedules": ("hybird",)}, "hybrid"),
        ({"repeats": 0}, "repeats=0"),
        ({"epochs": 2.5}, "epochs=2.5"),
        ({"bases": ("tiny",), "schedules": ("full",)}, "1 combination"),
        ({"bases": "tiny"}, "bases='tiny'"),
    ],
)
def test_what_cannot_be_compared_is_named(given, said):
    with pytest.raises(UsageError, match=said):
        Entrants(**given)


# What comes of it


def test_the_table_has_a_row_for_each_combination(compared):
    table = compared.table
    assert table["name"].tolist() == ["feature-extraction", "hybrid"]
    assert table["status"].tolist() == ["done", "done"]
    assert table["epochs"].tolist() == [2, 2]
    assert (table["trained"] < table["parameters"]).all()
    for split in ("validation", "test"):
        ordered = [f"{split}_low", f"{split}_min", split, f"{split}_max", f"{split}_high"]
        assert (table[ordered[0]] <= table[split]).all()
        assert (table[ordered[1:4]].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    sizes = [
        (compared.folder.path / f"tiny-{name}-0/model.keras").stat().st_size
        for name in table["name"]
    ]
    assert table["megabytes"].tolist() == [size / 1e6 for size in sizes]


def test_the_runs_have_the_same_images_and_other_seeds(compared):
    assert list(compared.runs) == [
        f"tiny-{name}-{seed}"
        for name in ("feature-extraction", "hybrid")
        for seed in (0, 1)
    ]
    sources = [
        json.loads((compared.folder.path / name / "data.json").read_text())
        for name in compared.runs
    ]
    assert len({source["fingerprint"] for source in sources}) == 1
    run = kerastl.load_run(compared.folder.path / "tiny-hybrid-1", make_data())
    assert (run.settings["seed"], run.data.seed) == (1, 0)
    accuracies = compared.result["rows"][1]["test_runs"]
    assert run.scores["test"].accuracy.value == pytest.approx(accuracies[1])


def test_a_run_is_that_of_finetune_alone(compared):
    data, options = make_data(), compared.folder.path / "tiny-hybrid-0" / "config.toml"
    stages = [Stage(**each) for each in parse_toml(options.read_text())["stages"]]
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=32)
    run = kerastl.finetune(model, data, schedule=stages, verbose=0)
    inside = compared.runs["tiny-hybrid-0"]
    np.testing.assert_allclose(
        run.history["val_loss"], inside.history["val_loss"], rtol=1e-5
    )


def test_the_tests_are_of_the_answers_that_were_written(compared):
    answers = compared.folder.read_arrays("answers.npz")
    assert {each.shape for each in answers.values()} == {(2, 12)}
    expected = compare_repeats(answers)
    assert compared.result["tests"] == json.loads(json.dumps(expected.to_dict()))


def test_it_shows_itself(compared):
    text = repr(compared)
    assert "over seeds" in text
    assert "Nothing was chosen by the test images" in text
    assert "<table>" in compared._repr_html_()
    report = (compared.folder.path / "report.html").read_text()
    for part in ("Models", "Training", "Which differences are real", "data:image/png"):
        assert part in report
    assert 'href="tiny-hybrid-1/report.html"' in report
    assert [ax.get_ylabel() for ax in compared.plot().axes] == [
        "validation loss", "validation accuracy",
    ]  # fmt: skip
    again = kerastl.load_comparison(compared.folder.path)
    assert repr(again) == text


def test_a_finished_comparison_is_read_back(compared, monkeypatch):
    monkeypatch.setattr(jobs, "train_inside", None)
    again = kerastl.compare(
        make_data(), ["tiny"], out=compared.folder.path, repeats=2, resume=True, **SMALL
    )
    assert again.table.equals(compared.table)


def test_other_settings_or_images_are_not_gone_on_with(compared):
    out = compared.folder.path
    with pytest.raises(ResumeRefusedError, match="repeats: 2 in the comparison, 3 now"):
        kerastl.compare(make_data(), ["tiny"], out=out, repeats=3, resume=True, **SMALL)
    with pytest.raises(ResumeRefusedError, match="fingerprint"):
        kerastl.compare(
            make_data(seed=1), ["tiny"], out=out, repeats=2, resume=True, **SMALL
        )
    with pytest.raises(UsageError, match="finished run"):
        kerastl.compare(make_data(), ["tiny"], out=out, **SMALL)
    with pytest.raises(UsageError, match="holds a comparison"):
        kerastl.load_run(out)


# What can be concluded


def make_rows(right):
    names = list(right)
    rows = [
        {
            "name": name, "status": "done", "parameters": 10 + place, "trained": 1,
            "test": {"value": right[name].mean()},
        }
        for place, name in enumerate(names)
    ]  # fmt: skip
    return rows, compare_repeats(right)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((7, 5), "a and b are not distinguishable on 200 images: "),
        ((60, 5), "b is better than a on 200 images"),
        ((7, 5, 6), "None of b, c and a is distinguishable from another on 200 images. Of "
                    "those, a is the smallest"),
        ((60, 5, 60), "b is better than all others, a and c, on 200 images."),
        ((8, 5, 60), "b has the highest accuracy on 200 images but is not distinguishable "
                     "from a, and is better than c. Of those, a is the smallest"),
    ],
)  # fmt: skip
def test_the_conclusion_says_what_can_be_told(wrong, said):
    right, start = {}, 0
    for name, count in zip("abc", wrong, strict=False):
        right[name] = np.ones((1, 200), bool)
        right[name][0, start : start + count] = False
        start += count
    assert conclude(*make_rows(right), {}, "test")[0].startswith(said)


def test_on_labels_that_mean_nothing_neither_is_better(tmp_path):
    found = kerastl.compare(make_data(noise=True), ["tiny"], out=tmp_path / "out", **SMALL)
    assert "are not distinguishable on 12 images" in found.conclusion
    assert "None of them is distinguishable from always answering" in found.conclusion


@pytest.mark.slow
def test_without_a_test_split_validation_is_compared_and_it_is_said(tmp_path):
    images, labels = np.zeros((40, 16, 16, 3), "uint8"), np.arange(40) % 2
    images[labels == 1] += np.arange(20, dtype="uint8")[:, None, None, None] + 100
    images[labels == 0] += np.arange(20, dtype="uint8")[:, None, None, None]
    data = kerastl.load_images(images, labels=labels, test=0)
    found = kerastl.compare(data, ["tiny"], out=tmp_path / "out", **SMALL)
    assert found.result["split"] == "validation"
    assert "by which the epoch of each was chosen" in repr(found)
    assert found.table["test"].isna().all()


# Failures


@pytest.mark.slow
def test_a_combination_that_fails_is_a_row_and_the_others_go_on(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    line = ["compare", "--bases", "tiny,vgg_small", "--schedules", "feature-extraction"]
    line += ["--epochs", "1", "--weights", "pretrained", "--out", "out", "--quiet"]
    assert main(line) == 4
    found = kerastl.load_comparison(tmp_path / "out")
    assert found.table["status"].tolist() == ["done", "failed"]
    assert "no pretrained weights" in found.table["reason"][1]
    assert "tiny alone came to its end" in found.conclusion
    assert "no pretrained weights" in (tmp_path / "out/report.html").read_text()


def test_where_all_fail_there_is_nothing_to_compare(tmp_path, capsys, monkeypatch):
    def fail(*given, **named):
        raise NothingSucceededError("The loss is not finite.")

    monkeypatch.setattr(jobs, "train_inside", fail)
    line = ["compare", "--bases", "tiny", "--schedules", "feature-extraction,hybrid"]
    line += ["--epochs", "1", "--out", str(tmp_path / "out"), "--quiet"]
    assert main(line) == 8
    found = kerastl.load_comparison(tmp_path / "out")
    assert found.table["status"].tolist() == ["failed", "failed"]
    assert "None came to its end" in found.conclusion
    report = (tmp_path / "out/report.html").read_text()
    assert "The loss is not finite." in report


@pytest.mark.slow
def test_a_run_that_diverges_is_a_row_and_is_tried_again(tmp_path, monkeypatch):
    real = jobs.train_inside

    def fail(folder, name, *rest, **named):
        if "hybrid" in name:
            raise NothingSucceededError("The loss is not finite.")
        return real(folder, name, *rest, **named)

    monkeypatch.setattr(jobs, "train_inside", fail)
    found = kerastl.compare(make_data(), ["tiny"], out=tmp_path / "out", **SMALL)
    assert found.failed == 1
    assert found.table["reason"][1] == "The loss is not finite."
    assert "NothingSucceeded" in (tmp_path / "out/errors/tiny-hybrid-0.txt").read_text()
    monkeypatch.undo()
    again = kerastl.compare(
        make_data(), ["tiny"], out=tmp_path / "out", resume=True, **SMALL
    )
    assert again.failed == 0
    assert not (tmp_path / "out/errors/tiny-hybrid-0.txt").exists()


def test_when_all_fail_nothing_is_returned(tmp_path):
    with pytest.raises(UsageError, match="image_size"):
        kerastl.compare(
            make_data(), ["vgg16", "resnet50"], weights=None, image_size=8,
            out=tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


# Kills

SCRIPT = """
import sys
sys.path.insert(0, "tests")
import kerastl
from test_comparing import SMALL, make_data
kerastl.compare(make_data(), ["tiny"], out=sys.argv[1], repeats=2, **SMALL)
"""


def test_a_killed_comparison_goes_on_to_the_same_table(tmp_path, compared):
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(out)], env=environment)
    begun = out / "tiny-hybrid-0" / "history.csv"
    marks = [begun, out / "tiny-hybrid-0" / "checkpoint" / "progress.json"]
    wait_until(lambda: any(map(Path.exists, marks)), seconds=240)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "comparison.json").exists()
    with pytest.raises(UsageError, match="did not come to its end"):
        kerastl.load_comparison(out)
    found = kerastl.compare(make_data(), ["tiny"], out=out, repeats=2, resume=True, **SMALL)
    golden = compared.table.drop(columns=MEASURED)
    assert found.table.drop(columns=MEASURED).equals(golden)
    answers = compared.folder.read_arrays("answers.npz")
    for name, each in found.folder.read_arrays("answers.npz").items():
        assert np.array_equal(each, answers[name])


# The command line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--bases", "tiny,vgg61"], "vgg19"),
        (["--bases", "tiny", "--schedules", "hybird,full"], "hybrid"),
        (["--bases", "tiny", "--epochs", "3,5"], "epochs='3,5'"),
        (["--bases", "tiny", "--repeats", "none"], "repeats='none'"),
        (["--base", "tiny"], "--bases"),
        (["--bases", "tiny", "--weights", "none", "--learning-rate", "-1"], "rate=-1"),
        (["--resume", "runs/compare-9"], "runs/compare-9"),
    ],
)  # fmt: skip
def test_bad_flags_are_named_before_tensorflow(flags, said, tmp_path):
    script = (
        "import sys\nfrom kerastl.__main__ import main\n"
        "code = main(sys.argv[1:])\nprint('tensorflow' in sys.modules, code)"
    )
    command = [sys.executable, "-c", script, "compare", *flags]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.stdout.split()[-2:] == ["False", "2"], done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_dry_run_says_what_would_be_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["compare", "--bases", "tiny", "--schedules", "feature-extraction,lp-ft"]
    assert main([*line, "--repeats", "2", "--seed", "5", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "4: 2 combinations, seeds 5, 6" in said
    assert "probe 1, all 10" in said
    assert list(tmp_path.iterdir()) == []


# Figures


def test_curves_of_many_runs_are_named_apart():
    import pandas as pd

    rows = [
        pd.DataFrame({
            "epoch": [1, 2], "stage_index": 0, "val_loss": 1.0,
            "val_accuracy": [0.5, 0.9 + number / 1000],
        })
        for number in range(9)
    ]  # fmt: skip
    names = [f"base-{number}" for number in range(9)]
    figure = plot_histories(dict(zip(names, ([row] for row in rows), strict=True)))
    texts = figure.axes[-1].texts
    assert [text.get_text() for text in texts] == names
    places = sorted(text.get_position()[1] for text in texts)
    low, high = figure.axes[-1].get_ylim()
    assert min(np.diff(places)) / (high - low) > 0.05


def test_no_epoch_is_no_figure():
    with pytest.raises(UsageError, match="0 epochs"):
        plot_histories({})
