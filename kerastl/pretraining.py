"""Training a base from random weights on a large data set, to ship its weights."""

import keras
import numpy as np

from kerastl import networks
from kerastl.data.augmentation import Augmentation
from kerastl.data.batches import Batches

PEAK_LEARNING_RATE = 0.2
WARMUP = 0.2  # share of all steps
WEIGHT_DECAY = 2e-3  # decoupled, so about 2e-4 of the coupled kind at momentum 0.9


class _EpochOrder(keras.callbacks.Callback):
    def __init__(self, batches: Batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.set_epoch(epoch)


def build_classifier(num_classes: int, *, image_size: int, dtype: str) -> keras.Model:
    """Put a linear softmax head on `tiny`, computing in the dtype policy `dtype`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        pixels = keras.Input((image_size, image_size, 3), name="pixels")
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(pixels)
        features = networks.tiny(scaled).output
        pooled = keras.layers.GlobalAveragePooling2D(name="pooling")(features)
        head = keras.layers.Dense(num_classes, activation="softmax", dtype="float32", name="predictions")
        return keras.Model(pixels, head(pooled))
    finally:
        keras.config.set_dtype_policy(before)


def compile_classifier(model: keras.Model, *, steps: int) -> None:
    """Nesterov SGD, a linear warm-up and a cosine back to zero over `steps` steps."""
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=steps - int(WARMUP * steps),
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=int(WARMUP * steps),
    )
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def fit_classifier(model, images: np.ndarray, labels: np.ndarray, *, epochs, batch_size=128, seed=0, callbacks=(), verbose="auto"):
    """Train on every image given: the recipe is fixed, so nothing is chosen on validation."""
    augmentation = Augmentation(["flip", "crop"])
    batches = Batches(images, labels, batch_size=batch_size, seed=seed, augmentation=augmentation)
    compile_classifier(model, steps=epochs * len(batches))
    return model.fit(batches, epochs=epochs, callbacks=[_EpochOrder(batches), *callbacks], verbose=verbose)
