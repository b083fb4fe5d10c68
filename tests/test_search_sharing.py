"""Arrays that all worker processes map, and the folders they lie in."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kerastl.errors import StorageError
from kerastl.search.executors import run_requests
from kerastl.search.requests import Request
from kerastl.search.sharing import PREFIX, share_arrays

WORK = "workers:work"


@pytest.mark.parametrize("jobs", [1, 2])
def test_shared_arrays_are_one_map_for_all(jobs):
    arrays = {"pixels-8x8": np.ones((50, 8, 8, 3), "uint8"), "labels": np.arange(50)}
    requests = [Request(n, {"do": "describe"}, {"own": np.arange(n)}) for n in range(2)]
    with share_arrays(arrays) as shared:
        replies = [*run_requests(requests, function=WORK, shared=shared, jobs=jobs)]
        folder = shared.folder
        assert folder.exists()
    assert not folder.exists()
    for reply in replies:
        assert reply.message["mapped"] == {"pixels-8x8": True, "labels": True, "own": False}
        assert reply.message["sums"]["pixels-8x8"] == 9600
        assert reply.message["sums"]["labels"] == 1225
        assert {Path(file).parent for file in reply.message["files"]} == {folder}


def test_shared_arrays_cannot_be_written():
    with share_arrays({"labels": np.arange(5), "none": np.zeros((0, 2))}) as shared:
        request = Request(0, {"do": "describe"})
        (reply,) = run_requests([request], function=WORK, shared=shared)
    assert reply.message["writeable"] is False
    assert reply.message["sums"] == {"labels": 10, "none": 0}


def test_memory_maps_are_shared_like_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    with share_arrays({"a": array}) as shared:
        request = Request(0, {"do": "describe"})
        (reply,) = run_requests([request], function=WORK, shared=shared)
    assert reply.message["sums"] == {"a": 499500}


@pytest.mark.parametrize("jobs", [1, 2])
def test_shared_arrays_that_are_gone_stop_the_search(jobs):
    with share_arrays({"a": np.arange(3)}) as shared:
        pass
    with pytest.raises(StorageError, match=rf"{PREFIX}\w+ was deleted"):
        list(run_requests([Request(0, {})], shared=shared, function=WORK, jobs=jobs))


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with (
        pytest.raises(StorageError, match=r"file/kerastl cannot hold the 0.0 GB"),
        share_arrays({"a": np.arange(3)}),
    ):
        pass


def test_what_a_killed_driver_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = """
import os, numpy as np
from kerastl.search.sharing import share_arrays
with share_arrays({"a": np.arange(9)}) as shared:
    print(shared.folder, flush=True)
    os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    left = Path(died.stdout.strip())
    assert died.returncode == -9
    assert left.is_dir()
    with share_arrays({"a": np.arange(3)}) as mine:
        assert not left.exists()
        with share_arrays({"a": np.arange(3)}):
            assert mine.folder.exists()  # in use
