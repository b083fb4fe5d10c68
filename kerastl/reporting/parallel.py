"""The trials of a search as lines through all their parameters, coloured by score."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from kerastl.reporting.boards import (
    DONE,
    FAILED,
    STOPPED,
    arrange_trials,
    drop_unrun,
    find_leader,
)
from kerastl.reporting.canvas import new_figure
from kerastl.reporting.marks import (
    BEST,
    FAR,
    SCORE,
    Names,
    describe_best,
    group_trials,
    name_parts,
)
from kerastl.reporting.parameters import list_texts, measure_parameters
from kerastl.reporting.scales import Scale, measure_scores, spread_columns

_COLOURS = "viridis"
# Inches from axis to axis, and of the figure's height.
_WIDE_STEP, _NARROW_STEP, _HEIGHT = 1.45, 1.05, 4.2
_MOST_LABELS, _LETTERS = 40, 18
# Width of the colours beside the scores, and how far labels are from their axis.
_STRIP, _GAP = 0.06, 0.035


def plot_parallel(board: pd.DataFrame, parameters: Sequence[str] | None = None) -> Figure:
    """Draw each trial as a line through its parameters to its score.

    The colour is the score; the best trial is outlined. Trials that failed are dotted and
    end at the last parameter; those that did not run are left out.

    Args:
        board: leaderboard.csv of a search.
        parameters: Columns to show, all by default.

    Returns:
        The figure.

    Raises:
        UsageError: There is no trial or no parameter, or one of them is no column.

    Example:

    >>> board = pd.DataFrame({"trial": [1, 2], "score": [0.7, 0.9], "status": "done",
    ...                       "base": ["tiny", "vgg16"], "dropout": [0.1, 0.4]})
    >>> [text.get_text() for text in plot_parallel(board).axes[0].texts][:2]
    ['base', 'dropout']
    """
    rows = drop_unrun(arrange_trials(board))
    scales = measure_parameters(rows, parameters)
    has_score = rows["kind"].isin((DONE, STOPPED))
    scores = rows["score"].where(has_score).to_numpy(float)
    with name_parts(list_texts(scales)) as names:
        axes = [*scales.values(), measure_scores(scores)]
        ax = _new_axes(axes)
        _name_axes(ax, [*map(names.draw_parameter, scales), SCORE], names)
        _draw_lines(ax, rows, np.column_stack(list(map(_spread, axes))), scores)
        for place, axis in enumerate(axes):
            _draw_axis(ax, place, axis, names)
    return ax.figure


def _new_axes(axes: Sequence[Scale]) -> Axes:
    step = min(max(12 / len(axes), _NARROW_STEP), _WIDE_STEP)
    width = max(5.4, step * len(axes) + 0.8)
    labels = min(max(len(axis.labels) for axis in axes), _MOST_LABELS)
    ax = new_figure(width, max(_HEIGHT, 0.17 * labels + 1)).add_subplot()
    ax.set_axis_off()
    ax.set(xlim=(-0.05, len(axes) - 1 + _STRIP + 0.05), ylim=(-0.02, 1.02))
    return ax


def _name_axes(ax: Axes, titles: Sequence[str], names: Names) -> None:
    look = {"ha": "center", "va": "bottom", "fontsize": 9, "fontfamily": names.families}
    for place, title in enumerate(titles):
        ax.text(place, 1.035, title, **look)
    if names.hint:
        ax.text(0, -0.13, names.hint, fontsize=7, va="top")


def _spread(axis: Scale) -> np.ndarray:
    """Return the height of each trial on an axis, lines of one category side by side."""
    if not axis.categories:
        return axis.fractions(axis.places)
    return axis.fractions(spread_columns(axis.places, 0.4))


def _draw_axis(ax: Axes, place: int, axis: Scale, names: Names) -> None:
    ax.plot([place, place], [0, 1], color="#1b1f24", linewidth=1, zorder=4)
    every = -(-len(axis.labels) // _MOST_LABELS)
    look = {"ha": "right", "va": "center", "fontsize": 8, "fontfamily": names.families}
    look["bbox"] = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.8}
    heights = axis.fractions(axis.ticks)[::every]
    for height, label in zip(heights, axis.labels[::every], strict=True):
        ax.plot([place - 0.02, place], [height, height], color="#1b1f24", linewidth=1)
        ax.text(place - _GAP, height, names.draw(label, _LETTERS), zorder=5, **look)


def _draw_lines(
    ax: Axes, rows: pd.DataFrame, heights: np.ndarray, scores: np.ndarray
) -> None:
    colours, scale = matplotlib.colormaps[_COLOURS], _scale_colours(scores)
    order = np.argsort(scores, kind="stable")[: np.isfinite(scores).sum()]
    lines = [np.column_stack([range(heights.shape[1]), heights[i]]) for i in order]
    shades = colours(scale(scores[order]))
    # many trials fade, so that those as good as the best can be followed
    faint = np.interp(len(order), [10, 200], [0.9, 0.35])
    groups = group_trials(rows)
    shades[:, 3] = np.where(groups.near[order], 1, faint)
    dashes = np.where(groups.stopped[order], "--", "-").tolist()
    look = {"colors": shades, "linestyles": dashes, "linewidths": 1.4, "zorder": 2}
    ax.add_collection(LineCollection(lines, **look))
    if groups.stopped.any():
        label = f"stopped early ({groups.stopped.sum()})"
        ax.plot([], [], "--", color=FAR, linewidth=1.4, label=label)
    _draw_failed(ax, heights[(rows["kind"] == FAILED).to_numpy(), :-1])
    _draw_leader(ax, rows, heights)
    if len(order):
        _draw_strip(ax, heights.shape[1] - 1, measure_scores(scores), scale)
    _explain_lines(ax)


def _scale_colours(scores: np.ndarray) -> Normalize:
    """Return the scale of colours; outliers far below share the lowest one."""
    known = scores[np.isfinite(scores)]
    if len(known) == 0 or known.min() == known.max():
        return Normalize(0, max(known, default=1), clip=True)
    lower, upper = np.percentile(known, [25, 75])
    fence = lower - 1.5 * (upper - lower)
    return Normalize(min(max(known.min(), fence), known.max() - 1e-6), known.max(), True)


def _draw_failed(ax: Axes, heights: np.ndarray) -> None:
    look = {"linestyle": ":", "linewidth": 1.1, "color": "#57606a", "zorder": 1}
    for index, line in enumerate(heights):
        label = "" if index else f"failed ({len(heights)})"
        ax.plot(range(len(line)), line, label=label, **look)
        ax.plot(len(line) - 1, line[-1], "x", color="black", markersize=5, zorder=4)


def _draw_leader(ax: Axes, rows: pd.DataFrame, heights: np.ndarray) -> None:
    leader = find_leader(rows)
    if leader is not None:
        line, name = heights[leader.name], describe_best(leader)
        ax.plot(range(len(line)), line, color="black", linewidth=4, zorder=3)
        ax.plot(range(len(line)), line, color=BEST, linewidth=2.4, zorder=3, label=name)


def _explain_lines(ax: Axes) -> None:
    look = {"fontsize": 8, "frameon": False, "ncols": 3, "columnspacing": 1.4}
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.01), **look)


def _draw_strip(ax: Axes, place: int, axis: Scale, colours: Normalize) -> None:
    """Draw the colours beside the scores, in place of a colour bar."""
    shades = colours(np.linspace(*axis.bounds, 256))[:, None]
    limits, box = (ax.get_xlim(), ax.get_ylim()), (place, place + _STRIP, 0, 1)
    look = {"cmap": _COLOURS, "vmin": 0, "vmax": 1, "origin": "lower", "aspect": "auto"}
    ax.imshow(shades, extent=box, zorder=1, **look)
    ax.set(xlim=limits[0], ylim=limits[1])
