"""Which of several models is better on the same images, and what cannot be concluded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.errors import UsageError, check_choice
from kerastl.evaluation.inputs import check_inputs
from kerastl.evaluation.intervals import Measure, measure_share
from kerastl.evaluation.layout import html_table, html_text, printable
from kerastl.evaluation.multilabel import THRESHOLD
from kerastl.evaluation.pairing import adjust_holm, mcnemar_test, paired_interval
from kerastl.evaluation.sentences import count_images

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """Two models on the same images.

    Args:
        first: Name of one model.
        second: Name of the other.
        first_only: Images that the first alone got right.
        second_only: Images that the second alone got right.
        p: Exact McNemar test.
        p_adjusted: The same, adjusted by Holm for all pairs of the comparison.
        difference: Accuracy of the first minus that of the second, Tango's interval, for
            this pair by itself.
    """

    first: str
    second: str
    first_only: int
    second_only: int
    p: float
    p_adjusted: float
    difference: Measure

    @property
    def distinguishable(self) -> bool:
        """Whether the adjusted p-value is below 0.05."""
        return self.p_adjusted < LEVEL

    def say_range(self) -> str:
        """Return how far apart their accuracies may be, as a sentence."""
        low, high = 100 * self.difference.low, 100 * self.difference.high
        ends = [self._say_points(points) for points in (high, low)]
        if low <= 0 <= high:
            return f"Their accuracies may differ by anything from {ends[0]} to {ends[1]}."
        small, large = sorted((abs(low), abs(high)))
        return f"The true difference is likely {small:.1f} to {large:.1f} points."

    def _say_points(self, points: float) -> str:
        name = printable(self.first if points > 0 else self.second)
        return f"{abs(points):.1f} points for {name}"


@dataclass(frozen=True)
class Comparison:
    """What one set of images says about several models; `compare_predictions` makes it.

    Args:
        n: Number of images.
        accuracies: Share of images each model got right, Wilson interval, by name.
        pairs: Every two models that were compared.
    """

    n: int
    accuracies: dict[str, Measure]
    pairs: tuple[Pair, ...]

    @property
    def table(self) -> "pd.DataFrame":
        """One row per pair: first, second, counts, p, p_adjusted, difference, low, high."""
        import pandas as pd

        columns = ("first", "second", "first_only", "second_only", "p", "p_adjusted")
        rows = [
            {
                **{name: getattr(pair, name) for name in columns},
                "difference": pair.difference.value,
                "low": pair.difference.low,
                "high": pair.difference.high,
            }
            for pair in self.pairs
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "n": self.n,
            "accuracies": {name: m.to_dict() for name, m in self.accuracies.items()},
            "pairs": self.table.to_dict("records"),
        }

    def __str__(self) -> str:
        return "\n".join(
            (*self._say_accuracies(), *map(self.say, self.pairs), *self.notes())
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        said = "<br>".join(html_text(line) for line in str(self).splitlines())
        rows = [[_show(cell) for cell in row] for row in self.table.itertuples(index=False)]
        header = [name.replace("_", " ") for name in self.table.columns]
        return f"<p>{said}</p>{html_table(header, rows, right=range(2, 9))}"

    def _say_accuracies(self) -> Iterator[str]:
        for name, measure in self.accuracies.items():
            yield f"{printable(name)}: accuracy {measure}."

    def say(self, pair: Pair) -> str:
        """Return what a pair shows and what it leaves open, as one or two sentences."""
        better = pair.first if pair.first_only >= pair.second_only else pair.second
        apart, won = _count_apart(pair)
        first, second, best = map(printable, (pair.first, pair.second, better))
        if apart == 0:
            return (
                f"{first} and {second} are not distinguishable on {count_images(self.n)}: "
                f"they are right and wrong on the same ones. {pair.say_range()}"
            )
        counted = f"{count_images(apart)} tell{'s' * (apart == 1)} them apart, {won} for"
        evidence = f"{counted} {best}, {format_p(pair.p_adjusted)}."
        if pair.distinguishable:
            worse = second if best == first else first
            return (
                f"{best} is better than {worse} on {count_images(self.n)}: {evidence} "
                f"{pair.say_range()}"
            )
        return (
            f"{first} and {second} are not distinguishable on {count_images(self.n)}: "
            f"{evidence}{self._say_too_few(apart)} {pair.say_range()}"
        )

    def notes(self) -> Iterator[str]:
        """Yield what to know of the tests, one sentence each."""
        if len(self.pairs) > 1:
            yield (
                f"p is adjusted for {len(self.pairs)} comparisons (Holm); each range is "
                "for its pair by itself."
            )
        yield "Each model is one training run: other seeds may turn such a result around."

    def _say_too_few(self, apart: int) -> str:
        # were all of these images one model's, p would still not be below the level
        if mcnemar_test(apart, 0) * len(self.pairs) < LEVEL:
            return ""
        return " So few could not have told any two models apart."


def compare_predictions(
    labels: np.ndarray,
    probabilities: Mapping[str, np.ndarray],
    *,
    against: str | None = None,
) -> Comparison:
    """Compare models by their predictions for the same images.

    For models of which none was chosen by these images: test predictions, or validation
    predictions of models that were trained without looking at them.

    Args:
        labels: Class indices, int (n,); or one column of 0 and 1 per class, (n, classes),
            where an image counts as right when all its labels are.
        probabilities: Float (n, classes) by name of the model, two models or more.
        against: Compare each model with this one alone, which takes fewer tests and so
            adjusts less. Default: every model with every other.

    Returns:
        Comparison; `print` it for what can and cannot be concluded, `.table` has the
        numbers.

    Raises:
        UsageError: There are fewer than two models, or shapes do not fit.
        DataError: There is no image, or probabilities are NaN or out of range.

    Example:

    >>> labels = np.zeros(200, int)
    >>> a, b = np.tile([0.9, 0.1], (200, 1)), np.tile([0.9, 0.1], (200, 1))
    >>> a[:5], b[5:12] = [0.1, 0.9], [0.1, 0.9]
    >>> print(compare_predictions(labels, {"resnet50": a, "vgg16": b}))
    resnet50: accuracy 0.975 (0.943 to 0.989).
    vgg16: accuracy 0.965 (0.930 to 0.983).
    resnet50 and vgg16 are not distinguishable on 200 images: 12 images tell them apart, 7
    for resnet50, p = 0.77. Their accuracies may differ by anything from 4.9 points for
    resnet50 to 2.7 points for vgg16.
    Each model is one training run: other seeds may turn such a result around.
    """
    right = {name: mark_right(labels, each) for name, each in probabilities.items()}
    return compare_answers(right, against=against)


def compare_answers(
    right: Mapping[str, np.ndarray], *, against: str | None = None
) -> Comparison:
    """Compare models by which images each answered right, as `compare_predictions` does.

    Args:
        right: Bool (n,) by name of the model, two models or more.
        against: Compare each model with this one alone.

    Returns:
        Comparison.

    Raises:
        UsageError: There are fewer than two models, or no such one to compare with.
    """
    if len(right) < 2:
        raise UsageError(
            f"{len(right)} model: give the predictions of two or more by name."
        )
    if against is not None:
        check_choice("against", against, right)
    names = [pair for pair in combinations(right, 2) if against in (None, *pair)]
    counts = [_count_discordant(right[a], right[b]) for a, b in names]
    p_values = [mcnemar_test(*pair) for pair in counts]
    adjusted = adjust_holm(p_values).tolist()
    total = len(next(iter(right.values())))
    pairs = [
        Pair(*pair, *count, p, q, _measure_difference(*count, total))
        for pair, count, p, q in zip(names, counts, p_values, adjusted, strict=True)
    ]
    accuracies = {n: measure_share(int(each.sum()), total) for n, each in right.items()}
    return Comparison(total, accuracies, tuple(pairs))


def mark_right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return which images were answered right, bool (n,).

    Example:

    >>> mark_right(np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]])).tolist()
    [True, False]
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    numbers = range(probabilities.shape[1] if probabilities.ndim == 2 else 0)
    check_inputs(labels, probabilities, tuple(map(str, numbers)))
    if labels.ndim == 2:
        return ((probabilities >= THRESHOLD) == (labels == 1)).all(axis=1)
    return probabilities.argmax(axis=1) == labels


def _count_discordant(first: np.ndarray, second: np.ndarray) -> tuple[int, int]:
    return int((first & ~second).sum()), int((second & ~first).sum())


def _measure_difference(first_only: int, second_only: int, total: int) -> Measure:
    bounds = paired_interval(first_only, second_only, total)
    return Measure((first_only - second_only) / total, *bounds)


def _count_apart(pair: Pair) -> tuple[int, int]:
    return pair.first_only + pair.second_only, max(pair.first_only, pair.second_only)


def format_p(p: float) -> str:
    """Return a p-value with two digits that matter.

    Example:

    >>> format_p(0.774), format_p(0.0123), format_p(1e-9), format_p(1.0)
    ('p = 0.77', 'p = 0.012', 'p < 0.0001', 'p = 1')
    """
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _show(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
