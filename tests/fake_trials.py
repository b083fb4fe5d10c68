"""A search whose trials are arithmetic: for killing it a hundred times in a minute."""

import hashlib
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from kerastl.options import Options, from_toml
from kerastl.search import driver
from kerastl.search.jobs import SearchJob, run_search
from kerastl.search.requests import Reply
from kerastl.search.settings import SearchSettings
from kerastl.spaces import Space

SPACE = {"learning_rate": [0.1, 0.01, 0.001], "batch_size": [16, 32]}


def compute_score(options: Options, epochs: int) -> float:
    """A score that falls with the distance from the best rate and rises with epochs."""
    stage = options.stages[0]
    gap = abs(np.log10(stage["learning_rate"]) + 2) + stage["batch_size"] / 320
    return float(0.95 - 0.1 * gap - 0.3 / epochs)


def answer(request) -> Reply:
    """Do what a worker does, without a network; momentum says what goes wrong."""
    options, pause_at = from_toml(request.message["options"]), request.message["pause_at"]
    wrong = options.stages[0]["momentum"]
    if wrong == 0.5:
        return Reply(request.number, "failed", "ValueError: no", traceback="Traceback")
    if wrong == 0.6:
        return Reply(request.number, "killed", "killed by signal 9")
    if wrong == 0.7:
        return Reply(request.number, "timeout", "ended after 6 s")
    total = sum(stage["epochs"] for stage in options.stages)
    epochs = min(pause_at or total, total)
    state = {"fit0-weights-0": np.full(3, epochs, "float32")} if epochs < total else {}
    fits = [_fit(options, fit, epochs, total) for fit in request.message["fits"]]
    if wrong == 0.8:
        fits[0]["score"] = float("nan")
    return Reply(request.number, "done", message={"fits": fits}, arrays=state)


def _fit(options: Options, fit: dict, epochs: int, total: int) -> dict:
    before = fit["progress"]["epochs"] if fit["progress"] else 0
    return {
        "score": compute_score(options, epochs),
        "loss": 1.0,
        "best_epoch": epochs,
        "epochs": epochs,
        "complete": epochs == total,
        "history": [],
        "stages": [{"name": s["name"], "kept_epoch": s["epochs"]} for s in options.stages],
        "kept": None,
        "seconds": 0.5,
        "epochs_trained": epochs - before,
        "weights": hashlib.sha256(repr((fit["seed"], epochs)).encode()).hexdigest(),
        "progress": {"epochs": epochs} if epochs < total else None,
    }


def fake_run(log: Path | None = None):
    """Return what stands in for `run_requests`; `log` gets a line per started trial."""

    def run(requests, **settings):
        for request in requests:
            if log is not None:
                before = [fit["progress"] for fit in request.message["fits"]]
                with log.open("a") as file:
                    file.write(f"{request.number} {before[0] and before[0]['epochs']}\n")
            yield answer(request)

    return run


def make_job(mode: str = "grid", space: dict | None = None, **settings) -> SearchJob:
    """Return a small job on the built-in digits."""
    return SearchJob(
        options=Options(base="tiny", weights=None, schedule="hybrid", epochs=(2, 7)),
        settings=SearchSettings(mode=mode, refit="none", **settings),
        space=Space(space or SPACE),
    )


def run_fake(out: Path, job: SearchJob, *, resume: bool = False, log: Path | None = None):
    """Run a search with trials of arithmetic."""
    before, driver.run_requests = driver.run_requests, fake_run(log)
    try:
        return run_search(job, out=out, resume=resume, verbose=0)
    finally:
        driver.run_requests = before


def run_in_fork(failpoint: str | None, work) -> int:
    """Run `work` in a child process and return its exit status, -9 when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if failpoint is not None:
                os.environ["KERASTL_FAILPOINT"] = failpoint
            work()
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


KILLED = -signal.SIGKILL
