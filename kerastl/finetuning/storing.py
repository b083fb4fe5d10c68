"""Arrays that took long to compute, kept on disk by the digest of what they come from."""

import contextlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kerastl.data.pixels import reserve_file
from kerastl.errors import StorageError
from kerastl.finetuning.entries import INDEX, Entries, cache_folder
from kerastl.runs import write_text_atomic

logger = logging.getLogger("kerastl")

CHUNK = 1 << 24  # bytes read at once

Form = tuple[tuple[int, ...], str]  # shape and dtype of an array
Fill = Callable[[Sequence[np.ndarray]], None]  # computes arrays into those it is given


class ActivationStore:
    """A folder of arrays by key, shared by all processes of a machine.

    An entry is computed by one process while the others wait for it. It appears whole, is
    read against its checksums, and is made again where it is damaged. The entries that were
    not used for the longest time go when there is no more room.

    Args:
        folder: Made when first needed. Default: `$XDG_CACHE_HOME/kerastl/activations`, or
            the same under `~/.cache`.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ActivationStore(Path(folder))
    ...     (squares,) = store.get(
    ...         "squares", [((3,), "float32")], lambda out: out[0].__iadd__([1, 4, 9]))
    ...     (again,) = store.get("squares", [((3,), "float32")], None)
    ...     again.tolist()
    [1.0, 4.0, 9.0]
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or cache_folder("activations")
        self.entries = Entries(self.folder)
        self._sound: set[str] = set()  # keys whose checksums this process has compared

    def get(self, key: str, forms: Sequence[Form], fill: Fill | None) -> list[np.ndarray]:
        """Return the arrays of a key, read-only and memory-mapped; compute them if need be.

        Where the disk has no room for them they are computed in memory.

        Args:
            key: Digest of all they depend on; a file name.
            forms: Their shapes and dtypes.
            fill: Computes them into zeros.
        """
        found = self._read(key, forms)
        if found is not None:
            return found
        try:
            self.entries.make_room(_count_bytes(forms))
            with self.entries.hold(key):
                # another process may have been at it
                return self._read(key, forms) or self._make(key, forms, fill)
        except (OSError, StorageError) as error:
            logger.warning("Activations are kept in memory: %s", error)
            return compute_arrays(forms, fill)

    def _read(self, key: str, forms: Sequence[Form]) -> list[np.ndarray] | None:
        entry = self.folder / key
        try:
            text = (entry / INDEX).read_text(encoding="utf-8")
            checksums = json.loads(text)["checksums"]
            arrays = [_open(entry, number) for number in range(len(forms))]
            os.utime(entry / INDEX)  # used now
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, TypeError, KeyError):
            return self._discard(key)
        same = [[list(array.shape), array.dtype.name] for array in arrays]
        if same != [[list(shape), dtype] for shape, dtype in forms]:
            return self._discard(key)
        if key not in self._sound:
            if [_checksum(array) for array in arrays] != checksums:
                return self._discard(key)
            self._sound.add(key)
        return arrays

    def _discard(self, key: str) -> None:
        logger.warning("%s is damaged and made again.", self.folder / key)
        with contextlib.suppress(OSError):
            (self.folder / key / INDEX).unlink()

    def _make(self, key: str, forms: Sequence[Form], fill: Fill) -> list[np.ndarray]:
        entry = self.folder / key
        arrays = [_create(entry, number, *form) for number, form in enumerate(forms)]
        fill(arrays)
        for array in arrays:
            array.flush()
        checksums = [_checksum(array) for array in arrays]
        write_text_atomic(entry / INDEX, json.dumps({"checksums": checksums}))
        self._sound.add(key)
        return [_open(entry, number) for number in range(len(forms))]


def compute_arrays(forms: Sequence[Form], fill: Fill) -> list[np.ndarray]:
    """Compute arrays in memory."""
    arrays = [np.zeros(shape, dtype) for shape, dtype in forms]
    fill(arrays)
    return arrays


def _create(entry: Path, number: int, shape: tuple[int, ...], dtype: str) -> np.memmap:
    path = entry / f"{number}.npy"
    path.unlink(missing_ok=True)  # a damaged one may still be mapped by somebody
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    reserve_file(path)
    return array


def _open(entry: Path, number: int) -> np.ndarray:
    return np.load(entry / f"{number}.npy", mmap_mode="r", allow_pickle=False)


def _checksum(array: np.ndarray) -> int:
    flat, number = array.reshape(-1).view("uint8"), 0
    for first in range(0, len(flat), CHUNK):
        number = zlib.crc32(flat[first : first + CHUNK], number)
    return number


def _count_bytes(forms: Sequence[Form]) -> int:
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in forms)
