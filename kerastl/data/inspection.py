"""One pass over image files: header, whole decode, digests, perceptual hash, thumbnail.

Checking and duplicate search share what it finds, so a file is read and decoded once.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from kerastl.data.decoding import Header, decode_bytes, map_files
from kerastl.data.pillow import OversizedError, read_file
from kerastl.errors import DataError

THUMB_SIDE = 16
HASHED_SIDE = 32  # the low 8 x 8 frequencies of 32 x 32 grey pixels make the hash


@dataclass(frozen=True, slots=True)
class Record:
    """What one file is. `reason` tells why it is unusable, None for a good image.

    `digest` is of the bytes, `pixel_digest` of the decoded pixels and their shape, so that
    a copy saved again without loss is found; each is None where there is nothing to digest.
    """

    reason: str | None = None
    oversized: bool = False
    header: Header | None = None
    digest: bytes | None = None
    pixel_digest: bytes | None = None
    grey: bool = False


@dataclass(frozen=True)
class Inspection:
    """Records of files in order, with their hashes and thumbnails as arrays.

    Args:
        records: One `Record` per file.
        hashes: uint64 `(n,)`, the perceptual hash; 0 for unusable files.
        thumbs: uint8 `(n, 16, 16, 3)`; black for unusable files.
        of_arrays: Whether there are no files, so hashes and thumbnails are not made.
    """

    records: list[Record]
    hashes: np.ndarray
    thumbs: np.ndarray
    of_arrays: bool = False

    @cached_property
    def readable(self) -> np.ndarray:
        """Bool `(n,)`: which files are good images."""
        return np.array([record.reason is None for record in self.records], bool)


def inspect_files(paths: Sequence[str | os.PathLike]) -> Inspection:
    """Read, decode and hash every file once, in threads. Nothing raises for a bad file.

    Example:

    >>> inspect_files(["no-such.png"]).records[0].reason
    'cannot be read (No such file or directory)'
    """
    count = len(paths)
    records: list[Record] = [Record()] * count
    hashes = np.zeros(count, "uint64")
    thumbs = np.zeros((count, THUMB_SIDE, THUMB_SIDE, 3), "uint8")

    def work(rows: range) -> None:
        grey = np.zeros((len(rows), HASHED_SIDE, HASHED_SIDE), "uint8")
        for place, row in enumerate(rows):
            records[row], image = _inspect(paths[row])
            if image is not None:
                grey[place] = shrink_grey(image)
                thumbs[row] = _shrink(image)
        hashes[rows.start : rows.stop] = hash_grey(grey)

    map_files(work, count)
    return Inspection(records, hashes, thumbs)


def inspect_arrays(images: np.ndarray) -> Inspection:
    """Digest the rows of an image array `(n, height, width, 3)`; copies only, no looks."""
    header = Header("array", images.shape[2], images.shape[1])
    records = [
        Record(header=header, pixel_digest=digest_pixels(image), grey=is_grey(image))
        for image in images
    ]
    none = np.zeros((0, THUMB_SIDE, THUMB_SIDE, 3), "uint8")
    return Inspection(records, np.zeros(0, "uint64"), none, of_arrays=True)


def _inspect(path: str | os.PathLike) -> tuple[Record, Image.Image | None]:
    digest = None
    try:
        data = read_file(path)
        digest = hashlib.sha256(data).digest()
        header, image = decode_bytes(data)
    except DataError as error:
        oversized = isinstance(error, OversizedError)
        return Record(str(error), oversized=oversized, digest=digest), None
    pixels = np.asarray(image)
    grey = is_grey(pixels)
    return Record(None, False, header, digest, digest_pixels(pixels), grey), image


def digest_pixels(pixels: np.ndarray) -> bytes:
    """Return the SHA-256 of an array's shape and values."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def is_grey(pixels: np.ndarray) -> bool:
    """Tell whether red, green and blue are equal everywhere in `(height, width, 3)`."""
    # Most colour images show it in a few pixels, which saves looking at the rest.
    few = pixels[::16, ::16]
    return bool(_channels_equal(few) and _channels_equal(pixels))


def _channels_equal(pixels: np.ndarray) -> bool:
    red = pixels[..., :1]
    return bool((pixels[..., 1:] == red).all())


def shrink_grey(image: Image.Image) -> np.ndarray:
    """Return the 32 x 32 grey pixels the perceptual hash is made of."""
    size = (HASHED_SIDE, HASHED_SIDE)
    return np.asarray(image.convert("L").resize(size, Image.Resampling.LANCZOS))


def _shrink(image: Image.Image) -> np.ndarray:
    size = (THUMB_SIDE, THUMB_SIDE)
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def hash_grey(grey: np.ndarray) -> np.ndarray:
    """Return the 64-bit pHash of each of `(n, 32, 32)` grey images, as uint64 `(n,)`.

    A bit tells whether a low frequency of the cosine transform is over their median; the
    same bits as `imagehash.phash`.
    """
    from scipy.fft import dct

    waves = dct(dct(grey.astype("float64"), axis=1), axis=2)[:, :8, :8]
    low = waves.reshape(len(grey), 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype("uint64")
