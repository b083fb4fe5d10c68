"""A step and an epoch, of training and of evaluation, each as one TensorFlow graph."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerastl.finetuning.cuts import Split
from kerastl.finetuning.fused import apply_fused

Specs = tuple[Any, ...]  # of what the tail takes, labels and weights: nested tf.TensorSpec
EVALUATED = 1024  # vectors in a step of evaluation: starting its operations takes longer


def build_trackers(model: keras.Model, labels: tf.Tensor) -> None:
    """Make the variables of metrics and loss now.

    Made in the first step, as Keras does, they would have TensorFlow trace that twice.
    """
    outputs = tf.ones((1, model.output_shape[-1]), model.outputs[0].dtype)
    outputs /= model.output_shape[-1]
    model.compute_metrics(None, labels, outputs)
    model.compute_loss(None, labels, outputs)
    model.reset_metrics()


def specify(arrays: Any) -> Specs:
    """Describe nested arrays of any number of rows, so that one trace serves all sizes."""
    return tf.nest.map_structure(
        lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), tuple(arrays)
    )


def specify_image(model: keras.Model) -> tf.TensorSpec:
    """Describe a batch of what the whole model takes."""
    return tf.TensorSpec((None, *model.input_shape[1:]), keras.config.floatx())


def run_epoch(
    models: Sequence[keras.Model],
    train: Callable[[], Any],
    evaluate: Callable[[], Any] | None,
) -> list[dict[str, float]]:
    """Run an epoch and return what `fit` would log of each model.

    Args:
        models: Compiled, that the epoch trains.
        train: Runs it.
        evaluate: Runs the evaluation of the models; None where there is none.
    """
    logs = _measure(models, train)
    if evaluate is not None:
        for log, found in zip(logs, _measure(models, evaluate), strict=True):
            log |= {f"val_{name}": value for name, value in found.items()}
    for model, log in zip(models, logs, strict=True):
        log["learning_rate"] = float(model.optimizer.learning_rate)
    return logs


def _measure(
    models: Sequence[keras.Model], run: Callable[[], Any]
) -> list[dict[str, float]]:
    for model in models:
        model.reset_metrics()
    run()
    found = [model.get_metrics_result() for model in models]
    return [{name: float(value) for name, value in each.items()} for each in found]


def build_step(split: Split, specs: Specs) -> Callable:
    """Return one training step of the tail as one graph: Keras' `train_step`, fused.

    Args:
        split: Of a compiled model whose trackers and optimizer are built.
        specs: Of what the tail takes, labels and, where there are any, sample weights.

    Returns:
        tf.function of a batch that returns the metrics so far.
    """
    return tf.function(_define_step(split), input_signature=specs, autograph=False)


def build_evaluation(split: Split, specs: Specs) -> Callable:
    """Return one validation step of the tail as one graph: Keras' `test_step`."""
    return tf.function(_define_evaluation(split), input_signature=specs, autograph=False)


def build_epoch(split: Split, specs: Specs) -> Callable:
    """Return a whole epoch of training as one graph, for what takes less than its batches.

    Args:
        split: As for `build_step`.
        specs: The same, of all rows together.

    Returns:
        tf.function of all rows, the order they are taken in, the learning rate of each
        step, and the batch size.
    """
    step, rate = _define_step(split), split.model.optimizer._learning_rate

    def epoch(rows: Specs, order: Any, rates: Any, size: Any) -> None:
        def run_step(index: Any) -> tuple[Any]:
            chosen = order[index * size : (index + 1) * size]
            rate.assign(rates[index])
            step(*tf.nest.map_structure(lambda array: tf.gather(array, chosen), rows))
            return (index + 1,)

        _repeat(run_step, tf.size(rates))

    order = tf.TensorSpec((None,), "int32")
    rates, size = tf.TensorSpec((None,), rate.dtype), tf.TensorSpec((), "int32")
    return tf.function(epoch, input_signature=(specs, order, rates, size), autograph=False)


def build_full_evaluation(split: Split, specs: Specs) -> Callable:
    """Return the evaluation of all rows as one graph.

    Returns:
        tf.function of all rows, the number of steps, and the batch size.
    """
    return _build_evaluation([_define_evaluation(split)], specs)


