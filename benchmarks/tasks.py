"""What is searched or trained, and the images, in files that every peer reads."""

import dataclasses
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from kerastl.data import Data

Arrays = Mapping[str, np.ndarray]
Candidate = dict[str, Any]
IMAGES, TASK = "images.npz", "task.json"


@dataclass(frozen=True)
class Task:
    """A grid over digits.

    Args:
        images: How many, for training and validation together.
        epochs: Of each trial.
        image_size: Side they are brought to.
        base: Network, with random weights.
        hidden: Units of a hidden layer in the head; 0 for none.
        trains: For each depth `"head"`, `"all"`, or the layer of the base after which
            everything trains; BatchNorm never does.
        learning_rates: Of Adam.
        batch_sizes: Images per step.
        validation: Share of the images.
        seed: Of weights, splits and order.
    """

    images: int = 1000
    epochs: int = 10
    image_size: int = 32
    base: str = "resnet50"
    hidden: int = 1024
    trains: tuple[str, ...] = ("head",)
    learning_rates: tuple[float, ...] = (0.001, 0.01, 0.1)
    batch_sizes: tuple[int, ...] = (16, 32, 64)
    validation: float = field(default=1 / 3, metadata={"hidden": True})
    seed: int = 0

    def candidates(self) -> list[Candidate]:
        """Return the grid in the order in which it is tried."""
        lists = (self.batch_sizes, self.learning_rates, self.trains)
        names = ("batch_size", "learning_rate", "trains")
        return [dict(zip(names, one, strict=True)) for one in itertools.product(*lists)]


def write_task(folder: Path, task: Task) -> dict[str, int]:
    """Write what a peer reads: the task, some digits, and how kerastl splits them.

    Returns:
        Images per split.
    """
    import kerastl

    every = kerastl.load_images("digits", validation=0, test=0).train
    assert task.images <= len(every), f"there are {len(every)} digits, not {task.images}"
    rows = draw_balanced(every.labels, task.images, task.seed)
    arrays = {"pixels": every.pixels(task.image_size)[rows], "labels": every.labels[rows]}
    splits = split_images(task, arrays).splits
    for name, split in splits.items():
        arrays[f"{name}-pixels"] = split.pixels(task.image_size)
        arrays[f"{name}-labels"] = split.labels
    np.savez(folder / IMAGES, **arrays)
    (folder / TASK).write_text(json.dumps(dataclasses.asdict(task)))
    return {name: len(split) for name, split in splits.items()}


def draw_balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return rows of so many images, the same number of each class or one more."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turns = np.empty(len(labels), int)  # how many of its class come before
    for label in np.unique(labels):
        of_class = labels[order] == label
        turns[of_class] = np.arange(of_class.sum())
    return order[np.argsort(turns, kind="stable")[:count]]


def read_task(folder: Path) -> tuple[Task, dict[str, np.ndarray]]:
    """Return what `write_task` left: pixels and labels of all images and of each split."""
    values = json.loads((folder / TASK).read_text())
    lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    with np.load(folder / IMAGES, allow_pickle=False) as archive:
        return Task(**{**values, **lists}), dict(archive)


def split_images(task: Task, arrays: Arrays) -> "Data":
    """Let kerastl load and split the images; the same task gives the same splits."""
    import kerastl

    pair = (arrays["pixels"], arrays["labels"])
    return kerastl.load_images(pair, validation=task.validation, test=0, seed=task.seed)


def describe_trial(
    candidate: Candidate, score: float, began: float, seconds: float, model: "keras.Model"
) -> dict[str, Any]:
    """Return what a peer says of a trial that ends now; moments are `time.time`'s."""
    return {
        "candidate": candidate,
        "score": float(score),
        "began": began,
        "ended": time.time(),
        "fit_seconds": seconds,
        "trainable": int(sum(np.prod(v.shape) for v in model.trainable_variables)),
    }
