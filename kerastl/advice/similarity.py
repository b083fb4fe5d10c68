"""How near images are to what a base was trained on, by its frozen features."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kerastl.advice.samples import Folds
from kerastl.data import Split
from kerastl.evaluation.intervals import CONFIDENCE, Measure
from kerastl.evaluation.probes import Probe, probe_features
from kerastl.finetuning.features import extract_features
from kerastl.models import build_model, get_info
from kerastl.weights.resolving import RANDOM

RESAMPLES = 2000
IMAGES_AT_ONCE = 32
PICTURES = 256  # whose statistics are compared; each has many positions


@dataclass(frozen=True)
class Similarity:
    """What a base's pretrained features do for some images.

    Args:
        frozen: Accuracy of a linear head on its features, by folds.
        random: The same on features of the same net with random weights.
        gain: Share of the mistakes with random weights that pretrained ones avoid.
        distance: Of the features' statistics to those of the source, see
            `measure_distance`; None where the base has no BatchNorm.
    """

    frozen: Measure
    random: Measure
    gain: Measure
    distance: float | None


def measure_similarity(
    model: keras.Model, split: Split, folds: Folds, *, seed: int, cache: bool | Path = True
) -> Similarity:
    """Measure what a base's pretrained weights do for some images.

    Args:
        model: From `build_model`, with pretrained weights or random ones.
        split: The images.
        folds: Of its rows.
        seed: Of the random weights it is compared with, and of resamples.
        cache: As in `extract_features`.

    Returns:
        Similarity; with random weights the gain is 0 and there is no distance.
    """
    info, pixels = get_info(model), split.pixels(get_info(model).image_size)
    frozen = probe_features(_extract(model, pixels, cache), split.labels, folds)
    if info.weights == RANDOM:
        accuracy = frozen.accuracy
        return Similarity(accuracy, accuracy, Measure(0.0, 0.0, 0.0), None)
    twin = build_model(
        info.base, num_classes=2, weights=None, image_size=info.image_size, seed=seed
    )
    random = probe_features(_extract(twin, pixels, cache), split.labels, folds)
    return Similarity(
        frozen=frozen.accuracy,
        random=random.accuracy,
        gain=measure_gain(frozen, random, seed),
        distance=measure_distance(model, _spread(pixels)),
    )


def _extract(model: keras.Model, pixels: np.ndarray, cache: bool | Path) -> np.ndarray:
    return np.asarray(extract_features(model, pixels, cache=cache))


def _spread(pixels: np.ndarray) -> np.ndarray:
    """Return some images from all over an array that may be sorted by class."""
    rows = np.linspace(0, len(pixels) - 1, min(PICTURES, len(pixels)))
    return pixels[np.unique(rows.astype(int))]


def measure_gain(frozen: Probe, random: Probe, seed: int) -> Measure:
    """Return the share of random features' mistakes that others avoid, with its interval.

    1 when no mistake is left, 0 when they are as many, below 0 when they are more. The
    bounds are those of 2,000 bootstrap resamples of the images, drawn alike for both.

    Args:
        frozen: Probe of the features.
        random: Probe of random ones, on the same images.
        seed: Of the resamples.

    Example:

    >>> half = Probe(np.arange(100) % 2 == 0, ())
    >>> print(measure_gain(Probe(np.arange(100) % 4 != 1, ()), half, seed=0))
    0.500 (0.362 to 0.638)
    """
    generator = np.random.default_rng(seed)
    wrong = ~np.stack([frozen.right, random.right], axis=1)
    count = len(wrong)
    # how often each of the four outcomes is drawn is all that a resample changes
    kinds = wrong[:, 0] * 2 + wrong[:, 1]
    shares = np.bincount(kinds, minlength=4) / count
    drawn = generator.multinomial(count, shares, size=RESAMPLES)
    ours, theirs = drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(_compare(ours, theirs), [tail, 1 - tail])
    value = _compare(*(np.array([n]) for n in wrong.sum(axis=0)))[0]
    return Measure(float(value), min(float(low), value), max(float(high), value))


def _compare(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    # without any mistake there is none to avoid
    return (theirs - ours) / np.maximum(theirs, 1)


def measure_distance(model: keras.Model, pixels: np.ndarray) -> float | None:
    """Return how far features' statistics are from those of the images a base learned from.

    The last BatchNorm of a base holds mean and variance of each channel over its source.
    That such statistics tell sources apart is shown by Li et al. (Revisiting Batch
    Normalization for Practical Domain Adaptation, 2017). Each channel is compared as a
    Gaussian, by Wasserstein's distance in deviations of the source; the root of the mean
    square over channels is returned.

    Args:
        model: From `build_model`, with pretrained weights.
        pixels: `(n, height, width, 3)` uint8, of its image size.

    Returns:
        0 for the source itself, 1 where channels are one deviation off; None for a base
        without BatchNorm.
    """
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not layers:
        return None
    last = layers[-1]
    mean, variance = _measure_moments(keras.Model(model.inputs[0], last.input), pixels)
    source_mean = last.moving_mean.numpy()
    source_variance = last.moving_variance.numpy() + last.epsilon
    moved = (mean - source_mean) ** 2 / source_variance
    scaled = (np.sqrt(variance / source_variance) - 1) ** 2
    return float(np.sqrt(np.mean(moved + scaled)))


def _measure_moments(
    model: keras.Model, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of each channel over images and positions."""
    count, total, squares = 0, 0.0, 0.0
    for first in range(0, len(pixels), IMAGES_AT_ONCE):
        maps = model(pixels[first : first + IMAGES_AT_ONCE].astype("float32"))
        values = np.asarray(maps, "float64")
        values = values.reshape(-1, values.shape[-1])
        count += len(values)
        total, squares = total + values.sum(axis=0), squares + (values**2).sum(axis=0)
    mean = total / count
    return mean, np.maximum(squares / count - mean**2, 0.0)
