"""Runs on digits that are built to have one fault each, and a healthy one."""

from dataclasses import replace

import numpy as np

import kerastl
from kerastl.data.dataset import Split

CLASSES = 10
FLIPPED = 0.2
KNOWN = 0.4  # share of validation that is taken from train


def draw_digits(train: int, seed: int, validation: int = 120) -> kerastl.Data:
    """Some of the digits: so many to train on and to validate on, and 40 to test on."""
    whole = kerastl.load_images("digits", validation=0, test=0)
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(whole.train))[: train + validation + 40]
    total = len(rows)
    return kerastl.load_images(
        whole.train.images[rows],
        labels=whole.train.labels[rows],
        validation=validation / total,
        test=40 / total,
        seed=seed,
    )


def change(data: kerastl.Data, images: np.ndarray, labels: np.ndarray) -> kerastl.Data:
    """The same splits with other images and labels, both in the order of the source."""
    splits = {
        name: Split(
            name, labels[rows_of(split)], split.names, images=images[rows_of(split)]
        )
        for name, split in data.splits.items()
    }
    return replace(data, **splits, listing=replace(data.listing, images=images))


def rows_of(split: Split) -> np.ndarray:
    return np.array([int(name[len("images[") : -1]) for name in split.names])


def sort_labels(data: kerastl.Data) -> np.ndarray:
    labels = np.zeros(len(data.listing.images), "int32")
    for split in data.splits.values():
        labels[rows_of(split)] = split.labels
    return labels


def darken(data: kerastl.Data) -> kerastl.Data:
    """Validation images as another camera would take them: darker, with less contrast."""
    images = data.listing.images.copy()
    rows = rows_of(data.validation)
    images[rows] = (images[rows] * 0.5).astype("uint8")
    return change(data, images, sort_labels(data))


def flip_labels(data: kerastl.Data, seed: int) -> tuple[kerastl.Data, set[str]]:
    """Another class on a fifth of the training images, and their names."""
    generator = np.random.default_rng(seed)
    labels, rows = sort_labels(data), rows_of(data.train)
    chosen = generator.permutation(len(rows))[: round(FLIPPED * len(rows))]
    moved = generator.integers(1, CLASSES, len(chosen))
    labels[rows[chosen]] = (labels[rows[chosen]] + moved) % CLASSES
    return change(data, data.listing.images, labels), {data.train.names[n] for n in chosen}


def leak(data: kerastl.Data, seed: int) -> tuple[kerastl.Data, dict[str, str]]:
    """Training images with slight noise in validation, and what each was taken from."""
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
