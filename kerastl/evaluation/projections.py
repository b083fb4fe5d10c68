"""Many numbers per image as two, to look at: principal components and t-SNE."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from kerastl.errors import UsageError, check_choice

METHODS = ("pca", "tsne")
_KEPT = 50  # principal components that t-SNE gets
_PERPLEXITY = 30.0
_FEWEST = 3


@dataclass(frozen=True, eq=False)
class Projection:
    """Points of a plane, one per row of features.

    Args:
        points: float32 `(n, 2)`.
        method: `"pca"` or `"tsne"`.
        explained: Shares of the variance that the two axes hold; empty for t-SNE.
    """

    points: np.ndarray
    method: str
    explained: tuple[float, ...] = ()


def project_features(
    features: np.ndarray, method: str = "pca", *, seed: int = 0
) -> Projection:
    """Project features onto a plane.

    `"pca"` takes the two directions of the largest variance. `"tsne"` (van der Maaten and
    Hinton 2008) keeps neighbours together and starts from those; before, features are
    brought to 50 principal components, as the paper does.

    Args:
        features: float `(n, d)`, n from 3 up.
        method: `"pca"` (default) or `"tsne"`.
        seed: Of t-SNE, and of the principal components of many numbers.

    Returns:
        Projection; the same features give the same points.

    Raises:
        UsageError: Under 3 rows, not an array `(n, d)`, or an unknown method.

    Example:

    >>> features = np.array([[0.0, 0, 3], [0, 0, -3], [1, 0, 0], [-1, 0, 0]])
    >>> [round(share, 2) for share in project_features(features).explained]
    [0.9, 0.1]
    """
    check_choice("method", method, METHODS)
    if method == "pca":
        return project_alike(features)[0]
    reduced = _reduce(features, _KEPT, seed).transform(features)
    return Projection(_embed(reduced, seed), method)


def project_alike(features: np.ndarray, *others: np.ndarray) -> list[Projection]:
    """Project several sets of features onto the first two components of the first set.

    Args:
        features: float `(n, d)`; decides the axes.
        *others: float `(m, d)` each, any m.

    Returns:
        One Projection each, with the shares of the variance of the first set.

    Raises:
        UsageError: Under 3 rows, or not arrays of one width.

    Example:

    >>> features = np.array([[0.0, 3], [0, -3], [1, 0], [-1, 0]])
    >>> project_alike(features, features[:1])[1].points.round(1).tolist()
    [[3.0, 0.0]]
    """
    fitted = _reduce(features, 2)
    shares = np.nan_to_num(fitted.explained_variance_ratio_)  # all alike: 0 of nothing
    explained = (*map(float, shares), 0.0)[:2]
    return [
        Projection(_widen(fitted.transform(each)), "pca", explained)
        for each in (features, *others)
    ]


def _reduce(features: np.ndarray, most: int, seed: int = 0):
    from sklearn.decomposition import PCA

    _check_features(features)
    count = min(most, *features.shape)
    alike = np.errstate(invalid="ignore", divide="ignore")  # no variance to share out
    with alike, _one_thread():
        return PCA(count, random_state=seed).fit(features)


def _check_features(features: np.ndarray) -> None:
    if features.ndim != 2 or len(features) < _FEWEST or not features.shape[1]:
        raise UsageError(
            f"features of shape {features.shape}: give (n, d) with n from {_FEWEST} up."
        )


def _embed(reduced: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    if np.ptp(reduced, axis=0).max() == 0:
        return np.zeros((len(reduced), 2), np.float32)
    perplexity = min(_PERPLEXITY, (len(reduced) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    with _one_thread():
        return tsne.fit_transform(_widen(reduced)).astype(np.float32)


def _one_thread() -> AbstractContextManager:
    """Compute in one thread: several give other last digits, and wait for one another.

    Beside a busy process t-SNE took nine times as long with two threads as with one.
    """
    from threadpoolctl import threadpool_limits  # scikit-learn comes with it

    return threadpool_limits(1)


def _widen(points: np.ndarray) -> np.ndarray:
    """Return at least two columns, those that were missing 0."""
    missing = max(0, 2 - points.shape[1])
    return np.pad(points, ((0, 0), (0, missing))).astype(np.float32)


def choose_rows(
    labels: Sequence[str] | np.ndarray, most: int, *, seed: int = 0
) -> np.ndarray:
    """Choose rows so that each class keeps its share, and none is left out.

    Args:
        labels: `(n,)` of any kind, or `(n, classes)` of 0 and 1, where those with the same
            labels are one class.
        most: At most so many rows.
        seed: Of the draw.

    Returns:
        int `(min(n, most),)`, in ascending order.

    Example:

    >>> labels = np.array(["a"] * 90 + ["b"] * 10)
    >>> np.unique(labels[choose_rows(labels, 20)], return_counts=True)[1].tolist()
    [18, 2]
    """
    labels = np.asarray(labels)
    groups = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.random.default_rng(seed).permutation(len(groups))
    places = np.empty(len(groups))
    for group in range(groups.max(initial=-1) + 1):
        rows = order[groups[order] == group]
        places[rows] = np.arange(len(rows)) / len(rows)
    # the first of every class is at 0, those after it at steps of its share
    chosen = np.lexsort((order, places))[:most]
    return np.sort(chosen)
