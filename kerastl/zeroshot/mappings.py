"""From features to attributes and on to classes: linear, whichever method found it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kerastl.zeroshot.dap import fit_dap
from kerastl.zeroshot.eszsl import factorize

METHODS = ("eszsl", "dap")
POWERS = range(-3, 7)  # of ten, for gamma; the paper has -3 to 3, on shorter features
GAMMAS = tuple(10.0**power for power in POWERS)
LAMBDAS = tuple(10.0**power for power in range(-3, 4))
COSTS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn's LogisticRegression
CANDIDATES = {
    "eszsl": tuple((gamma, lambda_) for gamma in GAMMAS for lambda_ in LAMBDAS),
    "dap": tuple((cost,) for cost in COSTS),
}
Penalties = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Standard:
    """Mean and deviation of the features that are trained on.

    Args:
        mean: `(d,)`.
        deviation: `(d,)`, 1 where a feature never varies.
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Standard":
        """Measure features `(n, d)`."""
        deviation = features.std(axis=0)
        return cls(features.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Return features of mean 0 and deviation 1."""
        return (features - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class Mapping:
    """The place of an image among attributes: features times weights, plus offsets.

    Args:
        weights: Float64 `(d, attributes)`.
        offsets: Float64 `(attributes,)`.
    """

    weights: np.ndarray
    offsets: np.ndarray

    def score(self, features: np.ndarray, attributes: np.ndarray) -> np.ndarray:
        """Return the scores `(n, classes)` of classes with these attributes."""
        return (features @ self.weights + self.offsets) @ attributes.T

    def on_raw(self, standard: Standard) -> "Mapping":
        """Return the same mapping for features that were not standardised."""
        weights = self.weights / standard.deviation[:, None]
        return Mapping(weights, self.offsets - standard.mean @ weights)


def encode_attributes(method: str, values: np.ndarray, seen: int) -> np.ndarray:
    """Return the attributes as a method takes them.

    ESZSL compares products, so a class with more attributes would be answered more often:
    columns get the mean 0 and the deviation 1 of the classes trained on, rows the length
    1. DAP takes 0 and 1 as they are.

    Args:
        method: `"eszsl"` or `"dap"`.
        values: `(classes, attributes)`, those trained on first.
        seen: How many those are.
    """
    if method == "dap":
        return values
    standard = Standard.of(values[:seen])
    centered = standard.apply(values)
    lengths = np.linalg.norm(centered, axis=1, keepdims=True)
    return centered / np.where(lengths > 0, lengths, 1)


def fit_mappings(
    method: str,
    features: np.ndarray,
    labels: np.ndarray,
    attributes: np.ndarray,
    candidates: Sequence[Penalties],
) -> Iterator[Mapping]:
    """Yield what a method learns, for each of its penalties.

    Args:
        method: `"eszsl"` or `"dap"`.
        features: Standardised, `(n, d)`.
        labels: Int `(n,)`, rows of `attributes`.
        attributes: Encoded, `(classes, attributes)`.
        candidates: Gamma and lambda, or the C of logistic regressions.
    """
    if method == "dap":
        for (cost,) in candidates:
            yield Mapping(*fit_dap(features, labels, attributes, cost=cost))
        return
    factors, offsets = (
        factorize(features, labels, attributes),
        np.zeros(attributes.shape[1]),
    )
    for gamma, lambda_ in candidates:
        yield Mapping(factors.solve(gamma, lambda_), offsets)
