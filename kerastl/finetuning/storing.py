"""Arrays that took long to compute, kept on disk by the digest of what they come from."""

import contextlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from kerastl.data.pixels import reserve_file
from kerastl.errors import StorageError
from kerastl.finetuning.entries import INDEX, Entries, cache_folder
from kerastl.runs import write_text_atomic

logger = logging.getLogger("kerastl")

CHUNK = 1 << 24  # bytes read at once
# dtypes that numpy's files have no name for -> what they are written as
ON_DISK = {np.dtype(ml_dtypes.bfloat16).name: "uint16"}

Form = tuple[tuple[int, ...], str]  # shape and dtype of an array
Fill = Callable[[Sequence[np.ndarray]], None]  # computes arrays into those it is given
# the same for several keys; what cannot be kept it takes out
FillAll = Callable[[dict[str, Sequence[np.ndarray]]], None]


class MemoryStore:
    """Keeps what was computed along with something else until it is asked for."""

    def __init__(self) -> None:
        self._kept: dict[str, list[np.ndarray]] = {}

    def find(self, key: str, forms: Sequence[Form]) -> list[np.ndarray] | None:
        """Hand the arrays of a key over, or None where there are none of these forms."""
        arrays = self._kept.pop(key, None)
        return arrays if arrays is not None and _same_forms(arrays, forms) else None

    def get(self, key: str, forms: Sequence[Form], fill: Fill) -> list[np.ndarray]:
        """Compute the arrays of a key unless they are there."""
        return self.get_first({key: forms}, lambda out: fill(out[key]))

    def get_first(
        self, wanted: Mapping[str, Sequence[Form]], fill: FillAll
    ) -> list[np.ndarray]:
        """Compute the arrays of all keys unless the first are there; return these."""
        first = next(iter(wanted))
        found = self.find(first, wanted[first])
        if found is not None:
            return found
        out = {
            key: _allocate(forms) for key, forms in wanted.items() if key not in self._kept
        }
        fill(out)
        found = out.pop(first)
        self._kept |= out
        return found


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
        self.memory = MemoryStore()  # where the disk has no room
        self._sound: set[str] = set()  # keys whose checksums this process has compared

    def get(self, key: str, forms: Sequence[Form], fill: Fill | None) -> list[np.ndarray]:
        """Return the arrays of a key, read-only and memory-mapped; compute them if need be.

        Where the disk has no room for them they are computed in memory.

        Args:
            key: Digest of all they depend on; a file name.
            forms: Their shapes and dtypes.
            fill: Computes them into zeros.
        """
        return self.get_first({key: forms}, lambda out: fill(out[key]))

    def find(self, key: str, forms: Sequence[Form]) -> list[np.ndarray] | None:
        """Return the arrays of a key where they are there and whole, else None."""
        found = self.memory.find(key, forms)
        return self._read(key, forms) if found is None else found

    def get_first(
        self, wanted: Mapping[str, Sequence[Form]], fill: FillAll
    ) -> list[np.ndarray]:
        """Return the arrays of the first key; compute all that are not there if need be.

        Args:
            wanted: Forms by key.
            fill: Computes those of the keys it is given.
        """
        first = next(iter(wanted))
        found = self.find(first, wanted[first])
        if found is not None:
            return found
        try:
            wanted = self._make_room(wanted)
            with contextlib.ExitStack() as stack:
                for key in sorted(wanted):  # all processes in one order: no deadlock
                    stack.enter_context(self.entries.hold(key))
                # another process may have been at it
                found = self._read(first, wanted[first])
                return found or self._make(first, wanted, fill)
        except (OSError, StorageError) as error:
            logger.warning("Activations are kept in memory: %s", error)
            return self.memory.get_first(wanted, fill)

    def _make_room(
        self, wanted: Mapping[str, Sequence[Form]]
    ) -> Mapping[str, Sequence[Form]]:
        """Make room for all or, where they are too much together, for the first."""
        if len(wanted) > 1:
            with contextlib.suppress(StorageError):
                self.entries.make_room(sum(map(_count_bytes, wanted.values())))
                return wanted
        first = next(iter(wanted))
        self.entries.make_room(_count_bytes(wanted[first]))
        return {first: wanted[first]}

    def _read(self, key: str, forms: Sequence[Form]) -> list[np.ndarray] | None:
        entry = self.folder / key
        try:
            text = (entry / INDEX).read_text(encoding="utf-8")
            checksums = json.loads(text)["checksums"]
            arrays = [_open(entry, *form) for form in enumerate(forms)]
            os.utime(entry / INDEX)  # used now
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, TypeError, KeyError):
            return self._discard(key)
        if not _same_forms(arrays, forms):
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

    def _make(
        self, first: str, wanted: Mapping[str, Sequence[Form]], fill: FillAll
    ) -> list[np.ndarray]:
        missing = [
            k for k in wanted if k == first or not (self.folder / k / INDEX).exists()
        ]
        out = {
            key: [_create(self.folder / key, *form) for form in enumerate(wanted[key])]
            for key in missing
        }
        fill(out)
        for key, arrays in out.items():
            for array in arrays:
                array.flush()
            index = {"checksums": [_checksum(array) for array in arrays]}
            write_text_atomic(self.folder / key / INDEX, json.dumps(index))
            self._sound.add(key)
        return [_open(self.folder / first, *form) for form in enumerate(wanted[first])]


Store = ActivationStore | MemoryStore


def compute_arrays(forms: Sequence[Form], fill: Fill) -> list[np.ndarray]:
    """Compute arrays in memory."""
    arrays = _allocate(forms)
    fill(arrays)
    return arrays


def _allocate(forms: Sequence[Form]) -> list[np.ndarray]:
    return [np.zeros(shape, dtype) for shape, dtype in forms]


def _create(entry: Path, number: int, form: Form) -> np.ndarray:
    path, (shape, dtype) = entry / f"{number}.npy", form
    path.unlink(missing_ok=True)  # a damaged one may still be mapped by somebody
    filed = ON_DISK.get(dtype, dtype)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=filed, shape=shape)
    reserve_file(path)
    return array.view(dtype)


def _open(entry: Path, number: int, form: Form) -> np.ndarray:
    array = np.load(entry / f"{number}.npy", mmap_mode="r", allow_pickle=False)
    return array.view(form[1]) if array.dtype == ON_DISK.get(form[1]) else array


def _same_forms(arrays: Sequence[np.ndarray], forms: Sequence[Form]) -> bool:
    found = [(array.shape, array.dtype.name) for array in arrays]
    return found == [(tuple(shape), dtype) for shape, dtype in forms]


def _checksum(array: np.ndarray) -> int:
    flat, number = array.reshape(-1).view("uint8"), 0
    for first in range(0, len(flat), CHUNK):
        number = zlib.crc32(flat[first : first + CHUNK], number)
    return number


def _count_bytes(forms: Sequence[Form]) -> int:
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in forms)
