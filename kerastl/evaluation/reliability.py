"""Whether a confidence means what it says: 0.8 should be right eight times of ten."""

from dataclasses import dataclass

import numpy as np

from kerastl.errors import UsageError
from kerastl.evaluation.intervals import Measure, wilson_interval

BINS = 15  # as Guo et al. (2017) take
RESAMPLES = 1000
_TAIL = (2.5, 97.5)
_Z = 1.959963984540054
_DRAWS_AT_ONCE = 5_000_000  # resamples times bins or answers, to bound the memory


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence.

    Args:
        low: Least confidence of the bin.
        high: Greatest confidence of the bin.
        n: Number of answers in it.
        confidence: Their mean confidence; NaN without any.
        accuracy: Share of them that is right, Wilson interval; NaN without any.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Measure


def list_answers(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how sure each answer is and whether it is right.

    Args:
        labels: Class indices (n,), or 0 and 1 (n, classes).
        probabilities: Float (n, classes).

    Returns:
        Confidence, float64, and right, bool: one per image for the likeliest class; with
        several labels per image one per image and label, sure of yes or of no.

    Example:

    >>> list_answers(np.array([0]), np.array([[0.25, 0.75]]))
    (array([0.75]), array([False]))
    """
    given = np.asarray(probabilities, float)
    if np.ndim(labels) == 1:
        return given.max(axis=1), given.argmax(axis=1) == labels
    said = given >= 0.5
    return np.where(said, given, 1 - given).ravel(), (said == (labels == 1)).ravel()


def assign_bins(
    confidence: np.ndarray, bins: int = BINS, *, adaptive: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Sort answers into bins by confidence.

    Args:
        confidence: Float (n,) in [0, 1].
        bins: How many, 15 by default.
        adaptive: Bins of equal numbers of answers, where many are nearly sure; default
            bins of equal width.

    Returns:
        Bin of each answer, int (n,), and the edges, float (bins + 1,).

    Raises:
        UsageError: `bins` is not a whole number from 1 up.

    Example:

    >>> assign_bins(np.array([0.1, 0.5, 1.0]), 2)[0].tolist()
    [0, 0, 1]
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise UsageError(f"bins={bins!r}: give a whole number from 1 up; 15 is usual.")
    edges = np.linspace(0, 1, bins + 1)
    if adaptive:
        edges = np.quantile(confidence, edges)
    return np.searchsorted(edges[1:-1], confidence, side="left"), edges


def list_bins(
    confidence: np.ndarray, right: np.ndarray, bins: int = BINS, *, adaptive: bool = False
) -> tuple[Bin, ...]:
    """Return what is drawn in a reliability diagram, one entry per bin.

    Example:

    >>> [each.n for each in list_bins(np.array([0.2, 0.9, 0.8]), np.ones(3, bool), 2)]
    [1, 2]
    """
    places, edges = assign_bins(confidence, bins, adaptive=adaptive)
    counts = np.bincount(places, minlength=bins)
    sums = np.bincount(places, confidence, bins)
    hits = np.bincount(places, right, bins)
    return tuple(
        Bin(float(edges[i]), float(edges[i + 1]), int(n), *_measure(n, sums[i], hits[i]))
        for i, n in enumerate(counts)
    )


def _measure(n: int, total: float, hits: float) -> tuple[float, Measure]:
    if n == 0:
        return np.nan, Measure(np.nan, 0.0, 1.0)
    return float(total / n), Measure(float(hits / n), *wilson_interval(int(hits), int(n)))


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, bins: int = BINS, *, adaptive: bool = False
) -> float:
    """Return the expected calibration error: how far confidence and accuracy lie apart.

    The mean over all answers of the distance between confidence and accuracy in their bin
    (Guo et al. 2017). It is biased upward: by luck alone it is above 0 for a perfect
    model, and more so with few answers; `expected_by_luck` says how much.

    Args:
        confidence: Float (n,), from `list_answers`.
        right: Bool (n,).
        bins: How many, 15 by default.
        adaptive: Bins of equal numbers of answers instead of equal width.

    Returns:
        A float in [0, 1].

    Example:

    >>> float(calibration_error(np.full(10, 0.75), np.arange(10) < 5))
    0.25
    """
    places, _ = assign_bins(confidence, bins, adaptive=adaptive)
    return float(np.abs(np.bincount(places, right - confidence, bins)).sum() / len(right))


def measure_error(
    confidence: np.ndarray,
    right: np.ndarray,
    generator: np.random.Generator,
    *,
    adaptive: bool = False,
) -> tuple[Measure, Measure]:
    """Return the calibration error with its interval, and what luck alone would show.

    The lower bound is 1.96 bootstrap deviations below the error less its bias (which the
    resamples have once more than the error), and 0 where the error is one that luck
    explains; the upper bound is as far above the error. In simulations such intervals
    held the true error in 89 to 98 % of draws.

    Args:
        confidence: Float (n,), from `list_answers`.
        right: Bool (n,).
        generator: Source of the resamples.
        adaptive: Bins of equal numbers of answers instead of equal width.

    Returns:
        The error, and what `expected_by_luck` says.
    """
    value = calibration_error(confidence, right, adaptive=adaptive)
    luck = expected_by_luck(confidence, generator, adaptive=adaptive)
    places, _ = assign_bins(confidence, adaptive=adaptive)
    gaps, total, drawn = right - confidence, len(right), []
    for size in _pieces(total):
        chosen = generator.integers(0, total, (size, total))
        drawn += _sum_gaps(places[chosen], gaps[chosen])
    spread, bias = _Z * np.std(drawn), max(0.0, np.mean(drawn) - value)
    low = 0.0 if value <= luck.high else max(0.0, value - bias - spread)
    return Measure(value, float(low), float(min(1.0, value + spread))), luck


def expected_by_luck(
    confidence: np.ndarray, generator: np.random.Generator, *, adaptive: bool = False
) -> Measure:
    """Return the calibration error a perfectly calibrated model would show here.

    Answers are drawn right as often as their confidence says (consistency resampling,
    Bröcker and Smith 2007): an error within these bounds is no sign of miscalibration.

    Args:
        confidence: Float (n,), from `list_answers`.
        generator: Source of the draws.
        adaptive: Bins of equal numbers of answers instead of equal width.

    Returns:
        Mean of the draws, and the bounds of 95 % of them.
    """
    places, _ = assign_bins(confidence, adaptive=adaptive)
    drawn = []
    for size in _pieces(len(confidence)):
        right = generator.random((size, len(confidence))) < confidence
        drawn += _sum_gaps(np.broadcast_to(places, right.shape), right - confidence)
    low, high = np.percentile(drawn, _TAIL)
    return Measure(float(np.mean(drawn)), float(low), float(high))


def _pieces(total: int) -> list[int]:
    at_once = max(1, _DRAWS_AT_ONCE // total)
    starts = range(0, RESAMPLES, at_once)
    return [min(at_once, RESAMPLES - start) for start in starts]


def _sum_gaps(places: np.ndarray, gaps: np.ndarray) -> list[float]:
    """Return the calibration error of each row of resampled answers."""
    rows, total = places.shape
    flat = (places + BINS * np.arange(rows)[:, None]).ravel()
    sums = np.bincount(flat, gaps.ravel(), rows * BINS).reshape(rows, BINS)
    return (np.abs(sums).sum(axis=1) / total).tolist()
