"""What a frozen prefix gives for every image: computed once, read by every epoch."""

import hashlib
import json
import os
import platform
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerastl
from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.finetuning.cuts import Split
from kerastl.finetuning.storing import ActivationStore, Form
from kerastl.models import get_info

EXTRACTION_BATCH = 64  # a larger one gains little and takes memory
CHUNK = 1 << 24  # bytes of pixels digested at once


@dataclass(frozen=True, eq=False)
class Activations:
    """The boundary's tensors for all images of a split, in their order.

    Args:
        tensors: One `(n, ...)` array per tensor of the boundary.
        labels: As in `Arrays`.
        weights: As in `Arrays`.
    """

    tensors: tuple[np.ndarray, ...]
    labels: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray | slice) -> np.ndarray | tuple[np.ndarray, ...]:
        """Return a batch in the form the tail takes."""
        parts = tuple(tensor[rows] for tensor in self.tensors)
        return parts[0] if len(parts) == 1 else parts

    @cached_property
    def rows(self) -> tuple[Any, ...]:
        """All rows as tensors, in the form of a batch."""
        every = tf.nest.map_structure(tf.constant, self.take(slice(None)))
        rest = [self.labels] if self.weights is None else [self.labels, self.weights]
        return (every, *map(tf.constant, rest))


def extract(
    split: Split,
    run: Callable,
    arrays: Arrays,
    store: ActivationStore | None,
    digests: Mapping[str, str],
) -> Activations:
    """Run the prefix over all images, or find what it gave before.

    Args:
        split: Of the model, with a prefix.
        run: The prefix as one graph, of `build_prefix`.
        arrays: The images.
        store: Where to look, and to keep it; None computes in memory.
        digests: Of the weights of each layer.

    Returns:
        Activations in the dtype the layers compute in.
    """
    forms = [
        ((len(arrays), *tensor.shape[1:]), str(tensor.dtype)) for tensor in split.boundary
    ]
    if store is None:
        tensors = [np.empty(shape, dtype) for shape, dtype in forms]
        _fill(run, arrays, tensors)
    else:
        key = identify(split, arrays.pixels, forms, digests)
        tensors = store.get(key, forms, lambda out: _fill(run, arrays, out))
    return Activations(tuple(tensors), arrays.labels, arrays.weights)


def build_prefix(split: Split, specs: Any) -> Callable:
    """Return the prefix as one graph, traced once for all batches."""
    return tf.function(
        lambda x: split.prefix(x, training=False), input_signature=specs, autograph=False
    )


def _fill(run: Callable, arrays: Arrays, tensors: Sequence[np.ndarray]) -> None:
    batches = EvaluationBatches(arrays, batch_size=EXTRACTION_BATCH)
    for index in range(len(batches)):
        outputs = run(tf.convert_to_tensor(batches[index][0]))
        rows = slice(index * EXTRACTION_BATCH, (index + 1) * EXTRACTION_BATCH)
        for tensor, output in zip(tensors, tf.nest.flatten(outputs), strict=True):
            tensor[rows] = output.numpy()


class ActivationTraining(TrainingBatches):
    """The batches of `TrainingBatches`, in the same order, of activations."""

    def _augment(self, chosen: np.ndarray, seed: int) -> tuple:
        return self.arrays.take(chosen), self.arrays.labels[chosen]


class ActivationEvaluation(EvaluationBatches):
    """The batches of `EvaluationBatches`, of activations."""

    def __getitem__(self, index: int) -> tuple:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.arrays.take(part), self.arrays.labels[part]


# What activations are kept under


def identify(
    split: Split, pixels: np.ndarray, forms: Sequence[Form], digests: Mapping[str, str]
) -> str:
    """Return the digest of all that activations depend on, to the last digit.

    That is the weights, the graph between pixels and boundary, the images, the versions and
    what of the machine changes roundings.
    """
    info = asdict(get_info(split.model))
    graph = {name: info[name] for name in ("base", "image_size", "pooling")}
    places = [split.model.operations.index(t._keras_history[0]) for t in split.boundary]
    facts = {
        **graph,
        "normalization": info["normalization"],
        "boundary": places,
        "forms": forms,
        "weights": [digests.get(layer.name) for layer in split.prefix.layers],
        "pixels": digest_array(pixels),
        "platform": describe_platform(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def describe_platform() -> list[Any]:
    """Return versions, precision and what of the machine changes roundings."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return [
        [kerastl.__version__, keras.__version__, tf.__version__],
        [keras.config.floatx(), keras.config.dtype_policy().name],
        [platform.machine(), cores],
        tf.config.threading.get_intra_op_parallelism_threads(),
        [os.environ.get(n) for n in ("TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS")],
        [device.device_type for device in tf.config.get_visible_devices()],
    ]


# id of an array -> itself, weakly, and its digest; a search hands out the same arrays
_digests: dict[int, tuple[weakref.ref, str]] = {}


def digest_array(array: np.ndarray) -> str:
    """Return the digest of an array's bytes, computed once while it lives unchanged."""
    found = _digests.get(id(array))
    if found is not None and found[0]() is array:
        return found[1]
    digest = hashlib.blake2b(digest_size=16)
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[first : first + rows]))
    if not array.flags.writeable:  # else it may have changed by the next time
        key = id(array)
        gone = weakref.ref(array, lambda _: _digests.pop(key, None))
        _digests[key] = (gone, digest.hexdigest())
    return digest.hexdigest()
