"""Searches with real trials in real worker processes."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from processes import list_processes, wait_until
from scipy.stats import loguniform
from sklearn.model_selection import ParameterSampler

import kerastl
from kerastl.errors import UsageError
from kerastl.finetuning.verifying import Digests, digest_weights
from kerastl.search.worker import is_alive

SMALL = {"base": "tiny", "weights": None, "schedule": "hybrid", "epochs": 1}


def make_images(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.normal(60 + 60 * labels[:, None, None, None], 20, (count, 32, 32, 3))
    return images.clip(0, 255).astype("uint8"), labels


@pytest.fixture(scope="module")
def data():
    images, labels = make_images()
    return kerastl.load_images(images, labels=labels)


@pytest.fixture(scope="module")
def result(data, tmp_path_factory):
    space = {"learning_rate": loguniform(1e-4, 1e-1), "batch_size": [8, 16]}
    return kerastl.random_search(
        data, space, n_iter=3, random_state=7, verbose=0, **SMALL,
        out=tmp_path_factory.mktemp("search") / "out",
    )  # fmt: skip


def digests(result) -> list[str]:
    return [fit["weights"] for n in range(1, result.plan.count + 1)
            for fit in result.book.last(n).fits]  # fmt: skip


# What comes out


def test_candidates_are_those_of_scikit_learn(result):
    space = {"learning_rate": loguniform(1e-4, 1e-1), "batch_size": [8, 16]}
    theirs = list(ParameterSampler(space, 3, random_state=7))
    assert result.cv_results_["params"] == theirs


def test_the_winner_trains_again_to_the_same_weights(result):
    winner = result.book.last(result.summary["best"]["trial"])
    assert digest_weights(Digests(result.best_run.model)) == winner.fits[0]["weights"]
    assert result.best_run.history["val_accuracy"].max() == pytest.approx(
        result.best_score_
    )


def test_the_test_split_is_scored_once_and_stands_in_the_metrics(result):
    metrics = json.loads((result.folder.path / "metrics.json").read_text())
    test = metrics["test"]["accuracy"]
    assert test["low"] <= test["value"] <= test["high"]
    assert test["value"] == result.best_run.scores["test"].accuracy.value
    assert metrics["best"]["selected_on"] == "validation (hold-out)"
    assert metrics["best"]["params"] == result.best_params_


def test_the_folder_holds_model_figures_and_report(result):
    names = {path.relative_to(result.folder.path).as_posix()
             for path in result.folder.path.rglob("*")}  # fmt: skip
    expected = {"search.json", "config.toml", "leaderboard.csv", "metrics.json",
                "report.html", "trials.png", "parameters.png", "parallel.png",
                "trials/1/result.json", "best/model.keras", "best/report.html"}  # fmt: skip
    assert expected <= names


def test_a_search_read_back_finds_its_run(result, data):
    again = kerastl.load_search(result.folder.path, data)
    assert repr(again) == repr(result)
    assert again.best_run.metrics["test"] == result.best_run.metrics["test"]


def test_the_search_s_folder_stands_for_its_best_model(result):
    from kerastl.predicting import find_model

    assert find_model(result.folder.path) == result.folder.path / "best/model.keras"
    with pytest.raises(UsageError, match="holds a search: its best run is .*/best"):
        kerastl.load_run(result.folder.path)


def test_it_shows_itself(result):
    text = repr(result)
    assert "learning_rate" in text
    assert "validation" in text
    assert "<table" in result._repr_html_()
    assert result.plot().axes


# The same whatever runs beside it


@pytest.mark.parametrize("jobs", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_one_worker_and_several_give_the_same_trials(data, tmp_path, jobs):
    space = {"learning_rate": [0.1, 0.01], "dropout": [0.0, 0.5]}
    settings = {**SMALL, "threads": 1, "refit": "none", "verbose": 0}
    one = kerastl.grid_search(data, space, out=tmp_path / "one", **settings)
    four = kerastl.grid_search(data, space, out=tmp_path / "four", jobs=jobs, **settings)
    assert digests(one) == digests(four)
    assert len(set(digests(one))) == 4
    times = ["fit_seconds", "peak_memory_mb"]
    pd.testing.assert_frame_equal(
        one.leaderboard().drop(columns=times), four.leaderboard().drop(columns=times)
    )


def test_halving_ends_as_training_without_a_pause_does(data, tmp_path):
    space = {"learning_rate": [0.1, 0.03, 0.01]}
    settings = {**SMALL, "epochs": 2, "dropout": 0.3, "refit": "none", "verbose": 0}
    halving = kerastl.halving_search(
        data, space, n_iter=3, min_epochs=1, out=tmp_path / "halving", **settings
    )
    assert halving.plan.rungs == ((3, 1), (1, 3))
    survivor = halving.book.last(halving.summary["best"]["trial"])
    assert survivor.fits[0]["epochs_trained"] == 3  # of 4: the first is not repeated
    rate = [survivor.params["learning_rate"]]
    grid = kerastl.grid_search(
        data, {"learning_rate": rate}, out=tmp_path / "g", **settings
    )
    assert digests(grid) == [survivor.fits[0]["weights"]]
    assert grid.best_score_ == survivor.score


@pytest.mark.slow
def test_anything_of_model_and_stages_can_be_searched(data, tmp_path):
    space = {
        "hidden": [(), (8,)],
        "schedule": ["fine-tune"],
        "unfreeze": ["block1"],
        "head__learning_rate": [0.02],
        "2__epochs": [2],
        "augment": [("flip",)],
        "optimizer": ["sgd"],
        "weight_decay": [1e-3],
        "normalize": ["data"],
    }
    found = kerastl.grid_search(
        data, space, out=tmp_path / "out", verbose=0, base="tiny", weights=None, epochs=1
    )
    assert found.leaderboard()["status"].tolist() == ["done"] * 2
    first, second = found.best_run.schedule
    assert (first.learning_rate, first.optimizer, first.augment) == (0.02, "sgd", ("flip",))
    assert (second.unfreeze, second.epochs, second.weight_decay) == ("block1", 2, 1e-3)


@pytest.mark.slow
def test_folds_see_every_image_but_those_of_the_test_split(data, tmp_path):
    found = kerastl.grid_search(
        data, {"batch_size": [16]}, cv=3, repeats=2, refit="all", out=tmp_path / "out",
        verbose=0, **SMALL,
    )  # fmt: skip
    assert len(found.book.last(1).fits) == 6
    assert len(set(digests(found))) == 6
    assert len(found.best_run.data.train) == 48
    assert found.best_run.data.validation is None
    assert found.test["accuracy"]["value"] >= 0


def test_a_trial_that_raises_is_a_row(data, tmp_path):
    space = {"weight_decay": [0.0, 1000.0]}  # the rate times this overflows in a few steps
    found = kerastl.grid_search(
        data, space, refit="none", out=tmp_path / "out", verbose=0, batch_size=4,
        learning_rate=1000.0, optimizer="sgd", **SMALL,
    )  # fmt: skip
    board = found.leaderboard()
    assert board["status"].tolist() == ["done", "failed"]
    assert "finite" in board["reason"].iloc[1]


# The test split


SPY = """
import sys, time
def hook(event, arguments, log=open({log!r}, "a")):
    if event == "open" and {needle!r} in str(arguments[0]):
        print(time.time(), arguments[0], file=log, flush=True)
