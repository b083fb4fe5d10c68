"""Training curves over all stages of a run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kerastl.errors import UsageError
from kerastl.evaluation.layout import printable, text_width
from kerastl.reporting.canvas import new_figure, shorten
from kerastl.reporting.fonts import korean_fonts

# Blue and vermilion of Okabe and Ito, told apart also by dashes and markers.
_TRAIN = {"color": "#0072B2", "linestyle": "--", "marker": "o", "label": "training"}
_VALIDATION = {"color": "#D55E00", "linestyle": "-", "marker": "s", "label": "validation"}
_LINE = {"linewidth": 1.6, "markersize": 4}
_STAR = {"marker": "*", "markersize": 15, "markeredgecolor": "black", "linestyle": "none"}
# How many letters of a stage's name fit above one panel.
_LETTERS = 58
_NEEDED = ("epoch", "stage", "stage_index")


def plot_history(rows: pd.DataFrame, ax: Axes | Sequence[Axes] | None = None) -> Figure:
    """Draw loss and accuracy per epoch with the stages' bounds and the best epoch.

    Args:
        rows: history.csv of a run: epoch, stage, stage_index, loss, val_loss, accuracy,
            val_accuracy and is_best; what is absent is not drawn.
        ax: Two axes for loss and accuracy, or one for accuracy; a new figure by default.

    Returns:
        The figure drawn on.

    Raises:
        UsageError: There is no epoch yet, or a column that is needed is absent.

    Example:

    >>> rows = pd.DataFrame({"epoch": [1, 2], "stage": "head", "stage_index": 0,
    ...                      "loss": [0.9, 0.5], "val_accuracy": [0.6, 0.7]})
    >>> [panel.get_ylabel() for panel in plot_history(rows).axes]
    ['loss', 'accuracy']
    """
    _check_rows(rows)
    panels = _choose_panels(ax)
    for panel, measure in zip(panels, ("loss", "accuracy")[-len(panels) :], strict=True):
        _draw_measure(panel, rows, measure)
        _mark_stages(panel, rows)
        _explain(panel)
    return panels[0].figure


def _explain(panel: Axes) -> None:
    # above the panel: inside it there is no place where curves never pass
    entries = len(panel.get_legend_handles_labels()[0])
    look = {"fontsize": 8, "frameon": False, "columnspacing": 1.2, "handletextpad": 0.5}
    columns = 3 if entries == 3 else 2
    panel.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.05), ncols=columns, **look)


def _check_rows(rows: pd.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in rows]
    if missing:
        raise UsageError(
            f"The history has no column {missing[0]!r}, only {list(rows.columns)}: "
            "give the rows of history.csv."
        )
    if rows.empty:
        raise UsageError("The history has 0 rows: no epoch has finished yet.")


def _choose_panels(ax: Axes | Sequence[Axes] | None) -> list[Axes]:
    if ax is None:
        return list(new_figure(9.6, 3.9).subplots(1, 2))
    panels = [ax] if isinstance(ax, Axes) else list(np.ravel(ax))
    if len(panels) > 2:
        raise UsageError(f"ax holds {len(panels)} axes: give one or two.")
    return panels


def _draw_measure(panel: Axes, rows: pd.DataFrame, measure: str) -> None:
    columns = ((measure, _TRAIN), (f"val_{measure}", _VALIDATION))
    for column, look in columns:
        if column in rows and rows[column].notna().any():
            finite = rows[column].where(np.isfinite(rows[column]))
            panel.plot(rows["epoch"], finite, **look, **_LINE)
    _mark_best(panel, rows, f"val_{measure}")
    _mark_diverged(panel, rows, measure)
    panel.set_ylabel(measure)
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panel.grid(axis="y", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def _mark_best(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    best = find_best(rows)
    if best is None or column not in rows or not np.isfinite(best[column]):
        return
    label = f"best: epoch {best['epoch']:.0f} ({best[column]:.3f})"
    color = _VALIDATION["color"]
    panel.plot([best["epoch"]], [best[column]], color=color, label=label, **_STAR)


def find_best(rows: pd.DataFrame) -> pd.Series | None:
    """Return the row of the epoch that was kept: the last one marked `is_best`.

    Args:
        rows: history.csv of a run.

    Returns:
        The row, or None where nothing is marked.

    Example:

    >>> rows = pd.DataFrame({"epoch": [1, 2, 3], "is_best": [True, True, False]})
    >>> int(find_best(rows)["epoch"])
    2
    """
    if "is_best" not in rows:
        return None
    marked = rows[rows["is_best"].astype(bool)]
    return None if marked.empty else marked.iloc[-1]


def _mark_diverged(panel: Axes, rows: pd.DataFrame, measure: str) -> None:
    if measure not in rows:
        return
    epochs = rows.loc[~np.isfinite(rows[measure].astype(float)), "epoch"]
    if len(epochs):
        place = panel.get_xaxis_transform()
        look = {"marker": "x", "color": "black", "linestyle": "none"}
        label = f"training {measure} not finite"
        panel.plot(epochs, [0.02] * len(epochs), transform=place, label=label, **look)


def _mark_stages(panel: Axes, rows: pd.DataFrame) -> None:
    spans = [
        (
            group["epoch"].min() - 0.5,
            group["epoch"].max() + 0.5,
            str(group["stage"].iloc[0]),
        )
        for _, group in rows.groupby("stage_index", sort=True)
    ]
    panel.set_xlim(spans[0][0], spans[-1][1])
    for index, (left, right, _) in enumerate(spans):
        if index % 2:
            panel.axvspan(left, right, color="#000000", alpha=0.06, linewidth=0, zorder=0)
    if len(spans) > 1:
        _name_stages(panel, spans)


def _name_stages(panel: Axes, spans: Sequence[tuple[float, float, str]]) -> None:
    """Write each stage's name above its span, numbered below where they do not fit."""
    names = [shorten(printable(name), 18) for _, _, name in spans]
    with korean_fonts(names) as lettering:
        drawn, notes = lettering.names, [lettering.hint]
        if not lettering.hint and not _names_fit(names, spans):
            drawn = tuple(str(index + 1) for index in range(len(names)))
            listed = [f"{n} {name}" for n, name in zip(drawn, lettering.names, strict=True)]
            notes = [*_wrap("stages:", listed), lettering.hint]
        for (left, right, _), name in zip(spans, drawn, strict=True):
            label = panel.text((left + right) / 2, 1.01, name, fontsize=8, color="#444444")
            label.set(ha="center", va="bottom", transform=panel.get_xaxis_transform())
        xlabel = "\n".join(filter(None, ("epoch", *notes)))
        size = 8 if any(notes) else None
        look = {"fontsize": size, "linespacing": 1.5}
        panel.set_xlabel(xlabel, fontfamily=lettering.families, **look)


def _wrap(start: str, items: Sequence[str]) -> list[str]:
    """Return items on as few lines as fit under one panel."""
    lines = [start]
    for item in items:
        if text_width(f"{lines[-1]}  {item}") > _LETTERS:
            lines.append(item)
        else:
            lines[-1] += f"  {item}"
    return lines


def _names_fit(names: Sequence[str], spans: Sequence[tuple[float, float, str]]) -> bool:
    whole = spans[-1][1] - spans[0][0]
    rooms = [_LETTERS * (right - left) / whole for left, right, _ in spans]
    return all(text_width(n) <= room for n, room in zip(names, rooms, strict=True))
