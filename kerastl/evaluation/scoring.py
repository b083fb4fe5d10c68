"""From labels and probabilities to scores; what cannot be scored is refused first."""

from collections.abc import Sequence

import numpy as np

from kerastl.errors import UsageError
from kerastl.evaluation import inputs, metrics, multilabel
from kerastl.evaluation.intervals import Measure, measure_share, measure_spread
from kerastl.evaluation.per_class import tabulate_classes
from kerastl.evaluation.scores import Scores
from kerastl.seeds import derive_seed

RESAMPLES = 2000


def score(
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    *,
    top_k: Sequence[int] = (3, 5),
    seed: int = 0,
    split: str = "",
) -> Scores:
    """Measure predictions against the truth, with intervals and a baseline.

    Call it once for the test split, after every choice is made; on validation images the
    same numbers are optimistic, and `split="validation"` makes the sentences say so.

    Args:
        labels: Class indices, int (n,); or one column of 0 and 1 per class, (n, classes),
            when an image may carry several labels.
        probabilities: Float (n, classes) in [0, 1]; rows sum to 1 for one label per image.
        class_names: Names in the order of the columns.
        top_k: Which top-k accuracies to add; those not below the number of classes are
            left out because they are always 1. Default 3 and 5.
        seed: Seed of the bootstrap resamples, 0 by default.
        split: Which split this is, for the sentences; empty by default.

    Returns:
        Scores; `print` it for what the numbers mean.

    Raises:
        DataError: There is no image, or probabilities are NaN, out of range or logits.
        UsageError: Shapes, labels or names do not fit together.

    Example:

    >>> scores = score(
    ...     np.array([0, 1, 1, 0]), np.array([[0.9, 0.1]] * 2 + [[0.2, 0.8]] * 2),
    ...     ["cat", "dog"], split="test",
    ... )
    >>> print(str(scores).splitlines()[0])
    test accuracy 0.500 (95 % interval 0.150 to 0.850, 4 images); always answering 'cat'
    would score 0.500.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    names = tuple(str(name) for name in class_names)
    inputs.check_inputs(labels, probabilities, names)
    generator = np.random.default_rng(derive_seed(seed, "bootstrap"))
    if labels.ndim == 2:
        return multilabel.score_label_sets(
            labels, probabilities, names, RESAMPLES, generator, split
        )
    return _score_classes(labels, probabilities, names, top_k, generator, split)


def _score_classes(
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: tuple[str, ...],
    top_k: Sequence[int],
    generator: np.random.Generator,
    split: str,
) -> Scores:
    ranks = metrics.true_ranks(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.count_confusion(labels, predicted, len(names))
    counts = confusion.sum(axis=1)
    return Scores(
        n=len(labels),
        accuracy=measure_share(int(np.trace(confusion)), len(labels)),
        balanced_accuracy=_measure_balanced(confusion),
        macro_f1=_measure_macro(confusion, generator),
        micro_f1=None,
        top_k=_measure_top_k(ranks, top_k, len(names)),
        baseline=measure_share(int(counts.max()), len(labels)),
        baseline_class=names[int(counts.argmax())],
        matthews=metrics.matthews(confusion),
        log_loss=metrics.log_loss(labels, probabilities),
        per_class=tabulate_classes(
            names, np.diag(confusion), confusion.sum(axis=0), counts
        ),
        confusion=confusion,
        class_names=names,
        split=split,
    )


def _measure_balanced(confusion: np.ndarray) -> Measure:
    counts, hits = confusion.sum(axis=1), np.diag(confusion)
    present = counts > 0
    recalls = metrics.smooth_recalls(hits, counts)[present]
    variance = np.mean(recalls * (1 - recalls) / counts[present]) / present.sum()
    value = metrics.balanced_accuracy(hits, counts)
    return measure_spread(value, recalls.mean(), variance)


def _measure_macro(confusion: np.ndarray, generator: np.random.Generator) -> Measure:
    counts, answers = confusion.sum(axis=1), confusion.sum(axis=0)
    # as they are, rows without a mistake would never make one
    smooth = metrics.smooth_confusion(confusion)
    drawn = metrics.resample_confusion(smooth, RESAMPLES, generator)
    values = metrics.macro_f1(*drawn, counts)
    value = metrics.macro_f1(np.diag(confusion), answers, counts)
    return measure_spread(value, values.mean(), values.var())


def _measure_top_k(
    ranks: np.ndarray, top_k: Sequence[int], num_classes: int
) -> dict[int, Measure]:
    for k in top_k:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise UsageError(f"top_k={tuple(top_k)!r}: {k!r} is not a whole number >= 1.")
    wanted = sorted({int(k) for k in top_k if k < num_classes})
    return {k: measure_share(int(np.sum(ranks < k)), len(ranks)) for k in wanted}
