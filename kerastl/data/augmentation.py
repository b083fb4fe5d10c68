"""Random changes of training images, all of them `keras.layers`, reseeded per batch."""

import keras
import numpy as np
import tensorflow as tf

from kerastl.seeds import derive_seed

PADDING = 1 / 8  # of the side, so 4 pixels at 32: the padded random crop of the CIFAR recipes


def _layers(name: str) -> list[keras.Layer]:
    # RandomCrop of Keras moves a whole batch alike; a translation that fills with black is
    # the padded random crop, one offset per image.
    if name == "crop":
        return [
            keras.layers.RandomTranslation(
                PADDING, PADDING, fill_mode="constant", interpolation="nearest"
            )
        ]
    return [keras.layers.RandomFlip("horizontal")]


class Augmentation:
    """A sequence of random layers applied to a batch of raw pixels.

    Example:

    >>> augment = Augmentation(["flip", "crop"])
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> augment(images, seed=0).shape
    (2, 32, 32, 3)
    """

    def __init__(self, names: list[str]):
        self.names = list(names)
        self.layers = [layer for name in names for layer in _layers(name)]
        self._apply = tf.function(self._call, reduce_retracing=True)

    def _call(self, images: tf.Tensor) -> tf.Tensor:
        for layer in self.layers:
            images = layer(images, training=True)
        return images

    def __call__(self, images: np.ndarray, *, seed: int) -> np.ndarray:
        """Augment `(batch, height, width, 3)` pixels; the same seed gives the same result."""
        for position, layer in enumerate(self.layers):
            layer.generator.state.assign([derive_seed(seed, position), 0])
        return self._apply(images.astype("float32")).numpy()
