"""Figures of results, drawn without pyplot and readable by the colour-blind."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerastl.errors import UsageError
from kerastl.evaluation.layout import printable
from kerastl.reporting.canvas import new_figure, shorten
from kerastl.reporting.curves import plot_history
from kerastl.reporting.fonts import Lettering, drawable, korean_fonts

__all__ = ["plot_confusion", "plot_history", "plot_images", "plot_worst"]

# Cells with numbers and ticks with names stay legible up to these many classes.
NUMBERED_CLASSES = 20
NAMED_CLASSES = 60
_NAME_WIDTH = 22
_TITLE_WIDTH, _TITLE_LINES = 27, 3


def plot_confusion(
    confusion: np.ndarray,
    class_names: Sequence[str],
    ax: Axes | None = None,
    *,
    title: str = "",
) -> Figure:
    """Draw which class was taken for which; rows are the truth.

    Colour is the share of the row, on a scale that keeps rare mistakes visible; numbers
    are images and are left out above 20 classes. A class without images has a grey row.

    Args:
        confusion: Int array (classes, classes), as in `Scores.confusion`.
        class_names: Names in the order of the rows.
        ax: Axes to draw on; a new figure by default.
        title: A line above; none by default.

    Returns:
        The figure drawn on.

    Raises:
        UsageError: The array is not square or does not fit the names.

    Example:

    >>> figure = plot_confusion(np.array([[8, 2], [1, 9]]), ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['8', '2', '1', '9']
    """
    confusion = np.asarray(confusion)
    _check_confusion(confusion, class_names)
    fitted = (shorten(printable(name), _NAME_WIDTH) for name in class_names)
    with korean_fonts(fitted) as lettering:
        if ax is None:
            side = min(max(4.2, 2.6 + 0.42 * len(confusion)), 13)
            ax = new_figure(side + 0.8, side).add_subplot()
        _draw_shares(ax, confusion)
        _name_axes(ax, lettering)
        if len(confusion) <= NUMBERED_CLASSES:
            _write_counts(ax, confusion)
        ax.set_title(drawable(title), loc="left", fontsize=11)
    return ax.figure


def _check_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> None:
    if confusion.shape != (len(class_names), len(class_names)):
        raise UsageError(
            f"confusion of shape {confusion.shape} with {len(class_names)} class names: "
            "give one row and one column per name (one label per image)."
        )


def _shares(confusion: np.ndarray) -> np.ma.MaskedArray:
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    return np.ma.masked_where(np.broadcast_to(totals == 0, confusion.shape), shares)


def _draw_shares(ax: Axes, confusion: np.ndarray) -> None:
    scale = PowerNorm(gamma=0.5, vmin=0, vmax=1)
    ax.set_facecolor("#dddddd")
    ax.imshow(_shares(confusion), cmap="Blues", norm=scale, interpolation="nearest")
    # A fresh mappable: the bar's scale must not depend on the matrix holding a 1.
    bar = ax.figure.colorbar(
        ScalarMappable(scale, "Blues"), ax=ax, shrink=0.75, pad=0.02, aspect=30
    )
    bar.set_ticks([0, 0.05, 0.25, 0.5, 1], labels=["0", "5 %", "25 %", "50 %", "100 %"])
    bar.ax.tick_params(labelsize=8, length=2)
    bar.set_label("share of the true class", fontsize=8)
    bar.outline.set_visible(False)


def _name_axes(ax: Axes, lettering: Lettering) -> None:
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if len(lettering.names) > NAMED_CLASSES:
        _number_ticks(ax)
        return
    ax.set_xlabel("\n".join(filter(None, ("predicted", lettering.hint))))
    ax.set_ylabel("true")
    _name_ticks(ax, lettering)


def _number_ticks(ax: Axes) -> None:
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(10, integer=True))
        axis.set_major_formatter(lambda place, _: f"{place + 1:.0f}")
    ax.set_xlabel("predicted (number of the class)")
    ax.set_ylabel("true")
    ax.tick_params(labelsize=7)


def _name_ticks(ax: Axes, lettering: Lettering) -> None:
    ticks, many = range(len(lettering.names)), len(lettering.names) > 10
    # Named here too: labels of the caller's own axes were made with other fonts.
    look = {"fontsize": 9, "fontfamily": lettering.families}
    if len(ticks) > NUMBERED_CLASSES:
        look["fontsize"] = 7
        bounds = np.arange(0.5, len(ticks) - 1)
        ax.hlines(bounds, -0.5, len(ticks) - 0.5, color="#dfe6ee", linewidth=0.5)
        ax.vlines(bounds, -0.5, len(ticks) - 0.5, color="#dfe6ee", linewidth=0.5)
    ax.set_xticks(ticks, lettering.names, **look)
    ax.set_yticks(ticks, lettering.names, **look)
    if max(map(len, lettering.names)) > 3:
        steep = {"rotation": 90, "va": "center"} if many else {"rotation": 45}
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor", **steep)


def _write_counts(ax: Axes, confusion: np.ndarray) -> None:
    shares, size = _shares(confusion).filled(0), 9 if len(confusion) <= 12 else 7
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            color = "white" if shares[row, column] > 0.4 else "black"
            cell = ax.text(column, row, f"{count:,}", color=color, fontsize=size)
            cell.set(ha="center", va="center")


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
    _check_images(images, titles, columns)
    columns = min(columns or min(math.ceil(math.sqrt(len(images))), 6), len(images))
    rows = math.ceil(len(images) / columns)
    with korean_fonts(map(_fit_title, titles)) as lettering:
        lines = max(title.count("\n") for title in lettering.names)
        height = rows * (2.15 + 0.15 * lines) + (0.35 if heading else 0)
        figure = new_figure(max(1.9 * columns, 3.2), height)
        for index, image in enumerate(images):
            ax = figure.add_subplot(rows, columns, index + 1)
            _draw_image(ax, image, lettering.names[index])
        if heading:
            figure.suptitle(drawable(heading), fontsize=11, x=0.01, ha="left")
        if lettering.hint:
            figure.supxlabel(lettering.hint, fontsize=7)
    return figure


def _fit_title(title: object) -> str:
    lines = str(title).split("\n")[:_TITLE_LINES]
    return "\n".join(shorten(line, _TITLE_WIDTH) for line in lines)


def _check_images(images: np.ndarray, titles: Sequence[str], columns: int | None) -> None:
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


def _draw_image(ax: Axes, image: np.ndarray, title: str) -> None:
    # Few pixels blown up are shown as they are, not blurred into something unseen.
    smooth = "nearest" if min(image.shape[:2]) < 100 else "antialiased"
    ax.imshow(image, interpolation=smooth)
    ax.set_title(title, fontsize=8)
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