sys.addaudithook(hook)
"""


def write_tree(root: Path) -> Path:
    images, labels = make_images()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        split = ("train", "train", "val", "test")[number // 3 % 4]
        folder = root / split / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    return root


def test_no_process_of_a_search_opens_the_test_split_before_the_winner_is_chosen(tmp_path):
    tree, log, out = write_tree(tmp_path / "images"), tmp_path / "opened", tmp_path / "out"
    spy = tmp_path / "spy"
    spy.mkdir()
    script = SPY.format(log=str(log), needle=str(tree))
    (spy / "sitecustomize.py").write_text(script)
    flags = ["--data", str(tree), "--base", "tiny", "--weights", "none", "--epochs", "1"]
    flags += ["--param", "batch_size=8,16", "--mode", "grid", "--quiet"]
    command = [sys.executable, "-m", "kerastl.search", *flags, "--out", str(out)]
    paths = os.pathsep.join([str(spy), str(Path(kerastl.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths}
    ran = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    opened = [line.split(" ", 1) for line in log.read_text().splitlines()]
    times: dict[str, list[float]] = {}
    for moment, name in opened:
        times.setdefault(Path(name).relative_to(tree).parts[0], []).append(float(moment))
    trained = [path.stat().st_mtime for path in out.glob("trials/*/result.json")]
    assert len(trained) == 2
    assert min(times["train"] + times["val"]) < min(trained)
    assert min(times["test"]) > max(trained)  # read once it is chosen, and then it is seen


# Refusals


def test_names_and_values_are_checked_before_anything_is_loaded():
    with pytest.raises(UsageError, match="no option 'reppeats'. Did you mean 'repeats'"):
        kerastl.grid_search("no/such/folder", reppeats=3)
    with pytest.raises(UsageError, match="no setting 'learningrate'. Did you mean"):
        kerastl.grid_search("digits", {"learningrate": [0.1]}, base="tiny")
    with pytest.raises(UsageError, match="jobs=0: give a whole number of at least 1"):
        kerastl.grid_search("digits", {"batch_size": [16]}, base="tiny", jobs=0)


def test_a_search_without_refit_has_no_run(data, tmp_path):
    found = kerastl.grid_search(
        data, {"batch_size": [16]}, refit="none", out=tmp_path / "out", verbose=0, **SMALL
    )
    with pytest.raises(UsageError, match="trained no winner again"):
        found.best_run  # noqa: B018


@pytest.mark.slow
def test_nested_folds_judge_the_search_itself(data, tmp_path):
    found = kerastl.grid_search(
        data, {"batch_size": [8, 16]}, nested=2, out=tmp_path / "out", verbose=0, **SMALL
    )
    assert len(found.nested["scores"]) == 2
    assert found.nested["mean"] == pytest.approx(np.mean(found.nested["scores"]))
    for fold in (1, 2):
        assert (tmp_path / f"out/nested/{fold}/best/model.keras").exists()


# Killed for real


@pytest.mark.slow
@pytest.mark.parametrize("step", [12, 30, 60, 110])
def test_a_killed_search_ends_with_the_same_trials_and_model(tmp_path, step):
    out, golden = tmp_path / "out", tmp_path / "golden"
    flags = ["--base", "tiny", "--epochs", "1", "--mode", "grid", "--threads", "1"]
    flags += ["--param", "batch_size=64,128", "--param", "dropout=0,0.5", "--quiet"]
    assert run_cli([*flags, "--out", str(golden)]) == 0
    killed = run_cli([*flags, "--out", str(out)], KERASTL_FAILPOINT=f"{step}:kill")
    assert killed == -signal.SIGKILL
    assert run_cli(["--resume", str(out), "--quiet"]) == 0
    first, second = kerastl.load_search(golden), kerastl.load_search(out)
    assert digests(first) == digests(second)
    assert digest_weights(Digests(first.best_run.model)) == digest_weights(
        Digests(second.best_run.model)
    )
    assert first.best_run.metrics == second.best_run.metrics


def run_cli(flags: list[str], **environment: str) -> int:
    command = [sys.executable, "-m", "kerastl.search", *flags]
    ran = subprocess.run(
        command, capture_output=True, env={**os.environ, **environment}, timeout=500
    )
    return ran.returncode


# On a cluster


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of files Ray and Dask leave open
@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_cluster_that_loses_a_worker_gives_the_same_table(
    data, tmp_path, executor, package
):
    pytest.importorskip(package)
    space = {"learning_rate": [0.1, 0.03, 0.01], "dropout": [0.0, 0.5]}
    settings = {**SMALL, "threads": 1, "refit": "none", "verbose": 0}
    here = kerastl.grid_search(data, space, out=tmp_path / "here", **settings)
    out, killed = tmp_path / executor, []
    killer = threading.Thread(target=kill_a_worker, args=(out, killed), daemon=True)
    killer.start()
    there = kerastl.grid_search(data, space, out=out, executor=executor, jobs=2, **settings)
    killer.join(1)
    assert len(killed) == 1
    assert not is_alive(killed[0])
    assert digests(there) == digests(here)
    times = ["fit_seconds", "peak_memory_mb"]
    pd.testing.assert_frame_equal(
        there.leaderboard().drop(columns=times), here.leaderboard().drop(columns=times)
    )
    gc.collect()


def kill_a_worker(out: Path, killed: list[int]) -> None:
    """Kill the cluster's process that looks after a running trial, once one has ended."""
    wait_until(lambda: any(out.glob("trials/*/result.json")), 200)
    for process in list_processes(os.getpid()):
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        parent = int(
            Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
        )
        if b"kerastl.search.worker" in command and parent != os.getpid():
            os.kill(parent, signal.SIGKILL)
            killed.append(parent)
            return
