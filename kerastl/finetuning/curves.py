"""What a learning rate range test found: the curve, and what it suggests."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kerastl.errors import UsageError
from kerastl.stages import Stage, check_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST_STEPS = 20  # of which a curve can be made
SHARE = 12  # the slope at a step is that of a line through 2/12 of all steps around it
EXPLODED = 4.0  # times the lowest loss so far (Smith's and fastai's tests stop there)
ABOVE_START = 1.5  # and times the loss it began with
LAST = 3  # steps whose mean decides whether the loss exploded
SURE = 4.0  # standard errors that a fall must have to be one
LEAST = 0.01  # and the share of the loss at the start
SMALLEST_RATE, LARGEST_RATE = 1e-12, 1e6  # those that a stage takes


@dataclass(frozen=True, eq=False)
class RateTest:
    """The loss of a stage's first steps, while its learning rate rises from step to step.

    Args:
        table: One row per step: `rate`, the batch's `loss` before the step, and `smoothed`,
            the loss on a line through the steps around it.
        stage: That was tested.
        suggestion: The rate at which the smoothed loss fell fastest; None where no rate
            lowered it by more than batches differ, or the loss exploded at once.
        lowest: The rate at which the smoothed loss was lowest: more than this made it rise
            again. None where there is no suggestion.
        explosion: The rate at which the loss was four times its lowest value, and 1.5 times
            what it began with, or no number; None where it never was.
        notes: What else is to be known, one sentence each.
    """

    table: pd.DataFrame
    stage: Stage
    suggestion: float | None
    lowest: float | None
    explosion: float | None
    notes: tuple[str, ...] = ()

    def plot(self) -> "Figure":
        """Draw the loss over the rate, with the suggestion.

        Returns:
            A new figure.
        """
        from kerastl.reporting.rates import plot_rates

        marks = (self.suggestion, self.lowest, self.explosion)
        return plot_rates(self.table, *marks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; a loss that is no number as None."""
        rows = json.loads(self.table.to_json(orient="records", double_precision=15))
        return {
            "suggestion": self.suggestion,
            "lowest": self.lowest,
            "explosion": self.explosion,
            "unfreeze": self.stage.unfreeze,
            "optimizer": self.stage.optimizer,
            "batch_size": self.stage.batch_size,
            "notes": list(self.notes),
            "table": rows,
        }

    def __str__(self) -> str:
        return "\n".join([self._describe_test(), *self._describe_result(), *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def _describe_test(self) -> str:
        rates, stage = self.table["rate"], self.stage
        what = {"head": "the head", "all": "everything"}.get(
            stage.unfreeze, f"{stage.unfreeze} and above"
        )
        if isinstance(stage.unfreeze, int):
            what = f"the last {stage.unfreeze} layers"
        return (
            f"{stage.optimizer} trained {what} for {len(rates)} steps of "
            f"{stage.batch_size} images, at rates from {rates.iloc[0]:.2g} to "
            f"{rates.iloc[-1]:.2g}; the model is as it was before."
        )

    def _describe_result(self) -> list[str]:
        if self.suggestion is None:
            return [self._describe_failure()]
        lines = [
            f"Take learning_rate={self.suggestion:g}: there the loss fell fastest "
            "(steepest descent of the range test, Smith 2017).",
        ]
        if self.lowest < self.table["rate"].iloc[-1]:
            lines.append(f"It was lowest at {self.lowest:.2g}: higher rates made it rise.")
        if self.explosion is not None:
            lines.append(f"At {self.explosion:.2g} it exploded.")
        low, high = self.suggestion / 10, self.suggestion * 10
        lines.append(
            "The test sees the first steps from one start alone: what is best over many "
            "epochs may be up to ten times lower or higher. To know, search "
            f"learning_rate=loguniform({low:.2g},{high:.2g})."
        )
        return lines

    def _describe_failure(self) -> str:
        if self.explosion is not None and self.table["smoothed"].isna().all():
            return (
                f"The loss exploded within {len(self.table)} steps, at {self.explosion:.2g}"
                ": there is no curve to read. Start the test at a lower rate."
            )
        return (
            "No rate helped: the loss fell by no more than batches differ from each other. "
            "Is what trains able to learn these labels, and are the labels right?"
        )


def check_range(steps: int, min_rate: float, max_rate: float) -> None:
    """Refuse a range of rates, or a number of steps, that gives no curve.

    Raises:
        UsageError: A number is out of its range, or the lowest rate is not the lower.

    Example:

    >>> check_range(100, 1e-7, 10.0)
    """
    check_number("steps", steps, FEWEST_STEPS, 100_000, whole=True)
    check_number("min_rate", min_rate, SMALLEST_RATE, LARGEST_RATE)
    check_number("max_rate", max_rate, SMALLEST_RATE, LARGEST_RATE)
    if not min_rate * 10 <= max_rate:
        raise UsageError(
            f"min_rate={min_rate:g} and max_rate={max_rate:g}: give a highest rate of at "
            "least ten times the lowest."
        )


def space_rates(steps: int, min_rate: float, max_rate: float) -> np.ndarray:
    """Return the rate of each step, every one the same factor above the one before.

    Example:

    >>> [round(float(rate), 3) for rate in space_rates(4, 0.001, 1.0)]
    [0.001, 0.01, 0.1, 1.0]
    """
    return np.geomspace(min_rate, max_rate, steps)


def has_exploded(losses: Sequence[float]) -> bool:
    """Return whether the last of some losses say that the rate is too high.

    Example:

    >>> has_exploded([2.0, 1.0, 0.5]), has_exploded([2.0, float("nan")])
    (False, True)
    """
    if not math.isfinite(losses[-1]):
        return True
    means = [sum(losses[n : n + LAST]) / LAST for n in range(len(losses) - LAST + 1)]
    return bool(means) and means[-1] > max(EXPLODED * min(means), ABOVE_START * means[0])


def smooth_losses(losses: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a line through the steps around each step; return its value and slope there.

    A moving average that looks back, as is usual in range tests, would report each loss at
    a higher rate than the one it belongs to.

    Args:
        losses: `(steps,)`, all finite.
        window: Steps on either side; fewer at the ends.

    Example:

    >>> values, slopes = smooth_losses(np.arange(9.0), window=2)
    >>> bool(np.allclose(values, np.arange(9))), bool(np.allclose(slopes, 1))
    (True, True)
    """
    values, slopes = np.empty(len(losses)), np.empty(len(losses))
    for place in range(len(losses)):
        near = np.arange(max(0, place - window), min(len(losses), place + window + 1))
        slopes[place], values[place] = np.polyfit(near - place, losses[near], 1)
    return values, slopes


def read_curve(
    rates: np.ndarray,
    losses: np.ndarray,
    stage: Stage,
    *,
    steps: int,
    notes: Sequence[str] = (),
) -> RateTest:
    """Find the rate at which the loss falls fastest.

    Args:
        rates: `(n,)`, rising by the same factor.
        losses: `(n,)`; the last may be no number.
        stage: That was tested.
        steps: That were planned; fewer where the loss exploded.
        notes: To add to what is found.

    Returns:
        RateTest.

    Example:

    >>> rates = space_rates(100, 1e-5, 10)
    >>> losses = 2 - 1.5 / (1 + (0.01 / rates) ** 2) + 0.1 * rates
    >>> read_curve(rates, losses, Stage(name="head"), steps=100).suggestion
    0.0093
    """
    exploded = has_exploded(list(losses))
    explosion = float(rates[-1]) if exploded else None
    table = pd.DataFrame({"rate": rates, "loss": losses, "smoothed": np.nan})
    finite = np.isfinite(losses)
    if finite.sum() < FEWEST_STEPS:
        return RateTest(table, stage, None, None, explosion, tuple(notes))
    window = max(3, steps // SHARE)
    values, slopes = smooth_losses(losses[finite], window)
    table.loc[finite, "smoothed"] = values
    bottom = int(values.argmin())
    if not _falls(losses[finite], values, bottom, window):
        return RateTest(table, stage, None, None, explosion, tuple(notes))
    place = int(slopes[: bottom + 1].argmin())
    suggestion = float(f"{rates[place]:.2g}")
    notes = [*notes, *_judge_range(bottom, len(values), exploded)]
    found = (suggestion, float(rates[bottom]), explosion)
    return RateTest(table, stage, *found, tuple(notes))


def _falls(losses: np.ndarray, values: np.ndarray, bottom: int, window: int) -> bool:
    """Return whether the fall is more than what batches differ by."""
    before = losses[: max(bottom, 2 * window) + 1]
    # of differences, so that the fall itself is no part of it
    spread = 1.4826 * np.median(np.abs(np.diff(before))) / math.sqrt(2)
    error = spread * math.sqrt(2 / window)  # of two means, of as many steps
    fall = losses[:window].mean() - values[bottom]
    return bool(fall > max(SURE * error, LEAST * abs(losses[:window].mean())))


def _judge_range(bottom: int, count: int, exploded: bool) -> list[str]:
    if bottom >= count - 2 and not exploded:
        return [
            "The loss was still falling at the highest rate: test up to a higher one "
            "before taking this."
        ]
    return []
