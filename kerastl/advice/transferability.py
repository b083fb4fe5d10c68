"""Scores of how well frozen features suit labels, in closed form: nothing is trained.

LogME and H-score take features, LEEP and NCE the probabilities of a base's own classes.
They compare bases on one set of images; between sets their values mean nothing.
"""

import numpy as np

from kerastl.errors import UsageError

ITERATIONS = 200  # LogME's fixed point is reached in about ten
TOLERANCE = 1e-10
LEAST = 1e-12  # below it a sum of squares is rounding


def log_me(features: np.ndarray, labels: np.ndarray) -> float:
    """Return LogME: the log evidence of a Bayesian linear model, for one image and class.

    For each class, a linear model with weights of precision alpha and noise of precision
    beta explains who belongs to it; both are set where the evidence is highest, by the
    fixed point of You et al. (LogME, ICML 2021, and JMLR 23, 2022), on the eigenvalues of
    the features' products. Their published code leaves out the features' directions that
    have no images where there are more features than images; here they are counted, so that
    the value is the evidence itself.

    Args:
        features: `(n, d)` floats.
        labels: `(n,)` whole numbers from 0.

    Returns:
        A float, higher for better; comparable between bases on the same images alone.

    Raises:
        UsageError: Shapes do not go together, or there is only one class.

    Example:

    >>> labels = np.arange(40) % 2
    >>> noise = np.random.default_rng(0).normal(size=(40, 3))
    >>> log_me(noise + 3 * labels[:, None], labels) > log_me(noise, labels)
    True
    """
    features, labels = _check(features, labels)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    kept = singular > LEAST * max(singular[0], LEAST)  # others are rounding
    left, eigenvalues = left[:, kept], singular[kept] ** 2
    targets = labels[:, None] == np.unique(labels)
    evidences = [
        _maximise_evidence(eigenvalues, left, target, features.shape[1])
        for target in targets.T.astype("float64")
    ]
    return float(np.mean(evidences)) / len(labels)


def _maximise_evidence(
    eigenvalues: np.ndarray, left: np.ndarray, target: np.ndarray, width: int
) -> float:
    alpha, beta = fit_precisions(eigenvalues, left, target)
    return _compute_evidence(eigenvalues, left, target, width, alpha, beta)


def fit_precisions(
    eigenvalues: np.ndarray, left: np.ndarray, target: np.ndarray
) -> tuple[float, float]:
    """Return alpha and beta of LogME at the fixed point, for one class.

    Args:
        eigenvalues: `(k,)` squared singular values of the features.
        left: `(n, k)` their left singular vectors.
        target: `(n,)` 1 for images of the class, else 0.
    """
    powers, rest = _project(left, target)
    ratio = 1.0
    for _ in range(ITERATIONS):
        mean, error = _solve(eigenvalues, powers, rest, ratio)
        used = float(np.sum(eigenvalues / (eigenvalues + ratio)))
        alpha = max(used, LEAST) / max(mean, LEAST)
        beta = (len(target) - used) / max(error, LEAST)
        before, ratio = ratio, alpha / beta
        if abs(ratio - before) <= TOLERANCE * before:
            break
    return alpha, beta


