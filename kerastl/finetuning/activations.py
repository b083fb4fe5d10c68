"""What a frozen prefix gives for every image: computed once, read by every epoch."""

import hashlib
import json
import os
import platform
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerastl
from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.data.rows import Reader
from kerastl.finetuning.choices import AS_COMPUTED
from kerastl.finetuning.cuts import Boundary, Split, build_prefix_model
from kerastl.finetuning.precisions import (
    choose_dtype,
    overflow,
    refuse_float16,
    run_layers,
)
from kerastl.finetuning.storing import Form, MemoryStore, Store, compute_arrays
from kerastl.finetuning.verifying import Digests
from kerastl.models import get_info

# of one batch: more gains little and takes memory, of which early layers need most
PIXELS_AT_ONCE, IMAGES_AT_ONCE = 2**20, 256
CHUNK = 1 << 24  # bytes of pixels digested at once

# the layers up to some boundaries as one graph: of images, to a list of their tensors
Trace = Callable[[Sequence[Boundary]], Callable]


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
    trace: Trace,
    arrays: Arrays,
    store: Store | None,
    digests: Digests,
    along: Sequence[Boundary] = (),
    dtype: str = AS_COMPUTED,
) -> Activations:
    """Run the prefix over all images, or find what it gave before.

    Args:
        split: Of the model, with a prefix.
        trace: Returns the layers up to some boundaries as one graph, of `build_prefix`.
        arrays: The images.
        store: Where to look, and to keep it; None computes in memory.
        digests: Of the weights of each layer.
        along: Other boundaries, for whose tensors the store will be asked later: what of
            them is not there is computed in the same pass.
        dtype: To keep numbers in: `"float32"` (as they are computed), `"float16"` or
            `"bfloat16"`; or `"mixed_bfloat16"`, to compute them so as well.

    Returns:
        Activations in that dtype.

    Raises:
        UsageError: There are numbers that float16 cannot hold.
    """
    if store is None:
        forms = _list_forms(split.boundary, len(arrays), dtype)
        fill = partial(_fill, trace, arrays, {"": split.boundary}, "")
        tensors = MemoryStore().get_first({"": forms}, fill)
        return Activations(tuple(tensors), arrays.labels, arrays.weights)

    def describe(prefix: keras.Model) -> tuple[str, list[Form]]:
        forms = _list_forms(prefix.outputs, len(arrays), dtype)
        return identify(split.model, prefix, arrays.pixels, forms, digests, dtype), forms

    own, forms = describe(split.prefix)
    tensors = store.find(own, forms)
    if tensors is None:
        boundaries, wanted = {own: split.boundary}, {own: forms}
        for boundary in along:
            key, forms = describe(build_prefix_model(split.model, boundary))
            boundaries[key], wanted[key] = boundary, forms
        fill = partial(_fill, trace, arrays, boundaries, own)
        tensors = store.get_first(wanted, fill)
    return Activations(tuple(tensors), arrays.labels, arrays.weights)


def _list_forms(tensors: Sequence[Any], count: int, dtype: str) -> list[Form]:
    return [((count, *t.shape[1:]), choose_dtype(str(t.dtype), dtype)) for t in tensors]


def extract_view(
    split: Split,
    trace: Trace,
    batches: TrainingBatches,
    store: Store | None,
    digests: Digests,
    dtype: str = AS_COMPUTED,
) -> Activations:
    """Run the prefix over one epoch's augmented images, or find what it gave before.

    Trials with the same seed, batch size and augmentation draw the same images in the same
    epoch, so the first of them computes for all.

    Args:
        split: As for `extract`.
        trace: As for `extract`.
        batches: Set to the epoch.
        store: As for `extract`.
        digests: As for `extract`.
        dtype: As for `extract`.

    Returns:
        Activations, labels and weights in the order of the batches.

    Raises:
        UsageError: As for `extract`.
    """
    arrays, rows = batches.arrays, len(batches) * batches.batch_size
    count = min(rows, len(arrays))
    forms = _list_forms(split.boundary, count, dtype)
    mixed = keras.config.floatx() if arrays.labels.ndim > 1 else arrays.labels.dtype.name
    forms.append(((count, *arrays.labels.shape[1:]), mixed))

    def fill(out: Sequence[np.ndarray]) -> None:
        run = trace([split.boundary])
        for index in range(len(batches)):
            images, labels, *_ = batches[index]
            part = slice(index * batches.batch_size, (index + 1) * batches.batch_size)
            outputs = [output.numpy() for output in run(tf.convert_to_tensor(images))]
            if overflow(outputs):
                raise refuse_float16(split.boundary)
            for array, output in zip(out, [*outputs, labels], strict=True):
                array[part] = output

    if store is None:
        *tensors, labels = compute_arrays(forms, fill)
    else:
        view = [*batches.augmentation.names, batches.epoch_seed, batches.batch_size]
        view.append(digest_array(arrays.labels))
        key = identify(
            split.model, split.prefix, arrays.pixels, forms, digests, dtype, view
        )
        *tensors, labels = store.get(key, forms, fill)
    chosen = batches.order[:count]
    weights = None if arrays.weights is None else arrays.weights[chosen]
    return Activations(tuple(tensors), labels, weights)


