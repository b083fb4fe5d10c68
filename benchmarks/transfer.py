"""Does frozen `tiny` know anything? A linear probe on a task it has not seen.

    python -m benchmarks.transfer [--data FOLDER] [--per-class 20] [--seeds 5]

For each seed, 20 images per class are drawn; the same net with its shipped weights and
with random ones gives features, and a linear head is solved on each. All other images are
the test. Target: the shipped weights win for every seed, by 3 points of accuracy on
average.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.results import Row, conclude
from benchmarks.settings import read_run

TARGET = 0.03


@dataclass(frozen=True)
class Settings:
    """What the probe is solved on."""

    data: str = "digits"
    per_class: int = 20
    seeds: int = 5


QUICK = Settings(seeds=2)


def choose(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Return a mask of `per_class` images of every class."""
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[generator.permutation(np.flatnonzero(labels == label))[:per_class]] = True
    return chosen


def extract(pixels: np.ndarray, weights: str | None, seed: int) -> np.ndarray:
    """Return pooled features of `tiny`, standardised over all images."""
    import keras

    import kerastl

    keras.utils.set_random_seed(seed)
    model = kerastl.build_model("tiny", num_classes=2, weights=weights, seed=seed)
    features = keras.Model(model.input, model.get_layer("pooling").output)
    values = features.predict(pixels.astype("float32"), batch_size=256, verbose=0)
    return (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)


def probe(features: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> float:
    """Return the test accuracy of a linear head solved on the chosen images."""
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=0.1, max_iter=2000)
    solver.fit(features[chosen], labels[chosen])
    return float(solver.score(features[~chosen], labels[~chosen]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print accuracy per seed for both nets and check the target."""
    run = read_run("transfer", __doc__, Settings(), QUICK, arguments)
    settings = run.settings
    margins = compare(settings.data, settings.per_class, settings.seeds)
    rows = [
        Row(
            "margin of the shipped weights, mean",
            float(np.mean(margins)),
            "",
            at_least=TARGET,
        ),
        Row("margin, smallest of all seeds", min(margins), "", at_least=0, always=True),
    ]
    conclude(run, rows, margins)


def compare(data: str | Path, per_class: int, seeds: int) -> list[float]:
    """Print a row per seed and return by how much the shipped weights won."""
    import kerastl

    images = kerastl.load_images(data, validation=0, test=0)
    pixels, labels = images.train.pixels(32), images.train.labels
    shipped = extract(pixels, "cifar10", 0)
    margins = []
    print(f"{'seed':>4} {'shipped':>8} {'random':>8}")
    for seed in range(seeds):
        chosen = choose(labels, per_class, seed)
        ours = probe(shipped, labels, chosen)
        random = probe(extract(pixels, None, seed), labels, chosen)
        margins.append(ours - random)
        print(f"{seed:>4} {ours:8.3f} {random:8.3f}")
    spread = np.std(margins, ddof=1) if seeds > 1 else 0.0
    print(f"margin {np.mean(margins):.3f}, standard deviation {spread:.3f} over seeds")
    return margins


if __name__ == "__main__":
    main()
