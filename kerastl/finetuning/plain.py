"""The reference engine: Keras' own compile and fit."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerastl.data.augmentation import Augmentation
from kerastl.data.batches import EvaluationBatches, TrainingBatches
from kerastl.data.feeding import feed
from kerastl.finetuning.auxiliaries import assist_model, list_head_weights, start_heads
from kerastl.finetuning.compiling import (
    compile_stage,
    prepare_labels,
    prepare_training,
)
from kerastl.finetuning.rates import compute_rate, sets_rates
from kerastl.finetuning.tasks import Record, StageTask
from kerastl.seeds import derive_seed


class PlainEngine:
    """Trains a stage with `fit`; what the user's callbacks see is Keras itself."""

    def __init__(self, task: StageTask):
        self.task = task
        self.model = self._compile()
        start_heads(self.model, task.seed)
        self.batches = TrainingBatches(
            prepare_training(task.train, task.stage, task.num_classes),
            batch_size=task.stage.batch_size,
            seed=task.seed,
            augmentation=Augmentation(task.stage.augment) if task.stage.augment else None,
            max_steps=task.max_steps,
        )

    def _compile(self) -> keras.Model:
        task = self.task
        model = assist_model(task.model)
        compile_stage(model, task.stage, multi_label=task.multi_label)
        return model

    def get_state(self) -> list[np.ndarray]:
        """Return the optimizer's slots, rate and counter, and auxiliary heads if any."""
        return [variable.numpy() for variable in self._list_state()]

    def set_state(self, arrays: Sequence[np.ndarray]) -> None:
        """Assign what `get_state` returned."""
        for variable, array in zip(self._list_state(), arrays, strict=True):
            variable.assign(array)

    def _list_state(self) -> list[keras.Variable]:
        return [*self.model.optimizer.variables, *list_head_weights(self.model)]

    def train(self, record: Record) -> None:
        """Fit from the task's first epoch on.

        Epochs are numbered over the whole run, so that TensorBoard and CSV loggers of the
        user draw one line, except under `KERAS_MAX_EPOCHS`, which Keras compares with that
        number.
        """
        task = self.task
        offset = 0 if keras.config.max_epochs() else task.epochs_before
        self.model.fit(
            self._training(),
            epochs=offset + task.stage.epochs,
            initial_epoch=offset + task.first_epoch,
            validation_data=self._feed_validation(),
            callbacks=[
                EpochSeeds(self.batches, task.seed, offset),
                *self._own_callbacks(),
                *task.callbacks,
                _Recorder(record, offset),
            ],
            shuffle=False,  # the batches are in their epoch's order already
            verbose=0,
        )

    def _training(self) -> Any:
        """Return what `fit` reads."""
        return feed(self.batches)

    def _own_callbacks(self) -> list[keras.callbacks.Callback]:
        if not sets_rates(self.task.stage):
            return []
        return [_RateSetter(self.task, len(self.batches))]

    def _feed_validation(self) -> Any:
        """Return what `fit` evaluates."""
        validation = self._validation()
        return None if validation is None else feed(validation)

    def _validation(self) -> EvaluationBatches | None:
        task = self.task
        if task.validation is None:
            return None
        return EvaluationBatches(
            prepare_labels(task.validation, task.stage, task.num_classes),
            batch_size=task.stage.batch_size,
            max_steps=task.max_steps,
        )


class EpochSeeds(keras.callbacks.Callback):
    """Makes every draw of an epoch a function of the stage's seed and the epoch."""

    def __init__(self, batches: TrainingBatches, seed: int, offset: int = 0):
        super().__init__()
        self.batches, self.seed, self.offset = batches, seed, offset

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the epoch's order and the state of random layers."""
        epoch -= self.offset
        self.batches.set_epoch(epoch)
        seed_layers(self.model, self.seed, epoch)


def seed_layers(model: keras.Model, seed: int, epoch: int) -> None:
    """Have Dropout and other random layers draw what they draw in this epoch."""
    states = [v for v in model.variables if v.name == "seed_generator_state"]
    for position, state in enumerate(states):
        state.assign([derive_seed(seed, epoch, "layer", position), 0])


class _RateSetter(keras.callbacks.Callback):
    """Assigns the learning rate of each step before it."""

    def __init__(self, task: StageTask, steps_per_epoch: int):
        super().__init__()
        self.stage, self.steps_per_epoch = task.stage, steps_per_epoch
        self.step = task.first_epoch * steps_per_epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        rate = compute_rate(self.stage, self.step, self.steps_per_epoch)
        self.model.optimizer.learning_rate = rate
        self.step += 1


class _Recorder(keras.callbacks.Callback):
    """Hands each finished epoch to the stage loop; last, so that it sees all logs."""

    def __init__(self, record: Record, offset: int):
        super().__init__()
        self.record, self.offset = record, offset

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        rate = float(self.model.optimizer.learning_rate)
        # a callback that has reduced it by now has logged what it was
        logs = {**(logs or {}), "learning_rate": (logs or {}).get("learning_rate", rate)}
        if self.record(epoch - self.offset, logs, self.model.stop_training):
            self.model.stop_training = True
