"""Batches for `fit`: order and augmentation are functions of seed, stage and epoch alone."""

import math

import keras
import numpy as np

from kerastl.data.augmentation import Augmentation
from kerastl.seeds import derive_seed


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches over arrays, reproducible from any epoch on.

    `epoch` is set before each epoch; batch i of epoch e is then always the same, whatever ran
    before it, so an interrupted run goes on exactly as it would have.
    """

    def __init__(self, images, labels, *, batch_size, seed, augmentation=None):
        super().__init__(workers=1)
        self.images, self.labels = images, labels
        self.batch_size, self.seed = batch_size, seed
        self.augmentation: Augmentation | None = augmentation
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Make the order of the samples that of `epoch`."""
        self.epoch_seed = derive_seed(self.seed, epoch)
        self.order = np.random.default_rng(self.epoch_seed).permutation(len(self.images))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index: int):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images = self.images[chosen]
        if self.augmentation is None:
            return images.astype("float32"), self.labels[chosen]
        seed = derive_seed(self.epoch_seed, index)
        return self.augmentation(images, seed=seed), self.labels[chosen]
