"""Waiting for processes and looking which there are."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INTERRUPTIBLE = pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="started in a shell's background, where Ctrl-C is ignored",
)
DRIVER = """
import sys
from kerastl.search.executors import run_requests
from kerastl.search.requests import Request
mark, jobs, executor = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path.append("tests")
messages = [{"do": "hang", "mark": f"{mark}/{number}"} for number in range(jobs)]
requests = [Request(number, message) for number, message in enumerate(messages)]
for reply in run_requests(requests, function="workers:work", jobs=jobs, executor=executor):
    print(reply, flush=True)
"""  # without a guard for __main__, as a user writes it


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something another process does."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def read_number(path: Path, seconds: float = 60) -> int:
    """Return the number another process writes to a file."""
    wait_until(lambda: path.exists() and path.read_text().strip() != "", seconds)
    return int(path.read_text())


def start_driver(folder: Path, jobs: int, executor: str = "loky") -> subprocess.Popen:
    """Start a script whose workers hang, each after writing its number to the folder."""
    script = folder / "script.py"
    script.write_text(DRIVER)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), str(jobs), executor],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def list_processes(ancestor: int) -> list[int]:
    """List a process and those it started, and those they started, that are alive."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in "ZX":
            parents[int(stat.parent.name)] = int(fields[1])
    found = {ancestor} & set(parents)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)
