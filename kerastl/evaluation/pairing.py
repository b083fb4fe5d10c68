"""Two models on the same images: those that one alone gets right tell them apart."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from kerastl.errors import UsageError
from kerastl.evaluation.intervals import CONFIDENCE

_EDGE = 1e-12  # how near to a difference of one the search for a bound goes


def mcnemar_test(first_only: int, second_only: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Under equal accuracy an image that one model alone gets right is as likely the one's as
    the other's, so the counts are a binomial draw at one half. For models trained once it
    is the test with an acceptable rate of false alarms (Dietterich 1998).

    Args:
        first_only: Images that the first model alone got right.
        second_only: Images that the second model alone got right.

    Returns:
        A float in (0, 1]; 1 where no image tells them apart.

    Raises:
        UsageError: A count is negative.

    Example:

    >>> round(mcnemar_test(7, 5), 3)
    0.774
    """
    from scipy.stats import binomtest

    _check_counts(first_only, second_only, first_only + second_only)
    total = int(first_only + second_only)
    return float(binomtest(int(first_only), total).pvalue) if total else 1.0


def adjust_holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p-values for how many there are, by Holm's method (1979).

    The chance that any of them falls below 0.05 by luck alone is then at most 5 %,
    however the tests depend on each other.

    Args:
        p_values: As the tests gave them.

    Returns:
        Float array of the same order, each at least its own p-value and at most 1.

    Example:

    >>> adjust_holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * factors)
    return adjusted.clip(0, 1)


def paired_interval(
    first_only: int, second_only: int, total: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Bound the difference of two accuracies measured on the same images.

    Tango's score interval (Statistics in Medicine 17:891-908, 1998): like Wilson's it
    holds for few images and where the models never or always differ. Two separate
    intervals do not say this: they leave out that the images are the same.

    Args:
        first_only: Images that the first model alone got right.
        second_only: Images that the second model alone got right.
        total: All images, those on which both agree included.
        confidence: How often such an interval holds the true difference, 0.95 by default.

    Returns:
        Lower and upper bound of first minus second, floats in [-1, 1].

    Raises:
        UsageError: Counts or confidence are out of range.

    Example:

    >>> low, high = paired_interval(7, 5, 200)
    >>> print(f"{low:.3f} to {high:.3f}")
    -0.027 to 0.049
    """
    _check_counts(first_only, second_only, total)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence!r} must lie between 0 and 1.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    high = _upper_bound(first_only, second_only, total, z)
    return -_upper_bound(second_only, first_only, total, z), high


def _upper_bound(more: int, fewer: int, total: int, z: float) -> float:
    from scipy.optimize import brentq

    if total == 0 or more == total:
        return 1.0
    start = (more - fewer) / total
    return float(brentq(lambda d: _score(d, more, fewer, total) + z, start, 1 - _EDGE))


def _score(difference: float, more: int, fewer: int, total: int) -> float:
    """Return how many standard errors the counts lie above a supposed difference."""
    linear = (2 * total - more + fewer) * difference - more - fewer
    constant = -fewer * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear**2 - 8 * total * constant))
    # the likeliest share of images the second alone gets right, given the difference
    share = max(0.0, (root - linear) / (4 * total))
    variance = total * (2 * share + difference * (1 - difference))
    distance = more - fewer - total * difference
    return distance / math.sqrt(variance) if variance > 0 else 0.0


def _check_counts(first_only: int, second_only: int, total: int) -> None:
    if min(first_only, second_only) < 0 or first_only + second_only > total:
        raise UsageError(
            f"first_only={first_only!r} and second_only={second_only!r} of "
            f"total={total!r}: give counts from 0 on that are no more than the total."
        )
