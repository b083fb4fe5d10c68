"""How sure a share is: Wilson's interval, and bounds of bootstrap resamples."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kerastl.errors import UsageError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measure:
    """A measured value and the 95 % interval the true value is believed to lie in.

    Args:
        value: What was measured.
        low: Lower bound of the interval.
        high: Upper bound of the interval.

    Example:

    >>> print(Measure(0.942, 0.917, 0.960))
    0.942 (0.917 to 0.960)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_dict(self) -> dict[str, float]:
        """Return `{"value", "low", "high"}` as plain floats, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, fields: dict[str, float]) -> "Measure":
        """Rebuild what `to_dict` gave; a KeyError names a missing field."""
        return cls(*(float(fields[name]) for name in ("value", "low", "high")))


def wilson_interval(
    successes: float, total: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Bound the true share behind `successes` right answers out of `total`.

    Holds near 0 and 1 and for a handful of images, where value plus or minus two standard
    errors does not: 20 right of 20 still leaves 0.839 possible.

    Args:
        successes: How many were right, 0 to `total`.
        total: How many were tried; with 0 nothing is ruled out.
        confidence: How often such an interval holds the true share, 0.95 by default.

    Returns:
        Lower and upper bound, floats in [0, 1].

    Raises:
        UsageError: Counts or confidence are out of range.

    Example:

    >>> low, high = wilson_interval(90, 100)
    >>> print(f"{low:.3f} to {high:.3f}")
    0.826 to 0.945
    """
    _check_counts(successes, total, confidence)
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, shrink = successes / total, 1 + z * z / total
    center = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    # At 0 and at `total` the bound is exact; rounding must not move it past the value.
    low = 0.0 if successes == 0 else (center - spread) / shrink
    high = 1.0 if successes == total else (center + spread) / shrink
    return low, high


def _check_counts(successes: float, total: float, confidence: float) -> None:
    if not 0 <= successes <= total:
        raise UsageError(
            f"successes={successes!r} of total={total!r}: give counts with "
            "0 <= successes <= total."
        )
    if not 0 < confidence < 1:
        raise UsageError(
            f"confidence={confidence!r} must lie between 0 and 1; 0.95 is usual."
        )


def measure_share(successes: float, total: float) -> Measure:
    """Measure a share of right answers with its Wilson interval.

    Args:
        successes: How many were right.
        total: How many were tried.

    Returns:
        The share, NaN when `total` is 0, between its bounds.

    Example:

    >>> print(measure_share(20, 20))
    1.000 (0.839 to 1.000)
    """
    value = successes / total if total else math.nan
    return Measure(value, *wilson_interval(successes, total))


def measure_resamples(value: float, resamples: np.ndarray, total: float) -> Measure:
    """Bound a measure in [0, 1] by its bootstrap resamples and by Wilson.

    Resamples cannot show mistakes that did not happen to be drawn: with few images per
    class, or none wrong, their interval is too short. So each bound is the wider of the
    resamples' and of Wilson's for the same share of `total` images.

    Args:
        value: The measure on the images themselves.
        resamples: Float array (resamples,), the measure on each resample.
        total: Number of images the measure rests on.

    Returns:
        The value between the 2.5 and 97.5 % bounds.

    Example:

    >>> print(measure_resamples(1.0, np.ones(2000), 20))
    1.000 (0.839 to 1.000)
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resamples, [tail, 1 - tail])
    wilson_low, wilson_high = wilson_interval(value * total, total)
    return Measure(float(value), min(float(low), wilson_low), max(float(high), wilson_high))


def measure_spread(value: float, center: float, variance: float) -> Measure:
    """Bound a measure in [0, 1] whose variance is known, by Wilson's interval.

    A share of n images has the variance center * (1 - center) / n; the interval is
    Wilson's for as many images as would have the variance given (the effective sample
    size of Korn and Graubard 1998), so it is not cut off at 0 and 1.

    Args:
        value: The measure on the images themselves.
        center: Where the variance was taken, strictly between 0 and 1.
        variance: Of the measure over splits like this one, above 0.

    Returns:
        The value between its bounds.

    Example:

    >>> print(measure_spread(0.9, 0.9, 0.9 * 0.1 / 100), measure_share(90, 100), sep="\\n")
    0.900 (0.826 to 0.945)
    0.900 (0.826 to 0.945)
    """
    total = center * (1 - center) / variance
    value = min(max(float(value), 0.0), 1.0)
    return Measure(value, *wilson_interval(value * total, total))


def measure_difference(
    first: float, first_total: float, second: float, second_total: float
) -> Measure:
    """Measure how much higher one share is than another, of other images.

    Newcombe's hybrid score interval (Statistics in Medicine 17:873-890, 1998, method 10),
    made of both Wilson intervals. For the same images see `paired_interval`.

    Args:
        first: Right answers of the first.
        first_total: How many were tried.
        second: Right answers of the second.
        second_total: How many were tried.

    Returns:
        First share minus second, between its bounds.

    Example:

    >>> print(measure_difference(56, 70, 48, 80))
    0.200 (0.052 to 0.334)
    """
    one, two = measure_share(first, first_total), measure_share(second, second_total)
    value = one.value - two.value
    below = math.hypot(one.value - one.low, two.high - two.value)
    above = math.hypot(one.high - one.value, two.value - two.low)
    return Measure(value, value - below, value + above)