def _project(left: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    powers = (left.T @ target) ** 2
    return powers, max(0.0, float(target @ target - powers.sum()))


def _solve(
    eigenvalues: np.ndarray, powers: np.ndarray, rest: float, ratio: float
) -> tuple[float, float]:
    """Return the squared norms of the mean weights and of what they leave unexplained."""
    mean = np.sum(eigenvalues * powers / (eigenvalues + ratio) ** 2)
    error = np.sum(powers * (ratio / (eigenvalues + ratio)) ** 2) + rest
    return float(mean), float(error)


def _compute_evidence(
    eigenvalues: np.ndarray,
    left: np.ndarray,
    target: np.ndarray,
    width: int,
    alpha: float,
    beta: float,
) -> float:
    count = len(target)
    mean, error = _solve(eigenvalues, *_project(left, target), alpha / beta)
    volume = np.sum(np.log(alpha + beta * eigenvalues))
    volume += (width - len(eigenvalues)) * np.log(alpha)
    return 0.5 * (
        width * np.log(alpha)
        + count * np.log(beta)
        - volume
        - beta * error
        - alpha * mean
        - count * np.log(2 * np.pi)
    )


def h_score(features: np.ndarray, labels: np.ndarray, *, shrink: bool = True) -> float:
    """Return the H-score: how much of the features' covariance lies between classes.

    The trace of the features' inverse covariance times that of their class means (Bao et
    al., ICIP 2019). With fewer images than features that inverse does not exist, so the
    covariance is shrunk by Ledoit and Wolf's amount and the class means by the same
    (Ibrahim et al., 2021).

    Args:
        features: `(n, d)` floats.
        labels: `(n,)` whole numbers from 0.
        shrink: Use the shrunk version. Default True; False is the first definition.

    Returns:
        A float from 0 to the number of classes less one; higher for better.

    Raises:
        UsageError: Shapes do not go together, or there is only one class.

    Example:

    >>> labels = np.arange(40) % 2
    >>> round(h_score(np.eye(2)[labels], labels, shrink=False), 6)
    1.0
    """
    features, labels = _check(features, labels)
    centred = features - features.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / len(centred)
    kept = variances > LEAST * max(variances.max(), LEAST)
    left, variances = left[:, kept], variances[kept]
    amount = _choose_shrinkage(centred) if shrink else 0.0
    mean_variance = variances.sum() / features.shape[1]
    shrunk = (1 - amount) * variances + amount * mean_variance
    between = variances * _measure_between(left, labels)
    return float((1 - amount) * np.sum(between / shrunk))


def _choose_shrinkage(centred: np.ndarray) -> float:
    from sklearn.covariance import ledoit_wolf_shrinkage

    if not centred.any():
        return 0.0
    return float(ledoit_wolf_shrinkage(centred, assume_centered=True))


def _measure_between(left: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return, for each principal direction, the share of variance of the class means."""
    groups = [left[labels == kind] for kind in np.unique(labels)]
    return sum(group.sum(axis=0) ** 2 / len(group) for group in groups)


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return LEEP: how well a base's own classes predict these labels.

    The mean log of the label's probability, given what each of the base's classes has
    turned out to go with here (Nguyen et al., ICML 2020).

    Args:
        probabilities: `(n, source classes)` what the base's own top gives for each image.
        labels: `(n,)` whole numbers from 0.

    Returns:
        A float, at most 0; higher for better.

    Raises:
        UsageError: Shapes do not go together, or rows are no probabilities.

    Example:

    >>> sure = np.eye(2)[[0, 0, 1, 1]]
    >>> leep(sure, np.array([0, 0, 1, 1])), round(leep(sure, np.array([0, 1, 0, 1])), 4)
    (0.0, -0.6931)
    """
    probabilities, labels = _check_probabilities(probabilities, labels)
    joint = _one_hot(labels).T @ probabilities / len(labels)
    mass = joint.sum(axis=0)
    given = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = np.sum(probabilities * given[np.unique(labels, return_inverse=True)[1]], 1)
    return float(np.mean(np.log(expected)))


def nce(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return NCE: minus the conditional entropy of labels given the base's own classes.

    As LEEP, with the likeliest class in place of the probabilities (Tran et al., ICCV
    2019); in nats.

    Args:
        probabilities: As for `leep`.
        labels: As for `leep`.

    Returns:
        A float, at most 0; higher for better.

    Raises:
        UsageError: As for `leep`.

    Example:

    >>> nce(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]))
    0.0
    """
    probabilities, labels = _check_probabilities(probabilities, labels)
    likeliest = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    joint = _one_hot(labels).T @ likeliest / len(labels)
    mass = np.broadcast_to(joint.sum(axis=0), joint.shape)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / mass[there]))) + 0.0


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return (labels[:, None] == np.unique(labels)).astype("float64")


def _check(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features, labels = np.asarray(features, "float64"), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise UsageError(
            f"Features of shape {features.shape} and labels of shape {labels.shape}: give "
            "(n, d) and (n,)."
        )
    if len(np.unique(labels)) < 2:
        raise UsageError("labels hold one class: there is nothing to tell apart.")
    return features, labels


def _check_probabilities(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = _check(probabilities, labels)
    sums = probabilities.sum(axis=1)
    if probabilities.min() < 0 or not np.allclose(sums, 1, atol=1e-3):
        raise UsageError(
            f"probabilities={probabilities.min():.3g} to {probabilities.max():.3g} must be "
            "0 or more and add up to 1 for each image: give what softmax gives."
        )
    return probabilities, labels
