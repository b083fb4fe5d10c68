"""Scores when an image may carry several labels, each answered yes from 0.5 on."""

import numpy as np

from kerastl.evaluation import metrics
from kerastl.evaluation.intervals import Measure, measure_resamples, measure_share
from kerastl.evaluation.per_class import tabulate_classes
from kerastl.evaluation.scores import Scores

THRESHOLD = 0.5
# Resamples are drawn in pieces of at most this many weights to bound the memory.
_WEIGHTS_AT_ONCE = 5_000_000


def score_label_sets(
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: tuple[str, ...],
    resamples: int,
    generator: np.random.Generator,
    split: str,
) -> Scores:
    """Measure sets of labels; `score` calls it for labels of shape (n, classes).

    Args:
        labels: 0 and 1, (n, classes).
        probabilities: Float (n, classes), one sigmoid per class.
        names: Class names.
        resamples: How many bootstrap resamples.
        generator: Source of their randomness.
        split: Which split this is.

    Returns:
        Scores with `multi_label=True`.
    """
    truth, answer = labels == 1, probabilities >= THRESHOLD
    hits, answers, counts = (truth & answer).sum(0), answer.sum(0), truth.sum(0)
    micro, macro = _measure_f1(truth, answer, resamples, generator)
    common, common_count = _commonest_set(truth)
    return Scores(
        n=len(truth),
        accuracy=measure_share(int((truth == answer).all(axis=1).sum()), len(truth)),
        balanced_accuracy=None,
        macro_f1=macro,
        micro_f1=micro,
        top_k={},
        baseline=measure_share(common_count, len(truth)),
        baseline_class=", ".join(np.array(names, object)[common]) or "no label",
        matthews=None,
        log_loss=binary_log_loss(truth, probabilities),
        per_class=tabulate_classes(names, hits, answers, counts),
        confusion=_count_tables(hits, answers, counts, len(truth)),
        class_names=names,
        multi_label=True,
        split=split,
    )


def _commonest_set(truth: np.ndarray) -> tuple[np.ndarray, int]:
    sets, counts = np.unique(truth, axis=0, return_counts=True)
    return sets[counts.argmax()], int(counts.max())


def binary_log_loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean log loss over all images and labels, each a yes or no.

    Example:

    >>> round(binary_log_loss(np.array([[1, 0]]), np.array([[0.5, 0.5]])), 3)
    0.693
    """
    given = np.where(truth == 1, probabilities, 1 - probabilities.astype(float))
    return float(-np.log(np.clip(given, np.finfo(np.float32).eps, 1)).mean())


def _count_tables(
    hits: np.ndarray, answers: np.ndarray, counts: np.ndarray, total: int
) -> np.ndarray:
    """Return [[true no, false yes], [false no, true yes]] per class."""
    rows = [total - counts - answers + hits, answers - hits, counts - hits, hits]
    return np.stack(rows, axis=-1).reshape(-1, 2, 2).astype(np.int64)


def _measure_f1(
    truth: np.ndarray, answer: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[Measure, Measure]:
    columns = np.concatenate([truth & answer, answer, truth], axis=1).astype(float)
    own = _micro_macro(columns.sum(axis=0))
    drawn = _micro_macro(_draw_counts(columns, resamples, rng))
    return tuple(
        measure_resamples(value, values, len(truth))
        for value, values in zip(own, drawn, strict=True)
    )


def _draw_counts(
    columns: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return column sums over images drawn with replacement, (resamples, columns)."""
    total = len(columns)
    chance, at_once = np.full(total, 1 / total), max(1, _WEIGHTS_AT_ONCE // total)
    pieces = [
        rng.multinomial(total, chance, min(at_once, resamples - start)) @ columns
        for start in range(0, resamples, at_once)
    ]
    return np.concatenate(pieces)


def _micro_macro(counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return micro and macro F1 of hits, answers and counts side by side.

    Without any label and any answer nothing was wrong, which counts as 1.
    """
    hits, answers, counts = np.split(counted, 3, axis=-1)
    micro = metrics.divide(2 * hits.sum(-1), answers.sum(-1) + counts.sum(-1))
    macro = metrics.class_f1(hits, answers, counts)
    measured = np.sum(~np.isnan(macro), axis=-1)
    macro = metrics.divide(np.nansum(macro, axis=-1), measured)
    return np.nan_to_num(micro, nan=1.0), np.nan_to_num(macro, nan=1.0)
