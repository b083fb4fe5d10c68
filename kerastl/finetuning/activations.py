"""What a frozen prefix gives for every image: computed once, read by every epoch."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.finetuning.cuts import Split

EXTRACTION_BATCH = 64  # a larger one gains little and takes memory


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


def extract(split: Split, arrays: Arrays) -> Activations:
    """Run the prefix over all images once.

    Args:
        split: Of the model, with a prefix.
        arrays: The images.

    Returns:
        Activations in the dtype the layers compute in.
    """
    images = tf.TensorSpec((None, *split.model.input_shape[1:]), "float32")
    run = tf.function(
        lambda x: split.prefix(x, training=False), input_signature=[images]
    )  # one trace for all batches
    batches = EvaluationBatches(arrays, batch_size=EXTRACTION_BATCH)
    tensors = [
        np.empty((len(arrays), *tensor.shape[1:]), tensor.dtype)
        for tensor in split.boundary
    ]
    for index in range(len(batches)):
        outputs = run(tf.convert_to_tensor(batches[index][0]))
        rows = slice(index * EXTRACTION_BATCH, (index + 1) * EXTRACTION_BATCH)
        for tensor, output in zip(tensors, tf.nest.flatten(outputs), strict=True):
            tensor[rows] = output.numpy()
    return Activations(tuple(tensors), arrays.labels, arrays.weights)


class ActivationTraining(TrainingBatches):
    """The batches of `TrainingBatches`, in the same order, of activations."""

    def _augment(self, chosen: np.ndarray, seed: int) -> tuple:
        return self.arrays.take(chosen), self.arrays.labels[chosen]


class ActivationEvaluation(EvaluationBatches):
    """The batches of `EvaluationBatches`, of activations."""

    def __getitem__(self, index: int) -> tuple:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.arrays.take(part), self.arrays.labels[part]


def count_bytes(split: Split, images: int) -> int:
    """Return what the activations of so many images take."""
    width = np.dtype(keras.config.floatx()).itemsize
    return split.values_per_image * images * width
