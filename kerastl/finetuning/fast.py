"""The fast engine: no frozen layer runs twice, no graph is traced twice.

Keras' own loop stays: its `fit` keeps a train function that is already set, so callbacks,
history and loggers see what they always see.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.data.feeding import leave_untuned
from kerastl.data.pixels import free_memory
from kerastl.finetuning.activations import (
    ActivationEvaluation,
    Activations,
    ActivationTraining,
    ViewTraining,
    extract,
    extract_view,
)
from kerastl.finetuning.auxiliaries import assist_model
from kerastl.finetuning.choices import (
    Choice,
    choose_caching,
    fit_together,
    list_splits,
    measure_width,
)
from kerastl.finetuning.cohorts import Epoch
from kerastl.finetuning.compiling import prepare_labels
from kerastl.finetuning.cuts import (
    Boundary,
    count_values,
    find_boundary,
    is_worth_keeping,
)
from kerastl.finetuning.plain import EpochSeeds, PlainEngine
from kerastl.finetuning.programs import Program
from kerastl.finetuning.rates import compute_rates, sets_rates
from kerastl.finetuning.steps import (
    build_epoch,
    build_evaluation,
    build_full_evaluation,
    build_step,
    plan_evaluation,
    run_epoch,
    specify,
    specify_image,
)
from kerastl.finetuning.tasks import Record
from kerastl.models import layer_table
from kerastl.schedules import plan_freeze
from kerastl.stages import Stage

BATCH_HOOKS = (
    "on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end",
    "on_test_batch_begin", "on_test_batch_end",
)  # fmt: skip


class FastEngine(PlainEngine):
    """Trains a stage as `PlainEngine` does, to the same weights, in less time.

    What the stage freezes runs once over the images, before the first epoch; each step then
    trains the rest on what that gave. With augmentation every image is another one in every
    epoch: what the frozen layers give for each is kept for other trials, or the whole
    network runs. Either way a step is one graph with TensorFlow's fused optimizer kernels;
    a head on features, whose steps take less than Python between them, runs whole epochs as
    one graph.
    """

    def _compile(self) -> keras.Model:
        self.cached = self._can_cache()
        return self._take_program()

    def _can_cache(self) -> bool:
        task = self.task
        self.choice = self._choose(
            task.stage, find_boundary(task.model), worthwhile=is_worth_keeping(task.model)
        )
        return self.choice.cached

    def _choose(self, stage: Stage, boundary: Boundary, *, worthwhile: bool) -> Choice:
        task, computed = self.task, np.dtype(keras.config.floatx()).itemsize
        return choose_caching(
            stage,
            count_values(boundary),
            (len(task.train), len(task.validation or ())),
            free_memory() // 3 if task.cache_budget is None else task.cache_budget,
            worthwhile=worthwhile and _are_whole(boundary),
            are_vectors=_are_vectors(boundary),
            shared=task.programs is not None,
            limited=task.max_steps is not None,
            width=measure_width(task.activations, computed),
        )

    def _list_along(self) -> dict[str, list[Boundary]]:
        """Return, for each split, the boundaries that its pass gives beside the own one."""
        task, layers = self.task, layer_table(self.task.model)
        choices, boundaries = [self.choice], [()]
        for stage in task.wanted:
            boundaries.append(find_boundary(task.model, plan_freeze(layers, stage)))
            choices.append(self._choose(stage, boundaries[-1], worthwhile=True))
        along = {"train": [], "validation": []}
        fits = fit_together(choices)
        for choice, boundary, fit in list(zip(choices, boundaries, fits, strict=True))[1:]:
            for split in list_splits(choice) if fit else ():
                along[split].append(boundary)
        return along

    def _take_program(self) -> keras.Model:
        task, self.validation = self.task, None
        if task.programs is None:
            model = assist_model(task.model)
            self.program = Program(model, task, cached=self.cached)
        else:
            self.program = task.programs.take(task, cached=self.cached)
        return self.program.model

    def get_state(self) -> list[np.ndarray]:
        """Return whether activations are cached, and what `PlainEngine` returns.

        Cached or not, float32 results differ in the last digits: a run that goes on with
        more or less free memory than before must go on in the same way.
        """
        return [np.array(self.cached), *super().get_state()]

    def set_state(self, arrays: Sequence[np.ndarray]) -> None:
        """Cache or do not as before, and assign the optimizer's variables."""
        cached, *variables = arrays
        if bool(cached) != self.cached:
            self.cached = bool(cached)
            self.model = self._take_program()
        super().set_state(variables)

    def train(self, record: Record) -> None:
        """Fit from the task's first epoch on, with graphs of our own."""
        if self.cached:
            self._extract()
        self.by_epoch = self.cached and self._is_small() and self._sees_epochs()
        if self.by_epoch and not self.task.callbacks and not keras.config.max_epochs():
            self._train_unwatched(record)
            return
        self.model.train_function = self._build_training()
        self.model.test_function = self._build_evaluation()
        try:
            super().train(record)
        finally:  # whoever trains or evaluates the model next gets Keras' own
            self.model.train_function = self.model.test_function = None

    def _train_unwatched(self, record: Record) -> None:
        """Do what `fit` does where nobody looks: its own part takes as long as an epoch."""
        task, ahead = self.task, None
        if task.cohorts is not None and task.stage.augment == ():
            place = (self.program, self.batches, self.validation)
            ahead = task.cohorts.train(task, *place)
        run = self._build_epoch() if ahead is None else partial(self._repeat, ahead)
        for self.epoch in range(task.first_epoch, task.stage.epochs):
            if record(self.epoch, run(), False):
                break

    def _build_epoch(self) -> Callable[[], dict[str, float]]:
        seeds = EpochSeeds(self.batches, self.task.seed)
        seeds.set_model(self.model)
        train, evaluate = self._build_whole_training(), None
        if self.validation is not None:
            evaluate = self._build_whole_evaluation()

        def run() -> dict[str, float]:
            seeds.on_epoch_begin(self.epoch)
            (logs,) = run_epoch([self.model], train, evaluate)
            return logs

        return run

    def _repeat(self, ahead: Sequence[Epoch]) -> dict[str, float]:
        """Leave the model as the epoch in progress left a copy of its head."""
        done = ahead[self.epoch]
        for variable, value in zip(
            self.program.split.tail.weights, done.weights, strict=True
        ):
            variable.assign(value)
        return dict(done.logs)

    def _extract(self) -> None:
        task, plain, along = self.task, self.batches, self._list_along()
        if plain.augmentation is None:
            found = self._find(plain.arrays, along["train"])
            sizes = {"batch_size": plain.batch_size, "max_steps": plain.max_steps}
            self.batches = ActivationTraining(found, seed=plain.seed, **sizes)
        else:
            self.batches = ViewTraining(plain, self._find_view)
            self.batches.set_epoch(task.first_epoch)
        if task.validation is not None:
            labelled = prepare_labels(task.validation, task.stage, task.num_classes)
            self.validation = self._find(labelled, along["validation"])

    def _find(self, arrays: Arrays, along: Sequence[Boundary]) -> Activations:
        task = self.task
        return extract(
            self.program.split, self._trace("float32"), arrays, task.store, task.digests,
            along, task.activations,
        )  # fmt: skip

    def _find_view(self, batches: TrainingBatches) -> Activations:
        task, trace = self.task, self._trace(keras.config.floatx())
        return extract_view(
            self.program.split, trace, batches, task.store, task.digests, task.activations
        )

    def _trace(self, dtype: str) -> Callable:
        pixels = (tf.TensorSpec((None, *self.model.input_shape[1:]), dtype),)
        kept = self.task.activations
        return partial(self.program.trace_prefixes, specs=pixels, dtype=kept)

    def _is_small(self) -> bool:
        """Whether steps are those of a head: what is left is a vector per image."""
        return _are_vectors(self.program.split.boundary)

    def _sees_epochs(self) -> bool:
        """Whether nobody asks for batches: callbacks of the user, `KERAS_MAX_STEPS_...`."""
        if keras.config.max_steps_per_epoch():
            return False
        return not any(
            _overrides(callback, hook)
            for callback in self.task.callbacks
            if not getattr(callback, "needs_no_batches", False)
            for hook in BATCH_HOOKS
        )

    # What `fit` is given

    def _training(self) -> Any:
        return _tick() if self.by_epoch else super()._training()

    def _own_callbacks(self) -> list[keras.callbacks.Callback]:
        return [_Counter(self)] if self.by_epoch else super()._own_callbacks()

    def _feed_validation(self) -> Any:
        if self.by_epoch and self.validation is not None:
            return _tick()
        return super()._feed_validation()

    def _validation(self) -> EvaluationBatches | None:
        if self.validation is None:
            return super()._validation()
        return ActivationEvaluation(
            self.validation,
            batch_size=self.task.stage.batch_size,
            max_steps=self.task.max_steps,
        )

    # What `fit` calls

    def _build_training(self) -> Callable:
        if not self.by_epoch:
            return run_batches(self.program.graph(build_step, specify(self.batches[0])))
        run = self._build_whole_training()

        def train(iterator: Iterator) -> dict[str, Any]:
            next(iterator)
            run()
            return self.model.get_metrics_result()

        return train

    def _build_whole_training(self) -> Callable[[], None]:
        run = self.program.graph(build_epoch, specify(self.batches.arrays.rows))

        def train() -> None:
            rows = self.batches.arrays.rows  # other ones in each epoch of augmented images
            run(rows, self.batches.order, self._compute_rates(), self.batches.batch_size)

        return train

    def _compute_rates(self) -> np.ndarray:
        """Return the learning rate of each step of the epoch in progress."""
        stage, rate = self.task.stage, self.model.optimizer._learning_rate
        steps = len(self.batches)
        if not sets_rates(stage):  # then it is what callbacks have made of it
            return np.full(steps, rate.numpy())
        return np.array(compute_rates(stage, self.epoch, steps), rate.dtype)

    def _build_evaluation(self) -> Callable | None:
        """Return what `evaluate` calls; images that a callback gives it go all through."""
        validation = self._validation()
        if validation is None:
            return None
        if not self.cached:
            specs = specify(validation[0])
            return run_batches(self.program.graph(build_evaluation, specs))
        return self._build_either(self._build_own_evaluation(validation))

    def _build_own_evaluation(self, validation: Any) -> Callable:
        if not self.by_epoch:
            return self.program.graph(build_evaluation, specify(validation[0]))
        run = self._build_whole_evaluation()

        def evaluate(_: Any) -> dict[str, Any]:
            run()
            return self.model.get_metrics_result()

        return evaluate

    def _build_whole_evaluation(self) -> Callable[[], None]:
        rows = self.validation.rows
        run = self.program.graph(build_full_evaluation, specify(rows))
        parts = plan_evaluation(len(self.validation), self.task.stage.batch_size)
        return partial(run, rows, *parts)

    def _build_either(self, own: Callable) -> Callable:
        labels = specify((self.validation.labels,))
        images = specify_image(self.model)

        def run(iterator: Iterator) -> dict[str, tf.Tensor]:
            batch = next(iterator)
            given = tf.nest.flatten(batch)
            if given[0].shape[1:] != images.shape[1:]:
                return own(*batch) if isinstance(batch, tuple) else own(batch)
            specs = (images, *labels)
            return self.program.graph(build_evaluation, specs, whole=True)(*batch)

        return run


class _Counter(keras.callbacks.Callback):
    """Tells the engine which epoch begins; `EpochSeeds` has made its order."""

    def __init__(self, engine: FastEngine):
        super().__init__()
        self.engine, self.next = engine, engine.task.first_epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.engine.epoch = self.next
        self.next += 1


def _are_vectors(boundary: Sequence[keras.KerasTensor]) -> bool:
    return all(len(tensor.shape) == 2 for tensor in boundary)


def _are_whole(boundary: Sequence[keras.KerasTensor]) -> bool:
    # neither float16 nor bfloat16, which numpy does not know, of a mixed policy
    return all(tensor.dtype == keras.config.floatx() for tensor in boundary)


def _tick() -> tf.data.Dataset:
    """Return what gives `fit` one batch per epoch, of nothing: the graphs have the rows."""
    return leave_untuned(tf.data.Dataset.from_tensors(np.zeros(1, "int32")))


def _overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    # a LambdaCallback has it as an attribute of its own
    own = getattr(getattr(callback, hook), "__func__", None)
    return own is not getattr(keras.callbacks.Callback, hook)


def run_batches(step: Callable) -> Callable:
    """Return what `fit` and `evaluate` call with an iterator for each batch."""
    return lambda iterator: step(*next(iterator))
