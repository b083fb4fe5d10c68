"""What is chosen without an unseen image: penalties, the stacking constant, the scale."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kerastl.errors import DataError
from kerastl.evaluation.temperature import fit_temperature, soften_logits
from kerastl.seeds import derive_seed
from kerastl.zeroshot.mappings import (
    CANDIDATES,
    Mapping,
    Penalties,
    Standard,
    encode_attributes,
    fit_mappings,
)
from kerastl.zeroshot.measures import harmonic_mean

FEWEST = 4  # classes to train on: two to learn from, two to tell apart
STEPS = 200  # constants tried


@dataclass(frozen=True, eq=False)
class Samples:
    """Frozen features of one split's images of the classes trained on.

    Args:
        features: Float64 `(n, d)`.
        labels: Int `(n,)`.
    """

    features: np.ndarray
    labels: np.ndarray

    def of(self, classes: Sequence[int]) -> "Samples":
        """Return the images of some classes, labelled by their place among these."""
        rows = np.isin(self.labels, classes)
        places = np.full(max(int(self.labels.max(initial=0)), *classes) + 1, -1)
        places[list(classes)] = np.arange(len(classes))
        return Samples(self.features[rows], places[self.labels[rows]])


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Args:
        penalties: Gamma and lambda, or C.
        accuracy: Mean per-class accuracy that they gave on classes held out of training.
        chance: What guessing would give there.
        constant: To be taken off the scores of seen classes; 0 without validation images.
        scale: To multiply scores by, so that their softmax is as sure as it is right.
        is_scaled: Whether the scale could be fitted.
    """

    penalties: Penalties
    accuracy: float
    chance: float
    constant: float
    scale: float
    is_scaled: bool


@dataclass(frozen=True, eq=False)
class Trial:
    """Some of the training classes held out, as if they were unseen: last in `classes`."""

    classes: tuple[int, ...]
    seen: int
    attributes: np.ndarray
    standard: Standard
    mappings: Iterator[Mapping]

    def score(self, mapping: Mapping, samples: Samples) -> np.ndarray:
        """Return the scores of samples for all classes of the trial."""
        return mapping.score(self.standard.apply(samples.features), self.attributes)


