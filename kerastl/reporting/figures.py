"""Figures of results, drawn without pyplot and readable by the colour-blind.

The confusion matrix is drawn here; curves and grids of images have their own modules.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerastl.errors import UsageError
from kerastl.evaluation.layout import printable, text_width
from kerastl.reporting.canvas import new_figure, shorten
from kerastl.reporting.curves import plot_history
from kerastl.reporting.fonts import Lettering, drawable, korean_fonts
from kerastl.reporting.grids import plot_images, plot_worst

__all__ = ["plot_confusion", "plot_history", "plot_images", "plot_worst"]

# Cells with numbers and ticks with names stay legible up to these many classes.
NUMBERED_CLASSES = 20
NAMED_CLASSES = 60
_NAME_WIDTH = 22


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
            ax = _new_axes(lettering.names)
        _draw_shares(ax, confusion)
        _name_axes(ax, lettering)
        if len(confusion) <= NUMBERED_CLASSES:
            _write_counts(ax, confusion)
        ax.set_title(drawable(title), loc="left", fontsize=11)
    return ax.figure


def _new_axes(names: Sequence[str]) -> Axes:
    """Return axes of a new figure with room for the cells and for the longest name."""
    cells = min(max(3.0, 0.42 * len(names)), 12)
    few = len(names) <= NUMBERED_CLASSES
    letter = 0.085 if few else 0.065 if len(names) <= NAMED_CLASSES else 0
    longest = letter * max(map(text_width, names))
    return new_figure(cells + longest + 1.6, cells + longest + 0.9).add_subplot()


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
    size = 8 if lettering.hint else None
    ax.set_xlabel("\n".join(filter(None, ("predicted", lettering.hint))), fontsize=size)
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
