"""A temperature as part of a plain model: its last layer, divided."""

import math

import keras

from kerastl.errors import UsageError
from kerastl.models.information import get_info

OUTPUT = "predictions"


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide a model's logits by a temperature, in place and for good.

    Kernel and bias of the last Dense layer are divided, so the model stays plain Keras,
    without a layer more, and wherever it is loaded gives the calibrated probabilities.

    Args:
        model: Made by `build_model` or `load_model`.
        temperature: Above 0; above 1 makes it less sure.

    Raises:
        UsageError: The model is not this package's, or the temperature not above 0.

    Example:

    >>> from kerastl.models import build_model
    >>> model = build_model("tiny", num_classes=2, weights=None)
    >>> before = model.get_layer("predictions").kernel.numpy()
    >>> divide_logits(model, 2.0)
    >>> bool((model.get_layer("predictions").kernel.numpy() == before / 2).all())
    True
    """
    get_info(model)
    if not temperature > 0 or not math.isfinite(temperature):
        raise UsageError(f"temperature={temperature!r} must be a number above 0.")
    for weight in model.get_layer(OUTPUT).weights:
        weight.assign(weight / temperature)
