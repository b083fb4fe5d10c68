"""The curve of a learning rate range test."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from kerastl.reporting.canvas import new_figure

_LINES = (("suggestion", "#D55E00", "-"), ("lowest", "#57606a", "--"),
          ("exploded", "#000000", ":"))  # fmt: skip


def plot_rates(
    table: pd.DataFrame,
    suggestion: float | None,
    lowest: float | None,
    explosion: float | None,
) -> Figure:
    """Draw the loss of each step over its learning rate.

    Args:
        table: With the columns rate, loss and smoothed, a row per step.
        suggestion: Rate to mark, as the others; None marks none.
        lowest: Where the smoothed loss was lowest.
        explosion: Where the loss exploded.

    Returns:
        A new figure; the axis of losses leaves out those above the explosion.

    Example:

    >>> rows = pd.DataFrame({"rate": [0.1, 1], "loss": [2, 1], "smoothed": [2, 1]})
    >>> plot_rates(rows, 0.1, None, None).axes[0].get_xscale()
    'log'
    """
    panel = new_figure(7.4, 4.2).subplots()
    panel.plot(table["rate"], table["loss"], ".", color="#8c959f", label="loss of a batch")
    panel.plot(table["rate"], table["smoothed"], color="#0072B2", label="smoothed")
    marks = zip((suggestion, lowest, explosion), _LINES, strict=True)
    for rate, (name, color, dashes) in marks:
        if rate is not None:
            label = f"{name}: {rate:.2g}"
            panel.axvline(rate, color=color, linestyle=dashes, label=label)
    panel.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    _limit(panel, table)
    panel.legend(fontsize=8, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    return panel.figure


def _limit(panel: object, table: pd.DataFrame) -> None:
    finite = table["loss"][np.isfinite(table["loss"])]
    if len(finite):
        first = finite.iloc[: max(1, len(finite) // 5)].max()
        panel.set_ylim(min(0, finite.min()), 1.5 * max(first, finite.min()))
