"""How long `kerastl --help` takes, and that it does not import TensorFlow.

    python -m benchmarks.startup [--repeats 5]

Target: `TARGET` seconds in the median, as a process of its own each time.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measuring import median_seconds
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run

TARGET = 0.3
HELP = ("-m", "kerastl", "--help")
HEAVY = re.compile(r"\| +((?:tensorflow|keras)(?:\.|$).*)", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """How often."""

    repeats: int = 5


def show_help(*flags: str) -> str:
    """Run `kerastl --help` and return what Python says beside it."""
    done = subprocess.run(
        [sys.executable, *flags, *HELP], capture_output=True, text=True, check=True
    )
    assert "finetune" in done.stdout, f"that is no help: {done.stdout!r}"
    return done.stderr


def list_heavy(times: str) -> list[str]:
    """Return which modules of TensorFlow and Keras `-X importtime` lists."""
    return HEAVY.findall(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the help and check the target."""
    run = read_run("startup", __doc__, Settings(), Settings(), arguments)
    show_help()  # compiles to bytecode what is not yet
    seconds = median_seconds(show_help, run.settings.repeats)
    bare = median_seconds(
        lambda: subprocess.run([sys.executable, "-c", ""], check=True), run.settings.repeats
    )
    heavy = list_heavy(show_help("-X", "importtime"))
    rows = [
        Row("kerastl --help, median", seconds, limit=bare, at_most=TARGET, always=True),
        Row("modules of TensorFlow and Keras", len(heavy), "", at_most=0, always=True),
    ]
    conclude(run, rows, heavy)


if __name__ == "__main__":
    main()
