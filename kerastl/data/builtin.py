"""Data sets that need no download: real scanned digits, and noise."""

from dataclasses import replace

import numpy as np

from kerastl.data.arrays import list_arrays
from kerastl.data.listing import Listing
from kerastl.data.reading import Reading

RANDOM_SEED = 42
RANDOM_COUNT = 1000
CLASS_NAMES = tuple(str(digit) for digit in range(10))
DIGITS_NOTE = "digits: 1,797 real scans of handwritten digits, 8x8 pixels (scikit-learn)."
RANDOM_NOTE = (
    "random: uniform noise with random labels. Nothing can be learnt from it: any accuracy "
    "on new images is chance, about 10 %."
)


def list_digits() -> Listing:
    """Return scikit-learn's `digits` as `(1797, 8, 8, 3)` uint8 with labels 0 to 9.

    Example:

    >>> list_digits().images.shape
    (1797, 8, 8, 3)
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype("uint8")
    return _listing(pixels, digits.target, "digits", DIGITS_NOTE)


def list_random() -> Listing:
    """Return 1,000 images of noise, 32x32, always the same ones, with random labels.

    For trying out shapes and speed, as the tutorials do; never for judging a model.

    Example:

    >>> len(list_random().samples)
    1000
    """
    generator = np.random.default_rng(RANDOM_SEED)
    pixels = generator.integers(0, 256, (RANDOM_COUNT, 32, 32, 3), dtype="uint8")
    labels = generator.integers(0, len(CLASS_NAMES), RANDOM_COUNT)
    return _listing(pixels, labels, "random", RANDOM_NOTE)


def _listing(pixels: np.ndarray, labels: np.ndarray, kind: str, note: str) -> Listing:
    listing = list_arrays(pixels, labels, Reading(), kind=kind)
    return replace(listing, class_names=CLASS_NAMES, notes=(note,))


BUILT_IN = {"digits": list_digits, "random": list_random}
