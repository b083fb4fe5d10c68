"""Heat maps on images: where a model looked."""

import io
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imsave

from kerastl.errors import UsageError
from kerastl.reporting.fonts import korean_fonts
from kerastl.reporting.grids import (
    check_pictures,
    choose_columns,
    draw_image,
    fit_title,
    lay_grid,
)

# Width of a tile in inches; an entry has one for the image and one per map.
_TILE = 1.55
_MOST_TILES = 8
# Smaller images are blown up before the maps, which are smooth, are laid on them.
_SHOWN_SIDE = 160
_GAP = 0.03
# Letters of a heading in an inch, and how many fit whatever the figure's width.
_LETTERS, _FEWEST_LETTERS = 10.5, 32
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
# How much of the picture still shows through at the hottest place, and how bright it is.
_THROUGH, _DIM = 0.3, 0.85


def enlarge_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring maps to the size of images, linearly between the centres of cells.

    Args:
        maps: float `(n, rows, columns)`, nothing negative.
        size: Height and width in pixels.

    Returns:
        float32 `(n, height, width)`; the largest of each is 1 unless it is all 0.

    Example:

    >>> enlarge_maps(np.array([[[0.0, 2.0]]]), (1, 4)).round(2).tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    large = np.asarray(maps, np.float32)
    for axis, length in enumerate(size, start=1):
        cells = large.shape[axis]
        places = (np.arange(length) + 0.5) * cells / length - 0.5
        below = np.clip(np.floor(places), 0, cells - 1).astype(int)
        above = np.minimum(below + 1, cells - 1)
        shares = np.clip(places - below, 0, 1).astype(np.float32)
        shares = shares[:, None] if axis == 1 else shares
        low, high = large.take(below, axis), large.take(above, axis)
        large = low + (high - low) * shares
    highest = large.max(axis=(1, 2), keepdims=True)
    return np.divide(large, highest, out=np.zeros_like(large), where=highest > 0)


def overlay_maps(images: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Lay heat maps on images: the picture in grey, bright where the map is hot.

    Args:
        images: uint8 `(n, height, width, 3)`.
        heatmaps: float `(n, height, width)` in [0, 1].

    Returns:
        uint8 `(n, height, width, 3)`.

    Raises:
        UsageError: The two are not of one size.

    Example:

    >>> cold, hot = np.zeros((2, 1, 1, 1))
    >>> overlay_maps(np.full((1, 1, 1, 3), 100, np.uint8), cold).tolist()
    [[[[85, 85, 85]]]]
    """
    if images.shape[:3] != heatmaps.shape:
        raise UsageError(
            f"heatmaps of shape {heatmaps.shape} on images of shape {images.shape}: give "
            "one (height, width) per image; `enlarge_maps` brings them to that size."
        )
    grey = (images @ _GREY)[..., None] * _DIM
    # of all colour maps that do not mislead the colour-blind, the one that glows
    colours = matplotlib.colormaps["inferno"](heatmaps)[..., :3].astype(np.float32) * 255
    share = heatmaps[..., None].astype(np.float32) * (1 - _THROUGH)
    return (grey * (1 - share) + colours * share).round().astype(np.uint8)


def plot_heatmaps(
    images: np.ndarray,
    maps: np.ndarray,
    titles: Sequence[str],
    columns: int | None = None,
    *,
    heading: str = "",
    note: str = "",
) -> Figure:
    """Draw each image and, beside it, its heat maps.

    Args:
        images: uint8 `(n, height, width, 3)`.
        maps: float `(n, m, rows, columns)`, m maps per image; of any size.
        titles: One text per image; newlines start further lines.
        columns: Images per row; chosen from n by default.
        heading: Lines above all; none by default.
        note: Added to the heading: what to know about these maps.

    Returns:
        The figure.

    Raises:
        UsageError: No image, other shapes, or not one title and one set of maps each.

    Example:

    >>> images, maps = np.zeros((3, 8, 8, 3), np.uint8), np.zeros((3, 1, 2, 2))
    >>> len(plot_heatmaps(images, maps, ["a", "b", "c"]).axes)
    3
    """
    check_pictures(images, titles, columns)
    if maps.ndim != 4 or len(maps) != len(images):
        raise UsageError(
            f"maps of shape {maps.shape} for {len(images)} images: give (n, m, rows, "
            "columns)."
        )
    tiles = 1 + maps.shape[1]
    most = max(1, _MOST_TILES // tiles)
    columns = min(columns or choose_columns(len(images), most), len(images))
    strips = _lay_strips(images, maps)
    width = _TILE * tiles
    height = min(width * strips.shape[1] / strips.shape[2], 1.5 * width)
    letters = int(max(_LETTERS * width * columns, _FEWEST_LETTERS))
    above = "\n".join(
        line for text in (heading, note) for line in textwrap.wrap(text, letters)
    )
    with korean_fonts(map(fit_title, titles)) as lettering:
        figure, axes = lay_grid(lettering, columns, (width, height), above)
        for ax, strip, title in zip(axes, strips, lettering.names, strict=True):
            draw_image(ax, strip, title)
    return figure


def _lay_strips(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return each image with its overlays to the right, white between them."""
    times = max(1, -(-_SHOWN_SIDE // max(images.shape[1:3])))
    large = images.repeat(times, axis=1).repeat(times, axis=2)
    size = large.shape[1:3]
    gap = np.full((len(large), size[0], max(1, round(_GAP * size[1])), 3), 255, np.uint8)
    parts = [large]
    for place in range(maps.shape[1]):
        parts += [gap, overlay_maps(large, enlarge_maps(maps[:, place], size))]
    return np.concatenate(parts, axis=2)


def render_overlays(images: np.ndarray, heatmaps: np.ndarray) -> list[bytes]:
    """Return a PNG per image, with its heat map on it to the right.

    Args:
        images: uint8 `(n, height, width, 3)`; small ones are blown up.
        heatmaps: float `(n, rows, columns)` in [0, 1], of any size.

    Returns:
        The bytes of n PNG files, the same for the same arrays.

    Example:

    >>> render_overlays(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 2, 2)))[0][:4]
    b'\\x89PNG'
    """
    return [
        _encode(_lay_strips(images[row : row + 1], heatmaps[row : row + 1, None])[0])
        for row in range(len(images))
    ]


def _encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    imsave(buffer, pixels, format="png", metadata={"Software": None})
    return buffer.getvalue()
