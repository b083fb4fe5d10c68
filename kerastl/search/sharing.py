"""Arrays that every worker reads: one copy on a machine, mapped into memory by all."""

import atexit
import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerastl.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows has no such locks: folders go away at a proper end only
    fcntl = None

PREFIX = "kerastl-shared-"
UNFINISHED = "kerastl-writing-"
INDEX, LOCK = "names.txt", "lock"

# folders this process wrote for itself, with the locks that say they are in use
_kept: dict[Path, int] = {}


@dataclass(frozen=True)
class SharedArrays:
    """Where shared arrays lie: a folder of `.npy` files that all on a machine may map.

    Args:
        folder: On the machine of the driver; its name is like no other.
    """

    folder: Path


@contextmanager
def share_arrays(arrays: Mapping[str, np.ndarray]) -> Iterator[SharedArrays]:
    """Write arrays where every worker on this machine can map them.

    They lie under `XDG_CACHE_HOME/kerastl` (the system's temporary folder where that is not
    set) and go away with the block. What a killed process left there goes away, too.

    Args:
        arrays: Arrays of numbers or fixed-width text by name; memory maps are copied
            without being read into memory whole.

    Yields:
        What to give to `run_requests`.

    Raises:
        StorageError: The folder cannot be written or the disk is full.

    Example:

    >>> with share_arrays({"labels": np.array([0, 1, 1])}) as shared:
    ...     open_shared(shared)["labels"]
    memmap([0, 1, 1])
    """
    _sweep(_parent())
    folder = _parent() / f"{PREFIX}{uuid.uuid4().hex}"
    lock = _write(folder, arrays)
    try:
        yield SharedArrays(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def open_shared(shared: SharedArrays) -> dict[str, np.ndarray]:
    """Map shared arrays, read-only.

    Raises:
        StorageError: They are gone.
    """
    folder = find_shared(shared)
    if folder is None:
        raise StorageError(f"{shared.folder} is gone, with the images of the search.")
    return open_folder(str(folder))


def open_folder(folder: str) -> dict[str, np.ndarray]:
    """Map the arrays of a folder that `find_shared` found."""
    names = (Path(folder) / INDEX).read_text(encoding="utf-8").split("\n")
    files = [Path(folder, f"{number}.npy") for number in range(len(names) - 1)]
    arrays = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
    return dict(zip(names[:-1], arrays, strict=True))


def find_shared(shared: SharedArrays) -> Path | None:
    """Return where the arrays lie on this machine, or None where they do not."""
    places = (shared.folder, _parent() / shared.folder.name)
    return next((folder for folder in places if (folder / INDEX).exists()), None)


def place_shared(shared: SharedArrays, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays that came over the network where this machine's workers find them.

    Raises:
        StorageError: They cannot be written.
    """
    folder = _parent() / shared.folder.name
    if folder in _kept or (shared.folder / INDEX).exists():
        return
    if not _kept:
        atexit.register(forget_shared)
    _sweep(_parent())
    _kept[folder] = _lock(folder / LOCK) if folder.exists() else _write(folder, arrays)


def forget_shared() -> None:
    """Let go of the copies `place_shared` wrote here; the last to do so removes them."""
    for folder in list(_kept):
        os.close(_kept.pop(folder))
        _remove_unused(folder)


def _parent() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home, "kerastl") if home else Path(tempfile.gettempdir())


def _write(folder: Path, arrays: Mapping[str, np.ndarray]) -> int:
    """Write a folder that appears whole; return the lock that says it is in use."""
    draft = folder.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        lock = _lock(draft / LOCK)
        for number, array in enumerate(arrays.values()):
            np.save(draft / f"{number}.npy", array, allow_pickle=False)
        names = "".join(f"{name}\n" for name in arrays)
        (draft / INDEX).write_text(names, encoding="utf-8")
        with contextlib.suppress(OSError):  # another process was first: its copy serves
            draft.rename(folder)
            return lock
        os.close(lock)
        shutil.rmtree(draft, ignore_errors=True)
        return _lock(folder / LOCK)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        size = sum(array.nbytes for array in arrays.values()) / 1e9
        raise StorageError(
            f"{folder.parent} cannot hold the {size:.1f} GB that workers share ({error}): "
            "free some room, or set XDG_CACHE_HOME to a folder on another disk."
        ) from error


def _lock(path: Path) -> int:
    """Say that a folder is in use, for as long as this process lives."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _sweep(parent: Path) -> None:
    """Remove folders whose processes are gone."""
    if fcntl is not None:
        for folder in [*parent.glob(f"{PREFIX}*"), *parent.glob(f"{UNFINISHED}*")]:
            _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    with contextlib.suppress(OSError):  # in use, somebody else's, or gone already
        lock = os.open(folder / LOCK, os.O_RDWR)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
