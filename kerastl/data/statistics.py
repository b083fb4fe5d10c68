"""Mean and standard deviation per colour channel, from exact counts of pixel values."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from kerastl.data.decoding import decode_bytes, map_files
from kerastl.data.pillow import read_file
from kerastl.errors import DataError

if TYPE_CHECKING:
    from kerastl.data.dataset import Split

LEVELS = 256
IMAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class ChannelStatistics:
    """How bright and how varied each channel is, on the scale of 0 to 1.

    Use it to normalise with the data's own numbers instead of the base's.

    Args:
        mean: Red, green and blue.
        std: The same; of the whole population of pixels, not a sample's estimate.

    Example:

    >>> ChannelStatistics([0.5, 0.5, 0.5], [0.2, 0.2, 0.2]).mean
    (0.5, 0.5, 0.5)
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self):
        # Lists come back from JSON; equal statistics must compare equal.
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))


def channel_statistics(split: "Split") -> ChannelStatistics:
    """Measure the images of a split at their own sizes, each image counting the same.

    Args:
        split: Its files are decoded in threads, one at a time and kept nowhere.

    Returns:
        Mean and standard deviation of red, green and blue in [0, 1].

    Raises:
        DataError: A file cannot be decoded, or there are no images.
    """
    if split.images is not None:
        return measure_channels(split.images)
    return _summarise(_count_files(split.paths))


def measure_channels(images: np.ndarray) -> ChannelStatistics:
    """Measure an image array in pieces, so that a memory map is never read whole.

    Args:
        images: uint8 `(n, height, width, 3)`, or 1 channel, which stands for all three.

    Returns:
        Mean and standard deviation of red, green and blue in [0, 1].

    Raises:
        DataError: There are no images.

    Example:

    >>> measure_channels(np.full((2, 4, 4, 3), 51, "uint8"))
    ChannelStatistics(mean=(0.2, 0.2, 0.2), std=(0.0, 0.0, 0.0))
    """
    counts = np.zeros((images.shape[-1], LEVELS), "int64")
    for start in range(0, len(images), IMAGES_AT_ONCE):
        piece = images[start : start + IMAGES_AT_ONCE]
        for channel, row in enumerate(counts):
            row += np.bincount(piece[..., channel].ravel(), minlength=LEVELS)
    counts = np.broadcast_to(counts, (3, LEVELS))
    return _summarise({math.prod(images.shape[1:3]): counts})


def _count_files(paths: Sequence) -> dict[int, np.ndarray]:
    """Count pixel values `(3, 256)` of all images with the same number of pixels."""
    pieces: list[Counter] = []

    def work(rows: range) -> None:
        counts: Counter = Counter()
        for row in rows:
            image = _decode(paths[row])
            pixels = image.width * image.height
            counts[pixels] = counts[pixels] + np.reshape(image.histogram(), (3, LEVELS))
        pieces.append(counts)

    map_files(work, len(paths))
    sizes = sorted({pixels for counts in pieces for pixels in counts})
    return {size: sum(counts[size] for counts in pieces) for size in sizes}


def _decode(path):
    try:
        return decode_bytes(read_file(path))[1]
    except DataError as error:
        raise DataError(f"{path} {error}.") from error


def _summarise(counts: dict[int, np.ndarray]) -> ChannelStatistics:
    """Average exactly: integer sums per image size, then fractions over images."""
    images = sum(int(rows[0].sum()) // size for size, rows in counts.items())
    if images == 0:
        raise DataError("There are no images to measure channels of.")
    moments = [
        [_moment(counts, images, channel, power) for channel in range(3)]
        for power in (1, 2)
    ]
    pairs = list(zip(*moments, strict=True))
    mean = [float(first / 255) for first, _ in pairs]
    std = [math.sqrt(second - first**2) / 255 for first, second in pairs]
    return ChannelStatistics(tuple(mean), tuple(std))


def _moment(counts: dict, images: int, channel: int, power: int) -> Fraction:
    levels = np.arange(LEVELS, dtype="int64") ** power
    total = sum(
        Fraction(int(rows[channel] @ levels), size) for size, rows in counts.items()
    )
    return total / images
