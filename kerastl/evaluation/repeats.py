"""Models trained with several seeds each, compared on the same images."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from kerastl.errors import UsageError
from kerastl.evaluation.comparing import Comparison, Pair, compare_answers, format_p
from kerastl.evaluation.intervals import CONFIDENCE, Measure, measure_share
from kerastl.evaluation.layout import printable
from kerastl.evaluation.pairing import adjust_holm
from kerastl.evaluation.sentences import count_images


@dataclass(frozen=True)
class RepeatedComparison(Comparison):
    """What one set of images says about models trained with several seeds each.

    `accuracies` are means over the seeds, with Wilson's interval for one run on as many
    images; in `pairs` an image counts for the model of which more runs got it right.

    Args:
        runs: Accuracy of each run, by name of the model.
    """

    runs: dict[str, tuple[float, ...]]

    @property
    def seeds(self) -> int:
        """How many runs each model has."""
        return len(next(iter(self.runs.values())))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**super().to_dict(), "runs": {n: list(r) for n, r in self.runs.items()}}

    def say(self, pair: Pair) -> str:
        """Return what a pair shows and what it leaves open, as two sentences."""
        where = f"on {count_images(self.n)} and {self.seeds} seeds"
        first, second = printable(pair.first), printable(pair.second)
        accuracies = [self.accuracies[name].value for name in (pair.first, pair.second)]
        means = f"mean accuracies {accuracies[0]:.3f} and {accuracies[1]:.3f}"
        evidence = f"{means}, {format_p(pair.p_adjusted)}. {pair.say_range()}"
        if not pair.distinguishable:
            return f"{first} and {second} are not distinguishable {where}: {evidence}"
        if pair.difference.value < 0:
            first, second = second, first
        return f"{first} is better than {second} {where}: {evidence}"

    def notes(self) -> Iterator[str]:
        """Yield what to know of the tests, one sentence each."""
        for name, runs in self.runs.items():
            yield f"{printable(name)}: {min(runs):.3f} to {max(runs):.3f} over its seeds."
        yield (
            "Each p and range counts both the images and the seeds as drawn by chance, so "
            "it speaks for other images and other seeds."
        )
        if len(self.pairs) > 1:
            yield f"p is adjusted for {len(self.pairs)} comparisons (Holm)."


def compare_repeats(right: Mapping[str, np.ndarray]) -> Comparison:
    """Compare models of which each was trained with several seeds.

    McNemar's test speaks for two models as they are. Over several seeds there are two
    sources of chance: which images, and which seeds (Bouthillier et al., MLSys 2021). The
    variance of the difference of two means is the sum of both, as where several readers
    judge the same cases (Dorfman, Berbaum and Metz, Investigative Radiology 27:723-731,
    1992), judged by Student's t with Welch and Satterthwaite's degrees of freedom; two
    images are added, one for either side (Agresti and Min, Statistics in Medicine
    24:729-740, 2005), so that it holds where few images tell models apart. The p-value is
    never below that of an exact test over the images alone (`flip_signs`).

    Args:
        right: Bool (seeds, n) by name: which images each run got right. Two models or
            more, of as many seeds each.

    Returns:
        RepeatedComparison; with one seed, where this cannot be told, the Comparison of
        `compare_predictions`.

    Raises:
        UsageError: There are fewer than two models, or their shapes differ.

    Example:

    >>> right = np.random.default_rng(0).random((2, 3, 200)) < 0.8
    >>> found = compare_repeats({"resnet50": right[0], "vgg16": right[1]})
    >>> print(found.say(found.pairs[0]))
    resnet50 and vgg16 are not distinguishable on 200 images and 3 seeds: mean accuracies
    0.775 and 0.795, p = 0.64. Their accuracies may differ by anything from 7.2 points for
    resnet50 to 11.2 points for vgg16.
    """
    shapes = {np.shape(each) for each in right.values()}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise UsageError(
            f"right has arrays of shapes {sorted(shapes)}: give (seeds, images), the same "
            "for each model."
        )
    if len(right) < 2 or next(iter(shapes))[0] == 1:
        return compare_answers({name: each[0] for name, each in right.items()})
    total = next(iter(shapes))[1]
    found = [compare_pair(right[a], right[b]) for a, b in combinations(right, 2)]
    adjusted = adjust_holm([p for p, _ in found]).tolist()
    pairs = [
        Pair(a, b, *_count_for(right[a], right[b]), p, q, difference)
        for (a, b), (p, difference), q in zip(
            combinations(right, 2), found, adjusted, strict=True
        )
    ]
    return RepeatedComparison(
        n=total,
        accuracies={n: measure_share(e.mean(0).sum(), total) for n, e in right.items()},
        pairs=tuple(pairs),
        runs={name: tuple(each.mean(1).tolist()) for name, each in right.items()},
    )


def _count_for(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    differences = first.sum(axis=0) - second.sum(axis=0)
    return int((differences > 0).sum()), int((differences < 0).sum())


def compare_pair(first: np.ndarray, second: np.ndarray) -> tuple[float, Measure]:
    """Return the p-value and the difference of two models, each bool (seeds, n).

    Example:

    >>> runs = np.random.default_rng(0).random((2, 3, 200)) < [[[0.9]], [[0.6]]]
    >>> p, difference = compare_pair(*runs)
    >>> p < 0.001, difference.low > 0.2
    (True, True)
    """
    from scipy.stats import t

    total = first.shape[1]
    differences = first.mean(axis=0) - second.mean(axis=0)
    center = float(differences.sum() / (total + 2))
    spread = float(((differences**2).sum() + 1) / (total + 2)) - center**2
    seeds = [float(each.mean(1).var(ddof=1)) / len(each) for each in (first, second)]
    parts = [spread / (total + 2), *seeds]
    freedoms = [max(total - 1, 1), len(first) - 1, len(second) - 1]
    variance = sum(parts)
    freedom = variance**2 / sum(v**2 / f for v, f in zip(parts, freedoms, strict=True))
    error = math.sqrt(variance)
    reach = error * float(t.ppf(0.5 + CONFIDENCE / 2, freedom))
    p = 2 * float(t.sf(abs(center) / error, freedom))
    value = float(differences.mean())
    low, high = max(center - reach, -1.0), min(center + reach, 1.0)
    exact = flip_signs(first.sum(axis=0) - second.sum(axis=0))
    return max(p, exact), Measure(value, min(low, value), max(high, value))


def flip_signs(differences: np.ndarray) -> float:
    """Return the exact two-sided p-value of Fisher's randomization test of paired numbers.

    Were two models as good, each image's difference could as well have had the other sign.
    With one run each, where differences are -1, 0 and 1, it is McNemar's exact test.

    Args:
        differences: Int (n,), by how many runs an image speaks for the first model.

    Returns:
        A float in (0, 1].

    Example:

    >>> round(flip_signs(np.array([1] * 7 + [-1] * 5 + [0] * 100)), 3)
    0.774
    """
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of half of (sum + total), from 0 to total
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = np.zeros(size * count + 1)
        steps[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, steps)
    total = len(chances) - 1
    sums = np.abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(chances[sums >= abs(int(differences.sum()))].sum()))
