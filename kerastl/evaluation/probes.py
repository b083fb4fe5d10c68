"""A linear head judged by folds on frozen features: what a base is worth, untrained."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerastl.evaluation.intervals import Measure, measure_share

FOLDS = 5
# inverse strengths of the L2 penalty, from strong to weak
PENALTIES = (0.001, 0.01, 0.1, 1.0)
MAX_ITERATIONS = 1000
LEAST = 1e-7  # below it a probability counts as this

Folds = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Probe:
    """What a linear head, solved on the other folds, says of each image.

    Args:
        right: `(n,)` whether each image was classified rightly.
        penalties: Inverse strength taken in each fold, chosen by the others.
    """

    right: np.ndarray
    penalties: tuple[float, ...]

    @property
    def accuracy(self) -> Measure:
        """Share of images classified rightly, with its Wilson interval."""
        return measure_share(int(self.right.sum()), len(self.right))


def probe_features(features: np.ndarray, labels: np.ndarray, folds: Folds) -> Probe:
    """Solve a linear head on all folds but one and judge it on that, for each fold.

    Multinomial logistic regression with an L2 penalty on features standardised by the
    images it is solved on. The penalty of a fold is the one with the lowest log loss on the
    other folds, so that no image has a part in choosing what it is judged by.

    Args:
        features: `(n, d)` floats.
        labels: `(n,)` whole numbers from 0.
        folds: Rows to solve on and rows to judge, as `Data.folds` gives them.

    Returns:
        Probe of the images in their order.

    Example:

    >>> labels = np.arange(40) % 2
    >>> rows = np.arange(40)
    >>> folds = [(rows[rows % 4 != k], rows[rows % 4 == k]) for k in range(4)]
    >>> noise = np.random.default_rng(0).normal(size=(40, 3))
    >>> print(probe_features(noise + 9 * labels[:, None], labels, folds).accuracy)
    1.000 (0.912 to 1.000)
    """
    found, penalties = predict_folds(features, labels, folds)
    kinds = np.unique(labels)
    return Probe(kinds[found.argmax(axis=1)] == labels, penalties)


def predict_folds(
    features: np.ndarray, labels: np.ndarray, folds: Folds
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Predict each image by a linear head that was solved without it, as `probe_features`.

    Args:
        features: `(n, d)` floats.
        labels: `(n,)` whole numbers.
        folds: Rows to solve on and rows to judge; each row is judged once.

    Returns:
        Probabilities `(n, kinds)` of the labels there are, in ascending order; the
        penalty of each fold.
    """
    kinds, labels = np.unique(labels, return_inverse=True)
    found = np.zeros((len(PENALTIES), len(labels), len(kinds)))
    losses = np.zeros((len(folds), len(PENALTIES)))
    for number, (train, judged) in enumerate(folds):
        path = solve_path(features[train], labels[train], features[judged], len(kinds))
        for place, probabilities in enumerate(path):
            found[place, judged] = probabilities
            own = probabilities[np.arange(len(judged)), labels[judged]]
            losses[number, place] = -np.log(np.maximum(own, LEAST)).sum()
    chosen = [int(np.argmin(losses.sum(axis=0) - own)) for own in losses]
    kept = np.zeros(found.shape[1:])
    for place, (_, judged) in zip(chosen, folds, strict=True):
        kept[judged] = found[place, judged]
    return kept, tuple(PENALTIES[place] for place in chosen)


def solve_path(
    train: np.ndarray, labels: np.ndarray, judged: np.ndarray, classes: int
) -> list[np.ndarray]:
    """Return the probabilities of some images under each of `PENALTIES`.

    With more features than images both are turned into the images' own span first, which
    changes no solution of a penalty that is the same in all directions.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    train, judged = standardise(train, judged)
    if train.shape[1] > train.shape[0]:
        span = np.linalg.qr(train.T)[0]
        train, judged = train @ span, judged @ span
    solver = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    found = []
    # matrices this small gain nothing from threads, which wait for each other a hundredfold
    # where the cores are busy
    with threadpool_limits(1):
        for penalty in PENALTIES:
            solver.set_params(C=penalty).fit(train, labels)
            probabilities = np.zeros((len(judged), classes))
            probabilities[:, solver.classes_] = solver.predict_proba(judged)
            found.append(probabilities)
    return found


def standardise(train: np.ndarray, judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both with mean 0 and deviation 1 of the first; constant columns become 0."""
    train, judged = np.asarray(train, "float64"), np.asarray(judged, "float64")
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation <= 1e-7 * np.abs(mean) + 1e-30] = np.inf
    return (train - mean) / deviation, (judged - mean) / deviation
