"""Functions that workers of the executors' tests run, in place of training."""

import builtins
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Answer = tuple[dict[str, Any], dict[str, np.ndarray]]


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def work(message: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Answer:
    """Do what `message["do"]` says, with its other entries."""
    given = {name: value for name, value in message.items() if name != "do"}
    return globals()[f"do_{message['do']}"](arrays, **given)


def do_square(arrays, number: int = 2) -> Answer:
    return {"square": number**2, "pid": os.getpid()}, {}


def do_echo(arrays, **given) -> Answer:
    return given, dict(arrays)


def do_describe(arrays) -> Answer:
    mapped = {name: isinstance(array, np.memmap) for name, array in arrays.items()}
    sums = {name: float(array.sum()) for name, array in arrays.items()}
    maps = Path("/proc/self/maps").read_text()
    files = [line.split()[-1] for line in maps.splitlines() if line.endswith(".npy")]
    writeable = any(array.flags.writeable for array in arrays.values())
    return {"mapped": mapped, "sums": sums, "files": files, "writeable": writeable}, {}


def do_raise(arrays, kind: str, text: str = "") -> Answer:
    types = {**vars(builtins), "Speechless": Speechless}
    raise types[kind](text)


def do_signal(arrays, number: int) -> Answer:
    print("last words", file=sys.stderr)
    os.kill(os.getpid(), number)
    time.sleep(60)
    return {}, {}


def do_crash(arrays) -> Answer:
    ctypes.string_at(0)
    return {}, {}


def do_exit(arrays, code: int) -> Answer:
    os._exit(code)


def do_hang(arrays, mark: str | None = None) -> Answer:
    if mark:
        Path(mark).write_text(str(os.getpid()))
    time.sleep(600)
    return {}, {}


def do_nothing_right(arrays, what: str) -> Answer:
    odd = {
        "none": None,
        "json": ({"a": object()}, {}),
        "pickle": ({}, {"a": np.array([{}])}),
    }
    return odd[what]


def do_print(arrays) -> Answer:
    print("to stdout")
    os.write(1, b"straight to the descriptor\n")
    subprocess.run(["echo", "from a process"], check=True)
    sys.stderr.write("to stderr\n")
    return {"asked": sys.stdin.read()}, {}


def do_grandchild(arrays, mark: str) -> Answer:
    process = subprocess.Popen(["sleep", "600"])
    Path(mark).write_text(str(process.pid))
    os.kill(os.getpid(), signal.SIGKILL)
    return {}, {}


def do_fill(arrays, megabytes: int) -> Answer:
    return {"sum": int(np.ones(megabytes * 2**20, "uint8").sum())}, {}


def do_environment(arrays, names: list[str]) -> Answer:
    return {name: os.environ.get(name) for name in names}, {}


def do_kill_supervisor(arrays, mark: str, once: bool) -> Answer:
    """Kill the process that asked: a worker of the backend."""
    first = not Path(mark).exists()
    with Path(mark).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if first or not once:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return {"square": 49}, {}


def do_wait(arrays, until: str) -> Answer:
    """Wait for a file that whoever asked makes."""
    while not Path(until).exists():
        time.sleep(0.02)
    return {}, {}


def do_meet(arrays, folder: str, number: int) -> Answer:
    """Wait for the other one, which must run at the same time."""
    Path(folder, str(number)).touch()
    while not Path(folder, str(1 - number)).exists():
        time.sleep(0.01)
    return {"parent": os.getppid()}, {}
