"""Memory of a process and of all it starts, looked at while they run."""

import bisect
import threading
import time
from pathlib import Path

try:
    import psutil
except ImportError:  # then only where there is a /proc
    psutil = None

MEGABYTE = 1 << 20
PROC = Path("/proc")
RESIDENT, OWN = "VmRSS:", "RssAnon:"
GONE = (FileNotFoundError, ProcessLookupError)


class MemoryWatch(threading.Thread):
    """Samples the resident memory of a process tree, until `stop`.

    Pages that two processes of the tree share, such as those of a library, count twice.
    `own_peak` counts only those that are no file's (Linux; else 0): pages of a mapped file
    are resident while memory is free, and go when it is wanted.

    Args:
        process: Number of the tree's root.
        every: Seconds between looks.
    """

    def __init__(self, process: int, every: float = 0.2):
        super().__init__(daemon=True)
        self.process, self.every = process, every
        self.moments: list[float] = []
        self.sizes: list[int] = []
        self.own_peak = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self.over.wait(self.every):
            size = tree_memory(self.process)
            self.own_peak = max(self.own_peak, read_tree(self.process, OWN))
            self.moments.append(time.time())
            self.sizes.append(size)

    def stop(self) -> None:
        """End the watch."""
        self.over.set()
        self.join()

    @property
    def peak(self) -> int:
        """The most bytes seen."""
        return max(self.sizes, default=0)

    def at(self, moment: float) -> int:
        """Return the bytes seen last before a moment of `time.time`."""
        return self.sizes[max(0, bisect.bisect(self.moments, moment) - 1)]


def tree_memory(process: int) -> int:
    """Return the resident bytes of a process and of all that descend from it."""
    return _ask_psutil(process) if psutil else read_tree(process, RESIDENT)


def _ask_psutil(process: int) -> int:
    try:
        root = psutil.Process(process)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in tree:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:  # ended since it was listed
            continue
    return total


def read_tree(process: int, field: str) -> int:
    """Return the sum of a field of `/proc/<n>/status` over a process tree, in bytes."""
    total, waiting = 0, [str(process)]
    while waiting:
        folder = PROC / waiting.pop()
        try:
            total += _read_field(folder, field)
            for thread in (folder / "task").iterdir():
                waiting += (thread / "children").read_text().split()
        except GONE:  # ended since it was listed
            continue
    return total


def _read_field(folder: Path, field: str) -> int:
    for line in (folder / "status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0
