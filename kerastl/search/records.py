"""What is known of each trial, in files that are written once: the memory of a search."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from kerastl.errors import StorageError
from kerastl.runs import RunFolder

logger = logging.getLogger("kerastl")

DONE, FAILED, STOPPED = "done", "failed", "stopped"
STATUSES = (DONE, FAILED, STOPPED)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One trial after one rung: `trials/<number>/result.json`, or `rung-<rung>.json`.

    Args:
        number: Of the trial, from 1.
        params: What was tried.
        rung: 0 but in successive halving.
        status: `"done"`, `"failed"`, or `"stopped"`: halving went on without it.
        reason: Why it failed, in one sentence.
        fits: One dict per training: score, loss, epochs, history, stages, weights digest.
        traceback: Of a failed trial, for reading.
        work: Where and how fast it ran: seconds, host, pid, peak memory. Differs between
            machines, so it is left out where searches are compared.
    """

    number: int
    params: dict[str, Any]
    rung: int = 0
    status: str = DONE
    reason: str = ""
    fits: tuple[dict[str, Any], ...] = ()
    traceback: str = ""
    work: dict[str, Any] = field(default_factory=dict)

    @property
    def scores(self) -> list[float]:
        """One validation score per fit."""
        return [fit["score"] for fit in self.fits]

    @property
    def score(self) -> float:
        """Mean validation score; NaN for a trial that failed."""
        return float(np.mean(self.scores)) if self.fits else math.nan

    @property
    def complete(self) -> bool:
        """Whether nothing is left to train."""
        return self.status == FAILED or all(fit["complete"] for fit in self.fits)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Record":
        """Rebuild what `to_dict` gave; raises TypeError or KeyError for anything else."""
        values = {**values, "params": restore_params(values["params"])}
        record = cls(**{**values, "fits": tuple(values["fits"])})
        bad = record.status not in STATUSES or not math.isfinite(record.score)
        if bad and record.status != FAILED:
            raise KeyError("score")
        return record


def restore_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters from JSON as they were: JSON has lists where Python had tuples.

    Example:

    >>> restore_params({"hidden": [256], "batch_size": 16})
    {'hidden': (256,), 'batch_size': 16}
    """
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in params.items()
    }


class Book:
    """The records of a search, in memory and in the files of its folder.

    A record's file is the mark that its trial, or its rung, is finished; there is no other.
    State that a paused trial needs is written before that mark and removed after the next.
    """

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.records: dict[tuple[int, int], Record] = {}
        self.latest: dict[int, Record] = {}
        self.final: set[int] = set()

    def read(self, numbers: Iterable[int], rungs: int) -> None:
        """Read every record there is; a damaged one is named and its trial done again."""
        for number in numbers:
            for name in (*(f"rung-{rung}" for rung in range(rungs)), "result"):
                self._read(number, f"trials/{number}/{name}.json")

    def _read(self, number: int, name: str) -> None:
        if not self.folder.exists(name):
            return
        try:
            record = Record.from_dict(self.folder.read_json(name))
        except (StorageError, TypeError, KeyError, AttributeError, ValueError):
            logger.warning("%s is damaged: trial %d is done again.", name, number)
            return
        self._remember(record, final=name.endswith("result.json"))

    def _remember(self, record: Record, *, final: bool) -> None:
        self.records[record.number, record.rung] = record
        before = self.latest.get(record.number)
        if before is None or before.rung <= record.rung:
            self.latest[record.number] = record
        if final:
            self.final.add(record.number)

    def find(self, number: int, rung: int) -> Record | None:
        """Return a trial's record at a rung; one that is complete holds for later rungs."""
        for earlier in range(rung, -1, -1):
            record = self.records.get((number, earlier))
            if record is not None:
                return record if earlier == rung or record.complete else None
        return None

    def last(self, number: int) -> Record | None:
        """Return what is known of a trial by now."""
        return self.latest.get(number)

    def write(
        self, record: Record, state: Mapping[str, np.ndarray], *, final: bool
    ) -> None:
        """Write a finished rung: its state first, then the record that marks it."""
        number, rung = record.number, record.rung
        if state:
            self.folder.write_arrays(state_file(number, rung), dict(state))
        name = "result" if final or record.complete else f"rung-{rung}"
        self.folder.write_json(f"trials/{number}/{name}.json", record.to_dict())
        self._remember(record, final=name == "result")
        if rung:
            self.folder.remove(state_file(number, rung - 1))

    def stop(self, record: Record) -> None:
        """Mark that a trial goes no further, and drop its state; repeating it is fine."""
        if record.number not in self.final:
            values = {**record.to_dict(), "status": STOPPED}
            stopped = Record.from_dict(values)
            self.folder.write_json(f"trials/{record.number}/result.json", values)
            self._remember(stopped, final=True)
        if self.folder.exists(state_file(record.number, record.rung)):
            self.folder.remove(state_file(record.number, record.rung))

    def read_state(self, record: Record) -> dict[str, np.ndarray]:
        """Return the state a paused trial goes on from.

        Raises:
            StorageError: It is missing or damaged.
        """
        if record.complete:
            return {}
        return self.folder.read_arrays(state_file(record.number, record.rung))


def state_file(number: int, rung: int) -> str:
    """Return where the state of a paused trial lies."""
    return f"trials/{number}/state-{rung}.npz"