def build_prefix(
    prefix: keras.Model,
    specs: Any,
    dtype: str = AS_COMPUTED,
    places: Sequence[int] | None = None,
) -> Callable:
    """Return the prefix as one graph, traced once for all batches.

    Args:
        prefix: Some layers of a model.
        specs: Of its input.
        dtype: As for `extract`.
        places: Which of its outputs are given, some of them twice; by default all.

    Returns:
        tf.function of images that returns a list.
    """

    def run(images: tf.Tensor) -> list[tf.Tensor]:
        outputs = run_layers(prefix, images, dtype)
        chosen = outputs if places is None else [outputs[place] for place in places]
        return [tf.cast(one, choose_dtype(one.dtype.name, dtype)) for one in chosen]

    return tf.function(run, input_signature=specs, autograph=False)


def _fill(
    trace: Trace,
    arrays: Arrays,
    boundaries: Mapping[str, Boundary],
    own: str,
    out: dict[str, Sequence[np.ndarray]],
) -> None:
    """Compute what `out` has room for; take out of it what cannot be kept."""
    height, width = arrays.pixels.shape[1:3]
    size = min(IMAGES_AT_ONCE, max(1, PIXELS_AT_ONCE // (height * width)))
    batches, keys = EvaluationBatches(arrays, batch_size=size), list(out)
    run = trace([boundaries[key] for key in keys])
    for index in range(len(batches)):
        outputs = iter(run(tf.convert_to_tensor(batches[index][0])))
        rows = slice(index * size, (index + 1) * size)
        for key in keys:
            given = [next(outputs).numpy() for _ in boundaries[key]]
            if key in out and overflow(given):
                if key == own:
                    raise refuse_float16(boundaries[key])
                del out[key]  # whoever needs it will be told
            for array, one in zip(out.get(key, ()), given, strict=False):
                array[rows] = one


class ActivationTraining(TrainingBatches):
    """The batches of `TrainingBatches`, in the same order, of activations."""

    def _augment(self, chosen: np.ndarray, seed: int) -> tuple:
        return self.arrays.take(chosen), self.arrays.labels[chosen]


class ViewTraining:
    """The batches of `TrainingBatches` with augmentation, of activations.

    Args:
        plain: The batches of images.
        find: Returns the activations of the epoch they are set to.
    """

    def __init__(
        self, plain: TrainingBatches, find: Callable[[TrainingBatches], Activations]
    ):
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
    model: keras.Model,
    prefix: keras.Model,
    pixels: np.ndarray,
    forms: Sequence[Form],
    digests: Digests,
    dtype: str,
    view: Sequence[Any] = (),
) -> str:
    """Return the digest of all that activations depend on, to the last digit.

    That is the weights, the graph between pixels and boundary, the images, the versions and
    what of the machine changes roundings.
    """
    info = asdict(get_info(model))
    graph = {name: info[name] for name in ("base", "image_size", "pooling")}
    places = [model.operations.index(t._keras_history[0]) for t in prefix.outputs]
    facts = {
        **graph,
        "normalization": info["normalization"],
        "boundary": places,
        "forms": forms,
        "dtype": dtype,
        "weights": [digests.get(layer.name) for layer in prefix.layers],
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
    digest, reader = hashlib.blake2b(digest_size=16), Reader(array)
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for first in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(reader[first : first + rows]))
    if not array.flags.writeable:  # else it may have changed by the next time
        key = id(array)
        gone = weakref.ref(array, lambda _: _digests.pop(key, None))
        _digests[key] = (gone, digest.hexdigest())
    return digest.hexdigest()
