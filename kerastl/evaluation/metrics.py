"""Measures as functions of counts, written once for a split and for its resamples.

`counts` are images per class, `hits` the right ones among them, `answers` how often each
class was predicted: arrays (..., classes) whose leading axes are resamples.
"""

import numpy as np

_ADDED = 2  # images added to each class before its chance of a mistake is estimated


def count_confusion(labels: np.ndarray, predicted: np.ndarray, size: int) -> np.ndarray:
    """Count how often each class was taken for each.

    Args:
        labels: True classes, int (n,).
        predicted: Predicted classes, int (n,).
        size: Number of classes.

    Returns:
        Int64 array (size, size): rows are true classes, columns predicted ones.

    Example:

    >>> count_confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = labels.astype(np.int64) * size + predicted
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def divide(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Divide, giving NaN where there is nothing to divide by.

    Example:

    >>> divide(np.array([1, 0]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    shape = np.broadcast_shapes(np.shape(parts), np.shape(wholes))
    return np.divide(parts, wholes, out=np.full(shape, np.nan), where=wholes > 0)


def class_f1(hits: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return F1 per class; NaN for a class neither present nor predicted.

    Example:

    >>> class_f1(np.array([1, 0]), np.array([2, 0]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    return divide(2 * hits, answers + counts)


def macro_f1(hits: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean F1 over classes present or predicted, as scikit-learn does.

    Example:

    >>> float(macro_f1(np.array([2, 1]), np.array([2, 1]), np.array([2, 1])))
    1.0
    """
    scores = class_f1(hits, answers, counts)
    return divide(np.nansum(scores, axis=-1), np.sum(~np.isnan(scores), axis=-1))


def balanced_accuracy(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean recall over the classes present.

    Example:

    >>> float(balanced_accuracy(np.array([1, 1, 0]), np.array([2, 1, 0])))
    0.75
    """
    present = counts > 0
    return np.mean(hits[..., present] / counts[present], axis=-1)


def matthews(confusion: np.ndarray) -> float:
    """Return the correlation of truth and prediction; 0 when either never varies.

    Example:

    >>> matthews(np.array([[3, 0], [0, 2]]))
    1.0
    """
    counts, answers = confusion.sum(1, dtype=float), confusion.sum(0, dtype=float)
    total = counts.sum()
    shared = np.trace(confusion) * total - counts @ answers
    spread = (total**2 - counts @ counts) * (total**2 - answers @ answers)
    return float(shared / np.sqrt(spread)) if spread > 0 else 0.0


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean of -log of the probability given to the true class.

    Args:
        labels: True classes, int (n,).
        probabilities: Float (n, classes).

    Returns:
        A float >= 0; certain and wrong counts as about 16, not as infinite.

    Example:

    >>> round(log_loss(np.array([0]), np.array([[0.5, 0.5]])), 3)
    0.693
    """
    given = probabilities[np.arange(len(labels)), labels].astype(float)
    return float(-np.log(np.clip(given, np.finfo(np.float32).eps, 1)).mean())


def true_ranks(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the place of the true class among the answers, 0 for the first.

    Ties go to the class that comes first, as in argmax, so that top-1 is the accuracy.

    Example:

    >>> true_ranks(np.array([1, 0]), np.array([[0.5, 0.5], [0.5, 0.5]])).tolist()
    [1, 0]
    """
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & before)
    return ahead.sum(axis=1)


def resample_confusion(
    confusion: np.ndarray, resamples: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw stratified bootstrap resamples of a split from its confusion matrix.

    Drawing n images of one class with replacement is a multinomial draw over that class's
    row, so no image is touched and a thousand resamples cost milliseconds.

    Args:
        confusion: (classes, classes), rows are true classes: counts, or what
            `smooth_confusion` made of them.
        resamples: How many to draw.
        generator: Source of randomness.

    Returns:
        `hits` and `answers`, int arrays (resamples, classes).

    Example:

    >>> hits, answers = resample_confusion(
    ...     np.array([[3, 0], [0, 2]]), 4, np.random.default_rng(0)
    ... )
    >>> hits.tolist()
    [[3, 2], [3, 2], [3, 2], [3, 2]]
    """
    hits = np.zeros((resamples, len(confusion)), np.int64)
    answers = np.zeros_like(hits)
    for index in np.flatnonzero(confusion.sum(axis=1)):
        columns = np.flatnonzero(confusion[index])
        cells = confusion[index, columns]
        draws = generator.multinomial(round(cells.sum()), cells / cells.sum(), resamples)
        answers[:, columns] += draws
        hits[:, index] = draws[:, columns == index].sum(axis=1)
    return hits, answers


def smooth_recalls(hits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return recalls drawn a little towards their mean, none of them 0 or 1.

    Each class counts as if it had two more images, answered as all images were. Where no
    mistake happened to be seen its chance is then still not nought.

    Args:
        hits: Right answers per class, int (classes,).
        counts: Images per class, int (classes,).

    Returns:
        Float (classes,), strictly between 0 and 1.

    Example:

    >>> smooth_recalls(np.array([5, 50]), np.array([5, 50])).round(3).tolist()
    [0.995, 0.999]
    """
    share = (hits.sum() + 1) / (counts.sum() + 2)
    return (hits + _ADDED * share) / (counts + _ADDED)


def smooth_confusion(confusion: np.ndarray) -> np.ndarray:
    """Return a confusion matrix with the recalls of `smooth_recalls`, rows of equal sums.

    Mistakes keep their shares of a row; in a row without any they go to the class most
    often answered by mistake.

    Args:
        confusion: Int (classes, classes), rows are true classes.

    Returns:
        Float (classes, classes).

    Example:

    >>> smooth_confusion(np.array([[3, 0], [0, 2]])).round(2).tolist()
    [[2.83, 0.17], [0.14, 1.86]]
    """
    counts, hits = confusion.sum(axis=1), np.diag(confusion)
    mistakes = (confusion - np.diag(hits)).astype(float)
    answered = np.tile(mistakes.sum(axis=0), (len(confusion), 1))
    np.fill_diagonal(answered, -1)
    spotless = np.flatnonzero(mistakes.sum(axis=1) == 0)
    mistakes[spotless, answered[spotless].argmax(axis=1)] = 1
    recalls = smooth_recalls(hits, counts)
    mistakes *= ((1 - recalls) / mistakes.sum(axis=1))[:, None]
    return (mistakes + np.diag(recalls)) * counts[:, None]
