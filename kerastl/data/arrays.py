"""NumPy arrays as a source: which pixel scale and which kind of labels they hold."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kerastl.data.listing import Listing, Sample, normalize_name
from kerastl.data.reading import Reading
from kerastl.errors import DataError, UsageError


def list_arrays(
    images: np.ndarray, labels: object, reading: Reading, *, kind: str = "images"
) -> Listing:
    """List the rows of an image array.

    Args:
        images: `(n, height, width)`, or with 1 or 3 channels behind. Integers and floats
            above 1 are taken as 0-255; floats of which none is above 1 as 0-1.
        labels: `(n,)` integers or texts, or `(n, classes)` of 0 and 1.
        reading: `multi_label` alone may be set.
        kind: First part of the samples' names.

    Raises:
        DataError: Values or shapes that fit none of these.
        UsageError: There are no labels.
    """
    reading.only("arrays", {"multi_label"})
    if labels is None:
        raise UsageError("images without labels: pass labels=, one per image.")
    pixels, notes = to_pixels(images)
    texts, class_names = to_labels(np.asarray(labels), multi_label=reading.multi_label)
    _check_lengths("", len(pixels), len(texts))
    samples = tuple(Sample(f"{kind}[{row}]", None, text) for row, text in enumerate(texts))
    return Listing(None, samples, (), notes, class_names, pixels)


def list_pairs(pairs: Sequence[object], reading: Reading) -> Listing:
    """List `(images, labels)`, or `((images, labels), (images, labels))`: train and test.

    The second form is what `keras.datasets.cifar10.load_data()` returns. Scale and classes
    are decided by both parts together.

    Raises:
        UsageError: It is neither.
        DataError: The parts do not fit together, or one cannot be used.
    """
    if _is_pair(pairs):
        images, labels = pairs
        return list_arrays(images, labels, reading)
    if len(pairs) != 2 or not all(map(_is_pair, pairs)):
        raise UsageError(
            "data of type tuple must be (images, labels), or ((images, labels), (images, "
            "labels)) for train and test, as the data sets of Keras come."
        )
    splits = ("train", "test")
    for name, (images, labels) in zip(splits, pairs, strict=True):
        _check_lengths(f"{name}: ", len(images), len(labels))
    listing = list_arrays(_join("images", pairs, 0), _join("labels", pairs, 1), reading)
    numbered = [
        (name, row)
        for name, (images, _) in zip(splits, pairs, strict=True)
        for row in range(len(images))
    ]
    samples = tuple(
        replace(sample, name=f"{split}[{row}]", split=split)
        for sample, (split, row) in zip(listing.samples, numbered, strict=True)
    )
    return replace(listing, samples=samples)


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and isinstance(value[0], np.ndarray)
        and isinstance(value[1], np.ndarray | list)
    )


def _join(what: str, pairs: Sequence, place: int) -> np.ndarray:
    train, test = (np.asarray(pair[place]) for pair in pairs)
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{what} of train have the shape {train.shape} and those of test {test.shape}: "
            "all but the first number must be the same."
        )
    return np.concatenate([train, test])


def _check_lengths(where: str, images: int, labels: int) -> None:
    if images != labels:
        raise DataError(f"{where}{images} images but {labels} labels: give one per image.")


def to_pixels(images: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn an image array into `(n, height, width, 3)` uint8 and say what was decided.

    Raises:
        DataError: The shape is no image's, or a value is missing or out of range.

    Example:

    >>> pixels, notes = to_pixels(np.full((1, 2, 2), 0.5))
    >>> pixels.shape, int(pixels.max())
    ((1, 2, 2, 3), 128)
    >>> notes
    ('The images are floats of which none is above 1: taken as 0-1 and multiplied by 255.',)
    """
    _check_shape(images)
    pixels, notes = _scale(images)
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]
    if pixels.shape[-1] == 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    return pixels, notes


def _check_shape(images: np.ndarray) -> None:
    grey = images.ndim == 3 and images.shape[-1] not in (1, 3)
    if not (grey or (images.ndim == 4 and images.shape[-1] in (1, 3))):
        raise DataError(
            f"images has the shape {images.shape}, not (n, height, width, 3), "
            "(n, height, width, 1) or (n, height, width)."
        )
    if not images.size:
        raise DataError(f"images is empty: its shape is {images.shape}.")


def _scale(images: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    if images.dtype == np.uint8:
        return images, ()
    if images.dtype.kind not in "iuf":
        raise DataError(f"images has the type {images.dtype}, not whole numbers or floats.")
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        row = int(np.argmin(np.isfinite(images.reshape(len(images), -1)).all(axis=1)))
        raise DataError(f"images[{row}] holds NaN or infinite values.")
    if low < 0 or high > 255:
        raise DataError(
            f"images go from {low:g} to {high:g}: give raw pixels, 0-255 or 0-1; the model "
            "does the preprocessing itself."
        )
    if images.dtype.kind != "f":
        return images.astype("uint8"), ()
    factor = 255 if high <= 1 else 1
    return _round(images, factor), (_scale_note(factor),)


def _round(images: np.ndarray, factor: int) -> np.ndarray:
    """Round image by image, so that no second float copy of all of them is made."""
    pixels = np.empty(images.shape, "uint8")
    for row, image in enumerate(images):
        pixels[row] = np.floor(image * factor + 0.5)
    return pixels


def _scale_note(factor: int) -> str:
    if factor == 255:
        return (
            "The images are floats of which none is above 1: taken as 0-1 and multiplied "
            "by 255."
        )
    return "The images are floats with values above 1: taken as 0-255 and rounded."


def to_labels(
    labels: np.ndarray, *, multi_label: bool
) -> tuple[list[str] | list[tuple[str, ...]], tuple[str, ...] | None]:
    """Turn a label array into class names per image and, for columns, the class list.

    Raises:
        DataError: Missing, fractional or soft labels, or several per image without
            `multi_label`.

    Example:

    >>> to_labels(np.array([[0, 1], [1, 0]]), multi_label=False)
    (['1', '0'], ('0', '1'))
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        return _from_columns(labels, multi_label=multi_label)
    if labels.ndim != 1:
        raise DataError(f"labels has the shape {labels.shape}, not (n,) or (n, classes).")
    if multi_label:
        raise DataError(
            f"multi_label=True needs labels of the shape (n, classes) of 0 and 1, not "
            f"{labels.shape}."
        )
    return [_text(row, label) for row, label in enumerate(labels.tolist())], None


def _text(row: int, label: object) -> str:
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    text = normalize_name(str(label).strip())
    if label is None or isinstance(label, float | bool | dict | list) or not text:
        raise DataError(f"labels[{row}] is {label!r}, not a whole number or a name.")
    return text


def _from_columns(labels: np.ndarray, *, multi_label: bool):
    if labels.dtype.kind not in "iufb" or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"labels of the shape {labels.shape} must hold only 0 and 1 (soft labels are "
            "not supported)."
        )
    names = tuple(str(column) for column in range(labels.shape[1]))
    if multi_label:
        return [tuple(names[c] for c in np.flatnonzero(row)) for row in labels], names
    several = np.flatnonzero(labels.sum(axis=1) != 1)
    if len(several):
        row = int(several[0])
        raise DataError(
            f"labels[{row}] marks {int(labels[row].sum())} classes, not exactly one: pass "
            "multi_label=True if an image may have several labels or none."
        )
    return [names[column] for column in labels.argmax(axis=1)], names
