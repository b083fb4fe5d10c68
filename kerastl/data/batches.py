"""Batches for `fit`: order and augmentation are functions of seed and epoch alone."""

import math
from dataclasses import dataclass, replace

import numpy as np

from kerastl.data.augmentation import Augmentation
from kerastl.data.rows import Reader
from kerastl.seeds import derive_seed


@dataclass(frozen=True)
class Arrays:
    """Decoded images with labels in the form the loss takes, and optional weights.

    `pixels` is uint8 `(n, height, width, 3)`, in memory or memory-mapped; `labels` int32
    `(n,)` or float32 `(n, num_classes)`; `weights` float32 `(n,)` or None.
    """

    pixels: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def with_one_hot_labels(self, num_classes: int) -> "Arrays":
        """Return the same images with `(n, num_classes)` labels."""
        if self.labels.ndim == 2:
            return self
        return replace(self, labels=np.eye(num_classes, dtype="float32")[self.labels])


class TrainingBatches:
    """Shuffled, augmented batches, the same from any epoch on.

    Call `set_epoch` before each epoch; batch i of epoch e is then always the same, whatever
    ran before it, so an interrupted run goes on exactly as it would have.

    Args:
        arrays: What to train on.
        batch_size: Images per batch; the last may be smaller.
        seed: With the epoch it decides order and augmentation.
        augmentation: Applied to every batch; None for none.
        max_steps: Fewer batches per epoch, for trying things out.

    `order` has the rows in the epoch's order, which `epoch_seed` decides with all else that
    is random in it.

    Example:

    >>> arrays = Arrays(np.zeros((5, 8, 8, 3), "uint8"), np.arange(5, dtype="int32"))
    >>> batches = TrainingBatches(arrays, batch_size=2, seed=0)
    >>> len(batches), sorted(int(y) for i in range(3) for y in batches[i][1])
    (3, [0, 1, 2, 3, 4])
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation | None = None,
        max_steps: int | None = None,
    ):
        self.arrays, self.batch_size, self.seed = arrays, batch_size, seed
        self.augmentation, self.max_steps = augmentation, max_steps
        self._pixels = Reader(getattr(arrays, "pixels", None))
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Make order and augmentation those of `epoch`, counted from 0."""
        self.epoch_seed = derive_seed(self.seed, epoch)
        generator = np.random.default_rng(self.epoch_seed)
        self.order = generator.permutation(len(self.arrays))

    def __len__(self) -> int:
        steps = math.ceil(len(self.arrays) / self.batch_size)
        return min(steps, self.max_steps or steps)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        first = index * self.batch_size
        chosen = self.order[first : first + self.batch_size]
        images, labels = self._augment(chosen, derive_seed(self.epoch_seed, index))
        if self.arrays.weights is None:
            return images, labels
        return images, labels, self.arrays.weights[chosen]

    def _augment(self, chosen: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self._pixels[chosen], self.arrays.labels[chosen]
        if self.augmentation is None:
            return images.astype("float32"), labels
        if labels.ndim == 1:
            return self.augmentation(images, seed=seed), labels
        return self.augmentation.augment_batch(images, labels, seed=seed)


class EvaluationBatches:
    """The images as they are, in order, in batches read one at a time."""

    def __init__(self, arrays: Arrays, *, batch_size: int, max_steps: int | None = None):
        self.arrays, self.batch_size, self.max_steps = arrays, batch_size, max_steps
        self._pixels = Reader(getattr(arrays, "pixels", None))

    def __len__(self) -> int:
        steps = math.ceil(len(self.arrays) / self.batch_size)
        return min(steps, self.max_steps or steps)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self._pixels[part].astype("float32"), self.arrays.labels[part]
