"""All benchmarks, one after the other, each in a process of its own.

    python -m benchmarks [--quick] [--json FOLDER] [NAME ...]

Goes on after one that fails, names those at the end, and then exits with 1.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# module, options at full size, options with --quick
Part = tuple[str, tuple[str, ...], tuple[str, ...]]
WHOLE = ("--trainable", "all")
LARGE = ("--image-size", "224")
PARTS: tuple[Part, ...] = (
    ("startup", (), ()),
    ("loading", (), ()),
    ("transfer", (), ()),
    ("extraction", (), ()),
    ("heads", (), ()),
    ("steps", (), ()),
    ("schedules", (), ()),
    ("searching", (), ()),
    (
        "searching",
        (*WHOLE, "--images", "300", "--epochs", "3"),
        (*WHOLE, "--images", "60", "--epochs", "1"),
    ),
    (
        "searching",
        (*LARGE, "--images", "100", "--against", "loop"),
        (*LARGE, "--images", "60", "--base", "mobilenet", "--against", "loop"),
    ),
    ("depths", ("--images", "300"), ()),
    ("depths", (*LARGE, "--images", "40"), ("--image-size", "64", "--images", "40")),
    ("ranking", (), ()),
    ("diagnosing", (), ()),
    ("zeroshot", (), ()),
    ("zeroshot", ("--method", "dap", "--sides", "32", "--most", "15"), ("--method", "dap")),
    ("scale", (), ()),
)


def run_part(part: Part, *, quick: bool, folder: Path | None, number: int) -> bool:
    """Run one benchmark and return whether it met its targets."""
    name, full, small = part
    options = ["--quick", *small] if quick else [*full]
    if folder is not None:
        options += ["--json", str(folder / f"{number:02}-{name}.json")]
    print(f"\n== {' '.join([name, *options])}", flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options])
    print(f"{name} took {time.monotonic() - start:.0f} s", flush=True)
    return done.returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit code."""
    parser = argparse.ArgumentParser("benchmarks", description=__doc__.splitlines()[0])
    names = list(dict.fromkeys(name for name, _, _ in PARTS))
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="small sizes, few targets")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="write results there")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}, only {', '.join(names)}")
    how = {"quick": options.quick, "folder": options.json}
    chosen = [part for part in PARTS if not options.names or part[0] in options.names]
    passed = [run_part(part, number=n, **how) for n, part in enumerate(chosen, start=1)]
    failed = [part for part, good in zip(chosen, passed, strict=True) if not good]
    for name, full, small in failed:
        print("failed:", name, *(small if options.quick else full))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
