"""In how many bits activations are computed and kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from kerastl.errors import UsageError
from kerastl.finetuning.choices import AS_COMPUTED, MIXED, WIDTHS
from kerastl.finetuning.cuts import Boundary
from kerastl.finetuning.folding import run_folded


def choose_dtype(computed: str, kept: str) -> str:
    """Return the dtype to keep numbers in that are computed in another.

    Example:

    >>> choose_dtype("float32", "mixed_bfloat16"), choose_dtype("float64", "float32")
    ('bfloat16', 'float64')
    """
    is_narrow = tf.as_dtype(computed).size <= WIDTHS[kept]
    return computed if kept == AS_COMPUTED or is_narrow else kept.removeprefix("mixed_")


def run_layers(model: keras.Model, images: tf.Tensor, kept: str) -> list[tf.Tensor]:
    """Return a frozen model's outputs, computed as activations are to be kept.

    Args:
        model: With at least one output.
        images: That it takes.
        kept: A name of `WIDTHS`; all but `"mixed_bfloat16"` compute as the layers say.
    """
    if kept != MIXED:
        return tf.nest.flatten(model(images, training=False))
    with compute_in(model, MIXED):
        return run_folded(model, images)


@contextmanager
def compute_in(model: keras.Model, policy: str) -> Iterator[None]:
    """Have a model's layers compute under another policy while a graph is traced.

    The layers are those of the model that is trained, which computes as before afterwards.
    Variables stay as they are.

    Args:
        model: Of which calls are traced.
        policy: The name of one of Keras.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> with compute_in(model, "mixed_bfloat16"):
    ...     model(np.zeros((1, 2), "float32")).dtype.name
    'bfloat16'
    """
    before = [(one, one.dtype_policy) for one in model._flatten_layers(include_self=False)]
    try:
        for layer, _ in before:
            layer.dtype_policy = policy
        yield
    finally:
        for layer, own in before:
            layer.dtype_policy = own


def overflow(outputs: Sequence[np.ndarray]) -> bool:
    """Return whether a number of float32 was too large for the dtype it was put in."""
    return any(one.dtype == np.float16 and np.isinf(one).any() for one in outputs)


def refuse_float16(boundary: Boundary) -> UsageError:
    """Return what says so."""
    names = ", ".join(tensor._keras_history[0].name for tensor in boundary)
    return UsageError(
        f"activations='float16' holds numbers up to 65,504, and what {names} gives for "
        "these images is beyond: give activations='bfloat16', as small and of the range "
        "of float32, or 'float32'."
    )
