"""The images of train and validation divided anew: merged, in folds, or as an outer fold.

Rows are counted through train and then validation. No test image is opened here.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kerastl.data.dataset import Data, Split
from kerastl.data.listing import SPLITS
from kerastl.data.rows import take_images
from kerastl.data.shares import find_copies
from kerastl.data.sources import ARRAYS
from kerastl.data.splits import check_shares, merge_groups, split_folds, split_samples
from kerastl.errors import UsageError


def merge_validation(data: Data) -> Data:
    """Put the validation images into train, in the order of the source.

    Raises:
        UsageError: There is no validation split.
    """
    if data.validation is None:
        raise UsageError(
            "merge_validation=True needs a validation split, and there is none: give "
            "validation=0.2, or load the images without it."
        )
    pool = pool_splits(data)
    train = take_rows(pool, np.argsort(_places(data, pool)), "train")
    note = (
        f"Validation is merged into train: {len(train)} images to train on, none to choose "
        "by."
    )
    return replace(
        data,
        train=train,
        validation=None,
        settings={**data.settings, "merge_validation": True},
        notes=(*data.notes, note),
    )


def pool_splits(data: Data) -> Split:
    """Return the images of train and then validation as one split."""
    first, second = data.train, data.validation
    if second is None:
        return first
    images = first.images
    return Split(
        "train",
        np.concatenate([first.labels, second.labels]),
        (*first.names, *second.names),
        (*first.paths, *second.paths),
        images if images is None else np.concatenate([images, second.images]),
        None if first.budget is None else first.budget + second.budget,
    )


def take_rows(split: Split, rows: np.ndarray, name: str) -> Split | None:
    """Return some rows of a split under another name; None for no rows."""
    if not len(rows):
        return None
    labels = split.labels[rows]
    labels.setflags(write=False)
    return Split(
        name,
        labels,
        tuple(split.names[row] for row in rows),
        tuple(split.paths[row] for row in rows) if split.paths else (),
        None if split.images is None else take_images(split.images, rows),
        None if split.budget is None else -(-split.budget * len(rows) // len(split)),
    )


def _places(data: Data, split: Split) -> np.ndarray:
    """Return where in the listing each image of a split stands."""
    places = {sample.name: place for place, sample in enumerate(data.listing.samples)}
    return np.array([places[name] for name in split.names])


def group_rows(data: Data) -> np.ndarray:
    """Return a group number per row: copies of an image and user groups share one."""
    places = _places(data, pool_splits(data))
    groups = [data.listing.samples[place].group for place in places]
    return merge_groups(len(places), groups, find_copies(data.listing, places))


def make_folds(data: Data, k: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows to train on and to validate on, fold by fold.

    Raises:
        UsageError: `k` is no number of folds, or a class has too few images for it.
    """
    labels = pool_splits(data).labels
    fold = split_folds(labels, data.row_groups, data.class_names, k=k, seed=seed)
    return [
        (np.flatnonzero(fold != place), np.flatnonzero(fold == place)) for place in range(k)
    ]


def cut_subset(
    data: Data,
    train_rows: Sequence[int] | np.ndarray,
    test_rows: Sequence[int] | np.ndarray,
    validation: float,
    seed: int,
) -> Data:
    """Return Data with some rows for test and others divided into train and validation.

    Raises:
        UsageError: There is no such row, or one is given twice.
        DataError: A class has too few images.
    """
    check_shares(validation, 0)
    pool = pool_splits(data)
    rest, test = _check_rows(train_rows, test_rows, len(pool))
    drawn = split_samples(
        pool.labels[rest],
        data.row_groups[rest],
        data.class_names,
        validation=validation,
        test=0,
        seed=seed,
    )
    chosen = [rest[drawn == place] for place in range(2)]
    splits = {
        name: take_rows(pool, rows, name)
        for name, rows in zip(SPLITS, (*chosen, test), strict=True)
    }
    sizes = ", ".join(f"{name} {len(split)}" for name, split in splits.items() if split)
    return replace(
        data,
        **splits,
        settings={**data.settings, "data": ARRAYS},  # no settings say which rows these are
        notes=(*data.notes, f"A part of the images, split anew: {sizes} (seed {seed})."),
    )


def _check_rows(
    train_rows: Sequence[int] | np.ndarray,
    test_rows: Sequence[int] | np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    given = [np.array(rows, ndmin=1) for rows in (train_rows, test_rows)]
    for name, rows in zip(("train_rows", "test_rows"), given, strict=True):
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows):
            raise UsageError(f"{name} of shape {rows.shape} must be whole numbers.")
        if rows.min() < 0 or rows.max() >= count:
            raise UsageError(
                f"{name} goes from {rows.min()} to {rows.max()}: train and validation have "
                f"the rows 0 to {count - 1}."
            )
    rows, times = np.unique(np.concatenate(given), return_counts=True)
    if times.max() > 1:
        raise UsageError(f"Row {rows[np.argmax(times)]} is given twice.")
    return np.sort(given[0]), np.sort(given[1])
