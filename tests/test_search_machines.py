"""A search on a cluster of two machines that share no folder: namespaces of this one."""

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines import make_data
from processes import ROOT, wait_until

import kerastl

SMALL = {
    "base": "tiny", "weights": None, "schedule": "hybrid", "epochs": 1, "threads": 1,
    "refit": "none", "verbose": 0,
}  # fmt: skip
PLACE = "scheduler.json"
SPACE = {"learning_rate": [0.1, 0.03, 0.01], "dropout": [0.0, 0.5]}
# a name and processes of its own, and nothing where the driver keeps its files
MACHINE = """
set -e
hostname "$1"
mount -t tmpfs none "$2"
shift 2
exec "$@"
"""
UNSHARE = (
    "unshare --user --map-root-user --mount --uts --pid --fork --kill-child --mount-proc"
)


def has_namespaces() -> bool:
    """Say whether the system lets this user make machines of this kind."""
    if shutil.which("unshare") is None:
        return False
    tried = [*UNSHARE.split(), "true"]
    return subprocess.run(tried, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_namespaces(), reason="no namespaces for this user"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of files Dask leaves open
]


@pytest.fixture
def driver(tmp_path, monkeypatch) -> Path:
    """Return the folder where the driver keeps all it writes."""
    folder = tmp_path / "driver"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder


@pytest.fixture
def machines(driver, tmp_path) -> Iterator[dict[str, Path]]:
    """Start a scheduler, and two machines with two workers each; yield their caches."""
    pytest.importorskip("distributed")
    place = tmp_path / PLACE
    caches = {name: tmp_path / name / "cache" for name in ("first", "second")}
    started = [
        start("dask_scheduler", tmp_path, place, "--host", "127.0.0.1", "--port", "0")
    ]
    try:
        wait_until(place.exists)
        started += [start_machine(cache, driver, place) for cache in caches.values()]
        yield caches
    finally:
        for process in reversed(started):
            process.kill()
            process.wait(60)
        gc.collect()


def start(part: str, folder: Path, place: Path, *flags: str, before=(), **environment):
    """Start a part of Dask that finds the others by a file."""
    command = [*before, sys.executable, "-m", f"distributed.cli.{part}", *flags]
    with (folder / f"{part}.log").open("w") as log:
        return subprocess.Popen(
            [*command, "--no-dashboard", "--scheduler-file", str(place)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=folder,
            stdout=log,
            stderr=log,
        )


def start_machine(cache: Path, hidden: Path, place: Path) -> subprocess.Popen:
    folder = cache.parent
    folder.mkdir()
    before = [*UNSHARE.split(), "bash", "-c", MACHINE, "machine", folder.name, str(hidden)]
    flags = ["--nworkers", "2", "--nthreads", "1", "--local-directory", str(folder)]
    own = {"XDG_CACHE_HOME": str(cache), "TMPDIR": str(folder)}
    return start("dask_worker", folder, place, *flags, before=before, **own)


def list_features(cache: Path) -> set[str]:
    return {entry.name for entry in (cache / "kerastl" / "activations").glob("*")}


def digest_trials(result) -> list[str]:
    records = [result.book.last(number) for number in range(1, result.plan.count + 1)]
    return [fit["weights"] for record in records for fit in record.fits]


def test_machines_that_share_no_folder_give_the_same_table(driver, machines):
    address = json.loads((driver.parent / PLACE).read_text())["address"]
    data, away = make_data(), {"executor": "dask", "jobs": 4, "address": address}
    here = kerastl.grid_search(data, SPACE, out=driver / "here", **SMALL)
    there = kerastl.grid_search(data, SPACE, out=driver / "there", **away, **SMALL)
    assert digest_trials(there) == digest_trials(here)
    first, second = (list_features(cache) for cache in machines.values())
    assert first == second == list_features(driver / "cache") != set()
