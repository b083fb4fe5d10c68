"""Rows of image arrays that may be larger than memory, taken and read in parts."""

import mmap
from collections.abc import Iterator, Sequence

import numpy as np

PART = 1 << 25  # bytes that are read before their pages are given back
_DISCARDING = {"r", "r+", "w+"}  # what is written to a map of another mode is in its pages


def take_images(images: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """Return some rows of an array; of a memory-mapped one again memory-mapped.

    Such rows lie in a temporary file that goes away with the array, unless they are a part
    of the array as it is.

    Args:
        images: `(n, ...)`.
        rows: Numbers of rows, in the order wanted.

    Raises:
        StorageError: The disk has no room for the temporary file.

    Example:

    >>> take_images(np.arange(5), [1, 3]).tolist()
    [1, 3]
    """
    rows = np.asarray(rows, "int64")
    if not isinstance(images, np.memmap):
        return images[rows]
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return images[rows[0] : rows[0] + len(rows)]
    from kerastl.data.pixels import map_pixels

    taken = map_pixels((len(rows), *images.shape[1:]))
    size = count_at_once(images)
    for first in range(0, len(rows), size):
        taken[first : first + size] = images[rows[first : first + size]]
        release_pages(images)
        release_pages(taken)
    taken.setflags(write=False)
    return taken


def walk_images(
    images: np.ndarray, rows: Sequence[int] | None = None
) -> Iterator[np.ndarray]:
    """Yield rows one by one, and give back the pages of those that are done.

    Example:

    >>> [int(row.sum()) for row in walk_images(np.ones((3, 2)), [0, 2])]
    [2, 2]
    """
    size = count_at_once(images)
    for count, row in enumerate(range(len(images)) if rows is None else rows, 1):
        yield images[row]
        if count % size == 0:
            release_pages(images)


def count_at_once(images: np.ndarray) -> int:
    """Return how many rows make up a part."""
    return max(1, PART // max(1, images[:1].nbytes))


def release_pages(array: np.ndarray) -> None:
    """Give the memory of a mapped file back to the system, which reads it again if asked.

    Resident memory counts the pages of mapped files that a process has touched; a pass over
    one that is larger than memory would count all of it. Any other array is left alone.
    """
    if not isinstance(array, np.memmap) or array.mode not in _DISCARDING:
        return
    held = array._mmap
    if held is not None and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)


class Reader:
    """An array read in batches, in any order, of which a part at most stays resident.

    Args:
        array: Memory-mapped or not.
    """

    def __init__(self, array: np.ndarray):
        self.array, self.read = array, 0

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Return rows as the array itself does."""
        if self.read >= PART:
            self.read = 0
            release_pages(self.array)
        found = self.array[rows]
        self.read += found.nbytes
        return found
