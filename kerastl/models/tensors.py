"""Looking at stored weights before they are read: nothing outside the file, no bombs."""

from typing import BinaryIO

import h5py

_MOST = 100_000  # groups and arrays; the largest base has under 5,000


def check_weights_store(file: BinaryIO) -> str:
    """Walk an HDF5 file without reading its arrays.

    Args:
        file: The file, open for reading.

    Returns:
        What is in it that Keras does not write, or an empty string: links to other places
        or files, arrays kept outside, of no numbers, or larger than the bytes they take.
    """
    with h5py.File(file, "r") as store:
        waiting: list[h5py.Group] = [store]
        seen = 0
        while waiting:
            group = waiting.pop()
            for name in group:
                seen += 1
                problem = _check_entry(group, name) if seen <= _MOST else "too many arrays"
                if problem:
                    return problem
                if isinstance(group[name], h5py.Group):
                    waiting.append(group[name])
    return ""


def _check_entry(group: h5py.Group, name: str) -> str:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return f"a link {group.name}/{name} to another place"
    entry = group[name]
    if isinstance(entry, h5py.Group):
        return ""
    if not isinstance(entry, h5py.Dataset) or entry.dtype.kind not in "fiubV":
        return f"{entry.name}, which is no array of numbers"
    if entry.is_virtual or entry.external:
        return f"{entry.name}, kept outside the file"
    if entry.nbytes > entry.id.get_storage_size():
        return f"{entry.name}, larger than the bytes it takes"
    return ""
