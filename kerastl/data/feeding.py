"""Batches as Keras reads them best.

Keras makes a pipeline of a `PyDataset` with `Dataset.from_generator`. On Python 3.11
TensorFlow answers to the first of those (`ApplyPython311MemoryPatch`) by having the C
library give every block above 128 KB back to the system as soon as it is free, for the rest
of the process: the gradients of a large network are then paged in anew in each step, which
takes as long as the step itself.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_AHEAD = 2  # batches that are made while another one trains


def feed(batches: Sequence[Any]) -> tf.data.Dataset:
    """Return batches as a pipeline for `fit`, `evaluate` or `predict`.

    Args:
        batches: Nested tuples of arrays, of the same form but for their number of rows.
            Each epoch reads them anew.

    Returns:
        tf.data.Dataset of as many batches.

    Example:

    >>> import numpy as np
    >>> pipeline = feed([(np.zeros((2, 3)), np.ones(2)), (np.zeros((1, 3)), np.ones(1))])
    >>> len(pipeline), [tuple(x.shape) for x, y in pipeline]
    (2, [(2, 3), (1, 3)])
    """
    form = batches[0]
    arrays = tf.nest.flatten(form)

    def read(index: Any) -> list[Any]:
        return tf.nest.flatten(batches[int(index)])

    def load(index: tf.Tensor) -> Any:
        tensors = tf.numpy_function(read, [index], [array.dtype for array in arrays])
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.set_shape((None, *array.shape[1:]))
        return tf.nest.pack_sequence_as(form, tensors)

    return leave_untuned(tf.data.Dataset.range(len(batches)).map(load).prefetch(_AHEAD))


def leave_untuned(pipeline: tf.data.Dataset) -> tf.data.Dataset:
    """Return a pipeline whose end nobody waits for.

    Each epoch has an iterator of its own. A thread that tunes the pipeline ends with it,
    and sleeps up to a second before it sees that.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return pipeline.with_options(options)
