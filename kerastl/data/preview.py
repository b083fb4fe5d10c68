"""A look at training images as training sees them."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerastl.data.decoding import check_image_size, decode_image
from kerastl.data.pixels import resize_arrays
from kerastl.errors import UsageError, check_choice
from kerastl.seeds import derive_seed
from kerastl.stages import AUGMENTATIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kerastl.data.dataset import Data, Split

LARGEST_SIDE = 224  # of a drawn image where no size is asked for


def draw_preview(
    data: "Data",
    n: int = 9,
    augment: Sequence[str] = ("flip", "crop"),
    image_size: int | Sequence[int] | None = None,
    seed: int = 0,
) -> "Figure":
    """Draw some training images, augmented, each under its class.

    Use it to see whether labels fit and whether augmentation leaves the classes
    recognisable. Only the images drawn are decoded.

    Args:
        data: What `load_images` returns.
        n: How many images; fewer where train has fewer.
        augment: Names of augmentations as a stage takes them; empty for none, which also
            spares the import of TensorFlow.
        image_size: Side in pixels or `(height, width)`; the first image's own size, at
            most 224, where None.
        seed: Which images and which random changes.

    Returns:
        The matplotlib figure.

    Raises:
        UsageError: `n`, a name or the size cannot be meant.
        DataError: An image cannot be decoded.
    """
    from kerastl.reporting.figures import plot_images

    _check_arguments(n, augment)
    rows = _choose_rows(data.train, n, seed)
    images = _read(data.train, rows, image_size)
    if augment:
        images = _augment(images, augment, seed)
    return plot_images(images, [_title(data, row) for row in rows])


def _check_arguments(n: int, augment: Sequence[str]) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise UsageError(f"n={n!r} is not a number of images: give 1 or more.")
    if isinstance(augment, str):
        raise UsageError(f"augment={augment!r} is one text: give a list of names.")
    for name in augment:
        check_choice("augment", name, AUGMENTATIONS)


def _choose_rows(split: "Split", n: int, seed: int) -> list[int]:
    random = np.random.default_rng(derive_seed("preview", seed))
    return random.permutation(len(split))[:n].tolist()


def _read(split: "Split", rows: list[int], image_size) -> np.ndarray:
    if split.images is not None:
        size = split.images.shape[1:3] if image_size is None else image_size
        return resize_arrays(split.images[rows], size)
    if image_size is None:
        image_size = _fit(decode_image(split.paths[rows[0]]).shape[:2])
    size = check_image_size(image_size)
    return np.stack([decode_image(os.fspath(split.paths[row]), size) for row in rows])


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, LARGEST_SIDE / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def _augment(images: np.ndarray, augment: Sequence[str], seed: int) -> np.ndarray:
    from kerastl.data.augmentation import Augmentation

    changed = Augmentation(list(augment))(
        images, seed=derive_seed("preview", seed, "augment")
    )
    return np.clip(np.rint(changed), 0, 255).astype("uint8")


def _title(data: "Data", row: int) -> str:
    label = data.train.labels[row]
    if not data.multi_label:
        return data.class_names[int(label)]
    return ", ".join(data.class_names[place] for place in np.flatnonzero(label)) or "-"
