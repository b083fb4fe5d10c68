"""When to say "not sure": the least confidence whose answers are right often enough."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerastl.errors import UsageError
from kerastl.evaluation.inputs import check_inputs
from kerastl.evaluation.intervals import CONFIDENCE, Measure, measure_share
from kerastl.evaluation.reliability import list_answers
from kerastl.evaluation.sentences import count_images

NOT_SURE = "not sure"
# fixed before any image is seen, finer where trained networks are: near certainty
_GRID = np.unique(
    np.concatenate(
        [np.arange(100) / 100, *(1 - np.arange(1, 91) / 10.0**k for k in (4, 6))]
    ).round(9)
)
# also for networks that are not sure enough, whose confidences lie in the middle
_STARTS = (0.999, 0.99, 0.95, 0.85, 0.7, 0.55, 0.4, 0.0)


@dataclass(frozen=True)
class Answered:
    """What a threshold does to one split.

    Args:
        split: Its name.
        n: Number of images.
        coverage: Share of images answered, Wilson interval.
        accuracy: Share of the answered that is right, Wilson interval; NaN for none.
    """

    split: str
    n: int
    coverage: Measure
    accuracy: Measure

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "split": self.split,
            "n": self.n,
            "coverage": self.coverage.to_dict(),
            "accuracy": self.accuracy.to_dict(),
        }

    def __str__(self) -> str:
        chosen = ", on which the epoch was chosen as well," * (self.split == "validation")
        return (
            f"On the {self.split} split ({count_images(self.n)}){chosen} it answers "
            f"{self.coverage} of them, and {self.accuracy} of the answers are right."
        )


@dataclass(frozen=True)
class Threshold:
    """The least confidence to answer with, for a wanted accuracy.

    Args:
        value: Images of at least this confidence are answered; None where no threshold
            can be promised.
        wanted: Accuracy of the answers that was asked for.
        confidence: How sure the promise is, such as 0.95.
        splits: What it does to the validation split it was chosen on, and to others.
        needed: How many right answers in a row it would take at least.
    """

    value: float | None
    wanted: float
    confidence: float
    splits: tuple[Answered, ...]
    needed: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "value": self.value,
            "wanted": self.wanted,
            "confidence": self.confidence,
            "splits": [split.to_dict() for split in self.splits],
        }

    def __str__(self) -> str:
        sure = f"{100 * self.confidence:g} %"
        if self.value is None:
            return (
                f"No threshold can promise an accuracy of {self.wanted:g} with {sure} "
                f"confidence. It would take {count_images(self.needed)} that are surer "
                "than all mistakes, at least: ask for less, or give more validation images."
            )
        first = (
            f"Answers of confidence {self.value:g} and more are right at least "
            f"{self.wanted:g} of the time, with {sure} confidence, on images like the "
            "validation images."
        )
        return "\n".join((first, *map(str, self.splits)))

    def __repr__(self) -> str:
        return str(self)


def find_threshold(
    labels: np.ndarray,
    probabilities: np.ndarray,
    accuracy: float = 0.95,
    *,
    confidence: float = CONFIDENCE,
    split: str = "validation",
) -> Threshold:
    """Find the least confidence whose answers are right as often as wanted.

    Selective classification with a guarantee (Geifman and El-Yaniv, NeurIPS 2017): the
    exact binomial (Clopper-Pearson) bound must hold at the threshold. Thresholds are a
    fixed grid, tried downward from eight fixed starts that share the error, each until
    the bound fails (fixed-sequence testing, Angelopoulos et al. 2021), so that choosing
    among them does not void the promise.

    Args:
        labels: Class indices, int (n,), of images that chose nothing else of importance.
        probabilities: Float (n, classes).
        accuracy: Wanted share of right answers, above 0 and below 1. Default 0.95.
        confidence: How sure the promise must be. Default 0.95.
        split: Name of the split, for the sentences.

    Returns:
        Threshold; its `value` is None where nothing can be promised.

    Raises:
        UsageError: Several labels per image, or a number is out of range.

    Example:

    >>> labels = np.arange(1000) % 2
    >>> sure = np.where(np.arange(1000) < 800, 0.99, 0.6)
    >>> said = np.where(np.arange(1000) % 10 < 8, labels, 1 - labels)
    >>> said[:800] = labels[:800]
    >>> given = np.where(said[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    >>> print(find_threshold(labels, given, 0.98, split="test"))
    Answers of confidence 0.61 and more are right at least 0.98 of the time, with 95 %
    confidence, on images like the validation images.
    On the test split (1,000 images) it answers 0.800 (0.774 to 0.824) of them, and 1.000
    (0.995 to 1.000) of the answers are right.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    check_share("accuracy", accuracy)
    check_share("confidence", confidence)
    _check_task(labels, probabilities)
    sure, right = list_answers(labels, probabilities)
    error = (1 - confidence) / len(_STARTS)
    p_values = _test_grid(sure, right, accuracy)
    found = [_descend(p_values, start, error) for start in _STARTS]
    passed = [value for value in found if value is not None]
    value = min(passed) if passed else None
    needed = math.ceil(math.log(error) / math.log(accuracy))
    threshold = Threshold(value, float(accuracy), float(confidence), (), needed)
    return judge_threshold(threshold, labels, probabilities, split)


def judge_threshold(
    threshold: Threshold, labels: np.ndarray, probabilities: np.ndarray, split: str
) -> Threshold:
    """Return the threshold with its coverage and accuracy on one more split.

    Args:
        threshold: From `find_threshold`.
        labels: Class indices, int (n,).
        probabilities: Float (n, classes).
        split: Name of the split.

    Returns:
        Threshold; unchanged where it has no value.
    """
    if threshold.value is None:
        return threshold
    sure, right = list_answers(labels, probabilities)
    answered = sure >= threshold.value
    count = int(answered.sum())
    judged = Answered(
        split,
        len(sure),
        measure_share(count, len(sure)),
        measure_share(int(right[answered].sum()), count),
    )
    fields = (threshold.value, threshold.wanted, threshold.confidence)
    return Threshold(*fields, (*threshold.splits, judged), threshold.needed)


def _test_grid(sure: np.ndarray, right: np.ndarray, accuracy: float) -> np.ndarray:
    """Return the exact binomial p-value at each threshold of the grid, 1 without answers.

    It is how often so many answers are right where the true share is the wanted one or
    less; the Clopper-Pearson bound holds where it is no more than the error allowed.
    """
    from scipy.stats import binom

    order = np.argsort(sure)
    first = np.searchsorted(sure[order], _GRID, side="left")
    hits_below = np.concatenate([[0], np.cumsum(right[order])])
    hits = hits_below[-1] - hits_below[first]
    return binom.sf(hits - 1, len(sure) - first, accuracy)


def _descend(p_values: np.ndarray, start: float, error: float) -> float | None:
    """Return the last threshold, going down from a start, whose bound holds."""
    passed = None
    for value, p in zip(_GRID[::-1], p_values[::-1], strict=True):
        if value <= start:
            if p > error:
                break
            passed = float(value)
    return passed


def check_share(name: str, value: float) -> None:
    """Refuse what is not a number between 0 and 1.

    Raises:
        UsageError: It is not.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 < value < 1:
        raise UsageError(f"{name}={value!r} must be a share between 0 and 1, such as 0.95.")


def _check_task(labels: np.ndarray, probabilities: np.ndarray) -> None:
    if labels.ndim == 2:
        raise UsageError(
            "With several labels per image there is not one confidence to set a threshold "
            "on: take the probability of the label that matters."
        )
    check_inputs(labels, probabilities, tuple(map(str, range(probabilities.shape[-1]))))
