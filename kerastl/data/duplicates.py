"""Copies of one image: same bytes, same decoded pixels, or nearly the same picture.

Near copies are images saved again, resized or slightly edited. Crops, turns and mirror
images are not found.
"""

import os
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from kerastl.data.inspection import Inspection, digest_pixels, inspect_files
from kerastl.data.rows import walk_images

# Measured on 1,000 CIFAR-10 images and 396 photos saved again (JPEG of quality 30 to 90,
# GIF, WebP) or resized (by 0.5 to 2): at each setting 97 % or more stayed within 4 bits,
# and all thumbnails within 12 levels, those of the photos within 4. No two different
# images came within 4 bits; the nearest were 6 bits and 26 levels apart. Small images keep
# more of the noise, as a thumbnail averages fewer of their pixels.
MAX_BITS = 4
TOLERANCE = 6.0  # mean difference of the thumbnails, of 255
SMALL_TOLERANCE = 12.0
SMALL_SIDE = 64
MAX_NEIGHBOURS = 2000  # keeps the time bounded where thousands of images look alike
PAIRS_AT_ONCE = 16_384


def duplicate_groups(paths: Sequence[str | os.PathLike]) -> np.ndarray:
    """Group files that show the same image, so that none lands in two splits.

    Args:
        paths: Image files. Unreadable ones are alone unless their bytes are equal.

    Returns:
        int64 `(n,)`: for each file the index of the first file of its group.

    Example:

    >>> duplicate_groups(["no-such.png", "nor-this.png"])
    array([0, 1])
    """
    inspection = inspect_files(paths)
    first = exact_groups(inspection)
    return join_links(first, near_pairs(inspection, first))


def duplicate_groups_of_arrays(
    images: np.ndarray, rows: Sequence[int] | None = None
) -> np.ndarray:
    """Group rows of an image array that are equal to the bit.

    Args:
        images: `(n, height, width, channels)`.
        rows: To look at. Default: all.

    Returns:
        int64 `(n,)`: for each of these images the index of the first image of its group.

    Example:

    >>> duplicate_groups_of_arrays(np.zeros((3, 2, 2, 3), "uint8"))
    array([0, 0, 0])
    """
    return _first_of_equal(map(digest_pixels, walk_images(images, rows)))


def exact_groups(inspection: Inspection) -> np.ndarray:
    """Return for each file the index of the first with the same pixels, int64 `(n,)`.

    An unreadable file is compared by its bytes, and is alone where it has none.
    """
    keys = [
        record.pixel_digest or record.digest or row
        for row, record in enumerate(inspection.records)
    ]
    return _first_of_equal(keys)


def _first_of_equal(keys: Iterable[Hashable]) -> np.ndarray:
    seen: dict[Hashable, int] = {}
    firsts = (seen.setdefault(key, row) for row, key in enumerate(keys))
    return np.fromiter(firsts, "int64")


def near_pairs(inspection: Inspection, first: np.ndarray) -> np.ndarray:
    """Find images that look the same without being equal.

    Args:
        inspection: Of all files.
        first: What `exact_groups` says; only the first of equal images is compared.

    Returns:
        int64 `(pairs, 2)` of indices, the smaller one first, sorted.
    """
    if inspection.of_arrays:
        return np.empty((0, 2), "int64")
    rows = np.flatnonzero(inspection.readable & (first == np.arange(len(first))))
    candidates = rows[pairs_within(inspection.hashes[rows], MAX_BITS)]
    if not len(candidates):
        return candidates
    close = _differences(inspection.thumbs, candidates) <= _tolerances(
        inspection, candidates
    )
    return candidates[close]


def _differences(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    pieces = [
        pairs[start : start + PAIRS_AT_ONCE]
        for start in range(0, len(pairs), PAIRS_AT_ONCE)
    ]
    means = [
        np.abs(thumbs[piece[:, 0]].astype("int16") - thumbs[piece[:, 1]]).mean((1, 2, 3))
        for piece in pieces
    ]
    return np.concatenate(means)


def _tolerances(inspection: Inspection, pairs: np.ndarray) -> np.ndarray:
    headers = [record.header for record in inspection.records]
    sides = np.array([min(each.width, each.height) if each else 0 for each in headers])
    small = sides[pairs].min(axis=1) < SMALL_SIDE
    return np.where(small, SMALL_TOLERANCE, TOLERANCE)


def pairs_within(hashes: np.ndarray, bits: int) -> np.ndarray:
    """Find the pairs of 64-bit hashes that differ in at most `bits` bits.

    Two such hashes agree fully in at least one of `bits + 1` bands, so only hashes with an
    equal band are compared: 60,000 in a tenth of a second.

    Returns:
        int64 `(pairs, 2)` of indices, the smaller one first, sorted.
    """
    edges = np.linspace(0, 64, bits + 2).round().astype(int)
    found = [_pairs_in_band(hashes, *band, bits) for band in pairwise(edges)]
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0).astype("int64")


def _pairs_in_band(hashes: np.ndarray, low: int, high: int, bits: int) -> np.ndarray:
    keys = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
    order = np.lexsort((hashes, keys))
    keys, hashes = keys[order], hashes[order]
    found, rows = [np.empty((0, 2), "int64")], np.arange(len(order))
    for step in range(1, MAX_NEIGHBOURS + 1):
        rows = rows[rows + step < len(order)]
        rows = rows[keys[rows] == keys[rows + step]]
        if not len(rows):
            break
        near = rows[np.bitwise_count(hashes[rows] ^ hashes[rows + step]) <= bits]
        found.append(np.stack([order[near], order[near + step]], axis=1))
    return np.concatenate(found)


def join_links(first: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return for each sample the smallest index it is linked to, also through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    equal = np.stack([first, np.arange(len(first))], axis=1)
    starts, ends = np.concatenate([equal, near]).T
    links = (np.ones(len(starts), bool), (starts, ends))
    graph = coo_array(links, shape=(len(first), len(first)))
    labels = connected_components(graph, directed=False)[1]
    smallest = np.unique(labels, return_index=True)[1]
    return smallest[labels].astype("int64")
