"""A run inside the folder of a larger job: read back, gone on with, or begun."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.errors import KerastlError
from kerastl.finetuning.jobs import build_start
from kerastl.finetuning.planning import choose_image_size, read_schedule
from kerastl.options import Options, difference, from_toml
from kerastl.runs import RunFolder

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run

# what there may be where a run is to be
NONE, FINISHED, BEGUN, OTHER = "none", "finished", "begun", "other"
_PROGRESS = "checkpoint/progress.json"


def find_state(path: Path, options: Options, data: Data) -> str:
    """Say what a folder holds: nothing, a run by these options or one by others.

    Args:
        path: Of the run's folder.
        options: With every stage of the schedule written out.
        data: What it is trained on.

    Returns:
        `"none"`, `"finished"`, `"begun"` or `"other"`.
    """
    if not path.exists():
        return NONE
    try:
        found = RunFolder.open(path)
        then = from_toml(found.read_text("config.toml"))
    except KerastlError:  # cut off before there was a run in it
        return OTHER
    same = replace(
        options,
        image_size=choose_image_size(options, data, get_base(options.base)),
        weights=then.weights,  # a name then is a path or a source now
        split_seed=None if data.seed == options.seed else data.seed,
    )
    if difference(then, same):
        return OTHER
    return FINISHED if found.finished and not found.exists(_PROGRESS) else BEGUN


def train_inside(
    folder: RunFolder,
    name: str,
    options: Options,
    data: Data,
    *,
    state: str,
    verbose: str | int,
) -> "Run":
    """Train a run in a folder inside another, and score its test split once.

    Args:
        folder: Of the larger job, locked.
        name: Of the run's folder in it.
        options: What to train.
        data: With the test split, if there is one.
        state: What `find_state` found; a run by other options is removed.
        verbose: As in `finetune`.

    Returns:
        Run, finished and written.
    """
    from kerastl.finetuning import finetune

    if state == OTHER:
        folder.remove_folder(name)
    base = get_base(options.base)
    model = build_start(options, data, base)
    return finetune(
        model,
        data,
        schedule=read_schedule(options, base),
        seed=options.seed,
        out=folder.path / name,
        resume=state == BEGUN,
        verbose=verbose,
        cache_budget=options.cache_budget,
        activations=options.activations,
        evaluate=True,
    )
