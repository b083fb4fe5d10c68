"""Training the winner again, for keeps, and only then reading the test split."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.errors import KerastlError
from kerastl.finetuning.planning import choose_image_size, read_schedule
from kerastl.options import Options, difference, from_toml
from kerastl.runs import RunFolder
from kerastl.search.candidates import apply_parameters
from kerastl.search.plans import Plan
from kerastl.search.records import Record
from kerastl.stages import Schedule, Stage
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    from kerastl.finetuning import Run

BEST = "best"  # folder of the winner's run inside that of the search


def refit_winner(
    plan: Plan,
    data: Data,
    folder: RunFolder,
    winner: Record,
    *,
    refit: str,
    verbose: str | int,
) -> "Run":
    """Train the winner's settings again in `best/` and score the test split once.

    A winner that was trained already is read back; one that was cut off goes on.

    Args:
        plan: Of the search.
        data: With the test split, if there is one.
        folder: Of the search, locked.
        winner: The best trial.
        refit: "train", the training split as in the trial; or "all", the validation images
            as well, for as many epochs as the trial kept.
        verbose: As in `finetune`.

    Returns:
        Run in `best/`.
    """
    options, data = describe_winner(plan, data, winner, refit=refit)
    path = folder.path / BEST
    wanted = replace(options, image_size=_image_size(options, data))
    state = _find_state(path, wanted)
    if state == "other":
        folder.remove_folder(BEST)
    start_tensorflow()
    if state == "finished":
        from kerastl.finetuning import load_run

        return load_run(path, data)
    return _train(options, data, path, resume=state == "begun", verbose=verbose)


def describe_winner(
    plan: Plan, data: Data, winner: Record, *, refit: str
) -> tuple[Options, Data]:
    """Return the options and images the winner is trained again with."""
    options = apply_parameters(plan.options, winner.params)
    if refit == "train":
        return options, data
    schedule = keep_schedule(read_schedule(options, get_base(options.base)), winner.fits)
    stages = tuple(schedule.to_dict()["stages"])
    return replace(options, stages=stages, merge_validation=True), data.merge_validation()


def keep_schedule(schedule: Schedule, fits: Sequence[Mapping[str, Any]]) -> Schedule:
    """Return the stages a trial kept, each for as many epochs: nothing is left to choose.

    Over several fits it is the median; a stage that was rolled back is left out.

    Example:

    >>> schedule = Schedule("two", (Stage(name="a", epochs=9), Stage(name="b", epochs=9)))
    >>> fits = [{"stages": [{"kept_epoch": 4}, {"kept_epoch": None}]}]
    >>> [(stage.name, stage.epochs) for stage in keep_schedule(schedule, fits)]
    [('a', 4)]
    """
    stages = []
    for place, stage in enumerate(schedule):
        kept = [fit["stages"][place]["kept_epoch"] or 0 for fit in fits]
        epochs = round(statistics.median(kept))
        if epochs:
            stages.append(_shorten(stage, epochs))
    return Schedule(schedule.name, tuple(stages))


def _shorten(stage: Stage, epochs: int) -> Stage:
    warmup = min(stage.warmup_epochs, epochs)
    return replace(stage, epochs=epochs, warmup_epochs=warmup, patience=None)


def _find_state(path: Path, wanted: Options) -> str:
    """Say what `best/` holds: nothing, the winner's run finished or begun, or another."""
    if not path.exists():
        return "none"
    try:
        found = RunFolder.open(path)
        then = from_toml(found.read_text("config.toml"))
    except KerastlError:  # cut off before there was a run in it
        return "other"
    same = replace(wanted, weights=then.weights)  # a name then is a path or a source now
    if difference(then, same):
        return "other"
    return "finished" if found.finished and not _is_open(found) else "begun"


def _is_open(folder: RunFolder) -> bool:
    return folder.exists("checkpoint/progress.json")


def _image_size(options: Options, data: Data) -> tuple[int, int]:
    return choose_image_size(options, data, get_base(options.base))


def _train(
    options: Options, data: Data, path: Path, *, resume: bool, verbose: str | int
) -> "Run":
    from kerastl.finetuning import finetune
    from kerastl.models import build_model

    base = get_base(options.base)
    model = build_model(
        options.base,
        num_classes=data.num_classes,
        weights=options.weights,
        image_size=_image_size(options, data),
        pooling=options.pooling,
        hidden=options.hidden,
        dropout=options.dropout,
        multi_label=data.multi_label,
        class_names=data.class_names,
        seed=options.seed,
    )
    return finetune(
        model,
        data,
        schedule=read_schedule(options, base),
        seed=options.seed,
        out=path,
        resume=resume,
        verbose=verbose,
        cache_budget=options.cache_budget,
        activations=options.activations,
        evaluate=True,
    )
