"""Images side by side with their titles: a training batch, the worst predictions."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerastl.errors import UsageError
from kerastl.reporting.canvas import Picture, shorten
from kerastl.reporting.fonts import Lettering, drawable, korean_fonts

_TITLE_WIDTH, _TITLE_LINES = 27, 3
_MAX_COLUMNS = 6
# Width of a cell in inches.
_CELL = 1.9


def plot_images(
    images: np.ndarray,
    titles: Sequence[str],
    columns: int | None = None,
    *,
    heading: str = "",
) -> Figure:
    """Draw images in a grid, each with its title of one to three lines.

    Args:
        images: uint8 array (n, height, width, 3).
        titles: One text per image; newlines start further lines.
        columns: Images per row; chosen from n by default, at most 6.
        heading: A line above all; none by default.

    Returns:
        The figure.

    Raises:
        UsageError: No image, other shapes, or not one title each.

    Example:

    >>> figure = plot_images(np.zeros((3, 8, 8, 3), np.uint8), ["a", "b", "c"])
    >>> len(figure.axes)
    3
    """
    check_pictures(images, titles, columns)
    columns = min(columns or choose_columns(len(images)), len(images))
    with korean_fonts(map(fit_title, titles)) as lettering:
        tall = min(max(images.shape[1] / images.shape[2], 0.5), 1.5)
        figure, axes = lay_grid(lettering, columns, (_CELL, tall * _CELL), heading)
        for ax, image, title in zip(axes, images, lettering.names, strict=True):
            draw_image(ax, image, title)
    return figure


def lay_grid(
    lettering: Lettering, columns: int, cell: tuple[float, float], heading: str
) -> tuple[Figure, list[Axes]]:
    """Return a figure with one axes per title, of a width and height in inches.

    Laid out here because matplotlib's own layout measures every axes several times,
    which takes seconds for a grid.
    """
    count, lines = len(lettering.names), 1 + max(t.count("\n") for t in lettering.names)
    step, top, foot = cell[1] + 0.08 + 0.15 * lines, 0.34 * bool(heading), 0.35
    top += 0.17 * heading.count("\n")
    width, height = max(cell[0] * columns, 3.2), step * math.ceil(count / columns) + top
    height += foot * bool(lettering.hint)
    figure = Picture(figsize=(width, height))
    figure.text(0.05 / width, 1 - 0.08 / height, drawable(heading), fontsize=11, va="top")
    figure.text(0.5, 0.08 / height, lettering.hint, fontsize=7, ha="center")
    axes = []
    for index in range(count):
        row, column = divmod(index, columns)
        corner = column * cell[0] + 0.05, height - top - (row + 1) * step + 0.03
        sides = cell[0] - 0.1, cell[1] - 0.05
        box = np.array([*corner, *sides]) / [width, height, width, height]
        axes.append(figure.add_axes(box))
    return figure, axes


def choose_columns(count: int, most: int = _MAX_COLUMNS) -> int:
    """Return the widest grid of those that leave the fewest places empty."""
    squarest = min(math.ceil(math.sqrt(count)), most)
    return min(range(most, squarest - 1, -1), key=lambda width: -count % width)


def fit_title(title: object) -> str:
    """Return at most three lines, each cut to the width of a cell."""
    lines = str(title).split("\n")[:_TITLE_LINES]
    return "\n".join(shorten(line, _TITLE_WIDTH) for line in lines)


def check_pictures(images: np.ndarray, titles: Sequence[str], columns: int | None) -> None:
    """Refuse what is no grid of images with a title each.

    Raises:
        UsageError: No image, other shapes, or not one title each.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise UsageError(
            f"images of shape {images.shape} and dtype {images.dtype}: give uint8 "
            "(n, height, width, 3)."
        )
    if len(images) == 0:
        raise UsageError("images holds 0 images; give at least one to draw.")
    if len(titles) != len(images):
        raise UsageError(f"{len(titles)} titles for {len(images)} images: give one each.")
    if columns is not None and columns < 1:
        raise UsageError(f"columns={columns!r}: give a whole number >= 1.")


def draw_image(ax: Axes, image: np.ndarray, title: str) -> None:
    """Draw one image under its title."""
    # Few pixels blown up are shown as they are, not blurred into something unseen.
    smooth = "nearest" if min(image.shape[:2]) < 100 else "antialiased"
    ax.imshow(image, interpolation=smooth)
    # With a height given, matplotlib does not search for one among ticks that are off.
    ax.set_title(title, y=1.0, pad=4, fontsize=8, linespacing=1.3)
    ax.set_axis_off()


def plot_worst(
    images: np.ndarray, titles: Sequence[str], columns: int | None = None
) -> Figure:
    """Draw the images a model was most sure about and wrong.

    Worth a look before anything else: they show wrong labels, odd crops and classes that
    cannot be told apart.

    Args:
        images: uint8 array (n, height, width, 3), the worst first.
        titles: One text per image, as `worst_titles` makes them.
        columns: Images per row; chosen from n by default.

    Returns:
        The figure.

    Raises:
        UsageError: No image, other shapes, or not one title each.

    Example:

    >>> figure = plot_worst(np.zeros((1, 8, 8, 3), np.uint8), ["cat, not dog"])
    >>> figure.axes[0].get_title()
    'cat, not dog'
    """
    heading = "Most confident mistakes"
    return plot_images(images, titles, columns, heading=heading)
