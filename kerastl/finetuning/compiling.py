"""Freezing layers and compiling a model for one stage: the one place that does either."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from kerastl.data.batches import Arrays
from kerastl.finetuning.optimizers import SCALED, BlockRates
from kerastl.finetuning.signatures import choose_decay, needs_one_hot, scales_rates
from kerastl.models import layer_table
from kerastl.schedules import measure_depths, plan_freeze
from kerastl.stages import LayerInfo, Stage


def freeze_layers(
    model: keras.Model, layers: tuple[LayerInfo, ...], stage: Stage
) -> dict[str, bool]:
    """Set every layer's `trainable` to the stage's plan and return the plan."""
    plan = plan_freeze(layers, stage)
    model.trainable = True  # a frozen model would override its layers
    for name, trains in plan.items():
        model.get_layer(name).trainable = trains
    return plan


def compile_stage(
    model: keras.Model,
    stage: Stage,
    *,
    multi_label: bool,
    depths: Mapping[str, int] | None = None,
) -> None:
    """Compile with a fresh optimizer, which Keras needs once the trainable set changed.

    Optimizer slots are created here rather than in the first step, so that a resumed run
    can assign them before it trains.

    Args:
        model: Its `trainable` flags set as the stage's.
        stage: To compile for.
        multi_label: Whether an image may have several labels.
        depths: Of `measure_depths`, where the model is part of another. Default: its own.
    """
    model.compile(
        optimizer=build_optimizer(stage),
        loss=build_loss(stage, multi_label=multi_label),
        metrics=[build_accuracy(stage, multi_label=multi_label)],
    )
    model.optimizer.build(model.trainable_variables)
    if isinstance(model.optimizer, BlockRates):
        if depths is None:
            depths = measure_depths(layer_table(model))
        model.optimizer.set_depths(_list_depths(model, depths))
        model.optimizer.set_decay(stage.rate_decay)


def _list_depths(model: keras.Model, depths: Mapping[str, int]) -> list[int]:
    found = {id(v): depths[layer.name] for layer in model.layers for v in layer.weights}
    # those of auxiliary heads are in no layer of the model
    return [found.get(id(variable), 0) for variable in model.trainable_variables]


def build_optimizer(stage: Stage) -> keras.optimizers.Optimizer:
    """Return a new optimizer of the stage's kind at the stage's rate."""
    kind = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }[stage.optimizer]
    own = {"momentum": stage.momentum} if stage.optimizer == "sgd" else {}
    if scales_rates(stage):
        kind = SCALED[kind]
    return kind(stage.learning_rate, weight_decay=choose_decay(stage), **own)


def build_loss(stage: Stage, *, multi_label: bool) -> keras.losses.Loss:
    """Return the cross-entropy that fits the labels; the head gives probabilities."""
    if multi_label:
        return keras.losses.BinaryCrossentropy(label_smoothing=stage.label_smoothing)
    if needs_one_hot(stage):
        return keras.losses.CategoricalCrossentropy(label_smoothing=stage.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy()


def build_accuracy(stage: Stage, *, multi_label: bool) -> keras.metrics.Metric:
    """Return the accuracy that fits the labels, called `accuracy` in every history."""
    if multi_label:
        return keras.metrics.BinaryAccuracy(name="accuracy")
    if needs_one_hot(stage):
        return keras.metrics.CategoricalAccuracy(name="accuracy")
    return keras.metrics.SparseCategoricalAccuracy(name="accuracy")


def prepare_training(arrays: Arrays, stage: Stage, num_classes: int) -> Arrays:
    """Return the arrays with the labels and sample weights the stage's loss takes."""
    if stage.class_weight == "balanced":
        counts = np.bincount(arrays.labels, minlength=num_classes)
        balanced = len(arrays) / (num_classes * np.maximum(counts, 1))
        weights = balanced.astype("float32")[arrays.labels]
        arrays = dataclasses.replace(arrays, weights=weights)
    return prepare_labels(arrays, stage, num_classes)


def prepare_labels(arrays: Arrays, stage: Stage, num_classes: int) -> Arrays:
    """Return the arrays with one-hot labels where the stage's loss takes them."""
    return arrays.with_one_hot_labels(num_classes) if needs_one_hot(stage) else arrays
