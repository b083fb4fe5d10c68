"""Arrays as `.npz` files: the same arrays give the same bytes, and no pickle either way."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from kerastl.errors import StorageError, UsageError
from kerastl.runs.atomic import Writer
from kerastl.runs.faults import step


def check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse what a `.npz` file would not give back as it was.

    Raises:
        UsageError: An array holds objects, or numbers that numpy's format has no name for.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.kind in "OV":
            raise UsageError(
                f"Array {name!r} has dtype {array.dtype}, which a .npz file does not keep: "
                "convert it to numbers or text first."
            )


def write_npz(arrays: Mapping[str, np.ndarray]) -> Writer:
    """Return a writer of `arrays` as an uncompressed `.npz` with fixed dates."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                step("array")
                _write_member(archive, name, np.asarray(array))
            archive.comment = _digest_names(archive)

    return write


def _digest_names(archive: zipfile.ZipFile) -> bytes:
    # each array has a checksum, the list of them has none: one flipped bit can drop the end
    return hashlib.sha256("\n".join(archive.namelist()).encode()).hexdigest().encode()


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    # numpy.savez cannot hold an array called "file"
    member = zipfile.ZipInfo(f"{name}.npy")
    with archive.open(member, "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def verify_npz(arrays: Mapping[str, np.ndarray]) -> Writer:
    """Return a check that a file holds exactly `arrays`, to the bit."""

    def verify(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            for name, array in arrays.items():
                found = _read_member(archive, f"{name}.npy")
                if found.tobytes() != np.asarray(array).tobytes():
                    raise ValueError(f"array {name!r} differs")

    return verify


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a file, each against its checksum.

    Raises:
        StorageError: The file is damaged.
    """
    try:
        return _read_members(path)
    except Exception as error:  # a damaged archive raises almost anything
        raise StorageError(
            f"{path} is damaged ({error}): remove it and make it again."
        ) from error


def _read_members(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if archive.comment != _digest_names(archive):
            raise ValueError("the list of arrays is not the one that was written")
        names = archive.namelist()
        return {name.removesuffix(".npy"): _read_member(archive, name) for name in names}


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        _check_end(file, name)
    return array


def _check_end(file: IO[bytes], name: str) -> None:
    # the checksum is compared only when the end is reached
    if file.read(1):
        raise ValueError(f"array {name!r} is followed by something else")
