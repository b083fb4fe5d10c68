"""Ends of stages that several trials begin with: trained by one, gone on from by all."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from kerastl.data.batches import Arrays
from kerastl.data.statistics import ChannelStatistics
from kerastl.errors import StorageError
from kerastl.finetuning.activations import describe_platform, digest_array
from kerastl.finetuning.checkpoints import Progress
from kerastl.finetuning.entries import INDEX, Entries, cache_folder
from kerastl.models import get_info, layer_table, set_normalization
from kerastl.runs import write_atomic, write_text_atomic
from kerastl.runs.arrays import read_npz, verify_npz, write_npz
from kerastl.schedules import plan_freeze

if TYPE_CHECKING:
    from collections.abc import Callable

    from kerastl.finetuning.loop import Job

logger = logging.getLogger("kerastl")

STATE = "state.npz"
LEFT_BY_A_STAGE = ("rows", "outcomes", "kept", "stage", "epoch", "stopped")


class StageStates:
    """The ends of a job's first stages, under `$XDG_CACHE_HOME/kerastl/stages`.

    A stage whose end is there is not trained: the model gets the weights it left, the
    progress its rows. What it is kept under says all that the end depends on, to the bit.

    Args:
        count: How many of the leading stages are worth keeping: those that other jobs
            have, too.
        folder: Another place.
    """

    def __init__(self, count: int, folder: Path | None = None):
        self.count = count
        self.entries = Entries(folder or cache_folder("stages"))

    def pass_stage(self, job: "Job", progress: Progress, train: "Callable") -> None:
        """Bring the job to the end of the stage in progress, trained now or before.

        Args:
            job: With the model as the stage finds it.
            progress: At the stage's start; moved to its end.
            train: Does it the long way.
        """
        variables = _list_trained(job, progress)
        with self._hold(identify_stage(job, progress)) as entry:
            if entry is not None and _go_on_from(entry, job.model, progress, variables):
                return
            train()
            if entry is not None:
                self._save(entry, job.model, progress, variables)

    @contextlib.contextmanager
    def _hold(self, key: str) -> Iterator[Path | None]:
        with contextlib.ExitStack() as stack:
            try:
                entry = stack.enter_context(self.entries.hold(key))
            except (OSError, StorageError) as error:
                logger.warning("The end of a stage cannot be kept: %s", error)
                entry = None
            yield entry

    def _save(
        self,
        entry: Path,
        model: keras.Model,
        progress: Progress,
        variables: list[keras.Variable],
    ) -> None:
        arrays = {str(n): variable.numpy() for n, variable in enumerate(variables)}
        size = sum(array.nbytes for array in arrays.values())
        left = {name: getattr(progress, name) for name in LEFT_BY_A_STAGE}
        index = {"progress": left, "normalization": get_info(model).normalization}
        try:
            self.entries.make_room(size)
            write_atomic(entry / STATE, write_npz(arrays), verify_npz(arrays), size=size)
            write_text_atomic(entry / INDEX, json.dumps(index))
        except (OSError, StorageError) as error:
            logger.warning("The end of a stage cannot be kept: %s", error)


def identify_stage(job: "Job", progress: Progress) -> str:
    """Return the digest of all that the end of the stage in progress depends on."""
    stages = job.schedule.to_dict()["stages"][: progress.stage + 1]
    facts = {
        "stages": stages,
        "model": [asdict(get_info(job.model)), job.digests.to_dict()],
        "images": [_digest_images(split) for split in (job.train, job.validation)],
        "statistics": None if job.statistics is None else asdict(job.statistics),
        "job": [job.seed, job.engine, job.max_steps, job.cache_budget, job.activations],
        "platform": describe_platform(),
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _digest_images(arrays: Arrays | None) -> list[str]:
    if arrays is None:
        return []
    parts = (arrays.pixels, arrays.labels, arrays.weights)
    return [digest_array(part) for part in parts if part is not None]


def _list_trained(job: "Job", progress: Progress) -> list[keras.Variable]:
    plan = plan_freeze(layer_table(job.model), job.schedule.stages[progress.stage])
    layers = [layer for layer in job.model.layers if plan[layer.name]]
    return [variable for layer in layers for variable in layer.weights]


def _go_on_from(
    entry: Path, model: keras.Model, progress: Progress, variables: list[keras.Variable]
) -> bool:
    """Assign what another job left, unless there is nothing or it is damaged."""
    try:
        index = json.loads((entry / INDEX).read_text(encoding="utf-8"))
        left = {name: index["progress"][name] for name in LEFT_BY_A_STAGE}
        normalization = index["normalization"]
        arrays = read_npz(entry / STATE)
        arrays = [arrays[str(number)] for number in range(len(variables))]
        os.utime(entry / INDEX)  # used now
    except FileNotFoundError:
        return False
    except (OSError, StorageError, ValueError, KeyError, TypeError):
        logger.warning("%s is damaged and made again.", entry)
        return False
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    for name, value in left.items():
        setattr(progress, name, value)
    if normalization != "base" or get_info(model).normalization != "base":
        known = None if normalization == "base" else ChannelStatistics(**normalization)
        set_normalization(model, known)
    return True
