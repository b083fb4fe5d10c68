"""One number that makes a network as sure as it is right: its temperature."""

from collections.abc import Callable

import numpy as np

from kerastl.errors import DataError
from kerastl.evaluation.inputs import check_inputs
from kerastl.evaluation.intervals import Measure

_SMALLEST = float(np.finfo(np.float32).tiny)
_NEAREST_ONE = float(np.finfo(np.float32).epsneg)
_WIDEST = 60.0  # a bracket of 2 ** 60 around one, beyond any network
_Z = 1.959963984540054

# of an inverse temperature: the slope of the log loss and its curvature, per image
_Slopes = Callable[[float], tuple[np.ndarray, np.ndarray]]


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> Measure:
    """Fit the temperature that makes probabilities fit the labels best.

    Temperature scaling (Guo et al., ICML 2017): logits are divided by one number, found
    where the log loss on validation images is least. The class answered stays the same.

    Args:
        labels: Class indices (n,), or 0 and 1 (n, classes) with several labels per image,
            which share the temperature. Of the validation split.
        probabilities: Float (n, classes), as the model gave them.

    Returns:
        The temperature with its 95 % interval: above 1 the model was too sure, below 1
        not sure enough.

    Raises:
        DataError: Every answer is right, or they are no better than guessing: no
            temperature fits best.
        UsageError: Shapes or labels do not fit.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(0, 2, (5000, 3))
    >>> labels = np.array([rng.choice(3, p=p) for p in soften_logits(logits)])
    >>> print(fit_temperature(labels, soften_logits(3 * logits)))
    2.859 (2.737 to 2.986)
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    names = tuple(map(str, range(probabilities.shape[-1])))
    check_inputs(labels, probabilities, names)
    multi_label = labels.ndim == 2
    logits = recover_logits(probabilities, multi_label=multi_label)
    slopes = (_label_slopes if multi_label else _class_slopes)(labels, logits)
    _check_optimum(labels, logits, slopes)
    inverse = _solve(slopes)
    gradient, curvature = slopes(inverse)
    # the sandwich variance holds also where no temperature makes the model perfect
    error = np.sqrt(np.sum(gradient**2)) / curvature.sum()
    spread = np.exp(_Z * error / inverse)
    return Measure(1 / inverse, 1 / (inverse * spread), spread / inverse)


def apply_temperature(
    probabilities: np.ndarray, temperature: float, *, multi_label: bool = False
) -> np.ndarray:
    """Return the probabilities of a network whose logits are divided by a temperature.

    Args:
        probabilities: Float (n, classes), of a softmax or, with several labels per image,
            of sigmoids.
        temperature: Above 1 makes them less sure.
        multi_label: Whether they are of sigmoids.

    Returns:
        Float32 (n, classes).

    Example:

    >>> apply_temperature(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
    [[0.75, 0.25]]
    """
    logits = recover_logits(probabilities, multi_label=multi_label) / temperature
    soft = 1 / (1 + np.exp(-logits)) if multi_label else soften_logits(logits)
    return soft.astype(np.float32)


def recover_logits(probabilities: np.ndarray, *, multi_label: bool = False) -> np.ndarray:
    """Return logits that give these probabilities, float64 of the same shape.

    A softmax forgets a constant per image, which does not matter. What a float32 has
    rounded to 0, or a sigmoid to 1, is taken for the nearest number it can hold.
    """
    given = np.asarray(probabilities, float)
    if not multi_label:
        return np.log(given.clip(_SMALLEST, 1))
    given = given.clip(_SMALLEST, 1 - _NEAREST_ONE)
    return np.log(given) - np.log1p(-given)


def soften_logits(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _class_slopes(labels: np.ndarray, logits: np.ndarray) -> _Slopes:
    own = logits[np.arange(len(labels)), labels]

    def slopes(inverse: float) -> tuple[np.ndarray, np.ndarray]:
        weights = soften_logits(inverse * logits)
        mean = (weights * logits).sum(axis=1)
        return mean - own, (weights * (logits - mean[:, None]) ** 2).sum(axis=1)

    return slopes


def _label_slopes(labels: np.ndarray, logits: np.ndarray) -> _Slopes:
    def slopes(inverse: float) -> tuple[np.ndarray, np.ndarray]:
        yes = 1 / (1 + np.exp(-inverse * logits))
        gradient = ((yes - labels) * logits).sum(axis=1)
        return gradient, (yes * (1 - yes) * logits**2).sum(axis=1)

    return slopes


def _check_optimum(labels: np.ndarray, logits: np.ndarray, slopes: _Slopes) -> None:
    """Refuse where the log loss, which is convex, has no least value inside."""
    if labels.ndim == 2:
        all_right = bool((np.where(labels == 1, logits, -logits) >= 0).all())
    else:
        own = logits[np.arange(len(labels)), labels]
        all_right = bool((own >= logits.max(axis=1)).all())
    if all_right:
        raise DataError(
            f"All {len(labels):,} images are answered right: no mistake says how sure is "
            "too sure, so no temperature can be fitted. Give more validation images."
        )
    if slopes(0.0)[0].sum() >= 0:
        raise DataError(
            f"On these {len(labels):,} images the probabilities are no better than "
            "guessing: no temperature makes them fit. Train the model first."
        )


def _solve(slopes: _Slopes) -> float:
    """Return the inverse temperature at which the slope of the log loss is zero."""
    from scipy.optimize import brentq

    def slope(power: float) -> float:
        return float(slopes(2.0**power)[0].sum())

    low, high = -1.0, 1.0
    while slope(low) > 0 and low > -_WIDEST:
        low *= 2
    while slope(high) < 0 and high < _WIDEST:
        high *= 2
    return 2.0 ** brentq(slope, low, high, xtol=1e-12)
