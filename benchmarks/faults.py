"""Runs that are built to have one fault each, and healthy ones: see `diagnosing`."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

import kerastl
from kerastl.data.dataset import Split
from kerastl.diagnosis.records import LEAKAGE, NOISE, OVER, RATE, SHIFT, UNDER
from kerastl.stages import Stage

DIGITS = "digits"
SIDE = 32  # of images that come from files
SIZES = (360, 120, 40)  # images to train on, to validate on, to test on
FEW = (60, 400, 40)  # of those that are learned by heart
FLIPPED = 0.2
KNOWN = 0.4  # share of validation that is taken from train
HEALTHY: dict[str, Any] = {"epochs": 20, "learning_rate": 0.01}
CHANGED: dict[str, dict[str, Any]] = {  # fault -> what is trained otherwise
    "over": {"epochs": 100, "hidden": (256, 256, 256)},
    "one epoch": {"epochs": 1, "learning_rate": 1e-4},
    "random base": {"weights": None},
    "too fast": {"epochs": 12, "learning_rate": 10.0},
    "too slow": {"epochs": 12, "learning_rate": 1e-5},
    "small batch": {"epochs": 12, "learning_rate": 1.0, "batch_size": 1},
    "large batch": {"epochs": 12, "learning_rate": 3e-4, "batch_size": 360},
}
EXPECTED = {  # fault -> the one cause that a diagnosis should name
    "none": None,
    "leak": LEAKAGE,
    "shift": SHIFT,
    "noise": NOISE,
    "too fast": RATE,
    "too slow": RATE,
    "small batch": RATE,
    "large batch": RATE,
    "one epoch": UNDER,
    "random base": UNDER,
    "over": OVER,
}


def build(fault: str, seed: int, source: str = DIGITS) -> kerastl.Run:
    """Return a run with this fault and no other.

    Args:
        fault: A key of `EXPECTED`.
        seed: Of everything.
        source: Images to draw from.
    """
    data = draw(FEW if fault == "over" else SIZES, seed, source)
    if fault == "shift":
        data = darken(data)
    if fault == "noise":
        data = flip_labels(data, seed)[0]
    if fault == "leak":
        data = leak(data, seed)[0]
    return train(data, seed, **HEALTHY | CHANGED.get(fault, {}))


def train(
    data: kerastl.Data,
    seed: int,
    *,
    hidden: tuple[int, ...] = (),
    weights: str | None = "pretrained",
    **settings: Any,
) -> kerastl.Run:
    """Train a new head on `tiny`."""
    model = kerastl.build_model(
        "tiny", num_classes=data.num_classes, hidden=hidden, weights=weights, seed=seed
    )
    stage = Stage(name="head", **settings)
    return kerastl.finetune(model, data, schedule=stage, seed=seed, verbose=0)


@cache
def read_source(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all images of a source and their labels."""
    whole = kerastl.load_images(source, validation=0, test=0).train
    images = whole.images if source == DIGITS else whole.pixels(SIDE)
    return np.array(images), whole.labels


def draw(sizes: tuple[int, int, int], seed: int, source: str = DIGITS) -> kerastl.Data:
    """Return some of the images, in splits of these sizes or, of too few, these shares."""
    images, labels = read_source(source)
    rows = np.random.default_rng(seed).permutation(len(images))[: sum(sizes)]
    return kerastl.load_images(
        images[rows],
        labels=labels[rows],
        validation=sizes[1] / sum(sizes),
        test=sizes[2] / sum(sizes),
        seed=seed,
    )


def change(data: kerastl.Data, images: np.ndarray, labels: np.ndarray) -> kerastl.Data:
    """Return the same splits with other images and labels, in the order of the source."""
    splits = {
        name: Split(
            name, labels[rows_of(split)], split.names, images=images[rows_of(split)]
        )
        for name, split in data.splits.items()
    }
    return replace(data, **splits, listing=replace(data.listing, images=images))


def rows_of(split: Split) -> np.ndarray:
    """Return where a split's images are in the source."""
    return np.array([int(name[len("images[") : -1]) for name in split.names])


def sort_labels(data: kerastl.Data) -> np.ndarray:
    """Return the labels in the order of the source."""
    labels = np.zeros(len(data.listing.images), "int32")
    for split in data.splits.values():
        labels[rows_of(split)] = split.labels
    return labels


def darken(data: kerastl.Data) -> kerastl.Data:
    """Return validation images as by another camera: darker, with less contrast."""
    images = data.listing.images.copy()
    rows = rows_of(data.validation)
    images[rows] = (images[rows] * 0.5).astype("uint8")
    return change(data, images, sort_labels(data))


def flip_labels(data: kerastl.Data, seed: int) -> tuple[kerastl.Data, set[str]]:
    """Return another class for a fifth of the training images, and their names."""
    generator = np.random.default_rng(seed)
    labels, rows = sort_labels(data), rows_of(data.train)
    chosen = generator.permutation(len(rows))[: round(FLIPPED * len(rows))]
    moved = generator.integers(1, data.num_classes, len(chosen))
    labels[rows[chosen]] = (labels[rows[chosen]] + moved) % data.num_classes
    return change(data, data.listing.images, labels), {data.train.names[n] for n in chosen}


def leak(data: kerastl.Data, seed: int) -> tuple[kerastl.Data, dict[str, str]]:
    """Return training images with slight noise in validation, and whence each came."""
    generator = np.random.default_rng(seed)
    images, labels = data.listing.images.copy(), sort_labels(data)
    target = rows_of(data.validation)
    places = generator.permutation(len(target))[: round(KNOWN * len(target))]
    taken = generator.permutation(len(data.train))[: len(places)]
    source = rows_of(data.train)[taken]
    noise = generator.integers(-6, 7, images[source].shape)
    images[target[places]] = np.clip(images[source].astype(int) + noise, 0, 255)
    labels[target[places]] = labels[source]
    partners = {
        data.validation.names[p]: data.train.names[t]
        for p, t in zip(places, taken, strict=True)
    }
    return change(data, images, labels), partners
