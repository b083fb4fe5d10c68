"""One function in a process of its own, watched: what it returned, and what it took."""

import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory import MemoryWatch

RESULT, OUTPUT, CACHE = "result.json", "output.txt", "cache"


@dataclass(frozen=True, eq=False)
class Finished:
    """A process that has ended: moments are those of `time.time`, memory is in bytes.

    Args:
        began: When it was started.
        ended: When it was gone.
        processor: Seconds of all cores and processes together.
        load: Of the machine before it.
        watch: Of its memory and that of what it started.
        result: What the function returned.
    """

    began: float
    ended: float
    processor: float
    load: float
    watch: MemoryWatch
    result: Any


def run_process(function: str, folder: Path, *arguments: str) -> Finished:
    """Call a function in a process of its own and wait for it.

    It finds no activations or archives that an earlier process has kept.

    Args:
        function: `"module:name"`; it takes the folder and the arguments and returns what
            JSON can hold.
        folder: Where it reads and writes.
        *arguments: Texts.

    Raises:
        SystemExit: It failed; with what it printed.
    """
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / CACHE)}
    load, used, began = os.getloadavg()[0], processor_seconds(), time.time()
    (folder / RESULT).unlink(missing_ok=True)
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.processes", function, folder, *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        watch = MemoryWatch(process.pid)
        watch.start()
        code = process.wait()
        ended = time.time()
        watch.stop()
    if code:
        what = " ".join([function, *arguments])
        raise SystemExit(f"{what} failed:\n{(folder / OUTPUT).read_text()}")
    result = json.loads((folder / RESULT).read_text())
    used = processor_seconds() - used
    return Finished(began, ended, used, load, watch, result)


def measure_imports(folder: Path, repeats: int = 3) -> float:
    """Return the median seconds of a process that imports Keras and TensorFlow alone."""
    function = "benchmarks.processes:import_keras"
    runs = [run_process(function, folder) for _ in range(repeats)]
    return statistics.median(one.ended - one.began for one in runs)


def import_keras(folder: Path) -> str:
    """Import what every benchmarked process imports, and return the version of Keras."""
    import keras

    return keras.__version__


def processor_seconds() -> float:
    """Return what the processes started here, and theirs, have used until they ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def call_function(function: str, folder: Path, *arguments: str) -> None:
    """Call a function and write what it returns into the folder."""
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(folder, *arguments)
    (folder / RESULT).write_text(json.dumps(result))


if __name__ == "__main__":
    call_function(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
