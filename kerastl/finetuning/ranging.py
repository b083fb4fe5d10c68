"""The learning rate range test: a stage's first steps, each at a higher rate."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypedDict, Unpack

import keras
import numpy as np

from kerastl.data import Data
from kerastl.data.batches import Arrays
from kerastl.data.pixels import check_budget
from kerastl.data.regrouping import take_rows
from kerastl.data.statistics import ChannelStatistics
from kerastl.errors import UsageError, suggest
from kerastl.finetuning.compiling import freeze_layers
from kerastl.finetuning.curves import (
    RateTest,
    check_range,
    has_exploded,
    read_curve,
    space_rates,
)
from kerastl.finetuning.fast import FastEngine
from kerastl.finetuning.programs import view_model
from kerastl.finetuning.storing import ActivationStore
from kerastl.finetuning.tasks import StageTask
from kerastl.finetuning.training import prepare_schedule
from kerastl.finetuning.verifying import Digests
from kerastl.models import get_info, layer_table, set_normalization
from kerastl.seeds import derive_seed
from kerastl.stages import Schedule, Stage


class StepOptions(TypedDict, total=False):
    """Settings of `kerastl.Stage` that a range test takes: those of a step."""

    batch_size: int
    optimizer: str
    momentum: float
    weight_decay: float
    rate_decay: float
    augment: Sequence[str]
    class_weight: str | None
    train_batchnorm: bool
    label_smoothing: float
    normalize: str


def find_learning_rate(
    model: keras.Model,
    data: Data,
    *,
    unfreeze: str | int = "head",
    schedule: str | Schedule | Stage | Sequence[Stage] | None = None,
    steps: int = 100,
    min_rate: float = 1e-7,
    max_rate: float = 10.0,
    seed: int = 0,
    cache_budget: int | None = None,
    **options: Unpack[StepOptions],
) -> RateTest:
    """Find a learning rate for a stage by a range test, without a run.

    The stage trains for a few steps, the rate rising from each to the next by the same
    factor, until the loss explodes (L. N. Smith, Cyclical Learning Rates for Training
    Neural Networks, WACV 2017). Suggested is the rate at which the loss falls fastest per
    factor, one of the two suggestions of fastai. It is a rate to start a search from: what
    trains best over many epochs may be lower, and a falling rate (`lr_schedule="cosine"`)
    bears a higher one. Layers that are frozen run once, as in `finetune`.

    Args:
        model: From `build_model` or `load_model`; left as it is, to the bit.
        data: From `load_images`; only training images are read.
        unfreeze: As of a Stage: what trains.
        schedule: As of `finetune`, in place of `unfreeze`: its first stage is tested, whose
            rate is what `finetune(learning_rate=...)` sets.
        steps: Batches, and so rates, at least 20.
        min_rate: The first step's rate.
        max_rate: The last step's rate.
        seed: Decides the order of images and all else that is random.
        cache_budget: As in `finetune`.
        **options: Settings of the stage, as `StepOptions` lists them.

    Returns:
        RateTest: `str` of it says what to do, `suggestion` is the rate.

    Raises:
        UsageError: Model, stage, range or a setting does not fit.
        DataError: Images cannot be read.

    Example:

    >>> import kerastl
    >>> model = kerastl.build_model("tiny", num_classes=10, weights=None)
    >>> data = kerastl.load_images("digits")
    >>> found = find_learning_rate(model, data, steps=20, min_rate=1e-4, max_rate=1)
    >>> list(found.table.columns)
    ['rate', 'loss', 'smoothed']
    """
    check_range(steps, min_rate, max_rate)
    check_budget(cache_budget)
    _check_settings(options, schedule, unfreeze)
    info = get_info(model)
    try:
        stage = _choose_stage(model, data, schedule, unfreeze, options)
        chosen, notes = _choose_images(data, stage, steps, seed)
        walk = _Walk(space_rates(steps, min_rate, max_rate))
        with _unchanged(model):
            _train(model, data, chosen, stage, walk, seed, cache_budget)
    finally:
        model.kerastl = info  # class names of the data
    rates, losses = walk.rates[: len(walk.losses)], np.array(walk.losses)
    return read_curve(rates, losses, stage, steps=steps, notes=notes)


def _check_settings(options: StepOptions, schedule: object, unfreeze: object) -> None:
    known = sorted(StepOptions.__annotations__)
    for name in options:
        if name not in known:
            raise UsageError(
                f"A range test has no setting {name!r}; of a stage it takes "
                f"{', '.join(known)}.{suggest(name, known)}"
            )
    if schedule is not None and unfreeze != "head":
        raise UsageError(
            f"unfreeze={unfreeze!r} and a schedule, which says itself what its first stage "
            "trains: give one of them."
        )


def _choose_stage(
    model: keras.Model,
    data: Data,
    schedule: str | Schedule | Stage | Sequence[Stage] | None,
    unfreeze: str | int,
    options: StepOptions,
) -> Stage:
    tested = Stage(name="rates", unfreeze=unfreeze) if schedule is None else schedule
    stage = prepare_schedule(model, data, tested, options).stages[0]
    if stage.solver == "exact":
        raise UsageError(
            f"Stage {stage.name!r} solves its head exactly, without a learning rate: give "
            "unfreeze, or a schedule that begins otherwise."
        )
    return replace(stage, lr_schedule="constant", warmup_epochs=0, patience=None)


def _choose_images(
    data: Data, stage: Stage, steps: int, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Return the rows of the training images the test reads, and what to say of them."""
    count, wanted = len(data.train), steps * stage.batch_size
    if count >= wanted:
        generator = np.random.default_rng(derive_seed(seed, "rates"))
        return np.sort(generator.permutation(count)[:wanted]), []
    batches = math.ceil(count / stage.batch_size)
    if batches >= steps:
        return np.arange(count), []
    note = (
        f"The {count} training images make {batches} batches, fewer than {steps}: they are "
        f"shown {steps / batches:.1f} times, in a new order each time, so that at the end "
        "the loss is that of images seen before."
    )
    return np.arange(count), [note]


