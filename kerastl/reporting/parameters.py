"""The scores of a search's trials against each parameter."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from kerastl.errors import UsageError
from kerastl.evaluation.layout import text_width
from kerastl.reporting.boards import (
    DONE,
    arrange_trials,
    choose_parameters,
    drop_unrun,
    read_values,
)
from kerastl.reporting.canvas import new_figure
from kerastl.reporting.marks import (
    SCORE,
    Names,
    explain_marks,
    fit_scores,
    mark_trials,
    name_parts,
)
from kerastl.reporting.scales import Scale, measure_values, spread_columns

_COLUMNS = 3
# A parameter with more categories gets a row of its own.
_WIDE, _MOST_LABELS = 12, 60
# How many letters fit below one panel.
_ROOM = 34


def plot_parameters(board: pd.DataFrame, parameters: Sequence[str] | None = None) -> Figure:
    """Draw the score against each parameter, one small panel each.

    Numbers that span more than two decades lie on a logarithmic axis; categories, lists
    and few numbers that repeat are columns, with a dash at the median of three or more.

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
    >>> [panel.get_xlabel() for panel in plot_parameters(board).axes]
    ['base', 'dropout']
    """
    rows = drop_unrun(arrange_trials(board))
    scales = measure_parameters(rows, parameters)
    with name_parts(list_texts(scales)) as names:
        figure, panels = _lay_panels(scales)
        for panel, (parameter, scale) in zip(panels, scales.items(), strict=True):
            _draw_panel(panel, rows, scale)
            _name_panel(panel, parameter, scale, names)
        fit_scores(panels[0], rows)
        _label_scores(panels)
        if names.hint:
            figure.supxlabel(names.hint, fontsize=7)
        explain_marks(panels, figure)
    return figure


def measure_parameters(
    rows: pd.DataFrame, parameters: Sequence[str] | None
) -> dict[str, Scale]:
    """Return the scale of each parameter to show.

    Args:
        rows: What `arrange_trials` returned.
        parameters: Columns to show, None for all.

    Returns:
        Scales by parameter, in the order given.

    Raises:
        UsageError: There is none, or one of them is no column.
    """
    chosen = choose_parameters(rows, parameters)
    if not chosen:
        raise UsageError(
            f"The leaderboard has no parameter among its columns {list(rows.columns)}: "
            "there is nothing to draw the score against."
        )
    return {name: measure_values(read_values(rows[name])) for name in chosen}


def list_texts(scales: dict[str, Scale]) -> list[str]:
    """Return every name that the figures of these scales draw."""
    return [text for name, scale in scales.items() for text in (name, *scale.labels)]


def _lay_panels(scales: dict[str, Scale]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel per parameter, wide ones on rows of their own."""
    wide = [scale.categories and len(scale.labels) > _WIDE for scale in scales.values()]
    columns = _COLUMNS if any(wide) else min(_COLUMNS, len(scales))
    spots, row, column = [], 0, 0
    for is_wide in wide:
        width = columns if is_wide else 1
        if column + width > columns:
            row, column = row + 1, 0
        spots.append((row, column, width))
        column += width
    size = max(3.3 * columns, 4.8), 2.7 * (row + 1) + 0.5
    figure = new_figure(*size)
    grid = figure.add_gridspec(row + 1, columns)
    panels: list[Axes] = []
    for row, column, width in spots:
        shared = panels[0] if panels else None
        place = grid[row, column : column + width]
        panels.append(figure.add_subplot(place, sharey=shared))
    return figure, panels


def _draw_panel(panel: Axes, rows: pd.DataFrame, scale: Scale) -> None:
    if scale.log:
        panel.set_xscale("log")
    places = spread_columns(scale.places, 0.5) if scale.categories else scale.places
    mark_trials(panel, places, rows)
    if scale.categories:
        _dash_medians(panel, rows, scale)
    panel.set_xlim(scale.bounds)
    panel.grid(axis="y", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def _dash_medians(panel: Axes, rows: pd.DataFrame, scale: Scale) -> None:
    done = (rows["kind"] == DONE).to_numpy()
    scores, places = rows["score"].to_numpy(float)[done], scale.places[done]
    columns = [place for place in scale.ticks if np.sum(places == place) > 2]
    medians = [np.median(scores[places == place]) for place in columns]
    if columns:
        left, right = np.array(columns) - 0.32, np.array(columns) + 0.32
        look = {"color": "#1b1f24", "linewidth": 1.4, "zorder": 3}
        panel.hlines(medians, left, right, label="median of a column", **look)


def _name_panel(panel: Axes, parameter: str, scale: Scale, names: Names) -> None:
    family = {"fontfamily": names.families}
    panel.set_xlabel(names.draw_parameter(parameter), fontsize=9, **family)
    panel.xaxis.set_minor_locator(NullLocator())
    labels = [names.draw(label) for label in scale.labels]
    if len(labels) > _MOST_LABELS:
        panel.set_xticks([])
        return
    panel.set_xticks(scale.ticks, labels, fontsize=8, **family)
    widest, room = max(map(text_width, labels), default=0) + 1, _ROOM
    if len(labels) > _WIDE:
        room = _ROOM * _COLUMNS
    if scale.categories and widest * len(labels) > room:
        steep = len(labels) > 6
        for label in panel.get_xticklabels():
            label.set(rotation=90 if steep else 30, ha="right", rotation_mode="anchor")
            label.set(va="center" if steep else "top")


def _label_scores(panels: Sequence[Axes]) -> None:
    for panel in panels:
        panel.tick_params(axis="y", labelsize=8)
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel(SCORE, fontsize=9)
        else:
            panel.tick_params(labelleft=False)
