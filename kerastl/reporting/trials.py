"""The scores of a search's trials in their order, with the best so far."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerastl.reporting.boards import DONE, arrange_trials, find_leader
from kerastl.reporting.canvas import new_figure
from kerastl.reporting.marks import BEST, SCORE, explain_marks, fit_scores, mark_trials


def plot_trials(board: pd.DataFrame, ax: Axes | None = None) -> Figure:
    """Draw each trial's score, the best so far, and the interval of the best one.

    Trials whose score lies in that interval cannot be told apart from the best by this
    search. Those that failed or did not run are marked below all scores.

    Args:
        board: leaderboard.csv of a search: trial, score, status, and low and high for the
            interval.
        ax: Axes to draw on; a new figure by default.

    Returns:
        The figure drawn on.

    Raises:
        UsageError: There is no trial, or a column that is needed is absent.

    Example:

    >>> board = pd.DataFrame({"trial": [1, 2], "score": [0.7, 0.9], "status": "done"})
    >>> plot_trials(board).axes[0].get_xlabel()
    'trial'
    """
    rows = arrange_trials(board)
    if ax is None:
        ax = new_figure(9.6, 3.9).add_subplot()
    _shade_interval(ax, rows)
    _step_up(ax, rows)
    mark_trials(ax, rows["trial"].to_numpy(float), rows)
    fit_scores(ax, rows)
    _dress(ax, rows)
    explain_marks([ax])
    return ax.figure


def _shade_interval(ax: Axes, rows: pd.DataFrame) -> None:
    leader = find_leader(rows)
    if leader is None or not np.isfinite([leader["low"], leader["high"]]).all():
        return
    label = f"95 % interval of the best: {leader['low']:.3f} to {leader['high']:.3f}"
    look = {"color": BEST, "alpha": 0.13, "linewidth": 0, "zorder": 0}
    ax.axhspan(leader["low"], leader["high"], label=label, **look)


def _step_up(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the best score so far, to the last trial that was done."""
    done = rows[rows["kind"] == DONE]
    if len(done) > 1:
        best = done["score"].cummax()
        look = {"color": "#1b1f24", "linewidth": 1.2, "alpha": 0.8}
        ax.step(done["trial"], best, where="post", label="best so far", **look)


def _dress(ax: Axes, rows: pd.DataFrame) -> None:
    first, last = rows["trial"].min(), rows["trial"].max()
    margin = max(0.6, 0.015 * (last - first))
    ax.set_xlim(first - margin, last + margin)
    ax.set_xlabel("trial")
    ax.set_ylabel(SCORE)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
