"""The curves of several runs in one figure, named where they end."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerastl.errors import UsageError
from kerastl.evaluation.layout import printable
from kerastl.reporting.canvas import new_figure, shorten
from kerastl.reporting.fonts import korean_fonts

# Okabe and Ito's, the pale yellow left out; beyond them dashes tell curves apart.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
DASHES = ("-", "--", ":")
_GAP = 0.065  # between names, as a share of the axis
_NAME = 34  # letters of a name


def plot_histories(
    histories: Mapping[str, Sequence[pd.DataFrame]],
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw loss and accuracy of several runs over their epochs.

    Validation, or training where there is no validation split. A star is the epoch that
    was kept, a ring the first epoch of a later stage.

    Args:
        histories: Rows of history.csv by name, one frame for each seed.
        ax: Two axes for loss and accuracy, or one for accuracy; a new figure by default.

    Returns:
        The figure drawn on.

    Raises:
        UsageError: There is no epoch to draw.

    Example:

    >>> rows = pd.DataFrame({"epoch": [1, 2], "stage_index": 0, "val_accuracy": [0.6, 0.7]})
    >>> figure = plot_histories({"vgg16": [rows], "resnet50": [rows]})
    >>> [text.get_text() for text in figure.axes[-1].texts]
    ['vgg16', 'resnet50']
    """
    frames = [frame for each in histories.values() for frame in each]
    if not frames or all(frame.empty for frame in frames):
        raise UsageError("There are 0 epochs to draw: no run has finished one.")
    prefix = "val_" if any("val_accuracy" in frame for frame in frames) else ""
    panels = list(new_figure(10.4, 4.2).subplots(1, 2)) if ax is None else _as_list(ax)
    for panel, measure in zip(panels, ("loss", "accuracy")[-len(panels) :], strict=True):
        ends = _draw(panel, histories, prefix + measure)
        kind = "validation" if prefix else "training"
        panel.set_ylabel(f"{kind} {measure}")
        _dress(panel)
        if measure == "accuracy":
            _name_ends(panel, ends)
    panels[0].figure.align_ylabels()
    return panels[0].figure


def _as_list(ax: Axes | Sequence[Axes]) -> list[Axes]:
    panels = [ax] if isinstance(ax, Axes) else list(np.ravel(ax))
    if len(panels) > 2:
        raise UsageError(f"ax holds {len(panels)} axes: give one or two.")
    return panels


def _look(number: int) -> dict[str, str]:
    dash = DASHES[number // len(COLORS) % len(DASHES)]
    return {"color": COLORS[number % len(COLORS)], "linestyle": dash}


def _draw(
    panel: Axes, histories: Mapping[str, Sequence[pd.DataFrame]], column: str
) -> list[tuple[str, float, float, str]]:
    """Draw the curves and return name, place of the end and colour of each."""
    ends = []
    for number, (name, frames) in enumerate(histories.items()):
        look, drawn = _look(number), []
        for frame in frames:
            if column in frame and np.isfinite(frame[column]).any():
                drawn.append(_draw_run(panel, frame, column, look, faint=len(frames) > 1))
        if drawn:
            epoch, value = np.mean(drawn, axis=0)
            ends.append((name, float(epoch), float(value), look["color"]))
        if len(frames) > 1 and drawn:
            _draw_mean(panel, frames, column, look)
    return ends


def _draw_run(
    panel: Axes, frame: pd.DataFrame, column: str, look: dict[str, str], *, faint: bool
) -> tuple[float, float]:
    values = frame[column].where(np.isfinite(frame[column]))
    weight = {"linewidth": 0.9, "alpha": 0.45} if faint else {"linewidth": 1.8}
    panel.plot(frame["epoch"], values, **look, **weight)
    later = frame[frame["stage_index"].diff() > 0]
    if not faint:
        ring = {"marker": "o", "linestyle": "none", "markerfacecolor": "white"}
        panel.plot(later["epoch"], later[column], color=look["color"], zorder=3, **ring)
        if "is_best" in frame and frame["is_best"].any():
            best = frame[frame["is_best"].astype(bool)].iloc[-1]
            star = {"marker": "*", "markersize": 13, "markeredgecolor": "black"}
            panel.plot(best["epoch"], best[column], color=look["color"], zorder=4, **star)
    known = values.dropna()
    return float(frame["epoch"].loc[known.index[-1]]), float(known.iloc[-1])


def _draw_mean(
    panel: Axes, frames: Sequence[pd.DataFrame], column: str, look: dict[str, str]
) -> None:
    rows = pd.concat([frame for frame in frames if column in frame])
    mean = rows.groupby("epoch")[column].mean()
    panel.plot(mean.index, mean, **look, linewidth=2.2)


def _dress(panel: Axes) -> None:
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.grid(axis="y", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def _name_ends(panel: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each name beside the end of its curve, moved where two would meet."""
    low, high = panel.get_ylim()
    wanted = np.array([(value - low) / (high - low) for _, _, value, _ in ends])
    places = spread_names(wanted, _GAP)
    right = panel.get_xlim()[1]
    names = [shorten(printable(name), _NAME) for name, *_ in ends]
    with korean_fonts(names) as lettering:
        for (_, epoch, value, color), place, name in zip(
            ends, places, lettering.names, strict=True
        ):
            panel.annotate(
                name,
                xy=(epoch, value),
                xytext=(right, low + place * (high - low)),
                color=color,
                fontfamily=lettering.families,
                fontsize=9,
                va="center",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": color, "lw": 0.6, "alpha": 0.6},
            )
    panel.set_xlim(panel.get_xlim()[0], right)


def spread_names(places: np.ndarray, gap: float) -> np.ndarray:
    """Return places in the same order, moved as little as keeps them a gap apart.

    Example:

    >>> spread_names(np.array([0.5, 0.9, 0.5]), 0.1).round(2).tolist()
    [0.45, 0.9, 0.55]
    """
    order = np.argsort(places, kind="stable")
    groups: list[list[float]] = []  # of neighbours that touch: their wanted places
    for place in np.asarray(places, float)[order]:
        groups.append([place])
        while len(groups) > 1 and _first(groups[-1], gap) < _last(groups[-2], gap) + gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    spread = np.empty(len(places))
    spread[order] = [
        _first(group, gap) + step * gap for group in groups for step in range(len(group))
    ]
    return spread


def _first(group: Sequence[float], gap: float) -> float:
    return float(np.mean(group)) - gap * (len(group) - 1) / 2


def _last(group: Sequence[float], gap: float) -> float:
    return float(np.mean(group)) + gap * (len(group) - 1) / 2
