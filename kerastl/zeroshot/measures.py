"""Accuracies over classes trained and never trained, and what both together are worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerastl.evaluation.intervals import Measure, measure_spread
from kerastl.evaluation.metrics import balanced_accuracy, count_confusion, smooth_recalls


@dataclass(frozen=True)
class Generalized:
    """Answers among all classes (Xian et al., CVPR 2017 and PAMI 2018).

    Args:
        seen: Mean over the classes trained on of the accuracy of each, on test images.
        unseen: The same over the classes never trained; None without images of them.
        harmonic: 2 seen unseen / (seen + unseen), near 0 where either is.
    """

    seen: Measure | None
    unseen: Measure | None
    harmonic: Measure | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            name: each and each.to_dict()
            for name, each in (
                ("seen", self.seen),
                ("unseen", self.unseen),
                ("harmonic", self.harmonic),
            )
        }


@dataclass(frozen=True)
class ZeroShotScores:
    """How good a zero-shot classifier is; intervals are over images, of these classes.

    Args:
        zero_shot: Mean per-class accuracy on the unseen classes when only they may be
            answered; None without images of them.
        chance: What guessing among the unseen classes gives.
        all_classes: Answers among all classes, by the model as it is saved.
        uncalibrated: The same with nothing done about the bias to seen classes.
        chance_of_all: What guessing among all classes gives.
        recalls: Class, whether it was trained on, images and accuracy among all classes.
    """

    zero_shot: Measure | None
    chance: float
    all_classes: Generalized
    uncalibrated: Generalized
    chance_of_all: float
    recalls: tuple[tuple[str, bool, int, float], ...]

    @property
    def seen(self) -> Measure | None:
        """Mean per-class accuracy on seen classes, among all."""
        return self.all_classes.seen

    @property
    def unseen(self) -> Measure | None:
        """Mean per-class accuracy on unseen classes, among all."""
        return self.all_classes.unseen

    @property
    def harmonic(self) -> Measure | None:
        """Harmonic mean of both."""
        return self.all_classes.harmonic

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        names = ("class", "seen", "n", "accuracy")
        return {
            "zero_shot": self.zero_shot and self.zero_shot.to_dict(),
            "chance": self.chance,
            "all_classes": self.all_classes.to_dict(),
            "uncalibrated": self.uncalibrated.to_dict(),
            "chance_of_all": self.chance_of_all,
            "recalls": [dict(zip(names, row, strict=True)) for row in self.recalls],
        }


def harmonic_mean(seen: np.ndarray | float, unseen: np.ndarray | float) -> np.ndarray:
    """Return the harmonic mean of two shares, 0 where both are.

    Example:

    >>> float(harmonic_mean(1.0, 0.5).round(3)), float(harmonic_mean(0.0, 0.0))
    (0.667, 0.0)
    """
    total = np.asarray(seen) + np.asarray(unseen)
    return 2 * np.asarray(seen) * unseen / np.where(total > 0, total, 1)


def measure_recall(confusion: np.ndarray) -> Measure | None:
    """Return the mean accuracy of the classes that have images, with its interval.

    Args:
        confusion: Int `(classes, answers)`, row i's right answer in column i.
    """
    value, center, variance = _spread(confusion)
    return None if value is None else measure_spread(value, center, variance)


def measure_generalized(confusion: np.ndarray, seen: int) -> Generalized:
    """Return the accuracies of seen and unseen classes and their harmonic mean.

    The interval of the latter follows from theirs by the delta method.

    Args:
        confusion: Int `(classes, classes)`, rows are true classes, the seen ones first.
        seen: How many those are.
    """
    first, second = confusion[:seen], np.roll(confusion[seen:], -seen, axis=1)
    harmonic = None
    (s, s_center, s_variance), (u, u_center, u_variance) = _spread(first), _spread(second)
    if s is not None and u is not None:
        total = s_center + u_center
        slopes = 2 * (u_center / total) ** 2, 2 * (s_center / total) ** 2
        variance = slopes[0] ** 2 * s_variance + slopes[1] ** 2 * u_variance
        center = harmonic_mean(s_center, u_center)
        harmonic = measure_spread(harmonic_mean(s, u), float(center), variance)
    return Generalized(measure_recall(first), measure_recall(second), harmonic)


def _spread(confusion: np.ndarray) -> tuple[float | None, float, float]:
    """Return the mean recall, and center and variance of its interval."""
    counts, hits = confusion.sum(axis=1), np.diag(confusion)
    present = counts > 0
    if not present.any():
        return None, 0.0, 0.0
    recalls = smooth_recalls(hits, counts)[present]
    variance = np.mean(recalls * (1 - recalls) / counts[present]) / present.sum()
    return float(balanced_accuracy(hits, counts)), float(recalls.mean()), float(variance)


def score_answers(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    seen: int,
    constant: float,
) -> ZeroShotScores:
    """Measure a classifier's scores for test images.

    Args:
        scores: Float `(n, classes)`, the seen classes first, before calibration.
        labels: Int `(n,)`.
        classes: Names.
        seen: How many were trained on.
        constant: Taken off the scores of the seen classes.
    """
    size, is_new = len(classes), labels >= seen
    shifted = scores - constant * (np.arange(size) < seen)
    raw, confusion = (
        count_confusion(labels, each.argmax(axis=1), size) for each in (scores, shifted)
    )
    among = scores[is_new][:, seen:].argmax(axis=1)
    unseen = count_confusion(labels[is_new] - seen, among, size - seen)
    counts = confusion.sum(axis=1)
    hits = np.diag(confusion) / np.maximum(counts, 1)
    rows = zip(classes, range(size), counts.tolist(), hits.tolist(), strict=True)
    return ZeroShotScores(
        zero_shot=measure_recall(unseen),
        chance=1 / (size - seen),
        all_classes=measure_generalized(confusion, seen),
        uncalibrated=measure_generalized(raw, seen),
        chance_of_all=1 / size,
        recalls=tuple((name, place < seen, n, hit) for name, place, n, hit in rows if n),
    )
