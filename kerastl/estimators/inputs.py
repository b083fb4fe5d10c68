"""What `fit` and `predict` are given: paths or arrays, labels, and the data of both."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from kerastl.data import Data
from kerastl.data.arrays import to_pixels
from kerastl.data.listing import Listing, Sample
from kerastl.data.loading import build_data
from kerastl.data.shares import Shares
from kerastl.data.sources import ARRAYS
from kerastl.errors import DataError, UsageError
from kerastl.options import Options

Images = np.ndarray | tuple[Path, ...]


def read_images(X: Any) -> Images:
    """Tell file paths from an image array.

    Returns:
        Absolute paths, or an array of 3 or 4 dimensions with its values as they are.

    Raises:
        UsageError: It is neither, or empty.
        DataError: There is no such file; the first is named.

    Example:

    >>> read_images(np.zeros((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
    """
    try:
        array = np.asarray(X)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    if array.ndim == 2 and array.shape[1] == 1 and array.dtype.kind in "OUT":
        array = array[:, 0]  # a column of a table
    if array.ndim == 1 and array.dtype.kind in "OUT" and len(array):
        return tuple(_find_file(row, value) for row, value in enumerate(array.tolist()))
    if array.ndim in (3, 4) and array.dtype.kind in "iuf" and len(array):
        return array
    shape = f" and shape {X.shape}" if hasattr(X, "shape") else ""
    raise UsageError(
        f"X of type {type(X).__name__}{shape} is neither a list of paths of image files "
        "nor an image array (n, height, width, 3 or 1)."
    )


def _find_file(row: int, value: object) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise UsageError(f"X[{row}] is {value!r}, not a path: give paths only.")
    path = Path(os.path.abspath(value))
    if not path.is_file():
        raise DataError(f"X[{row}]: there is no file {os.fspath(value)!r}.")
    return path


def read_labels(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes in order and the place of each label among them.

    Raises:
        UsageError: It is not one class per image.

    Example:

    >>> read_labels(["b", "a", "b"])
    (array(['a', 'b'], dtype='<U1'), array([1, 0, 1]))
    """
    kind = "None" if y is None else type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        raise UsageError(
            f"y is {kind}: give one class per image, as whole numbers or texts. Several "
            "labels per image are for kerastl.finetune."
        )
    return np.unique(column_or_1d(y, warn=True), return_inverse=True)


def split_images(
    images: Images, codes: np.ndarray, class_names: Sequence[str], options: Options
) -> Data:
    """Split the images of `fit` as `load_images` splits those of a folder.

    Args:
        images: What `read_images` returns.
        codes: Class of each image, as a place in `class_names`.
        class_names: One text per class.
        options: Share of validation, and seed.

    Returns:
        Data without a test split.

    Raises:
        DataError: Pixels are out of range, or a class has too few images.
    """
    samples, pixels = _list_samples(images, [class_names[code] for code in codes])
    root = None if pixels is not None else _common_folder(images)
    settings = {
        "data": ARRAYS,
        "validation": options.validation,
        "test": 0.0,
        "multi_label": False,
        "on_bad_image": "error",
    }
    listing = Listing(root, samples, class_names=tuple(class_names), images=pixels)
    return build_data(
        Shares(listing, options.validation, 0.0, options.seed), settings, None
    )


def _list_samples(
    images: Images, labels: Sequence[str]
) -> tuple[tuple[Sample, ...], np.ndarray | None]:
    if isinstance(images, tuple):
        named = zip(_name_paths(images), images, labels, strict=True)
        return tuple(Sample(*each) for each in named), None
    names = [f"images[{row}]" for row in range(len(images))]
    pairs = zip(names, labels, strict=True)
    return tuple(Sample(name, None, label) for name, label in pairs), to_pixels(images)[0]


def _common_folder(paths: Sequence[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([path.parent for path in paths]))
    except ValueError:  # on several drives
        return None


def _name_paths(paths: Sequence[Path]) -> list[str]:
    """Name each row; a path that was drawn again, with replacement, by its row as well."""
    root, seen, names = _common_folder(paths), set(), []
    for row, path in enumerate(paths):
        name = (path if root is None else path.relative_to(root)).as_posix()
        names.append(f"{name} (X[{row}])" if path in seen else name)
        seen.add(path)
    return names


def find_scale(images: Images) -> int | None:
    """Return what floats are multiplied by; None where `fit` saw none."""
    if isinstance(images, tuple) or images.dtype.kind != "f":
        return None
    return 255 if images.max() <= 1 else 1


def apply_scale(images: np.ndarray, scale: int | None) -> np.ndarray:
    """Read floats on the scale of `fit`: one dark image alone does not tell its own.

    Raises:
        UsageError: The scale of `fit` was 0-1, and a value is above 1.
    """
    if images.dtype.kind != "f" or scale is None:
        return images
    if scale == 255 and images.max() > 1:
        raise UsageError(f"X goes up to {images.max():g}, but was within 0-1 in fit.")
    if scale == 255 or images.max() > 1:
        return images
    to_pixels(images)  # refuses what is no pixel
    return np.floor(images + 0.5).astype("uint8")
