"""The list of classes: fixed by the training split, and checked against the others."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from kerastl.data.listing import SPLITS, Listing, Sample
from kerastl.errors import DataError, suggest


def labels_of(sample: Sample) -> tuple[str, ...]:
    """Return the labels of a sample as a tuple, also where there is one."""
    return (sample.label,) if isinstance(sample.label, str) else sample.label


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names by number where all are whole numbers, else by text.

    Example:

    >>> sort_classes({"10", "9", "1"})
    ('1', '9', '10')
    """
    unique = set(names)
    if all(name.isascii() and name.isdigit() for name in unique):
        return tuple(sorted(unique, key=lambda name: (int(name), name)))
    return tuple(sorted(unique))


def settle_classes(listing: Listing, *, multi_label: bool = False) -> tuple[str, ...]:
    """Return the classes in the order of the model's outputs.

    Args:
        listing: Samples with the splits their source gives, if any.
        multi_label: Whether a single class is enough.

    Raises:
        DataError: Two names differ in case only, there is one class only, or validation or
            test has a class that train has not.
    """
    first = _first_of_each(listing.samples)
    _check_case(first)
    known = {
        label
        for sample in listing.samples
        if sample.split in (None, "train")
        for label in labels_of(sample)
    }
    class_names = listing.class_names or sort_classes(known)
    _check_unknown(class_names, first)
    if len(class_names) < (1 if multi_label else 2):
        held = f"only one class, {class_names[0]!r}" if class_names else "no class at all"
        raise DataError(f"There is {held}: give images of at least two classes.")
    return class_names


def _first_of_each(samples: Sequence[Sample]) -> dict[str, Sample]:
    first: dict[str, Sample] = {}
    for sample in sorted(samples, key=lambda each: each.split or ""):
        for label in labels_of(sample):
            # A class is looked up in train first, so that the others are what is reported.
            if label not in first or sample.split == "train" != first[label].split:
                first[label] = sample
    return first


def _check_case(first: dict[str, Sample]) -> None:
    by_case = defaultdict(list)
    for label in sorted(first):
        by_case[label.casefold()].append(label)
    for clash in by_case.values():
        if len(clash) > 1:
            raise DataError(
                f"The classes {clash[0]!r} ({first[clash[0]].name}) and {clash[1]!r} "
                f"({first[clash[1]].name}) differ in case only: rename one."
            )


def _check_unknown(class_names: tuple[str, ...], first: dict[str, Sample]) -> None:
    for label, sample in sorted(first.items()):
        if label not in class_names:
            known = ", ".join(class_names[:20])
            raise DataError(
                f"{sample.split} has the class {label!r} ({sample.name}), which train has "
                f"not; train has: {known}.{suggest(label, class_names)}"
            )


def encode_labels(
    samples: Sequence[Sample], class_names: Sequence[str], *, multi_label: bool
) -> np.ndarray:
    """Turn labels into numbers.

    Returns:
        `(n,)` int32 class indices, or `(n, classes)` float32 of 0 and 1 for multi-label.
    """
    index = {name: place for place, name in enumerate(class_names)}
    if not multi_label:
        return np.array([index[sample.label] for sample in samples], "int32")
    marks = np.zeros((len(samples), len(class_names)), "float32")
    for row, sample in enumerate(samples):
        marks[row, [index[label] for label in sample.label]] = 1
    return marks


def count_classes(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the samples of each class in an encoded label array."""
    if labels.ndim == 2:
        return labels.sum(axis=0).astype(int)
    return np.bincount(labels, minlength=num_classes)


def note_missing(
    counts: dict[str, np.ndarray], class_names: Sequence[str]
) -> tuple[str, ...]:
    """Say which classes have no sample in a split, as `{split: counts per class}` shows."""
    notes = []
    for split in SPLITS:
        empty = np.flatnonzero(counts[split] == 0) if split in counts else ()
        missing = [class_names[place] for place in empty]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            listed = ", ".join(map(repr, missing[:5]))
            notes.append(f"{split} has no image of class {listed}{more}.")
    return tuple(notes)
