"""The fast engine: no frozen layer runs twice, and one fused step per batch.

Keras' own loop stays: its `fit` keeps a train function that is already set, so callbacks,
history and loggers see what they always see.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerastl.data.pixels import free_memory
from kerastl.finetuning.activations import (
    ActivationEvaluation,
    Activations,
    ActivationTraining,
    count_bytes,
    extract,
)
from kerastl.finetuning.compiling import prepare_labels
from kerastl.finetuning.cuts import Split, split_model, whole_model
from kerastl.finetuning.fused import apply_fused
from kerastl.finetuning.plain import PlainEngine
from kerastl.finetuning.tasks import Record, StageTask

Specs = tuple[Any, ...]  # of a batch: nested tf.TensorSpec


class FastEngine(PlainEngine):
    """Trains a stage as `PlainEngine` does, to the same weights, in less time.

    What the stage freezes runs once over the images, before the first epoch; each step then
    trains the rest on what that gave. With augmentation every image is another one in every
    epoch, so the whole network runs. Either way a step is one graph with TensorFlow's fused
    optimizer kernels.
    """

    def __init__(self, task: StageTask):
        super().__init__(task)
        build_trackers(task.model, tf.convert_to_tensor(self.batches.arrays.labels[:1]))
        self.validation: Activations | None = None
        self.split = whole_model(task.model)
        if not task.stage.augment and task.max_steps is None:
            self.split = self._fit_memory(split_model(task.model))

    def _fit_memory(self, split: Split) -> Split:
        task = self.task
        images = len(task.train) + len(task.validation or ())
        fits = count_bytes(split, images) <= free_memory() // 3
        return split if fits else self.split

    def get_state(self) -> list[np.ndarray]:
        """Return whether activations are cached, and the optimizer's variables.

        Cached or not, float32 results differ in the last digits: a run that goes on with
        more or less free memory than before must go on in the same way.
        """
        return [np.array(self.split.prefix is not None), *super().get_state()]

    def set_state(self, arrays: Sequence[np.ndarray]) -> None:
        """Split or do not as before, and assign the optimizer's variables."""
        cached, *variables = arrays
        model = self.task.model
        self.split = split_model(model) if cached else whole_model(model)
        super().set_state(variables)

    def _extract(self) -> None:
        task, plain = self.task, self.batches
        self.batches = ActivationTraining(
            extract(self.split, plain.arrays),
            batch_size=plain.batch_size,
            seed=plain.seed,
            max_steps=plain.max_steps,
        )
        if task.validation is not None:
            labelled = prepare_labels(task.validation, task.stage, task.num_classes)
            self.validation = extract(self.split, labelled)

    def train(self, record: Record) -> None:
        """Fit from the task's first epoch on, with steps of our own."""
        model = self.task.model
        if self.split.prefix is not None:
            self._extract()
        model.train_function = run_batches(build_step(self.split, specify(self.batches)))
        validation = self._validation()
        if validation is not None:
            model.test_function = self._evaluate_batches(specify(validation))
        try:
            super().train(record)
        finally:  # whoever trains or evaluates the model next gets Keras' own
            model.train_function = model.test_function = None

    def _evaluate_batches(self, specs: Specs) -> Callable:
        """Return what `evaluate` calls; images that a callback gives it go all through."""
        tail = build_evaluation(self.split, specs)
        if self.split.prefix is None:
            return run_batches(tail)
        images = specify_image(self.task.model)
        whole = build_evaluation(whole_model(self.task.model), (images, *specs[1:]))

        def run(iterator: Iterator) -> dict[str, tf.Tensor]:
            batch = next(iterator)
            given = tf.nest.flatten(batch[0])
            is_image = len(given) == 1 and given[0].shape[1:] == images.shape[1:]
            return (whole if is_image else tail)(*batch)

        return run

    def _validation(self) -> ActivationEvaluation | None:
        if self.validation is None:
            return super()._validation()
        return ActivationEvaluation(
            self.validation,
            batch_size=self.task.stage.batch_size,
            max_steps=self.task.max_steps,
        )


def build_trackers(model: keras.Model, labels: tf.Tensor) -> None:
    """Make the variables of metrics and loss now.

    Made in the first step, as Keras does, they would have TensorFlow trace that twice.
    """
    outputs = tf.ones((1, model.output_shape[-1]), model.outputs[0].dtype)
    outputs /= model.output_shape[-1]
    model.compute_metrics(None, labels, outputs)
    model.compute_loss(None, labels, outputs)
    model.reset_metrics()


def specify(batches: keras.utils.PyDataset) -> Specs:
    """Describe a batch of any size, so that a step is traced once for all sizes."""
    return tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype),
        tuple(batches[0]),
    )


def specify_image(model: keras.Model) -> tf.TensorSpec:
    """Describe a batch of what the whole model takes."""
    return tf.TensorSpec((None, *model.input_shape[1:]), keras.config.floatx())


def build_step(split: Split, specs: Specs) -> Callable:
    """Return one training step of the tail as one graph: Keras' `train_step`, fused.

    Args:
        split: Of a compiled model whose trackers and optimizer are built.
        specs: Of what the tail takes, labels and, where there are any, sample weights.

    Returns:
        tf.function of a batch that returns the metrics so far.
    """
    model, tail = split.model, split.tail
    variables = model.trainable_variables

    def step(x: Any, y: Any, sample_weight: Any = None) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            predicted = tail(x, training=True)
            loss = model.compute_loss(None, y, predicted, sample_weight, training=True)
        model._loss_tracker.update_state(loss, sample_weight=tf.shape(predicted)[0])
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        apply_fused(model.optimizer, gradients, variables)
        return model.compute_metrics(None, y, predicted, sample_weight)

    return tf.function(step, input_signature=specs, autograph=False)


def build_evaluation(split: Split, specs: Specs) -> Callable:
    """Return one validation step of the tail as one graph: Keras' `test_step`."""
    model, tail = split.model, split.tail

    def step(x: Any, y: Any, sample_weight: Any = None) -> dict[str, tf.Tensor]:
        predicted = tail(x, training=False)
        loss = model.compute_loss(None, y, predicted, sample_weight, training=False)
        model._loss_tracker.update_state(loss, sample_weight=tf.shape(predicted)[0])
        return model.compute_metrics(None, y, predicted, sample_weight)

    return tf.function(step, input_signature=specs, autograph=False)


def run_batches(step: Callable) -> Callable:
    """Return what `fit` and `evaluate` call with an iterator for each batch."""
    return lambda iterator: step(*next(iterator))
