"""A candidate as plain Keras has it: built, compiled and fitted, each time anew."""

import random
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from benchmarks.tasks import Arrays, Task
from kerastl.bases import get_base
from kerastl.seeds import derive_seed

Fitted = tuple[keras.callbacks.History, float]


def prepare_images(task: Task, arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays as the base takes them; kerastl's model does that itself."""
    mode = get_base(task.base).preprocessing
    pixels = {
        name: keras.applications.imagenet_utils.preprocess_input(
            arrays[name].astype("float32"), mode=mode
        )
        for name in ("train-pixels", "validation-pixels")
    }
    return {**arrays, **pixels}


def build_network(task: Task) -> keras.Model:
    """Return the base without its top, with the initial weights kerastl draws."""
    keras.utils.set_random_seed(task.seed)  # of the order of the images
    construct = getattr(keras.applications, get_base(task.base).constructor)
    shape = (task.image_size, task.image_size, 3)
    random.seed(derive_seed(task.seed, "base"))
    return construct(include_top=False, weights=None, input_shape=shape)


def build_model(task: Task, candidate: Mapping[str, Any]) -> keras.Model:
    """Return the tutorials' model, compiled, with the initial weights kerastl draws."""
    base = build_network(task)
    freeze_layers(base, candidate["trains"])
    random.seed(derive_seed(task.seed, "head"))
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    if task.hidden:
        x = keras.layers.Dense(task.hidden, activation="relu")(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    model = keras.Model(base.input, outputs)
    optimizer = keras.optimizers.Adam(candidate["learning_rate"])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def freeze_layers(base: keras.Model, trains: str) -> None:
    """Freeze a base as a task says, and BatchNorm in any case."""
    names = [layer.name for layer in base.layers]
    ends = {"head": len(names), "all": 0}
    first = ends[trains] if trains in ends else names.index(trains) + 1
    for number, layer in enumerate(base.layers):
        is_batchnorm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = number >= first and not is_batchnorm


def fit_model(
    model: keras.Model,
    task: Task,
    images: Arrays,
    candidate: Mapping[str, Any],
    **options: Any,
) -> Fitted:
    """Fit a model and return its history and the seconds it took."""
    start = time.perf_counter()
    history = model.fit(
        images["train-pixels"],
        images["train-labels"],
        validation_data=(images["validation-pixels"], images["validation-labels"]),
        epochs=task.epochs,
        batch_size=candidate["batch_size"],
        **options,
    )
    return history, time.perf_counter() - start
