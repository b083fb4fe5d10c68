"""Decoded pixels of many files in one array, in memory or in a file, under a budget."""

import contextlib
import logging
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kerastl.data.decoding import check_image_size, decode_into, resize_image
from kerastl.errors import DataError, StorageError, UsageError

logger = logging.getLogger("kerastl")

SHOWN = 3  # unreadable files named in one sentence
UNKNOWN_FREE = 2 * 1024**3  # where the system does not tell how much memory is free
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


class UnreadableError(DataError):
    """Files that cannot be decoded: the first three are named, `failures` has them all.

    Args:
        failures: `(path, reason)` of each.
    """

    def __init__(self, failures: Sequence[tuple[str, str]]):
        super().__init__(_name_failures(failures))
        self.failures = tuple(failures)

    def __reduce__(self) -> tuple:
        return type(self), (self.failures,)  # else made again from its sentence


def load_pixels(
    paths: Sequence[str | os.PathLike],
    image_size: int | Sequence[int],
    *,
    budget: int | None = None,
) -> np.ndarray:
    """Decode files into one array, in threads.

    Where the array is larger than the budget it is a read-only memory map of a temporary
    file under `XDG_CACHE_HOME/kerastl` (the system's temporary folder where that is not
    set), which goes away with the array; the logger `kerastl` says so.

    Args:
        paths: Image files.
        image_size: Side in pixels or `(height, width)` they are stretched to.
        budget: Bytes of memory the array may take; a third of the free memory where None.

    Returns:
        uint8 `(n, height, width, 3)` in the order of `paths`.

    Raises:
        UnreadableError: Files cannot be decoded; all were tried.
        StorageError: The disk has no room for the temporary file.
        UsageError: `image_size` or `budget` cannot be meant.

    Example:

    >>> load_pixels([], 224).shape
    (0, 224, 224, 3)
    """
    shape = (len(paths), *check_image_size(image_size), 3)
    pixels = _allocate(shape, check_budget(budget))
    failures = decode_into(paths, pixels)
    if failures:
        raise UnreadableError(failures)
    pixels.setflags(write=False)
    return pixels


def resize_arrays(images: np.ndarray, image_size: int | Sequence[int]) -> np.ndarray:
    """Resize images that are arrays exactly as `decode_image` resizes files.

    Args:
        images: uint8 `(n, height, width, 3)`, or `(n, height, width, 1)` for grey.
        image_size: Side in pixels or `(height, width)`.

    Returns:
        uint8 `(n, height, width, 3)`; `images` itself where nothing is to be done.

    Raises:
        UsageError: `images` is no such array, or `image_size` no size.

    Example:

    >>> resize_arrays(np.zeros((2, 8, 8, 1), "uint8"), (4, 6)).shape
    (2, 4, 6, 3)
    """
    size = check_image_size(image_size)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UsageError(
            f"images of dtype {images.dtype} and shape {images.shape} cannot be resized: "
            "give uint8 of shape (n, height, width, 3) or (n, height, width, 1)."
        )
    colour = np.broadcast_to(images, (*images.shape[:3], 3))
    if images.shape[1:3] == size:
        return images if images.shape[-1] == 3 else np.ascontiguousarray(colour)
    resized = np.empty((len(images), *size, 3), "uint8")
    for row, pixels in enumerate(colour):
        image = Image.fromarray(np.ascontiguousarray(pixels))
        resized[row] = np.asarray(resize_image(image, size))
    return resized


def check_budget(budget: int | None) -> int:
    """Return a number of bytes, by default a third of the free memory.

    Raises:
        UsageError: It cannot be meant.
    """
    if budget is None:
        return free_memory() // 3
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer) or budget < 0:
        raise UsageError(
            f"budget={budget!r} is not a number of bytes, such as 2 * 1024**3."
        )
    return int(budget)


def _name_failures(failures: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"{path} {reason}" for path, reason in failures[:SHOWN])
    more = len(failures) - SHOWN
    rest = f"; and {more} more" if more > 0 else ""
    plural = "s" if len(failures) > 1 else ""
    return (
        f"{len(failures)} image{plural} cannot be used: {named}{rest}. Remove or replace "
        "what is named, or leave such files out with on_bad_image='skip' (--on-bad-image "
        "skip)."
    )


def free_memory() -> int:
    """Return the bytes of memory that machine and container still let this process take."""
    return min(_machine_free(), _container_free())


def _machine_free() -> int:
    # Linux says what can be taken without swapping; other systems only the whole.
    with contextlib.suppress(OSError):
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return UNKNOWN_FREE


def _container_free() -> float:
    with contextlib.suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text())
        return max(0, limit - int((CGROUP / "memory.current").read_text()))
    return math.inf


def _allocate(shape: tuple[int, ...], budget: int) -> np.ndarray:
    size = math.prod(shape)
    if size <= budget:
        return np.empty(shape, "uint8")
    folder = _cache_folder(size)
    logger.warning(
        "Decoded pixels take %.1f GB, more than the %.1f GB of memory allowed: they lie in "
        "a temporary file under %s.",
        *(size / 1e9, budget / 1e9, folder.parent),
    )
    return _map_file(folder, shape)


def map_pixels(shape: tuple[int, ...]) -> np.memmap:
    """Return an array of zeros in a temporary file that goes away with it.

    Raises:
        StorageError: The disk has no room for it.
    """
    return _map_file(_cache_folder(math.prod(shape)), shape)


def _cache_folder(size: int) -> Path:
    """Make a folder of our own with room for `size` bytes."""
    home = os.environ.get("XDG_CACHE_HOME")
    parent = Path(home, "kerastl") if home else Path(tempfile.gettempdir())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(parent).free
        if free >= size:
            return Path(tempfile.mkdtemp(prefix="kerastl-pixels-", dir=parent))
    except OSError as error:
        raise StorageError(
            f"{parent} cannot hold decoded pixels ({error.strerror}): set XDG_CACHE_HOME "
            "to a folder that can be written."
        ) from error
    raise StorageError(
        f"{parent} has {free / 1e9:.1f} GB free and decoded pixels take {size / 1e9:.1f} "
        "GB: free some, set XDG_CACHE_HOME to another disk, or use a smaller image_size."
    )


def _map_file(folder: Path, shape: tuple[int, ...]) -> np.memmap:
    path = folder / "pixels.npy"
    try:
        pixels = np.lib.format.open_memmap(path, mode="w+", dtype="uint8", shape=shape)
        reserve_file(path)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StorageError(f"{path} cannot be made: {error.strerror}.") from error
    # The map outlives its name, so on POSIX the file is freed even after a kill -9; Windows
    # keeps names of open files, and removes this one when the array goes or at exit.
    with contextlib.suppress(OSError):
        path.unlink()
        folder.rmdir()
    weakref.finalize(pixels, shutil.rmtree, folder, ignore_errors=True)
    return pixels


def reserve_file(path: Path) -> None:
    """Take the disk's room for a whole file before it is mapped and written."""
    # Writing to a mapped hole of a full disk ends the process with SIGBUS.
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
