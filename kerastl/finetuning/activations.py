"""What a frozen prefix gives for every image: computed once, read by every epoch."""

import hashlib
import json
import os
import platform
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerastl
from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.finetuning.cuts import Split
from kerastl.finetuning.storing import ActivationStore, Form, compute_arrays
from kerastl.finetuning.verifying import Digests
from kerastl.models import get_info

# of one batch: more gains little and takes memory, of which early layers need most
PIXELS_AT_ONCE, IMAGES_AT_ONCE = 2**20, 256
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
    digests: Digests,
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
    fill = partial(_fill, run, arrays)
    if store is None:
        tensors = compute_arrays(forms, fill)
    else:
        key = identify(split, arrays.pixels, forms, digests)
        tensors = store.get(key, forms, fill)
    return Activations(tuple(tensors), arrays.labels, arrays.weights)


def extract_view(
    split: Split,
    run: Callable,
    batches: TrainingBatches,
    store: ActivationStore | None,
    digests: Digests,
) -> Activations:
    """Run the prefix over one epoch's augmented images, or find what it gave before.

    Trials with the same seed, batch size and augmentation draw the same images in the same
    epoch, so the first of them computes for all.

    Args:
        split: As for `extract`.
        run: As for `extract`.
        batches: Set to the epoch.
        store: As for `extract`.
        digests: As for `extract`.

    Returns:
        Activations, labels and weights in the order of the batches.
    """
    arrays, rows = batches.arrays, len(batches) * batches.batch_size
    count = min(rows, len(arrays))
    forms = [((count, *tensor.shape[1:]), str(tensor.dtype)) for tensor in split.boundary]
    mixed = keras.config.floatx() if arrays.labels.ndim > 1 else arrays.labels.dtype.name
    forms.append(((count, *arrays.labels.shape[1:]), mixed))

    def fill(out: Sequence[np.ndarray]) -> None:
        for index in range(len(batches)):
            images, labels, *_ = batches[index]
            part = slice(index * batches.batch_size, (index + 1) * batches.batch_size)
            outputs = tf.nest.flatten(run(tf.convert_to_tensor(images)))
            for array, output in zip(out, [*outputs, labels], strict=True):
                array[part] = output

    if store is None:
        *tensors, labels = compute_arrays(forms, fill)
    else:
        view = [*batches.augmentation.names, batches.epoch_seed, batches.batch_size]
        view.append(digest_array(arrays.labels))
        key = identify(split, arrays.pixels, forms, digests, view=view)
        *tensors, labels = store.get(key, forms, fill)
    chosen = batches.order[:count]
    weights = None if arrays.weights is None else arrays.weights[chosen]
    return Activations(tuple(tensors), labels, weights)


def build_prefix(split: Split, specs: Any) -> Callable:
    """Return the prefix as one graph, traced once for all batches."""
    return tf.function(
        lambda x: split.prefix(x, training=False), input_signature=specs, autograph=False
    )


def _fill(run: Callable, arrays: Arrays, tensors: Sequence[np.ndarray]) -> None:
    height, width = arrays.pixels.shape[1:3]
    size = min(IMAGES_AT_ONCE, max(1, PIXELS_AT_ONCE // (height * width)))
    batches = EvaluationBatches(arrays, batch_size=size)
    for index in range(len(batches)):
        outputs = run(tf.convert_to_tensor(batches[index][0]))
        rows = slice(index * size, (index + 1) * size)
        for tensor, output in zip(tensors, tf.nest.flatten(outputs), strict=True):
            tensor[rows] = output.numpy()


class ActivationTraining(TrainingBatches):
    """The batches of `TrainingBatches`, in the same order, of activations."""

    def _augment(self, chosen: np.ndarray, seed: int) -> tuple:
        return self.arrays.take(chosen), self.arrays.labels[chosen]


class ViewTraining(keras.utils.PyDataset):
    """The batches of `TrainingBatches` with augmentation, of activations.

    Args:
        plain: The batches of images.
        find: Returns the activations of the epoch they are set to.
    """

    def __init__(
        self, plain: TrainingBatches, find: Callable[[TrainingBatches], Activations]
    ):
        super().__init__(workers=1)
        self.plain, self.find, self.batch_size = plain, find, plain.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Have the activations of an epoch, counted from 0, computed or found."""
        self.plain.set_epoch(epoch)
        self.arrays = self.find(self.plain)
        self.order = np.arange(len(self.arrays))

    def __len__(self) -> int:
        return len(self.plain)

    def __getitem__(self, index: int) -> tuple:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        batch = (self.arrays.take(part), self.arrays.labels[part])
        weights = self.arrays.weights
        return batch if weights is None else (*batch, weights[part])


class ActivationEvaluation(EvaluationBatches):
    """The batches of `EvaluationBatches`, of activations."""

    def __getitem__(self, index: int) -> tuple:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.arrays.take(part), self.arrays.labels[part]


# What activations are kept under


def identify(
    split: Split,
    pixels: np.ndarray,
    forms: Sequence[Form],
    digests: Digests,
    view: Sequence[Any] = (),
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
        "view": list(view),
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
