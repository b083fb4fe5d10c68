"""The training images that advice rests on: no other split has a part in it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kerastl.data import Data
from kerastl.data.regrouping import take_rows
from kerastl.errors import DataError, UsageError
from kerastl.seeds import derive_seed

FEWEST = 2  # images of a class: one to learn from, one to judge by

Folds = Sequence[tuple[np.ndarray, np.ndarray]]


def check_labels(data: Data) -> None:
    """Refuse images without exactly one label each.

    Raises:
        UsageError: They may have several.
    """
    if data.multi_label:
        raise UsageError(
            "These images may have several labels each (multi_label=True); bases are "
            "judged by images of one class each."
        )


def draw_sample(data: Data, most: int, seed: int) -> Data:
    """Return some training images, each class in proportion, and no other split.

    Args:
        data: The images.
        most: How many at most; each class keeps at least two.
        seed: Of the draw.

    Raises:
        UsageError: Images may have several labels.
        DataError: A class has a single image.

    Example:

    >>> import kerastl
    >>> draw_sample(kerastl.load_images("digits"), 500, seed=0)
    Data(500 images of 10 classes: train 500)
    """
    check_labels(data)
    labels = data.train.labels
    counts = np.bincount(labels, minlength=data.num_classes)
    if counts.min() < FEWEST:
        name = data.class_names[int(counts.argmin())]
        raise DataError(
            f"Class {name!r} has {counts.min()} image to train on; judging a base takes at "
            f"least {FEWEST} of each class."
        )
    train = data.train
    if len(train) > most:
        rows = _draw(labels, counts, most, derive_seed(seed, "sample"))
        train = take_rows(train, rows, "train")
    return replace(data, train=train, validation=None, test=None)


def _draw(labels: np.ndarray, counts: np.ndarray, most: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shares = counts * most / counts.sum()
    quotas = np.minimum(counts, np.maximum(FEWEST, np.floor(shares))).astype(int)
    while quotas.sum() < most:  # to the class that rounding took most from
        quotas[np.argmin(quotas - shares)] += 1
    while quotas.sum() > most and quotas.max() > FEWEST:
        quotas[np.argmax(quotas)] -= 1
    chosen = [
        generator.permutation(np.flatnonzero(labels == place))[:quota]
        for place, quota in enumerate(quotas)
    ]
    return np.sort(np.concatenate(chosen))


def make_folds(sample: Data, folds: int, seed: int) -> Folds:
    """Return folds of a sample, with copies and groups in one; fewer for small classes.

    Raises:
        UsageError: `folds` is no number of folds, or a class is all copies of one image.
    """
    fewest = int(np.bincount(sample.train.labels).min())
    return sample.folds(min(folds, fewest), seed)