class _Walk(keras.callbacks.Callback):
    """Sets the rate before each batch and takes down the batch's loss."""

    def __init__(self, rates: np.ndarray):
        super().__init__()
        self.rates, self.losses = rates, []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.model.reset_metrics()  # so that the loss is of this batch alone
        self.model.optimizer.learning_rate = float(self.rates[len(self.losses)])

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.losses.append(float(logs["loss"]))
        self.model.stop_training = self.is_over

    @property
    def is_over(self) -> bool:
        """Whether there is no rate left, or no use in a higher one."""
        return len(self.losses) == len(self.rates) or has_exploded(self.losses)


def _train(
    model: keras.Model,
    data: Data,
    rows: np.ndarray,
    stage: Stage,
    walk: _Walk,
    seed: int,
    cache_budget: int | None,
) -> None:
    is_whole = len(rows) == len(data.train)
    split = data.train if is_whole else take_rows(data.train, rows, "train")
    if stage.normalize == "data":
        set_normalization(model, data.channel_statistics())
    view = view_model(model)
    freeze_layers(view, layer_table(model), stage)
    batches = math.ceil(len(rows) / stage.batch_size)
    # `fit` stops an epoch there
    batches = min(batches, keras.config.max_steps_per_epoch() or batches)
    task = StageTask(
        model=view,
        stage=replace(stage, epochs=math.ceil(len(walk.rates) / batches)),
        train=Arrays(split.pixels(get_info(model).image_size), split.labels),
        validation=None,
        num_classes=data.num_classes,
        multi_label=data.multi_label,
        seed=derive_seed(seed, "rates", stage.name),
        callbacks=[walk],
        # of all images they are of use to the training that follows
        store=ActivationStore() if is_whole else None,
        cache_budget=cache_budget,
        digests=Digests(view),
    )
    FastEngine(task).train(lambda epoch, logs, stopped: walk.is_over)


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Put back weights, statistics, states of random layers and flags in any event."""
    before = [(variable, variable.numpy()) for variable in model.variables]
    flags = [(layer, layer.trainable) for layer in model.layers]
    normalization = get_info(model).normalization
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
        for layer, trainable in flags:
            layer.trainable = trainable
        if get_info(model).normalization != normalization:
            is_own = normalization == "base"
            known = None if is_own else ChannelStatistics(**normalization)
            set_normalization(model, known)
