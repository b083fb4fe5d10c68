"""Interrupted runs: killed for real, gone on with, equal to the bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kerastl
from kerastl.errors import FolderInUseError, ResumeRefusedError, UsageError
from kerastl.runs import RunFolder

# Dropout, augmentation, momentum, statistics and two stages: all the state there is
SCRIPT = """
import sys
import numpy as np
import kerastl
from kerastl.stages import Stage

def make_data(seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(48) % 3
    images = generator.integers(0, 150, (48, 16, 16, 3))
    images[np.arange(48), :, :, labels] += 60
    return kerastl.load_images(images.astype("uint8"), labels=labels, seed=0)

def make_model():
    return kerastl.build_model(
        "tiny", num_classes=3, weights=None, image_size=16, hidden=[8], dropout=0.5
    )

SCHEDULE = [
    Stage(name="head", epochs=2, learning_rate=0.01, batch_size=16,
          augment=("flip", "crop")),
    Stage(name="top", unfreeze="block2", epochs=2, optimizer="sgd", learning_rate=0.01,
          batch_size=16, train_batchnorm=True, lr_schedule="cosine"),
]

def run(out, resume=False, seed=0, **settings):
    return kerastl.finetune(make_model(), make_data(), schedule=SCHEDULE, seed=seed,
                            verbose=0, out=out, resume=resume, **settings)

if __name__ == "__main__":
    run(sys.argv[1], resume=len(sys.argv) > 2)
"""
namespace = {"__name__": "script"}
exec(SCRIPT, namespace)
run, make_data, make_model = (namespace[k] for k in ("run", "make_data", "make_model"))


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The run nobody interrupted, made in memory."""
    return run(None)


def child(tmp_path, out, *flags, failpoint=None):
    """Arguments of a process that makes the run in `out`, dying at a failpoint."""
    script = tmp_path / "job.py"
    script.write_text(SCRIPT)
    environment = dict(os.environ, PYTHONPATH=os.getcwd(), TF_CPP_MIN_LOG_LEVEL="3")
    environment.pop("KERASTL_FAILPOINT", None)
    if failpoint:
        environment["KERASTL_FAILPOINT"] = failpoint
    command = [sys.executable, str(script), str(out), *flags]
    return {"args": command, "env": environment, "stderr": subprocess.PIPE, "text": True}


def run_child(tmp_path, out, *flags, failpoint=None):
    return subprocess.run(**child(tmp_path, out, *flags, failpoint=failpoint), check=False)


def assert_same_run(finished, golden):
    columns = [c for c in golden.history.columns if c != "seconds"]
    assert finished.history[columns].equals(golden.history[columns])
    mine, theirs = finished.model.get_weights(), golden.model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_killed_twice_and_gone_on_with_equals_the_uninterrupted_run(tmp_path, golden):
    out = tmp_path / "run"
    first = run_child(tmp_path, out, failpoint="60:kill")
    assert first.returncode == -signal.SIGKILL, first.stderr
    second = run_child(tmp_path, out, "resume", failpoint="40:kill")
    assert second.returncode == -signal.SIGKILL, second.stderr
    assert not RunFolder.open(out).finished
    finished = run(out, resume=True)
    assert_same_run(finished, golden)
    saved = kerastl.load_model(out / "model.keras")
    same = zip(saved.get_weights(), golden.model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in same)


@pytest.mark.slow
def test_a_kill_at_every_write_point_changes_nothing(tmp_path, golden):
    fired, point = True, 1
    while fired:
        out = tmp_path / f"run-{point}"
        killed = run_child(tmp_path, out, failpoint=f"{point}:kill")
        fired = killed.returncode == -signal.SIGKILL
        resumable = (out / "config.toml").exists()
        if fired:
            if not resumable:
                assert not (out / "model.keras").exists()
            elif (out / "checkpoint" / "progress.json").exists() or not (
                out / "metrics.json"
            ).exists():
                assert_same_run(run(out, resume=True), golden)
        point += 7
    assert point > 50


@pytest.mark.parametrize(
    "number",
    # Ctrl-C is sent to the command line as well, in test_cli.py
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM],
)
def test_a_signal_leaves_the_last_finished_epoch(tmp_path, golden, number):
    out = tmp_path / "run"
    with subprocess.Popen(**child(tmp_path, out)) as process:
        while not (out / "checkpoint" / "progress.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate()
    if not RunFolder.open(out).finished:
        assert_same_run(run(out, resume=True), golden)


@pytest.mark.slow  # that of the command line is in test_cli.py
def test_a_full_disk_keeps_the_last_epoch(tmp_path, golden):
    out = tmp_path / "run"
    full = run_child(tmp_path, out, failpoint="70:enospc")
    assert full.returncode != 0
    assert "StorageError" in full.stderr
    assert_same_run(run(out, resume=True), golden)


def test_other_settings_data_or_seed_are_refused_with_the_difference(tmp_path):
    out = tmp_path / "run"
    run_child(tmp_path, out, failpoint="60:kill")
    with pytest.raises(ResumeRefusedError, match="seed: 0 in the run, 1 now"):
        run(out, resume=True, seed=1)
    with pytest.raises(ResumeRefusedError, match="epochs"):
        run(out, resume=True, epochs=3)
    other = make_data(seed=1)
    with pytest.raises(ResumeRefusedError, match="fingerprint"):
        kerastl.finetune(
            make_model(),
            other,
            schedule=namespace["SCHEDULE"],
            out=out,
            resume=True,
            verbose=0,
        )


def test_what_cannot_be_gone_on_with_is_said(tmp_path, golden):
    with pytest.raises(UsageError, match="no run folder"):
        run(tmp_path / "absent", resume=True)
    with pytest.raises(UsageError, match="resume=True"):
        run(None, resume=True)
    golden.save(tmp_path / "saved")
    with pytest.raises(UsageError, match="is finished"):
        run(tmp_path / "saved", resume=True)
    with pytest.raises(UsageError, match="is finished"):
        run(RunFolder.open(tmp_path / "saved"), resume=True)
    with pytest.raises(UsageError, match="finished run"):
        run(tmp_path / "saved")


def test_a_folder_is_refused_before_anything_else_is_looked_at(tmp_path, golden):
    golden.save(tmp_path / "run")
    other = kerastl.build_model("tiny", num_classes=4, weights=None, image_size=16)
    settings = {"schedule": "no such", "resume": True, "verbose": 0}
    with pytest.raises(UsageError, match="is finished"):
        kerastl.finetune(other, make_data(), out=tmp_path / "run", **settings)
    with RunFolder.open(tmp_path / "run"), pytest.raises(FolderInUseError):  # it was freed
        kerastl.finetune(other, make_data(), out=tmp_path / "run", **settings)


def test_two_processes_on_one_folder(tmp_path):
    with RunFolder.create("finetune", tmp_path / "run"):
        second = run_child(tmp_path, tmp_path / "run")
        assert second.returncode != 0
        assert FolderInUseError.__name__ in second.stderr
        assert str(os.getpid()) in second.stderr
