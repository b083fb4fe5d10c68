"""Heads of several trials that train beside each other, each epoch of all as one graph.

A step of a small head takes less than TensorFlow spends on starting its operations one
after the other; those of several heads start beside each other. Every head keeps operations
of its own, so its weights are, to the bit, those it comes to alone.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import keras
import numpy as np

from kerastl.finetuning.activations import Activations, ActivationTraining, digest_array
from kerastl.finetuning.plain import seed_layers
from kerastl.finetuning.programs import Program
from kerastl.finetuning.rates import compute_rates
from kerastl.finetuning.signatures import is_companion
from kerastl.finetuning.steps import (
    build_common_epoch,
    build_common_evaluation,
    plan_evaluation,
    run_epoch,
    specify,
)
from kerastl.finetuning.tasks import StageTask
from kerastl.models import get_info
from kerastl.stages import Stage

LARGEST = 2**17  # weights of a head: what larger ones take is their updates' time
ROOM = 2**26  # bytes of epochs that wait for their trials


@dataclass(frozen=True, eq=False)
class Epoch:
    """What an epoch left: the weights of the tail, and what `fit` would log."""

    weights: list[np.ndarray]
    logs: dict[str, float]


class Cohorts:
    """Epochs of trials yet to come, trained with those of one that came before them."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[Epoch]] = OrderedDict()

    def train(
        self,
        task: StageTask,
        program: Program,
        batches: ActivationTraining,
        validation: Activations | None,
    ) -> list[Epoch] | None:
        """Return all epochs of a task's head, trained before or now with its companions.

        Args:
            task: From its first epoch on; `companions` are the stages of other trials.
            program: Compiled for the task.
            batches: Of what is frozen, without augmentation.
            validation: The same of the validation images.

        Returns:
            One per epoch; None where there is nobody to train beside.
        """
        others = [s for s in task.companions if is_companion(s, task.stage)]
        stages = list(dict.fromkeys([task.stage, *others]))
        if task.first_epoch or len(stages) == 1 or not _are_small(program, stages):
            return None
        keys = [_identify(task, stage) for stage in stages]
        if keys[0] not in self._waiting:
            found = _train_together(task, program, batches, validation, stages)
            self._waiting |= zip(keys, found, strict=True)
        epochs = self._waiting.pop(keys[0])
        while sum(map(_count_bytes, self._waiting.values())) > ROOM:
            self._waiting.popitem(last=False)
        return epochs


def _are_small(program: Program, stages: Sequence[Stage]) -> bool:
    weights = program.split.tail.count_params()
    kept = weights * len(stages) * stages[0].epochs
    return weights <= LARGEST and kept * np.dtype(keras.config.floatx()).itemsize <= ROOM


def _count_bytes(epochs: Sequence[Epoch]) -> int:
    return sum(array.nbytes for epoch in epochs for array in epoch.weights)


def _identify(task: StageTask, stage: Stage) -> str:
    """Return the digest of all that a head's epochs depend on."""
    images = [task.train, *([task.validation] if task.validation else [])]
    parts = [part for one in images for part in (one.pixels, one.labels)]
    facts = {
        "stage": asdict(stage),
        "seed": task.seed,
        "activations": task.activations,
        "layers": task.digests.to_dict(),
        "normalization": str(get_info(task.model).normalization),
        "images": [digest_array(part) for part in parts],
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _train_together(
    task: StageTask,
    program: Program,
    batches: ActivationTraining,
    validation: Activations | None,
    stages: Sequence[Stage],
) -> list[list[Epoch]]:
    """Train the head once for each stage; return the epochs of each."""
    heads = _take_heads(task, program, stages)
    train = _build_training(program, heads, batches, stages)
    evaluate = None
    if validation is not None:
        evaluate = _build_evaluation(program, heads, validation, task.stage.batch_size)
    epochs: list[list[Epoch]] = [[] for _ in stages]
    models = [head.model for head in heads]
    for number in range(stages[0].epochs):
        batches.set_epoch(number)
        for model in models:
            seed_layers(model, task.seed, number)
        logs = run_epoch(models, partial(train, number), evaluate)
        for model, log, done in zip(models, logs, epochs, strict=True):
            done.append(Epoch(model.get_weights(), log))
    return epochs


def _take_heads(
    task: StageTask, program: Program, stages: Sequence[Stage]
) -> list[Program]:
    """Return a program over weights of its own for each stage, at the task's start."""
    tail = program.split.tail
    while len(program.heads) < len(stages):
        copy = keras.models.clone_model(tail)
        for layer, original in zip(copy.layers, tail.layers, strict=True):
            layer.trainable = original.trainable
        head = Program(copy, task, cached=False)
        head.share()
        program.heads.append(head)
    heads = program.heads[: len(stages)]
    for head, stage in zip(heads, stages, strict=True):
        head.model.set_weights(tail.get_weights())
        head.restart(stage)
    return heads


def _build_training(
    program: Program,
    heads: Sequence[Program],
    batches: ActivationTraining,
    stages: Sequence[Stage],
) -> Callable[[int], None]:
    rows, size, steps = batches.arrays.rows, batches.batch_size, len(batches)
    dtype = heads[0].model.optimizer._learning_rate.dtype
    run = program.common_graph(build_common_epoch, heads, specify(rows))

    def train(epoch: int) -> None:
        rates = [compute_rates(stage, epoch, steps) for stage in stages]
        run(rows, batches.order, np.array(rates, dtype), size)

    return train


def _build_evaluation(
    program: Program, heads: Sequence[Program], validation: Activations, batch_size: int
) -> Callable[[], None]:
    rows, parts = validation.rows, plan_evaluation(len(validation), batch_size)
    run = program.common_graph(build_common_evaluation, heads, specify(rows))
    return lambda: run(rows, *parts)
