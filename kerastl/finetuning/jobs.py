"""The main job from options alone: images, base, stages, test score, report."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.bases import Base, get_base
from kerastl.bases.sizes import check_image_size
from kerastl.data import Data
from kerastl.finetuning.planning import (
    check_weights,
    choose_image_size,
    load_data,
    read_schedule,
    resolve_base,
)
from kerastl.options import Options
from kerastl.runs import RunFolder
from kerastl.stages import Schedule
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    import keras

    from kerastl.finetuning.results import Run


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
    check_image_size(base, options.image_size)
    check_weights(base, _start_weights(options, resume))
    folder = None if resume is not None else RunFolder.create("finetune", options.out)
    try:
        data = load_data(options)
        for note in data.notes:
            say(note, verbose)
        start_tensorflow()
        model = _build(options, data, base, resume)
    except BaseException:
        if folder is not None:
            folder.discard()
        raise
    from kerastl.finetuning.training import finetune

    return finetune(
        model,
        data,
        schedule=_shorten(schedule) if fast_dev_run else schedule,
        seed=options.seed,
        out=resume if folder is None else folder,
        resume=resume is not None,
        verbose=verbose,
        max_steps=2 if fast_dev_run else None,
        evaluate=True,
    )


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
