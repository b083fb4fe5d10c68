"""The stage loop: freeze, train, verify, keep the best, stage after stage."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from kerastl.bases.operations import Network
from kerastl.data.batches import Arrays, TrainingBatches
from kerastl.data.statistics import ChannelStatistics
from kerastl.errors import NothingSucceededError
from kerastl.finetuning.checkpoints import EpochArrays, Keeper, Progress
from kerastl.finetuning.choices import AS_COMPUTED
from kerastl.finetuning.cohorts import Cohorts
from kerastl.finetuning.compiling import freeze_layers, prepare_training
from kerastl.finetuning.fast import FastEngine
from kerastl.finetuning.passes import list_wanted
from kerastl.finetuning.plain import PlainEngine
from kerastl.finetuning.probing import ProbeEngine
from kerastl.finetuning.programs import Programs
from kerastl.finetuning.selecting import find_best, score_row, should_stop
from kerastl.finetuning.states import StageStates
from kerastl.finetuning.storing import ActivationStore, MemoryStore
from kerastl.finetuning.tasks import Engine, StageTask
from kerastl.finetuning.verifying import Digests, check_dead, check_moved, find_moved
from kerastl.models import get_info, layer_table, set_normalization
from kerastl.schedules import plan_freeze
from kerastl.seeds import derive_seed
from kerastl.stages import LayerInfo, Schedule, Stage

ENGINES = {"auto": FastEngine, "plain": PlainEngine}


@dataclass(frozen=True)
class Job:
    """Everything a staged run needs and never changes."""

    model: keras.Model
    schedule: Schedule
    train: Arrays
    validation: Arrays | None
    statistics: ChannelStatistics | None
    seed: int
    keeper: Keeper
    engine: str = "auto"
    max_steps: int | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    watch: Sequence["Watcher"] = ()
    programs: Programs | None = None
    store: ActivationStore | MemoryStore = field(default_factory=MemoryStore)
    cache_budget: int | None = None
    activations: str = AS_COMPUTED
    others: Sequence[Stage] = ()  # whose activations other trials want of the same model
    states: StageStates | None = None
    digests: Digests | None = None
    cohorts: Cohorts | None = None
    companions: Sequence[Stage] = ()  # first stages of trials to come


class Watcher:
    """Is told what happens, to show it; the default shows nothing."""

    def begin_stage(self, stage: Stage, index: int, steps: int) -> None:
        """Take note that a stage starts, with `steps` batches per epoch."""

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Take note of a finished epoch."""

    def end_stage(self, outcome: dict[str, Any]) -> None:
        """Take note of a finished stage."""


def run_stages(
    job: Job, progress: Progress, resumed: EpochArrays | None = None
) -> Progress:
    """Run every stage from where `progress` is.

    Args:
        job: Model, schedule, data and where to keep progress.
        progress: A new one, or that of an interrupted run; then the model has the weights
            with which the stage in progress started.
        resumed: What the last finished epoch of the stage in progress left.

    Returns:
        The same progress, complete; the model has the best weights of all stages.

    Raises:
        NothingSucceededError: No epoch ended with finite numbers.
        RuntimeError: A stage changed what it froze, or did not move what it trains.
    """
    layers = layer_table(job.model)
    if job.digests is None:
        job = replace(job, digests=Digests(job.model))
    while progress.stage < len(job.schedule):
        plan = plan_freeze(layers, job.schedule.stages[progress.stage])
        try:
            _pass_stage(job, layers, progress, resumed)
        finally:
            job.digests.forget(name for name, trains in plan.items() if trains)
        resumed = None
    return progress


def _pass_stage(
    job: Job,
    layers: tuple[LayerInfo, ...],
    progress: Progress,
    resumed: EpochArrays | None,
) -> None:
    run_stage = partial(_run_stage, job, layers, progress, resumed)
    if job.states and resumed is None and progress.stage < job.states.count:
        job.states.pass_stage(job, progress, run_stage)
    else:
        run_stage()


