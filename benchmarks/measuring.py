"""Timing for the benchmarks: medians, and files that are really read from the disk."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def time_call(call: Callable[[], object]) -> float:
    """Return the seconds one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of several calls."""
    return statistics.median(time_call(call) for _ in range(repeats))


def evict(paths: Sequence[Path]) -> None:
    """Drop files from the page cache, so that the next read is a cold one (Linux)."""
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def print_row(name: str, seconds: float, images: int, beside: float | None = None) -> None:
    """Print seconds and images per second, and the ratio to another time."""
    ratio = "" if beside is None else f"   {beside / seconds:6.2f}x"
    print(f"{name:42} {seconds:8.2f} s {images / seconds:10.0f} images/s{ratio}")
