"""ESZSL: features to classes by way of attributes, in closed form."""

from dataclasses import dataclass

import numpy as np

from kerastl.errors import UsageError


@dataclass(frozen=True, eq=False)
class Factors:
    """What the solutions for all gammas and lambdas have in common.

    Args:
        features: Eigenvalues `(d,)` and eigenvectors of the features' squares.
        attributes: Eigenvalues `(a,)` and eigenvectors of the attributes' squares.
        target: What both have in common with the labels, `(d, a)`, in these coordinates.
    """

    features: tuple[np.ndarray, np.ndarray]
    attributes: tuple[np.ndarray, np.ndarray]
    target: np.ndarray

    def solve(self, gamma: float, lambda_: float) -> np.ndarray:
        """Return the map `(d, a)` for two regularisers above 0."""
        scale = np.outer(self.features[0] + gamma, self.attributes[0] + lambda_)
        return self.features[1] @ (self.target / scale) @ self.attributes[1].T


def factorize(features: np.ndarray, labels: np.ndarray, attributes: np.ndarray) -> Factors:
    """Do once what takes time; `solve_eszsl` says what the arguments are."""
    features, attributes = (np.asarray(each, float) for each in (features, attributes))
    sums = np.zeros((len(attributes), features.shape[1]))
    np.add.at(sums, labels, features)
    # labels are +1 for the own class and -1 for the others
    shared = (2 * sums - features.sum(axis=0)).T @ attributes
    first = np.linalg.eigh(features.T @ features)
    second = np.linalg.eigh(attributes.T @ attributes)
    return Factors(first, second, first[1].T @ shared @ second[1])


def solve_eszsl(
    features: np.ndarray,
    labels: np.ndarray,
    attributes: np.ndarray,
    *,
    gamma: float,
    lambda_: float,
) -> np.ndarray:
    """Map features to attributes so that their product tells the training classes apart.

    The V that is least in |X V S' - Y|^2 + gamma |V S'|^2 + lambda |X V|^2 +
    gamma lambda |V|^2 over features X, attributes S and labels Y of +1 and -1, in closed
    form (Romera-Paredes and Torr, ICML 2015, "An embarrassingly simple approach to
    zero-shot learning"). A class of attributes s, trained or not, has the score x V s.

    Args:
        features: Float `(n, d)`.
        labels: Int `(n,)`, rows of `attributes`.
        attributes: Float `(classes, a)`, of the training classes.
        gamma: Regulariser of the classes' weights over features; above 0.
        lambda_: Regulariser of the images' places among attributes; above 0.

    Returns:
        V, float64 `(d, a)`.

    Raises:
        UsageError: A regulariser is not above 0.

    Example:

    >>> features, attributes = np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> solve_eszsl(features, np.array([0, 1]), attributes, gamma=1, lambda_=1)
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    for name, value in (("gamma", gamma), ("lambda_", lambda_)):
        if not 0 < value < np.inf:
            raise UsageError(f"{name}={value!r} must be a number above 0.")
    return factorize(features, labels, attributes).solve(gamma, lambda_)
