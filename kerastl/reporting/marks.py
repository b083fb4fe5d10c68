"""How trials look in every figure of a search: what is filled, hollow, starred, crossed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerastl.reporting.boards import DONE, FAILED, NOT_RUN, STOPPED, find_leader, near_best
from kerastl.reporting.canvas import shorten
from kerastl.reporting.fonts import HINT, choose_lettering, drawable, korean_fonts

# Blue and vermilion of Okabe and Ito; shapes tell the groups apart without colour.
NEAR, FAR, BEST = "#0072B2", "#8c959f", "#D55E00"
SCORE = "validation score"
# Beyond these many trials their points get smaller.
_MANY = 60
# How far above the lower end those without a score are drawn, in shares of the axis.
_FLOOR = 0.035
_LETTERS = 22


@dataclass(frozen=True, eq=False)
class Groups:
    """Boolean arrays with one entry per row of the leaderboard.

    Args:
        near: Done, with a score inside the best one's interval; the best is not in it.
        far: Done, with a lower score.
        stopped: Scored after fewer epochs than planned.
        failed: Without a score, as it raised or was ended.
        not_run: Planned only.
        best: The best one.
    """

    near: np.ndarray
    far: np.ndarray
    stopped: np.ndarray
    failed: np.ndarray
    not_run: np.ndarray
    best: np.ndarray


def group_trials(rows: pd.DataFrame) -> Groups:
    """Tell trials apart by what is known of them.

    Args:
        rows: What `arrange_trials` returned.
    """
    leader, trials = find_leader(rows), rows["trial"].to_numpy()
    best = trials == (None if leader is None else leader["trial"])
    inside = np.isin(trials, near_best(rows)["trial"])
    done, stopped, failed, not_run = (
        rows["kind"].to_numpy() == kind for kind in (DONE, STOPPED, FAILED, NOT_RUN)
    )
    return Groups(
        inside & ~best, done & ~inside & ~best, stopped, failed, not_run, np.array(best)
    )


def mark_trials(ax: Axes, places: np.ndarray, rows: pd.DataFrame) -> None:
    """Draw one mark per trial: its score, or a cross on the floor without one.

    Args:
        ax: Where to draw.
        places: float array, the place of each row along the axis.
        rows: What `arrange_trials` returned.
    """
    groups, scores = group_trials(rows), rows["score"].to_numpy(float)
    leader, size = find_leader(rows), 4 if len(rows) > _MANY else 5.5
    hollow = {"color": FAR, "markerfacecolor": "white", "markersize": size}
    star = {"color": BEST, "markersize": 15, "markeredgecolor": "black", "zorder": 4}
    bounded = leader is not None and np.isfinite(leader["low"])
    looks = (
        (groups.best, describe_best(leader), "*", star),
        (groups.near, "inside its interval", "o",
         {"color": NEAR, "markersize": size, "zorder": 2.5}),
        (groups.far, "below its interval" if bounded else "lower", "o",
         {"color": FAR, "markersize": size}),
        (groups.stopped, "stopped early", "o", hollow),
    )  # fmt: skip
    for chosen, name, marker, look in looks:
        _draw_group(ax, places[chosen], scores[chosen], name, marker, look)
    _mark_floor(ax, places, groups)


def describe_best(leader: pd.Series | None) -> str:
    """Return the entry of the legend for the best trial, empty where there is none."""
    if leader is None:
        return ""
    return f"best: trial {leader['trial']} ({leader['score']:.3f})"


def _draw_group(
    ax: Axes,
    places: np.ndarray,
    scores: np.ndarray,
    name: str,
    marker: str,
    look: dict[str, object],
) -> None:
    if len(places):
        label = name if marker == "*" else f"{name} ({len(places)})"
        ax.plot(places, scores, marker, label=label, **look)


def _mark_floor(ax: Axes, places: np.ndarray, groups: Groups) -> None:
    """Draw those without a score at the lower end, below all that have one."""
    floor = {"transform": ax.get_xaxis_transform(), "clip_on": False}
    looks = (
        (groups.failed, "failed", "x", {"color": "black", "markersize": 5}),
        (groups.not_run, "not run", "|", {"color": "#57606a", "markersize": 5}),
    )
    for chosen, name, marker, look in looks:
        level = np.full(chosen.sum(), _FLOOR)
        _draw_group(ax, places[chosen], level, name, marker, look | floor)


def fit_scores(ax: Axes, rows: pd.DataFrame) -> None:
    """Set the axis of scores: a free floor where one is needed, nothing beyond 1."""
    scores = rows.loc[rows["kind"].isin((DONE, STOPPED)), "score"]
    leader = find_leader(rows)
    bounds = () if leader is None else (leader["low"], leader["high"])
    known = [value for value in (*scores, *bounds) if value == value]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = max(high - low, 0.02)
    floor = 0.14 if rows["kind"].isin((FAILED, NOT_RUN)).any() else 0.07
    ax.set_ylim(low - floor * span, high + 0.07 * span)


def explain_marks(panels: Sequence[Axes], figure: Figure | None = None) -> None:
    """Put one legend for all marks above the first panel, or above a whole figure.

    Args:
        panels: Where the marks are.
        figure: A figure to write above; by default the first panel.
    """
    pairs = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in panels]
    marks = {name: mark for pair in pairs for mark, name in pair}
    look = {"fontsize": 8, "frameon": False, "columnspacing": 1.4, "handletextpad": 0.4}
    look |= {"markerscale": 0.8, "labels": list(marks), "handles": list(marks.values())}
    if figure is None:
        place = {"loc": "lower left", "bbox_to_anchor": (-0.01, 1.0), "ncols": 4}
        panels[0].legend(**place, **look)
    else:
        columns = max(1, int(figure.get_figwidth() / 2.1))
        figure.legend(loc="outside upper left", ncols=columns, **look)


@dataclass(frozen=True)
class Names:
    """How names are drawn in one figure.

    Args:
        numbers: Number in place of each name that no font here can draw.
        families: Font families for all of them.
    """

    numbers: dict[str, str]
    families: tuple[str, ...]

    @property
    def hint(self) -> str:
        """What to install where there are numbers, else empty."""
        return HINT if self.numbers else ""

    def draw(self, name: str, width: int = _LETTERS) -> str:
        """Return a name as it is to be drawn, on one line and not too long."""
        return self.numbers.get(name) or drawable(shorten(name, width))

    def draw_parameter(self, name: str) -> str:
        """Return a parameter's name, its stage on a line of its own."""
        if name in self.numbers:
            return self.numbers[name]
        stage, _, setting = name.rpartition("__")
        return "\n".join(map(self.draw, filter(None, (stage, setting))))


@contextmanager
def name_parts(texts: Iterable[str]) -> Iterator[Names]:
    """Draw inside with fonts that hold the texts, and numbers for those that none holds.

    Args:
        texts: Names of parameters and of their values.

    Yields:
        How to draw them.
    """
    unique = list(dict.fromkeys(texts))
    numbers = number_names(unique)
    with korean_fonts([text for text in unique if text not in numbers]) as lettering:
        yield Names(numbers, lettering.families)


def number_names(texts: Sequence[str]) -> dict[str, str]:
    """Return "1", "2", ... for each text that no font here can draw.

    Example:

    >>> number_names(["cat", "dog"])
    {}
    """
    if not choose_lettering(list(texts)).hint:
        return {}
    lost = [text for text in texts if choose_lettering([text]).hint]
    return {text: str(number) for number, text in enumerate(lost, 1)}
