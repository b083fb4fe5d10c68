"""One trial, in a worker process: build, train and score each of its fits."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from kerastl.bases import get_base
from kerastl.data.batches import Arrays
from kerastl.data.statistics import ChannelStatistics, measure_channels
from kerastl.errors import NothingSucceededError
from kerastl.finetuning.checkpoints import EpochArrays, Progress
from kerastl.finetuning.loop import Job, run_stages
from kerastl.finetuning.planning import read_schedule
from kerastl.finetuning.selecting import find_best
from kerastl.finetuning.states import StageStates
from kerastl.finetuning.storing import ActivationStore
from kerastl.finetuning.verifying import digest_weights
from kerastl.models import layer_table, set_normalization
from kerastl.options import Options, from_toml
from kerastl.schedules import check_schedule
from kerastl.search.companions import read_companions
from kerastl.search.cuts import read_cuts
from kerastl.search.workshop import Workshop
from kerastl.stages import Schedule

Arrayset = dict[str, np.ndarray]
_workshop = Workshop()  # of this worker


def run_trial(
    message: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Arrayset]:
    """Train and score the fits of one trial.

    Args:
        message: `options` (TOML with every stage written out), `size` (the name of the
            pixels to take), `class_names`, `multi_label`, `statistics` or None, `fits`
            (each with `seed`, `rows` and `progress`), `pause_at` or None: the number of
            epochs after which each fit is paused and its state returned, `shared_stages`:
            how many leading stages other trials have, too; `companions`: first stages of
            trials that may train beside this one; `cuts`: stages of other trials with this
            model, whose activations are wanted as well.
        arrays: `train-<size>` and `validation-<size>` pixels, `train-labels` and
            `validation-labels`; `fit<i>-train-rows` and `fit<i>-validation-rows` where a
            fit has rows of its own; `fit<i>-...` state of a paused fit.

    Returns:
        A dict with one entry per fit, and the state of paused fits.

    Raises:
        NothingSucceededError: A fit never reached a finite score.
    """
    options = from_toml(message["options"])
    results, state = [], {}
    for number, fit in enumerate(message["fits"]):
        own = _unprefix(arrays, f"fit{number}-")
        result, left = _Fit(message, options, fit, arrays, own).run()
        results.append(result)
        state |= {f"fit{number}-{name}": array for name, array in left.items()}
    return {"fits": results}, state


class _Paused(Exception):
    """Enough epochs for now; the state is with the keeper."""


class _PausingKeeper:
    """Stops a fit after some epochs and keeps the last of them in memory."""

    def __init__(self, pause_at: int | None, start: Sequence[np.ndarray] = ()):
        self.pause_at, self.start = pause_at, start
        self.epoch: EpochArrays | None = None

    def save_start(self, progress: Progress, weights: Sequence[np.ndarray]) -> None:
        """Keep the whole model as a stage finds it; only a pause will need it."""
        self.start = weights if self.pause_at else ()

    def wants_epoch(self, progress: Progress) -> bool:
        """Tell whether this is the epoch to pause after."""
        return self.pause_at is not None and len(progress.rows) >= self.pause_at

    def save_epoch(self, progress: Progress, arrays: EpochArrays) -> None:
        """Keep the epoch and pause."""
        self.epoch = arrays
        raise _Paused


class _Fit:
    """One training of one model, from its start or from where it was paused."""

    def __init__(
        self,
        message: Mapping[str, Any],
        options: Options,
        fit: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        own: Arrayset,
    ):
        self.message, self.options, self.fit, self.own = message, options, fit, own
        self.train, self.validation = select_images(message["size"], arrays, own)

    def run(self) -> tuple[dict[str, Any], Arrayset]:
        """Train until the end or the pause; return the fit's result and its state."""
        began = time.monotonic()
        model, kept, schedule = self._build()
        progress, resumed = self._restore(model)
        keeper = _PausingKeeper(self.message["pause_at"])
        if resumed is not None:
            keeper.start = _numbered(self.own, "start")
        job = replace(self._describe_job(model, schedule, keeper), **kept)
        before = len(progress.rows)
        try:
            run_stages(job, progress, resumed)
        except _Paused:
            state = _pack(keeper)
        else:
            state = {}
        result = summarize(progress, complete=not state)
        result["seconds"] = time.monotonic() - began
        result["epochs_trained"] = len(progress.rows) - before
        result["weights"] = digest_weights(job.digests)
        result["progress"] = _as_dict(progress) if state else None
        return result, state

    def _build(self) -> tuple[keras.Model, dict[str, Any], Schedule]:
        options = self.options
        model, kept = _workshop.take_model(
            options,
            self.message,
            self.train.pixels.shape[1:3],
            seed=self.fit["seed"],
            resuming=self.fit["progress"] is not None,
        )
        schedule = read_schedule(options, get_base(options.base))
        check_schedule(layer_table(model), schedule)
        return model, kept, schedule

    def _restore(self, model: keras.Model) -> tuple[Progress, EpochArrays | None]:
        if self.fit["progress"] is None:
            return Progress(), None
        progress = Progress(**self.fit["progress"])
        model.set_weights(_numbered(self.own, "start"))
        if progress.normalization != "base":
            set_normalization(model, ChannelStatistics(**progress.normalization))
        parts = (_numbered(self.own, name) for name in ("weights", "engine", "best"))
        return progress, EpochArrays(*parts)

    def _describe_job(
        self, model: keras.Model, schedule: Schedule, keeper: _PausingKeeper
    ) -> Job:
        return Job(
            model=model,
            schedule=schedule,
            train=self.train,
            validation=self.validation,
            statistics=self._measure_channels(schedule),
            seed=self.fit["seed"],
            keeper=keeper,
            store=ActivationStore(),
            cache_budget=self.options.cache_budget,
            activations=self.options.activations,
            others=read_cuts(self.message["cuts"]),
            states=self._find_states(),
            companions=read_companions(self.message["companions"]),
        )

    def _find_states(self) -> StageStates | None:
        # a fit that is paused must stop within a stage, so it runs all of them
        if self.message["pause_at"] is not None or self.fit["progress"] is not None:
            return None
        return StageStates(self.message["shared_stages"])

    def _measure_channels(self, schedule: Schedule) -> ChannelStatistics | None:
        if all(stage.normalize == "base" for stage in schedule):
            return None
        given = self.message["statistics"]  # of the training split; a fold has its own
        if given is None or "train-rows" in self.own:
            return measure_channels(self.train.pixels)
        return ChannelStatistics(**given)


