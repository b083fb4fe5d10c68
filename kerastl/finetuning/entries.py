"""A folder of entries that can be computed again: who may write one, and which go."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from kerastl.errors import FolderInUseError, StorageError
from kerastl.runs.locks import FolderLock

INDEX = "index.json"  # written last: without it an entry is nothing
LARGEST = 20_000_000_000  # bytes of all entries together, or half of what the disk has
WAIT = 0.1  # seconds between looks at whether another process is done


def cache_folder(kind: str) -> Path:
    """Return where entries of a kind are kept: under `$XDG_CACHE_HOME`, or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kerastl" / kind


class Entries:
    """Folders by key, shared by all processes of a machine."""

    def __init__(self, folder: Path):
        self.folder = folder

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[Path]:
        """Be the one process that computes an entry, after whoever does now.

        Raises:
            StorageError: The folder cannot be written.
        """
        entry = self.folder / key
        entry.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(entry)
        while not lock.held:
            try:
                lock.acquire()
            except FolderInUseError:
                time.sleep(WAIT)
        try:
            yield entry
        finally:
            lock.release()

    def make_room(self, size: int) -> None:
        """Remove what was not used for longest, for `size` more bytes.

        Raises:
            StorageError: There is no room even without any of it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        entries = sorted(self.folder.iterdir(), key=_last_use)
        sizes = [_size(entry) for entry in entries]
        free, taken = shutil.disk_usage(self.folder).free, sum(sizes)
        limit = min(LARGEST, (free + taken) // 2)
        if size > limit:
            raise StorageError(
                f"{self.folder} may hold {limit / 1e9:.1f} GB and they take "
                f"{size / 1e9:.1f} GB."
            )
        for entry, part in zip(entries, sizes, strict=True):
            if taken + size > limit:
                taken -= part if _remove(entry) else 0


def _last_use(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return (entry / INDEX).stat().st_mtime
    return 0.0  # never finished


def _size(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in entry.iterdir())
    return 0


def _remove(entry: Path) -> bool:
    """Remove an entry that nobody is computing."""
    lock = FolderLock(entry)
    try:
        lock.acquire()
    except (FolderInUseError, StorageError):
        return False
    lock.release()
    shutil.rmtree(entry, ignore_errors=True)
    return True