def _run_stage(
    job: Job,
    layers: tuple[LayerInfo, ...],
    progress: Progress,
    resumed: EpochArrays | None,
) -> None:
    _StageRun(job, layers, progress, resumed).run()


class _StageRun:
    """One stage in progress: the engine's epochs on one side, progress on the other."""

    def __init__(
        self,
        job: Job,
        layers: tuple[LayerInfo, ...],
        progress: Progress,
        resumed: EpochArrays | None,
    ):
        self.job, self.progress = job, progress
        self.stage = job.schedule.stages[progress.stage]
        self.is_new = resumed is None
        self.start = job.model.get_weights()
        if self.is_new:
            progress.normalization = get_info(job.model).normalization
            job.keeper.save_start(progress, self.start)
        self._normalize(self.stage.normalize)
        self.plan = freeze_layers(job.model, layers, self.stage)
        self.moving = _moving_weights(job.model, self.plan)
        self.best = _values(self.moving)
        self.kept_epoch: int | None = None  # of this stage, once it is over
        self.engine = self._build_engine()
        if resumed is not None:
            self._restore(resumed)

    def _normalize(self, kind: str) -> None:
        wanted = self.job.statistics if kind == "data" else None
        if wanted is not None or get_info(self.job.model).normalization != "base":
            set_normalization(self.job.model, wanted)

    def _build_engine(self) -> Engine:
        job, progress = self.job, self.progress
        info = get_info(job.model)
        task = StageTask(
            model=job.model,
            stage=self.stage,
            train=job.train,
            validation=job.validation,
            num_classes=job.model.output_shape[-1],
            multi_label=info.multi_label,
            seed=derive_seed(job.seed, progress.stage, self.stage.name),
            first_epoch=progress.epoch,
            epochs_before=len(progress.rows) - progress.epoch,
            max_steps=job.max_steps,
            callbacks=job.callbacks,
            programs=job.programs,
            store=job.store,
            cache_budget=job.cache_budget,
            activations=job.activations,
            wanted=self._list_wanted(),
            digests=job.digests,
            cohorts=job.cohorts if progress.stage == 0 else None,
            companions=job.companions,
        )
        kind = ProbeEngine if self.stage.solver == "exact" else ENGINES[job.engine]
        return kind(task)

    def _list_wanted(self) -> tuple[Stage, ...]:
        job = self.job
        network = _describe_network(job.model)
        return list_wanted(network, job.schedule.stages, self.progress.stage, job.others)

    def _restore(self, arrays: EpochArrays) -> None:
        _assign(self.moving, arrays.weights)
        self.engine.set_state(arrays.engine)
        self.best = list(arrays.best)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of this stage so far."""
        return [r for r in self.progress.rows if r["stage_index"] == self.progress.stage]

    def run(self) -> None:
        """Train what is left of the stage, verify it, keep the best and commit."""
        stage, index = self.stage, self.progress.stage
        steps = -(-len(self.job.train) // stage.batch_size)
        for watcher in self.job.watch:
            watcher.begin_stage(stage, index, min(steps, self.job.max_steps or steps))
        if not self._is_over():
            self.clock = time.monotonic()
            self.engine.train(self._record)
        dead = self._verify()
        self._finish(self._keep() + dead)

    def _verify(self) -> str:
        """Prove that what was declared trained, and say which layers are dead."""
        if not any(np.isfinite(row["loss"]) for row in self.rows):
            return ""
        moved = find_moved(self.job.model, self.start)
        still = check_moved(moved, self.job.digests.layers, self.plan)
        if not still:
            return ""
        arrays = prepare_training(
            self.job.train, self.stage, self.job.model.output_shape[-1]
        )
        size = self.stage.batch_size
        batch = TrainingBatches(arrays, batch_size=size, seed=self.job.seed)[0]
        check_dead(self.engine.model, still, batch)
        return f"; no gradient reached {', '.join(still)}: lower the learning rate"

    def _is_over(self) -> bool:
        progress = self.progress
        finished = progress.stopped or progress.epoch >= self.stage.epochs
        return finished or should_stop(self.rows, self.stage.patience)

    def _record(self, epoch: int, logs: dict[str, float], stopped: bool) -> bool:
        now = time.monotonic()
        row = {
            "stage": self.stage.name,
            "stage_index": self.progress.stage,
            "epoch": len(self.progress.rows) + 1,
            "stage_epoch": epoch + 1,
            **{key: float(value) for key, value in logs.items()},
            "seconds": round(now - self.clock, 4),
        }
        self.clock = now
        self.progress.rows.append(row)
        self.progress.epoch, self.progress.stopped = epoch + 1, stopped
        rows = self.rows
        if find_best(rows) == len(rows) - 1:
            self.best = _values(self.moving)
        if self.job.keeper.wants_epoch(self.progress):
            arrays = EpochArrays(_values(self.moving), self.engine.get_state(), self.best)
            self.job.keeper.save_epoch(self.progress, arrays)
        for watcher in self.job.watch:
            watcher.end_epoch(row)
        return should_stop(rows, self.stage.patience)

    def _keep(self) -> str:
        """Leave the model with the weights worth keeping and say which they are."""
        rows = self.rows
        best = find_best(rows)
        chosen = best if self.stage.restore_best or best is None else len(rows) - 1
        if chosen is None or score_row(rows[chosen]) is None:
            chosen = best
        if chosen is None or self._is_worse(rows[chosen]):
            return self._roll_back()
        if chosen == best:
            _assign(self.moving, self.best)
        self.progress.kept, self.kept_epoch = rows[chosen], rows[chosen]["stage_epoch"]
        return f"kept epoch {rows[chosen]['stage_epoch']} of {len(rows)}"

    def _is_worse(self, row: dict[str, Any]) -> bool:
        kept = self.progress.kept
        return kept is not None and score_row(row) < score_row(kept)

    def _roll_back(self) -> str:
        if self.progress.kept is None:
            raise NothingSucceededError(
                f"No epoch of stage {self.stage.name!r} ended with a finite loss, so there "
                f"is no model to keep: lower learning_rate={self.stage.learning_rate:g}."
            )
        self.job.model.set_weights(self.start)
        self._restore_normalization()
        kept, diverged = self.progress.kept, find_best(self.rows) is None
        what = "diverged" if diverged else "made things worse"
        return f"{what}: rolled back to {kept['stage']} epoch {kept['epoch']}"

    def _restore_normalization(self) -> None:
        before = self.progress.normalization
        if get_info(self.job.model).normalization != before:
            statistics = None if before == "base" else ChannelStatistics(**before)
            set_normalization(self.job.model, statistics)

    def _finish(self, result: str) -> None:
        trained = [v for v in self.moving if v.trainable]
        outcome = {
            **_describe(self.stage),
            "trainable_parameters": int(sum(np.prod(v.shape) for v in trained)),
            "total_parameters": self.job.model.count_params(),
            "epochs_run": len(self.rows),
            "kept_epoch": self.kept_epoch,
            "outcome": result,
        }
        self.progress.outcomes.append(outcome)
        self.progress.stage += 1
        self.progress.epoch, self.progress.stopped = 0, False
        for watcher in self.job.watch:
            watcher.end_stage(outcome)


def _describe_network(model: keras.Model) -> Network:
    info = get_info(model)
    head = (info.pooling, tuple(info.hidden), info.dropout)
    return Network(info.base, tuple(info.image_size), model.output_shape[-1], *head)


def _describe(stage: Stage) -> dict[str, Any]:
    return Schedule("stage", (stage,)).to_dict()["stages"][0]


def _moving_weights(model: keras.Model, plan: dict[str, bool]) -> list[keras.Variable]:
    return [w for layer in model.layers if plan[layer.name] for w in layer.weights]


def _values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def _assign(variables: Sequence[keras.Variable], arrays: Sequence[np.ndarray]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