def select_images(
    size: str, arrays: Mapping[str, np.ndarray], own: Mapping[str, np.ndarray]
) -> tuple[Arrays, Arrays]:
    """Return the images a fit trains and is scored on.

    The splits themselves are handed on as they are, memory-mapped; only folds, which mix
    the two, are gathered into memory.
    """
    splits = [
        Arrays(arrays[f"{name}-{size}"], arrays[f"{name}-labels"])
        for name in ("train", "validation")
        if f"{name}-{size}" in arrays
    ]
    if "train-rows" not in own:
        return splits[0], splits[1]
    train, validation = (gather(splits, own[f"{n}-rows"]) for n in ("train", "validation"))
    return train, validation


def gather(splits: Sequence[Arrays], rows: np.ndarray) -> Arrays:
    """Return the images at some rows of the splits laid end to end."""
    limits = np.cumsum([0, *map(len, splits)])
    pixels = np.empty((len(rows), *splits[0].pixels.shape[1:]), "uint8")
    labels = np.empty((len(rows), *splits[0].labels.shape[1:]), splits[0].labels.dtype)
    for split, low, high in zip(splits, limits[:-1], limits[1:], strict=True):
        places = np.flatnonzero((rows >= low) & (rows < high))
        pixels[places] = split.pixels[rows[places] - low]
        labels[places] = split.labels[rows[places] - low]
    return Arrays(pixels, labels)


def summarize(progress: Progress, *, complete: bool) -> dict[str, Any]:
    """Say how far a fit came and how good its best epoch was.

    Raises:
        NothingSucceededError: No epoch has a finite validation score.
    """
    kept = progress.kept if complete else None
    best = find_best(progress.rows)
    row = kept or (progress.rows[best] if best is not None else None)
    if row is None:
        raise NothingSucceededError("The score is not finite: training diverged.")
    return {
        "score": row["val_accuracy"],
        "loss": row["val_loss"],
        "best_epoch": row["epoch"],
        "epochs": len(progress.rows),
        "complete": complete,
        "history": progress.rows,
        "stages": progress.outcomes,
        "kept": kept,
    }


def _as_dict(progress: Progress) -> dict[str, Any]:
    return dict(vars(progress))


def _pack(keeper: _PausingKeeper) -> Arrayset:
    parts = {
        "start": keeper.start,
        "weights": keeper.epoch.weights,
        "engine": keeper.epoch.engine,
        "best": keeper.epoch.best,
    }
    return {
        f"{name}-{number}": array
        for name, part in parts.items()
        for number, array in enumerate(part)
    }


def _numbered(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.rpartition("-")[0] == name for key in arrays)
    return [arrays[f"{name}-{number}"] for number in range(count)]


def _unprefix(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrayset:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