def plan_evaluation(count: int, batch_size: int) -> tuple[int, int]:
    """Return in how many steps so many vectors are evaluated, and how many at a time.

    Loss and metrics are means over images, whatever the batches; only memory, which
    vectors hardly take, asks for small ones.
    """
    size = max(batch_size, EVALUATED)
    return -(-count // size), size


def _build_evaluation(steps: Sequence[Callable], specs: Specs) -> Callable:
    def evaluate(rows: Specs, count: Any, size: Any) -> None:
        def run_step(index: Any) -> tuple[Any]:
            part = slice(index * size, (index + 1) * size)
            batch = tf.nest.map_structure(lambda array: array[part], rows)
            for step in steps:
                step(*batch)
            return (index + 1,)

        _repeat(run_step, count)

    number = tf.TensorSpec((), "int32")
    return tf.function(evaluate, input_signature=(specs, number, number), autograph=False)


def build_common_epoch(splits: Sequence[Split], specs: Specs) -> Callable:
    """Return an epoch of several models that take the same batches, as one graph.

    Args:
        splits: As for `build_epoch`, of models with weights of their own.
        specs: The same for all.

    Returns:
        tf.function of all rows, the order they are taken in, the learning rate of each
        model and step, and the batch size.
    """
    steps = [_define_step(split) for split in splits]
    variables = [split.model.optimizer._learning_rate for split in splits]

    def epoch(rows: Specs, order: Any, rates: Any, size: Any) -> None:
        def run_step(index: Any) -> tuple[Any]:
            chosen = order[index * size : (index + 1) * size]
            batch = tf.nest.map_structure(lambda array: tf.gather(array, chosen), rows)
            for number, (step, rate) in enumerate(zip(steps, variables, strict=True)):
                rate.assign(rates[number, index])
                step(*batch)
            return (index + 1,)

        _repeat(run_step, tf.shape(rates)[1])

    order, size = tf.TensorSpec((None,), "int32"), tf.TensorSpec((), "int32")
    rates = tf.TensorSpec((len(splits), None), variables[0].dtype)
    return tf.function(epoch, input_signature=(specs, order, rates, size), autograph=False)


def build_common_evaluation(splits: Sequence[Split], specs: Specs) -> Callable:
    """Return the evaluation of several models on the same rows, as one graph.

    Returns:
        tf.function of all rows, the number of steps, and the batch size.
    """
    return _build_evaluation([_define_evaluation(split) for split in splits], specs)


def _repeat(run: Callable, times: Any) -> None:
    # one after the other: each step reads the weights the last one wrote
    tf.while_loop(lambda index: index < times, run, (0,), parallel_iterations=1)


def _define_step(split: Split) -> Callable:
    model, tail = split.model, split.tail
    variables = model.trainable_variables

    def step(x: Any, y: Any, sample_weight: Any = None) -> dict[str, tf.Tensor]:
        x = _widen(x, tail)
        with tf.GradientTape() as tape:
            predicted = tail(x, training=True)
            loss = model.compute_loss(None, y, predicted, sample_weight, training=True)
            model._loss_tracker.update_state(loss, sample_weight=tf.shape(y)[0])
            loss = model.optimizer.scale_loss(loss)  # of a mixed policy
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        apply_fused(model.optimizer, gradients, variables)
        return model.compute_metrics(None, y, predicted, sample_weight)

    return step


def _define_evaluation(split: Split) -> Callable:
    model, tail = split.model, split.tail

    def step(x: Any, y: Any, sample_weight: Any = None) -> dict[str, tf.Tensor]:
        predicted = tail(_widen(x, tail), training=False)
        loss = model.compute_loss(None, y, predicted, sample_weight, training=False)
        model._loss_tracker.update_state(loss, sample_weight=tf.shape(y)[0])
        return model.compute_metrics(None, y, predicted, sample_weight)

    return step


def _widen(x: Any, tail: keras.Model) -> Any:
    """Return a batch in the dtype the layers compute in; it may be kept in another."""
    flat = zip(tf.nest.flatten(x), tail.inputs, strict=True)
    return tf.nest.pack_sequence_as(x, [tf.cast(one, to.dtype) for one, to in flat])
