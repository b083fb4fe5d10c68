"""What labels and probabilities must look like before anything is measured on them."""

import numpy as np

from kerastl.errors import DataError, UsageError

# A float16 softmax over a thousand classes still sums to 1 within this.
_SUM_TOLERANCE = 0.01


def check_inputs(
    labels: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]
) -> None:
    """Refuse what has no score, naming the first image that is wrong.

    Args:
        labels: Int (n,), or 0 and 1 (n, classes).
        probabilities: Float (n, classes).
        names: Class names.

    Raises:
        DataError: No image, NaN, or numbers that are no probabilities.
        UsageError: Shapes, labels and names do not fit together.

    Example:

    >>> check_inputs(np.array([0]), np.array([[1.0, 0.0]]), ("cat", "dog"))
    """
    _check_shapes(labels, probabilities, names)
    _check_range(probabilities)
    if labels.ndim == 2:
        _check_label_sets(labels)
    else:
        _check_classes(labels, names)
        _check_sums(probabilities)


def _check_shapes(
    labels: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]
) -> None:
    if labels.ndim not in (1, 2) or probabilities.ndim != 2:
        raise UsageError(
            f"labels of shape {labels.shape} and probabilities of shape "
            f"{probabilities.shape}: give (n,) or (n, classes), and (n, classes)."
        )
    if len(labels) == 0:
        raise DataError("There is no image in this split, so nothing can be scored.")
    if len(labels) != len(probabilities) or (
        labels.ndim == 2 and labels.shape != probabilities.shape
    ):
        raise UsageError(
            f"labels of shape {labels.shape} do not fit probabilities of shape "
            f"{probabilities.shape}: one row per image in both."
        )
    _check_names(labels, probabilities, names)


def _check_names(
    labels: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]
) -> None:
    if len(names) != probabilities.shape[1]:
        raise UsageError(
            f"{len(names)} class names for probabilities of {probabilities.shape[1]} "
            "classes: give one name per column."
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"class_names holds {twice!r} twice; names must differ.")
    if labels.ndim == 1 and len(names) < 2:
        raise UsageError(
            f"class_names={list(names)!r}: scoring needs at least two classes."
        )


def _check_range(probabilities: np.ndarray) -> None:
    if probabilities.dtype.kind not in "fiu":
        raise UsageError(f"probabilities of dtype {probabilities.dtype}: give floats.")
    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise DataError(
            f"The model's probabilities are NaN or infinite for {bad.sum():,} of "
            f"{len(bad):,} images (first: image {bad.argmax()}). Training diverged: "
            "lower the learning rate and train again."
        )
    low, high = float(probabilities.min()), float(probabilities.max())
    if low < -_SUM_TOLERANCE or high > 1 + _SUM_TOLERANCE:
        raise DataError(
            f"probabilities range from {low:.3g} to {high:.3g}, not from 0 to 1: "
            "these may be logits; give the output of a softmax or sigmoid."
        )


def _check_sums(probabilities: np.ndarray) -> None:
    sums = probabilities.sum(axis=1, dtype=np.float64)
    bad = abs(sums - 1) > _SUM_TOLERANCE
    if bad.any():
        raise DataError(
            f"probabilities of image {bad.argmax()} sum to {sums[bad.argmax()]:.3f}, "
            "not to 1. For several labels per image give labels as one column of 0 "
            "and 1 per class."
        )


def _check_classes(labels: np.ndarray, names: tuple[str, ...]) -> None:
    if labels.dtype.kind not in "iu":
        raise UsageError(f"labels of dtype {labels.dtype}: give class indices as integers.")
    wrong = (labels < 0) | (labels >= len(names))
    if wrong.any():
        raise UsageError(
            f"label {labels[wrong.argmax()]} of image {wrong.argmax()} is not a class "
            f"index from 0 to {len(names) - 1}."
        )


def _check_label_sets(labels: np.ndarray) -> None:
    wrong = ~np.isin(labels, (0, 1)).all(axis=1)
    if wrong.any():
        raise UsageError(
            f"labels of image {wrong.argmax()} are {labels[wrong.argmax()].tolist()}: "
            "with one column per class give 0 or 1 in each."
        )
