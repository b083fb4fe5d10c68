"""Training the winner again, for keeps, and only then reading the test split."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.finetuning.inner import FINISHED, find_state, train_inside
from kerastl.finetuning.planning import read_schedule
from kerastl.options import Options
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
    state = find_state(folder.path / BEST, options, data)
    start_tensorflow()
    if state == FINISHED:
        from kerastl.finetuning import load_run

        return load_run(folder.path / BEST, data)
    return train_inside(folder, BEST, options, data, state=state, verbose=verbose)


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
