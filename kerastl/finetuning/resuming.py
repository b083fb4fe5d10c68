"""What a run was made from: written before training, compared before going on with it."""

import dataclasses
from typing import TYPE_CHECKING, Any

from kerastl.data import Data
from kerastl.errors import ResumeRefusedError
from kerastl.finetuning.checkpoints import PROGRESS
from kerastl.models import get_info
from kerastl.options import Options, difference, from_toml, to_toml
from kerastl.runs import RunFolder, describe_environment
from kerastl.weights import RANDOM

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run

CONFIG = "config.toml"
SOURCE = "data.json"


def describe_run(run: "Run") -> Options:
    """Return the options that would make this run again, with every stage written out."""
    info, schedule = get_info(run.model), run.schedule.to_dict()
    return Options(
        **run.data.settings,
        base=info.base,
        weights=None if info.weights == RANDOM else info.weights,
        image_size=info.image_size,
        pooling=info.pooling,
        hidden=info.hidden,
        dropout=info.dropout,
        schedule=schedule["name"],
        stages=tuple(schedule["stages"]),
        seed=run.settings["seed"],
        split_seed=name_split_seed(run.data, run.settings["seed"]),
        activations=run.settings["activations"],
    )


def name_split_seed(data: Data, seed: int) -> int | None:
    """Return the splits' seed where it is not the run's, as a configuration has it."""
    return None if data.seed == seed else data.seed


def describe_data(run: "Run") -> dict[str, Any]:
    """Return what identifies the images and labels, and how they are trained on."""
    data = run.data
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        "fingerprint": data.fingerprint,
        "classes": list(data.class_names),
        "images": {name: len(split) for name, split in splits.items() if split is not None},
        "engine": run.settings["engine"],
        "max_steps": run.settings["max_steps"],
    }


def record_start(run: "Run", folder: RunFolder) -> None:
    """Write what the run is made from; the configuration last, which makes it a run."""
    folder.write_json("environment.json", describe_environment())
    folder.write_json(SOURCE, describe_data(run))
    folder.write_text(CONFIG, to_toml(describe_run(run)))


def check_same_run(run: "Run", folder: RunFolder) -> None:
    """Refuse to go on with a run that was made from something else.

    Raises:
        ResumeRefusedError: Lists every difference in settings and data.
    """
    then, asked = from_toml(folder.read_text(CONFIG)), describe_run(run)
    if folder.exists(PROGRESS):  # it has all weights, so the base need not be given any
        asked = dataclasses.replace(asked, weights=then.weights)
    found = difference(then, asked)
    before, now = folder.read_json(SOURCE), describe_data(run)
    for key, value in before.items():
        if value != now[key]:
            found.append(f"{key}: {value} in the run, {now[key]} now")
    if found:
        raise ResumeRefusedError(
            f"{folder.path} cannot be gone on with, because these differ: "
            f"{'; '.join(found)}. Give the same data and settings, or start a new run."
        )
