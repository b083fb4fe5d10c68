"""The main job from options alone: images, base, stages, test score, report."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.bases import Base, choose_base, get_base
from kerastl.data import Data, load_images
from kerastl.errors import UsageError
from kerastl.finetuning.describing import describe_stage
from kerastl.options import Options
from kerastl.runs import RunFolder
from kerastl.schedules import resolve_schedule
from kerastl.stages import STAGE_FIELDS, Schedule

if TYPE_CHECKING:
    import keras

    from kerastl.finetuning.results import Run

DATA_OPTIONS = (
    "path_column",
    "label_column",
    "label_rule",
    "group_rule",
    "validation",
    "test",
    "multi_label",
    "on_bad_image",
    "cache_budget",
    "seed",
)


def load_data(options: Options) -> Data:
    """List, check and split the images the options name."""
    settings = {name: getattr(options, name) for name in DATA_OPTIONS}
    return load_images(options.data, **settings)


def read_schedule(options: Options, base: Base) -> Schedule:
    """Return the schedule the options name, with their changes, checked by block name.

    Raises:
        UsageError: A stage, a setting or the name of a block is not allowed.
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
    for stage in resolved:
        known = {"head", "all", *blocks}
        if isinstance(stage.unfreeze, str) and stage.unfreeze not in known:
            raise UsageError(
                f"Stage {stage.name!r} unfreezes {stage.unfreeze!r}, but {base.name} has "
                f"the blocks {', '.join(blocks)}."
            )
    return resolved


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
        return (side, side)
    return (size, size) if isinstance(size, int) else tuple(size)


SMALL_SIDE = 32  # what `tiny` was trained on, and the minimum of most bases


def resolve_base(options: Options) -> tuple[Options, str]:
    """Replace `base="auto"` by the base to take, and say which and why."""
    if options.base != "auto":
        return options, ""
    name, weights, reason = choose_base()
    return dataclasses.replace(options, base=name, weights=weights), reason


def run_job(
    options: Options,
    *,
    resume: str | Path | None = None,
    fast_dev_run: bool = False,
    verbose: str | int = "auto",
) -> "Run":
    """Run the main job and return its Run: what `kerastl finetune` does.

    Args:
        options: Everything a run depends on.
        resume: A run folder to go on with, from its last finished epoch.
        fast_dev_run: Two batches of one epoch per stage, to see that everything works.
        verbose: As in `finetune`.

    Returns:
        Run, written to its folder, with the test split scored where there is one.

    Raises:
        KerastlError: Any of them; options are checked before images are decoded or weights
            loaded.
    """
    options, reason = resolve_base(options)
    say(reason, verbose)
    base = get_base(options.base)
    schedule = read_schedule(options, base)
    data = load_data(options)
    for note in data.notes:
        say(note, verbose)
    folder = None if resume is not None else RunFolder.create("finetune", options.out)
    try:
        model = _build(options, data, base, resume)
    except BaseException:
        if folder is not None:
            folder.discard()
        raise
    from kerastl.finetuning.training import finetune

    run = finetune(
        model,
        data,
        schedule=_shorten(schedule) if fast_dev_run else schedule,
        seed=options.seed,
        out=resume if folder is None else folder,
        resume=resume is not None,
        verbose=verbose,
        max_steps=2 if fast_dev_run else None,
    )
    if data.test is not None:
        run.evaluate()
    return run


def _build(
    options: Options, data: Data, base: Base, resume: str | Path | None
) -> "keras.Model":
    from kerastl.models import build_model

    return build_model(
        options.base,
        num_classes=data.num_classes,
        weights=_start_weights(options, resume),
        image_size=choose_image_size(options, data, base),
        pooling=options.pooling,
        hidden=options.hidden,
        dropout=options.dropout,
        multi_label=data.multi_label,
        class_names=data.class_names,
        seed=options.seed,
    )


def _start_weights(options: Options, resume: str | Path | None) -> str | None:
    # a checkpoint has all weights, so resuming neither downloads nor reads the base's
    if resume is not None and RunFolder.open(resume).exists("checkpoint/progress.json"):
        return None
    return options.weights


def _shorten(schedule: Schedule) -> Schedule:
    stages = [dataclasses.replace(s, epochs=1, warmup_epochs=0) for s in schedule]
    return Schedule(schedule.name, tuple(stages))


def say(text: str, verbose: str | int) -> None:
    """Print a line to stderr unless silent."""
    if text and verbose != 0:
        print(text, file=sys.stderr, flush=True)


def plan_job(options: Options) -> str:
    """Return what a run would do, without decoding images or importing TensorFlow.

    Example:

    >>> print(plan_job(Options(data="digits", base="tiny")))
    data      digits: ...
    """
    options, reason = resolve_base(options)
    base = get_base(options.base)
    schedule = read_schedule(options, base)
    data = load_data(options)
    height, width = choose_image_size(options, data, base)
    return "\n".join(
        [
            f"data      {options.data}: {_count(data)}",
            *(f"          {note}" for note in data.notes),
            f"base      {base.name} at {height}x{width}, weights {options.weights}",
            *([f"          {reason}"] if reason else []),
            f"out       {options.out or 'runs/finetune-<n>'}",
            *_plan_stages(schedule, data),
        ]
    )


def _count(data: Data) -> str:
    splits = (("train", data.train), ("validation", data.validation), ("test", data.test))
    counts = [f"{len(split)} {name}" for name, split in splits if split is not None]
    return f"{', '.join(counts)} images in {data.num_classes} classes"


def _plan_stages(schedule: Schedule, data: Data) -> Sequence[str]:
    lines = []
    for stage in schedule:
        steps = -(-len(data.train) // stage.batch_size)
        text = f"{describe_stage(stage)}, {steps} steps each, {stage.optimizer}"
        lines.append(f"stage     {stage.name}: {text}")
    return lines
