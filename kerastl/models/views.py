"""Several looks at an image, whose probabilities are averaged."""

from collections.abc import Iterator, Sequence

import numpy as np

from kerastl.errors import check_choice

VIEWS = ("flip", "crops")
_SHARE = 7 / 8  # of each side, AlexNet's 224 of 256


def check_views(views: str | Sequence[str]) -> tuple[str, ...]:
    """Return names of views as a tuple, each once, in the order of `VIEWS`.

    Raises:
        UsageError: A name is unknown.

    Example:

    >>> check_views(["crops", "flip"])
    ('flip', 'crops')
    """
    names = (views,) if isinstance(views, str) else tuple(views)
    for name in names:
        check_choice("tta", name, VIEWS)
    return tuple(name for name in VIEWS if name in names)


def make_views(images: np.ndarray, views: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield a batch as each of its views shows it, always the same ones.

    Args:
        images: `(batch, height, width, 3)` pixels.
        views: `"flip"`: each view and its mirror image. `"crops"`: the four corners and
            the middle, 7/8 of each side, enlarged to the whole size. Both are the ten
            crops of AlexNet (Krizhevsky et al. 2012). Neither: the images themselves.

    Yields:
        Arrays of the same shape.

    Example:

    >>> pixels = np.zeros((1, 8, 8, 3), np.uint8)
    >>> [len(list(make_views(pixels, views))) for views in ((), ("flip",), VIEWS)]
    [1, 2, 10]
    """
    for view in _crop(images) if "crops" in views else (images,):
        yield view
        if "flip" in views:
            yield np.ascontiguousarray(view[:, :, ::-1])


def _crop(images: np.ndarray) -> Iterator[np.ndarray]:
    import keras

    size = images.shape[1:3]
    height, width = (max(1, round(_SHARE * side)) for side in size)
    down, right = size[0] - height, size[1] - width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    for top, left in corners:
        part = images[:, top : top + height, left : left + width].astype("float32")
        resized = keras.ops.image.resize(part, size, interpolation="bilinear")
        yield keras.ops.convert_to_numpy(resized)
