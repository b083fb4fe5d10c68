"""Direct attribute prediction: one logistic regression per attribute."""

import numpy as np


def fit_dap(
    features: np.ndarray, labels: np.ndarray, attributes: np.ndarray, *, cost: float
) -> tuple[np.ndarray, np.ndarray]:
    """Learn each attribute of 0 and 1 by itself from the images of the training classes.

    A class z of attributes a, trained or not, is believed in as far as the product of
    p(a_m | x) / p(a_m) over its attributes says (Lampert, Nickisch and Harmeling, CVPR
    2009 and PAMI 2014); p(a_m) is the share of training images. Its logarithm is, but for
    a term that all classes share, the sum over a of log-odds given x less log-odds before,
    so that a softmax of these sums is the method exactly, and linear in the features.

    Args:
        features: Float `(n, d)`.
        labels: Int `(n,)`, rows of `attributes`.
        attributes: 0 and 1, `(classes, a)`.
        cost: C of scikit-learn's `LogisticRegression`.

    Returns:
        Weights float64 `(d, a)` and offsets `(a,)`, the log-odds before taken off; both 0
        for an attribute that these images do not vary in.

    Example:

    >>> features = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> weights, offsets = fit_dap(features, [0, 0, 1, 1], np.array([[0.0], [1.0]]), cost=1)
    >>> bool(weights[0, 0] > 0), float(abs(offsets[0]).round(3))
    (True, 0.0)
    """
    weights = np.zeros((features.shape[1], attributes.shape[1]))
    offsets = np.zeros(attributes.shape[1])
    for place, marks in enumerate(attributes[labels].T):
        if marks.min() != marks.max():
            weights[:, place], offsets[place] = _fit(features, marks, cost)
    return weights, offsets


def _fit(features: np.ndarray, marks: np.ndarray, cost: float) -> tuple[np.ndarray, float]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=cost, max_iter=1000).fit(features, marks)
    share = marks.mean()
    return fitted.coef_[0], fitted.intercept_[0] - np.log(share / (1 - share))
