"""Random changes of training images, all of them `keras.layers`, reseeded per batch."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastl.errors import check_choice
from kerastl.seeds import derive_seed
from kerastl.stages import AUGMENTATIONS

SHIFT = 1 / 8  # of a side, so 4 pixels at 32: the padded random crop of the CIFAR recipes

_MAKERS = {
    "flip": lambda: keras.layers.RandomFlip("horizontal"),
    # Keras' RandomCrop moves a whole batch alike. A translation that fills with black is
    # the padded random crop with an offset of its own for every image.
    "crop": lambda: keras.layers.RandomTranslation(
        SHIFT, SHIFT, fill_mode="constant", interpolation="nearest"
    ),
    "randaugment": lambda: keras.layers.RandAugment((0, 255), num_ops=2, factor=0.3),
    "mixup": lambda: keras.layers.MixUp(alpha=0.2),
    "cutmix": lambda: keras.layers.CutMix(),
    "erasing": lambda: keras.layers.RandomErasing(factor=0.5, value_range=(0, 255)),
}


class Augmentation:
    """A sequence of random layers applied to batches of raw pixels and their labels.

    Use it on training batches alone. It runs outside the model, so the saved model has no
    random layer, and is reseeded for each batch, so that a batch is always the same.

    Args:
        names: Names out of `kerastl.stages.AUGMENTATIONS`, applied in this order.

    Raises:
        UsageError: A name is unknown.

    Example:

    >>> augment = Augmentation(["flip", "crop"])
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> augment(images, seed=0).shape
    (2, 32, 32, 3)
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        for name in self.names:
            check_choice("augment", name, AUGMENTATIONS)
        self.layers = [_MAKERS[name]() for name in self.names]
        self._states = [v for layer in self.layers for v in layer.variables]
        self._apply = tf.function(self._call, reduce_retracing=True)

    def _call(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = {"images": images, "labels": labels}
        for layer in self.layers:
            batch = layer(batch, training=True)
        return batch["images"], batch["labels"]

    def augment_batch(
        self, images: np.ndarray, labels: np.ndarray, *, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment images and, where they are mixed, labels.

        Args:
            images: `(batch, height, width, 3)` pixels, 0 to 255.
            labels: `(batch, num_classes)` float32; only MixUp and CutMix change them.
            seed: The same seed gives the same batch, to the bit.

        Returns:
            float32 images and labels of the same shapes.
        """
        for position, state in enumerate(self._states):
            state.assign([derive_seed(seed, position), 0])
        pixels, mixed = self._apply(images.astype("float32"), labels)
        return pixels.numpy(), mixed.numpy()

    def __call__(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """Augment images alone: for previews, and where labels stay as they are."""
        labels = np.eye(len(images), dtype="float32")
        return self.augment_batch(images, labels, seed=seed)[0]
