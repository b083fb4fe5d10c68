"""Keeping the last finished epoch of a staged run on disk, and finding it again.

`checkpoint/progress.json` is the commit mark: it names the files that belong together and
is written after them, so a kill at any moment leaves the last epoch or the one before.
"""

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from kerastl.runs import RunFolder

PROGRESS = "checkpoint/progress.json"


@dataclass
class Progress:
    """Where a run is: all but the weights.

    `stage` is the index of the stage in progress, `epoch` how many of its epochs are done,
    `stopped` whether a callback of the user ended it, `rows` one dict per finished epoch of
    the run, `outcomes` one per finished stage, `kept` the row whose weights the model has
    at the start of the stage in progress, `normalization` what its pixels are normalised
    with there.
    """

    stage: int = 0
    epoch: int = 0
    stopped: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Any] | None = None
    normalization: Any = "base"
    start_file: str | None = None
    epoch_file: str | None = None


@dataclass(frozen=True)
class EpochArrays:
    """What one epoch leaves: the trained weights, the engine's state, the best weights."""

    weights: Sequence[np.ndarray]
    engine: Sequence[np.ndarray]
    best: Sequence[np.ndarray]


class Keeper(Protocol):
    """Where progress is kept: in a run folder, or nowhere."""

    def save_start(self, progress: Progress, weights: Sequence[np.ndarray]) -> None:
        """Keep the whole model as a stage finds it."""

    def wants_epoch(self, progress: Progress) -> bool:
        """Tell whether the epoch just finished is to be kept; its arrays are large."""

    def save_epoch(self, progress: Progress, arrays: EpochArrays) -> None:
        """Keep one finished epoch."""


class NoKeeper:
    """Keeps nothing: for runs in memory, which end with the process."""

    def save_start(self, progress: Progress, weights: Sequence[np.ndarray]) -> None:
        """Do nothing."""

    def wants_epoch(self, progress: Progress) -> bool:
        """Return False."""
        return False

    def save_epoch(self, progress: Progress, arrays: EpochArrays) -> None:
        """Do nothing."""


class FolderKeeper:
    """Keeps progress in the `checkpoint` folder of a run."""

    def __init__(self, folder: RunFolder):
        self.folder = folder

    def save_start(self, progress: Progress, weights: Sequence[np.ndarray]) -> None:
        """Commit the whole model as a stage finds it."""
        old = (progress.start_file, progress.epoch_file)
        progress.start_file = f"checkpoint/stage-{progress.stage}.npz"
        progress.epoch_file = None
        self.folder.write_arrays(progress.start_file, _numbered("weights", weights))
        self._commit(progress, old)

    def wants_epoch(self, progress: Progress) -> bool:
        """Return True: every finished epoch can be gone on from."""
        return True

    def save_epoch(self, progress: Progress, arrays: EpochArrays) -> None:
        """Commit one finished epoch: only what the stage trains, so it stays small."""
        old = (progress.epoch_file,)
        progress.epoch_file = f"checkpoint/epoch-{progress.stage}-{progress.epoch}.npz"
        parts = {"weights": arrays.weights, "engine": arrays.engine, "best": arrays.best}
        named = [_numbered(name, part) for name, part in parts.items()]
        self.folder.write_arrays(progress.epoch_file, dict(ChainMap(*named)))
        self._commit(progress, old)

    def _commit(self, progress: Progress, old: Sequence[str | None]) -> None:
        self.folder.write_json(PROGRESS, asdict(progress))
        for name in old:
            if name and name not in (progress.start_file, progress.epoch_file):
                self.folder.remove(name)

    def load_progress(self) -> Progress | None:
        """Return the last committed progress, or None where a run has none yet."""
        if not self.folder.exists(PROGRESS):
            return None
        values = self.folder.read_json(PROGRESS)
        values["rows"] = [_numbers(row) for row in values["rows"]]
        return Progress(**values)

    def load_start(self, progress: Progress) -> list[np.ndarray]:
        """Return the whole model's weights at the start of the stage in progress."""
        return _unnumbered(self.folder.read_arrays(progress.start_file), "weights")

    def load_epoch(self, progress: Progress) -> EpochArrays | None:
        """Return what the last finished epoch left; None before the stage's first."""
        if progress.epoch_file is None:
            return None
        arrays = self.folder.read_arrays(progress.epoch_file)
        return EpochArrays(*(_unnumbered(arrays, k) for k in ("weights", "engine", "best")))


def _numbered(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}-{number}": array for number, array in enumerate(arrays)}


def _unnumbered(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}-") for key in arrays)
    return [arrays[f"{name}-{number}"] for number in range(count)]


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN: a loss that diverged is null on disk
    return {key: float("nan") if value is None else value for key, value in row.items()}