def draw_folds(seen: int, unseen: int, folds: int, seed: int) -> list[tuple[int, ...]]:
    """Draw classes to hold out, as many as are unseen where that leaves enough to learn.

    Each class is held out about equally often, and no set of them comes twice.

    Args:
        seen: Number of classes trained on.
        unseen: Number of classes that are not.
        folds: How many sets to draw, at most.
        seed: Of the draw.

    Example:

    >>> draw_folds(4, 1, 2, seed=0)
    [(1, 2), (0, 3)]
    """
    size = min(max(unseen, 2), seen // 2)
    generator = np.random.default_rng(derive_seed(seed, "held-out classes"))
    found: dict[tuple[int, ...], None] = {}
    for _ in range(10 * folds):
        order = generator.permutation(seen)
        for start in range(0, seen - size + 1, size):
            found.setdefault(tuple(sorted(order[start : start + size].tolist())))
    return list(found)[:folds]


def choose_settings(
    method: str,
    train: Samples,
    validation: Samples | None,
    values: np.ndarray,
    folds: Sequence[tuple[int, ...]],
) -> Choice:
    """Choose penalties by classes held out, then what calibrates the answers.

    Args:
        method: `"eszsl"` or `"dap"`.
        train: Of the classes trained on.
        validation: The same, of the validation split.
        values: Attributes of these classes, `(classes, attributes)`.
        folds: Classes to hold out.
    """
    candidates = CANDIDATES[method]
    means = np.mean(
        [
            _score_trial(_make_trial(method, train, values, fold, candidates), train)
            for fold in folds
        ],
        axis=0,
    )
    best = int(means.argmax())
    chosen, chance = candidates[best], 1 / len(folds[0])
    constant, scale, fitted = 0.0, 1.0, False
    if validation is not None:
        trials = [_make_trial(method, train, values, fold, [chosen]) for fold in folds]
        answers = [_answer(trial, validation) for trial in trials]
        constant = choose_constant(answers)
        scale, fitted = _fit_scale(answers, constant)
    return Choice(chosen, float(means[best]), chance, constant, scale, fitted)


def _make_trial(
    method: str,
    train: Samples,
    values: np.ndarray,
    held_out: tuple[int, ...],
    candidates: Sequence[Penalties],
) -> Trial:
    kept = tuple(place for place in range(len(values)) if place not in held_out)
    attributes = encode_attributes(method, values[[*kept, *held_out]], len(kept))
    samples = train.of(kept)
    standard = Standard.of(samples.features)
    features = standard.apply(samples.features)
    mappings = fit_mappings(
        method, features, samples.labels, attributes[: len(kept)], candidates
    )
    return Trial((*kept, *held_out), len(kept), attributes, standard, mappings)


def _score_trial(trial: Trial, train: Samples) -> list[float]:
    """Return the accuracy on the classes held out, among them, for each candidate."""
    samples = train.of(trial.classes[trial.seen :])
    features, attributes = (
        trial.standard.apply(samples.features),
        trial.attributes[trial.seen :],
    )
    shares = np.bincount(samples.labels, minlength=len(attributes))
    weights = 1 / (shares[samples.labels] * np.count_nonzero(shares))
    return [
        float(weights @ (each.score(features, attributes).argmax(axis=1) == samples.labels))
        for each in trial.mappings
    ]


def _answer(trial: Trial, validation: Samples) -> tuple[np.ndarray, np.ndarray, int]:
    """Return scores and labels of the validation images, and how many classes are seen."""
    samples = validation.of(trial.classes)
    return trial.score(next(trial.mappings), samples), samples.labels, trial.seen


def choose_constant(answers: Sequence[tuple[np.ndarray, np.ndarray, int]]) -> float:
    """Choose what to take off the scores of seen classes (calibrated stacking).

    A classifier that never met an image of a class scores it too low. One constant off all
    others mends that as far as one number can (Chao et al., ECCV 2016); it is the one with
    the highest harmonic mean over classes held out of training.

    Args:
        answers: Scores `(n, classes)`, seen classes first; labels; how many are seen.

    Returns:
        The constant, 0 or more or less.
    """
    gaps = [scores[:, :k].max(1) - scores[:, k:].max(1) for scores, _, k in answers]
    steps = np.unique(np.quantile(np.concatenate(gaps), np.linspace(0, 1, STEPS)))
    constants = np.append((steps[1:] + steps[:-1]) / 2, 0.0)
    means = np.mean([_try(*each, constants) for each in answers], axis=0)
    return float(constants[means.argmax()])


def _try(
    scores: np.ndarray, labels: np.ndarray, seen: int, constants: np.ndarray
) -> np.ndarray:
    """Return the harmonic mean for each constant."""
    gap = scores[:, :seen].max(axis=1) - scores[:, seen:].max(axis=1)
    own = np.where(
        labels < seen, scores[:, :seen].argmax(1), seen + scores[:, seen:].argmax(1)
    )
    is_new, right = labels >= seen, own == labels
    counts = np.bincount(labels, minlength=scores.shape[1])
    weights = right / counts[labels]
    to_new = gap[:, None] < constants  # an image is answered by an unseen class
    known = (weights[~is_new] @ ~to_new[~is_new]) / max(np.count_nonzero(counts[:seen]), 1)
    new = (weights[is_new] @ to_new[is_new]) / max(np.count_nonzero(counts[seen:]), 1)
    return harmonic_mean(known, new)


def _fit_scale(
    answers: Sequence[tuple[np.ndarray, np.ndarray, int]], constant: float
) -> tuple[float, bool]:
    """Return what makes the softmax fit; 1 where no number fits best."""
    width = len(answers[0][0][0])
    logits = np.concatenate(
        [scores - constant * (np.arange(width) < seen) for scores, _, seen in answers]
    )
    labels = np.concatenate([labels for _, labels, _ in answers])
    try:
        return 1 / fit_temperature(labels, soften_logits(logits)).value, True
    except DataError:  # all right, or no better than guessing
        return 1.0, False
