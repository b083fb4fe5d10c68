"""The reliability diagram: how often answers of each confidence are right."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerastl.evaluation.calibration import Reliability, SplitCalibration
from kerastl.reporting.canvas import new_figure

_LOOK = {"color": "#0072B2", "marker": "o", "markersize": 4, "linestyle": "none"}


def plot_reliability(calibration: SplitCalibration) -> Figure:
    """Draw confidence against accuracy before and after the temperature.

    Points on the diagonal are as sure as they are right, points below it too sure. Bars
    are Wilson 95 % intervals; the grey steps are how many of the answers a bin has.

    Args:
        calibration: One split of a `Calibration`, such as `calibration.splits[0]`.

    Returns:
        A new figure with two panels.

    Example:

    >>> import numpy as np
    >>> from kerastl.evaluation import calibrate_predictions
    >>> sure, labels = np.tile([0.9, 0.1], (20, 1)), np.arange(20) % 3 // 2
    >>> found = calibrate_predictions({"validation": (labels, sure)})
    >>> [panel.get_xlabel() for panel in plot_reliability(found.splits[0]).axes]
    ['confidence', 'confidence']
    """
    panels = new_figure(8.6, 4.2).subplots(1, 2, sharey=True)
    sides = (("before", calibration.before), ("after", calibration.after))
    for panel, (name, side) in zip(panels, sides, strict=True):
        title = f"{calibration.split}, {name}: error {side.error.value:.3f}"
        panel.set_title(title, loc="left", fontsize=11)
        _draw(panel, side)
    panels[0].set_ylabel("share that is right")
    return panels[0].figure


def _draw(panel: Axes, side: Reliability) -> None:
    total = sum(each.n for each in side.bins)
    edges = [side.bins[0].low, *(each.high for each in side.bins)]
    shares = [each.n / total for each in side.bins]
    panel.stairs(shares, edges, fill=True, color="#000000", alpha=0.12)
    panel.plot([0, 1], [0, 1], color="#57606a", linewidth=1, linestyle="--")
    filled = [each for each in side.bins if each.n]
    values = [each.accuracy.value for each in filled]
    below = [each.accuracy.value - each.accuracy.low for each in filled]
    above = [each.accuracy.high - each.accuracy.value for each in filled]
    confidences = [each.confidence for each in filled]
    panel.errorbar(confidences, values, yerr=[below, above], elinewidth=1, **_LOOK)
    panel.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence")
    panel.spines[["top", "right"]].set_visible(False)
