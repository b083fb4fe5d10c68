"""What a job will do, from options alone: checked and printed without TensorFlow."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from kerastl.bases import Base, choose_base, get_base
from kerastl.bases.operations import Network
from kerastl.bases.sizes import check_image_size
from kerastl.data import Data, load_images
from kerastl.data.pixels import check_budget
from kerastl.errors import UsageError
from kerastl.finetuning.choices import measure_width
from kerastl.finetuning.costs import StageCost, estimate_stages, list_heads
from kerastl.finetuning.describing import (
    TERA,
    describe_cost,
    describe_heads,
    describe_rates,
    describe_stage,
    show_number,
)
from kerastl.options import Options
from kerastl.schedules import check_schedule, list_rates, resolve_schedule
from kerastl.stages import STAGE_FIELDS, Schedule
from kerastl.weights import PRETRAINED, find_lack, find_obstacle, resolve_weights

DATA_OPTIONS = (
    "path_column",
    "label_column",
    "label_rule",
    "group_rule",
    "validation",
    "test",
    "merge_validation",
    "multi_label",
    "on_bad_image",
    "cache_budget",
    "seed",
)


FEW_STEPS = 2  # per epoch of a run that tries things out
SMALL_SIDE = 32  # what `tiny` was trained on, and the minimum of most bases


def load_data(options: Options) -> Data:
    """List, check and split the images the options name."""
    settings = {name: getattr(options, name) for name in DATA_OPTIONS}
    if options.split_seed is not None:
        settings["seed"] = options.split_seed
    return load_images(options.data, **settings)


def read_schedule(options: Options, base: Base) -> Schedule:
    """Return the schedule the options name, with their changes, checked against the base.

    Raises:
        UsageError: A stage, a setting, a block or a number of layers is not allowed.
    """
    blocks, schedule = base.blocks, options.schedule
    if options.stages:
        stages = list(options.stages)
        schedule = Schedule.from_dict({"name": options.schedule, "stages": stages})
    changes = {
        name: getattr(options, name)
        for name in STAGE_FIELDS
        if getattr(options, name, None) is not None
    }
    resolved = resolve_schedule(schedule, blocks, changes, head_rate=base.head_rate)
    size = (base.image_size, base.image_size)
    check_schedule(plan_network(options, base, size, num_classes=2).layers, resolved)
    return resolved


def shorten_schedule(schedule: Schedule) -> Schedule:
    """Return the schedule with one epoch per stage, to try things out."""
    stages = [dataclasses.replace(s, epochs=1, warmup_epochs=0) for s in schedule]
    return Schedule(schedule.name, tuple(stages))


def choose_image_size(options: Options, data: Data, base: Base) -> tuple[int, int]:
    """Return the size images are decoded to, never under the base's minimum.

    Without `image_size` it is the base's own, except for images that are known to be
    smaller: enlarging them costs time and adds nothing, so the base's minimum is taken.
    """
    size = options.image_size
    if size is None:
        native = data.native_size
        side = base.image_size
        if native is not None and max(native) < side:
            side = max(base.min_size, SMALL_SIDE, *native)
        size = (side, side)
    return check_image_size(base, size)


def resolve_base(options: Options) -> tuple[Options, str]:
    """Replace `base="auto"` by the base to take, and say which and why.

    Raises:
        UsageError: Weights are asked for that go with no base yet.
    """
    if options.base != "auto":
        return options, ""
    if options.weights not in (PRETRAINED, "auto"):
        raise UsageError(
            f"base='auto' chooses the weights as well, so weights={options.weights!r} "
            "needs the name of a base: see `kerastl bases`."
        )
    name, weights, reason = choose_base()
    return dataclasses.replace(options, base=name, weights=weights), reason


def check_weights(base: Base, weights: str | Path | None) -> None:
    """Refuse weights that are not to be had, before any image is read.

    Raises:
        UsageError: There are no such weights for this base.
        StorageError: They are neither cached nor can they be downloaded.
    """
    own = weights in (PRETRAINED, base.source)
    if not own or find_obstacle(base):
        resolve_weights(base, weights)  # its errors say what to do


def plan_job(options: Options, *, fast_dev_run: bool = False) -> str:
    """Return what a run would do, without decoding images or importing TensorFlow.

    Args:
        options: Of the run.
        fast_dev_run: Two batches of one epoch per stage, as in `run_job`.

    Example:

    >>> print(plan_job(Options(data="digits", base="tiny")))
    data      digits: 1079 train, 359 validation, 359 test images in 10 classes
    ...
    stage     last-4: trains the last 4 layers for 10 epochs at 0.01, 34 steps each, ...
              frozen layers run once: their output takes 0.5 MB, at most ...
              0.0838 GFLOP forward per image up to there, under 0.001 above, ...
              about 0.12 TFLOP, 1.2 with all layers in every epoch
    stage     last-15: ...
    costs     about 1.1 TFLOP in all, 2.92 with all layers in every epoch
    """
    options, reason = resolve_base(options)
    base = get_base(options.base)
    schedule, max_steps = read_schedule(options, base), None
    if fast_dev_run:
        schedule, max_steps = shorten_schedule(schedule), FEW_STEPS
    check_image_size(base, options.image_size)
    if find_lack(base):  # known without asking a server
        resolve_weights(base, options.weights)
    data = load_data(options)
    height, width = choose_image_size(options, data, base)
    network = plan_network(options, base, (height, width), data.num_classes)
    return "\n".join(
        [
            f"data      {options.data}: {_count(data)}",
            *(f"          {note}" for note in data.notes),
            f"base      {base.name} at {height}x{width}, weights {options.weights}",
            *([f"          {reason}"] if reason else []),
            f"out       {options.out or 'runs/finetune-<n>'}",
            *_plan_stages(schedule, data, network, options, max_steps),
        ]
    )


def _count(data: Data) -> str:
    splits = (("train", data.train), ("validation", data.validation), ("test", data.test))
    counts = [f"{len(split)} {name}" for name, split in splits if split is not None]
    return f"{', '.join(counts)} images in {data.num_classes} classes"


def plan_network(
    options: Options, base: Base, image_size: tuple[int, int], num_classes: int
) -> Network:
    """Return the model the options name, as plain data."""
    head = (options.pooling, tuple(options.hidden), options.dropout)
    return Network(base.name, image_size, num_classes, *head)


def _plan_stages(
    schedule: Schedule,
    data: Data,
    network: Network,
    options: Options,
    max_steps: int | None,
) -> Sequence[str]:
    images, stages = (len(data.train), len(data.validation or ())), schedule.stages
    most, width = check_budget(options.cache_budget), measure_width(options.activations)
    costs = estimate_stages(network, stages, images, most, width=width, max_steps=max_steps)
    lines = []
    for cost in costs:
        lines.append(f"stage     {_describe_training(cost, network)}")
        found = describe_rates(list_rates(network.layers, cost.stage))
        found += describe_cost(cost, name_limit(options.cache_budget))
        found += describe_heads(list_heads(network, cost.cut))
        lines += [f"          {line}" for line in found]
    return [*lines, f"costs     {_describe_sum(costs)}"]


def _describe_training(cost: StageCost, network: Network) -> str:
    stage, trained = cost.stage, set(cost.cut.trained)
    steps = -(-cost.train // stage.batch_size)
    count = sum(layer.parameters for layer in network.layers if layer.name in trained)
    text = f"{describe_stage(stage)}, {steps} steps each, {stage.optimizer}"
    return f"{stage.name}: {text}, {count:,} parameters"


def _describe_sum(costs: Sequence[StageCost]) -> str:
    total, plain = (sum(getattr(cost, n) for cost in costs) for n in ("total", "plain"))
    rest = f", {show_number(plain / TERA)} with all layers in every epoch"
    text = f"about {show_number(total / TERA)} TFLOP in all"
    return text + (rest if plain > total else "")


def name_limit(budget: int | None) -> str:
    """Say what set the budget of activations."""
    return "a third of the free memory" if budget is None else "cache_budget"
