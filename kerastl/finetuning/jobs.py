"""The main job from options alone: images, base, stages, test score, report."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.bases import Base, get_base
from kerastl.bases.sizes import check_image_size
from kerastl.data import Data
from kerastl.finetuning.checkpoints import PROGRESS
from kerastl.finetuning.claiming import claim_folder
from kerastl.finetuning.describing import say
from kerastl.finetuning.planning import (
    FEW_STEPS,
    check_weights,
    choose_image_size,
    load_data,
    read_schedule,
    resolve_base,
    shorten_schedule,
)
from kerastl.options import Options
from kerastl.runs import RunFolder
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
        KerastlError: Any of them; options and folder are checked before images are listed
            or weights loaded.
    """
    resumed = None if resume is None else claim_folder(resume, resume=True)
    with resumed or nullcontext():
        options, reason = resolve_base(options)
        say(reason, verbose)
        base = get_base(options.base)
        schedule = read_schedule(options, base)
        check_image_size(base, options.image_size)
        options = dataclasses.replace(options, weights=_choose_weights(options, resumed))
        check_weights(base, options.weights)
        with resumed or RunFolder.create("finetune", options.out) as folder:
            data = load_data(options)
            for note in data.notes:
                say(note, verbose)
            start_tensorflow()
            from kerastl.finetuning.training import finetune

            return finetune(
                build_start(options, data, base),
                data,
                schedule=shorten_schedule(schedule) if fast_dev_run else schedule,
                seed=options.seed,
                out=folder,
                resume=resumed is not None,
                verbose=verbose,
                cache_budget=options.cache_budget,
                activations=options.activations,
                max_steps=FEW_STEPS if fast_dev_run else None,
                evaluate=True,
            )


def build_start(options: Options, data: Data, base: Base) -> "keras.Model":
    """Return the model that the options name, before any training; starts TensorFlow."""
    from kerastl.models import build_model

    return build_model(
        options.base,
        num_classes=data.num_classes,
        weights=options.weights,
        image_size=choose_image_size(options, data, base),
        pooling=options.pooling,
        hidden=options.hidden,
        dropout=options.dropout,
        multi_label=data.multi_label,
        class_names=data.class_names,
        seed=options.seed,
    )


def _choose_weights(options: Options, resumed: RunFolder | None) -> str | None:
    # a checkpoint has all weights, so resuming neither downloads nor reads the base's
    has_all = resumed is not None and resumed.exists(PROGRESS)
    return None if has_all else options.weights
