"""A finished search: where its seconds and its memory went, beside other searches."""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.limits import measure_limit
from benchmarks.memory import MEGABYTE
from benchmarks.processes import measure_imports, run_process
from benchmarks.results import Row
from benchmarks.tasks import Task, write_task

Outcomes = Mapping[str, "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """One finished search: moments are seconds of `time.time`, memory is in bytes."""

    began: float  # the process
    ended: float
    imports: float  # seconds of a process that only imports Keras
    processor: float  # seconds of all cores and processes together
    peak: int
    after_trials: tuple[int, ...]
    trials: tuple[dict[str, Any], ...]
    load: float

    @property
    def wall(self) -> float:
        """Seconds from the start of the process to its end."""
        return self.ended - self.began

    @property
    def work(self) -> float:
        """Seconds beyond the import of Keras and TensorFlow, which every peer pays once."""
        return self.wall - self.imports

    @property
    def best(self) -> float:
        """The highest validation accuracy."""
        return max(trial["score"] for trial in self.trials)

    @property
    def growth(self) -> float:
        """Bytes per trial: the slope from the second on, with what is loaded once there."""
        sizes = self.after_trials[1:]
        return float(np.polyfit(range(len(sizes)), sizes, 1)[0]) if len(sizes) > 1 else 0.0

    @property
    def before_trials(self) -> float:
        """Seconds until the first trial began: imports, images, worker."""
        return self.trials[0]["began"] - self.began

    @property
    def after(self) -> float:
        """Seconds from the end of the last trial to that of the process."""
        return self.ended - self.trials[-1]["ended"]

    @property
    def in_fit(self) -> float:
        """Median seconds a trial spent in `fit`."""
        return statistics.median(trial["fit_seconds"] for trial in self.trials)

    @property
    def beside_fit(self) -> float:
        """Median seconds a trial cost beyond `fit`, within it and before the next."""
        return statistics.median(self._list_costs())

    def _list_costs(self) -> list[float]:
        starts = [self.trials[0]["began"], *(trial["ended"] for trial in self.trials[:-1])]
        return [
            trial["ended"] - start - trial["fit_seconds"]
            for start, trial in zip(starts, self.trials, strict=True)
        ]

    @property
    def between(self) -> float:
        """Median seconds between two trials; a part of `beside_fit`."""
        pairs = zip(self.trials, self.trials[1:], strict=False)
        return statistics.median(
            [later["began"] - earlier["ended"] for earlier, later in pairs] or [0.0]
        )

    def score_trials(self) -> dict[str, float]:
        """Return the score of every candidate by its settings."""
        return {str(trial["candidate"]): trial["score"] for trial in self.trials}

    def to_dict(self) -> dict[str, Any]:
        """Return what is worth keeping."""
        names = ("work", "wall", "processor", "peak", "growth", "load", "after_trials")
        numbers = {name: getattr(self, name) for name in names}
        return {**numbers, "trials": list(self.trials)}


def measure_search(function: str, folder: Path, imports: float = 0.0) -> Outcome:
    """Run a search of `peers` in a process of its own and watch it.

    Args:
        function: Of `PEERS`.
        folder: With its task.
        imports: Seconds of a process that only imports Keras.
    """
    process = run_process(function, folder)
    trials = sorted(process.result, key=lambda trial: trial["ended"])
    return Outcome(
        process.began,
        process.ended,
        imports,
        process.processor,
        process.watch.peak,
        tuple(process.watch.at(trial["ended"]) for trial in trials),
        tuple(trials),
        process.load,
    )


def compare_searches(
    task: Task, peers: Mapping[str, str]
) -> tuple[dict[str, Outcome], float]:
    """Run every search on one task and print what was measured.

    Args:
        task: What is searched.
        peers: Name of a search -> its function.

    Returns:
        Outcomes by name, and the seconds that the arithmetic takes at least.

    Raises:
        AssertionError: The searches did not try the same.
    """
    with tempfile.TemporaryDirectory() as made:
        folder, candidates = Path(made), task.candidates()
        counts = write_task(folder, task)
        print(f"{len(candidates)} candidates, {task.epochs} epochs, images: {counts}")
        limit, imports = measure_limit(folder), measure_imports(folder)
        outcomes = {
            name: measure_search(function, folder, imports)
            for name, function in peers.items()
        }
    print_outcomes(outcomes)
    print_trials(outcomes, candidates)
    check_same(outcomes)
    return outcomes, limit


def print_outcomes(outcomes: Outcomes) -> None:
    """Print a row per search, and where its time went."""
    print(
        f"{'':18} {'work s':>8} {'wall s':>8} {'cpu s':>8} {'peak MB':>8} "
        f"{'MB/trial':>9} {'best':>6} {'load':>5}"
    )
    for name, one in outcomes.items():
        peak, growth = one.peak / MEGABYTE, one.growth / MEGABYTE
        print(
            f"{name:18} {one.work:8.1f} {one.wall:8.1f} {one.processor:8.1f} {peak:8.0f} "
            f"{growth:9.1f} {one.best:6.2f} {one.load:5.1f}"
        )
    print("\nMB after each trial")
    for name, one in outcomes.items():
        sizes = " ".join(f"{size / MEGABYTE:6.0f}" for size in one.after_trials)
        print(f"{name:18} {sizes}")
    print(f"\n{'seconds':18} {'to trial 1':>10} {'fit':>7} {'beside':>7} {'between':>8} "
          f"{'after':>6}")  # fmt: skip
    for name, one in outcomes.items():
        print(
            f"{name:18} {one.before_trials:10.1f} {one.in_fit:7.1f} {one.beside_fit:7.2f} "
            f"{one.between:8.3f} {one.after:6.1f}"
        )


def print_trials(outcomes: Outcomes, candidates: Sequence[Mapping[str, Any]]) -> None:
    """Print the score of every candidate in each search."""
    width = 1 + max(len(_tell(candidate)) for candidate in candidates)
    print(f"\n{'accuracy':{width}} " + " ".join(f"{name:>18}" for name in outcomes))
    scores = [one.score_trials() for one in outcomes.values()]
    for candidate in candidates:
        columns = " ".join(
            f"{table.get(str(dict(candidate)), np.nan):18.3f}" for table in scores
        )
        print(f"{_tell(candidate):{width}} {columns}")


def _tell(candidate: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in candidate.items())


def check_same(outcomes: Outcomes) -> None:
    """Assert that all searches tried the same candidates and trained the same layers."""
    first, *others = outcomes
    tried = _describe_trials(outcomes[first])
    for name in others:
        trials = _describe_trials(outcomes[name])
        assert trials == tried, f"the trials are not the same: {name} {trials}, not {tried}"


def _describe_trials(one: Outcome) -> dict[str, int]:
    return {str(trial["candidate"]): trial["trainable"] for trial in one.trials}


def compare_times(outcomes: Outcomes, ours: str, limit: float) -> list[Row]:
    """Return a row per search, and how many times the seconds of ours the others took."""
    rows = [Row(f"{name}, search", one.work, limit=limit) for name, one in outcomes.items()]
    best = outcomes[ours]
    for name, one in outcomes.items():
        if name != ours:
            rows.append(Row(f"{name} / {ours}", one.work / best.work, "x"))
            rows.append(Row(f"{name} / {ours}, with imports", one.wall / best.wall, "x"))
    return rows
