"""A comparison from what is asked to its report: one run after the other, none twice."""

import dataclasses
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kerastl.comparing.collecting import (
    Outcome,
    compare_outcomes,
    conclude,
    describe_entry,
    read_outcome,
)
from kerastl.comparing.entries import Entrants, Entry, list_entries, resolve_entrants
from kerastl.comparing.results import ComparisonResult
from kerastl.data import Data
from kerastl.errors import (
    DataError,
    NothingSucceededError,
    ResumeRefusedError,
    StorageError,
    UsageError,
)
from kerastl.finetuning.describing import say
from kerastl.finetuning.inner import FINISHED, find_state, train_inside
from kerastl.finetuning.planning import load_data
from kerastl.finetuning.resuming import CONFIG
from kerastl.options import Options, difference, from_toml, to_toml
from kerastl.runs import COMPARED, COMPARISON, RunFolder, describe_environment
from kerastl.startup import start_tensorflow

FORMAT = 1  # of the plan
_SECONDS = (
    "Seconds are those of training: what an earlier run had computed of frozen layers was "
    "not computed again. Megabytes are those of the saved model."
)
_SELECTED = (
    "There is no test split, so models are compared on the validation images, by which the "
    "epoch of each was chosen."
)
_ONCE = (
    "Nothing was chosen by the test images: each model was scored on them once, after it "
    "was trained. Who takes the best for its test score chooses by it."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonJob:
    """What a comparison is asked for.

    Args:
        options: The same in all runs.
        entrants: What is compared.
        data: Images loaded already; None to load those that `options` name.
    """

    options: Options
    entrants: Entrants
    data: Data | None = None


@dataclasses.dataclass(frozen=True)
class Settled:
    """A comparison with all that was left to it decided.

    Args:
        job: What was asked for, without `"auto"`.
        entries: Every combination.
        epochs: Of each run.
        notes: What was decided, one line each.
    """

    job: ComparisonJob
    entries: list[Entry]
    epochs: int
    notes: tuple[str, ...]

    @property
    def seeds(self) -> list[int]:
        """Of the runs of each combination."""
        return self.job.entrants.list_seeds(self.job.options.seed)

    def list_runs(self) -> Iterator[tuple[Entry, int]]:
        """Yield every run: all combinations with one seed before those with the next."""
        for seed in self.seeds:
            yield from ((entry, seed) for entry in self.entries)


def settle_job(job: ComparisonJob) -> Settled:
    """Decide what is left to decide and check everything, before images are listed.

    Raises:
        KerastlError: A name is not known, or none of the combinations can run.
    """
    entrants, options, reason = resolve_entrants(job.entrants, job.options)
    entries, epochs = list_entries(entrants, options)
    job = dataclasses.replace(job, entrants=entrants, options=options)
    said = [reason, f"each run: {epochs} epochs in all, divided over its stages"]
    for problem in dict.fromkeys(entry.reason for entry in entries if entry.reason):
        names = ", ".join(entry.name for entry in entries if entry.reason == problem)
        said.append(f"{names} cannot run: {problem}")
    return Settled(job, entries, epochs, tuple(filter(None, said)))


def run_comparison(
    job: ComparisonJob,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
) -> ComparisonResult:
    """Train every combination that is not finished yet, and compare them.

    Args:
        job: What is asked for.
        out: A new folder; default `runs/compare-<n>`. With `resume` the comparison's own.
        resume: Leave finished runs as they are, go on with the one that was cut off, and
            try failed ones again.
        verbose: As in `finetune`.

    Returns:
        ComparisonResult, written to its folder.

    Raises:
        UsageError: Something asked for cannot be; before images are decoded.
        DataError: The images cannot be used.
        ResumeRefusedError: Settings or images differ from those of the comparison.
        FolderInUseError: Another process writes to the folder.
        NothingSucceededError: All runs failed; names the first cause.
    """
    settled = settle_job(job)
    with RunFolder.begin(COMPARISON, "comparison", out, resume=resume) as folder:
        data = job.data or load_data(settled.job.options)
        for note in (*settled.notes, *data.notes):
            say(note, verbose)
        check_splits(data)
        _settle_plan(settled, data, folder, resume=resume)
        failures = _train_all(settled, data, folder, verbose)
        write_comparison(settled, data, folder, failures)
        return ComparisonResult(folder, data)


def check_splits(data: Data) -> None:
    """Refuse images of which none are left to compare models on."""
    if data.test is None and data.validation is None:
        raise UsageError(
            "There is neither a test nor a validation split to compare models on: load the "
            "images with test=0.2."
        )


def _settle_plan(settled: Settled, data: Data, folder: RunFolder, *, resume: bool) -> None:
    plan = describe_plan(settled, data)
    if not resume:
        folder.write_json("environment.json", describe_environment())
        folder.write_json(COMPARISON, plan)  # makes the folder a comparison, so it is last
        return
    found = _compare_plans(folder.read_json(COMPARISON), plan)
    if found:
        raise ResumeRefusedError(
            f"{folder.path} cannot be gone on with, because these differ: "
            f"{'; '.join(found)}. Give the same data and settings, or start a new "
            "comparison."
        )


def describe_plan(settled: Settled, data: Data) -> dict[str, Any]:
    """Return all that decides what a comparison does, as plain values."""
    return {
        "format": FORMAT,
        "options": to_toml(settled.job.options),
        "entrants": settled.job.entrants.to_dict(),
        "data": {
            "fingerprint": data.fingerprint,
            "classes": list(data.class_names),
            "images": {name: len(split) for name, split in data.splits.items()},
        },
    }


def _compare_plans(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = difference(from_toml(then["options"]), from_toml(now["options"]))
    found = [line.replace("in the run", "in the comparison") for line in found]
    for part in ("entrants", "data"):
        for name, asked in now[part].items():
            before = then[part][name]
            if before != (list(asked) if isinstance(asked, tuple) else asked):
                found.append(f"{name}: {before} in the comparison, {asked} now")
    return found


def _train_all(
    settled: Settled, data: Data, folder: RunFolder, verbose: str | int
) -> dict[str, str]:
    """Train what is not finished; return why runs failed, by the name of their folder."""
    failures: dict[str, str] = {}
    runs = list(settled.list_runs())
    for number, (entry, seed) in enumerate(runs, start=1):
        name = entry.folder(seed)
        if entry.options is None:
            failures[name] = entry.reason
            continue
        options = dataclasses.replace(entry.options, seed=seed)
        state = find_state(folder.path / name, options, data)
        if state == FINISHED:
            say(f"{name} ({number}/{len(runs)}) is finished already", verbose)
            continue
        say(f"{name} ({number}/{len(runs)})", verbose)
        start_tensorflow()
        reason = _train(folder, name, options, data, state, verbose)
        if reason:
            failures[name] = reason
            say(f"{name} FAILED: {reason}", verbose)
    return failures


def _train(
    folder: RunFolder,
    name: str,
    options: Options,
    data: Data,
    state: str,
    verbose: str | int,
) -> str:
    """Train one run and return why it failed, or nothing."""
    try:
        train_inside(folder, name, options, data, state=state, verbose=verbose)
    except DataError:  # of images that the others need as well
        raise
    except Exception as error:
        if isinstance(error, StorageError) and folder.exists(f"{name}/{CONFIG}"):
            raise  # the disk, which the others need, and not weights out of reach
        folder.write_text(f"errors/{name}.txt", traceback.format_exc())
        return _shorten(error)
    if folder.exists(f"errors/{name}.txt"):
        folder.remove(f"errors/{name}.txt")
    return ""


def _shorten(error: Exception) -> str:
    """Return what an error says, in one line that fits a table."""
    lines = str(error).strip().splitlines() or [""]
    said = lines[0][:300]
    known = type(error).__module__.startswith("kerastl")
    return said if known else f"{type(error).__name__}: {said}"


def write_comparison(
    settled: Settled, data: Data, folder: RunFolder, failures: Mapping[str, str]
) -> None:
    """Write what the runs in a folder say together: table, tests, figure and report."""
    from kerastl.reporting import render_comparison_figures, render_comparison_report

    result, right = collect_comparison(settled, data, folder, failures)
    folder.write_arrays("answers.npz", right)
    folder.write_json(COMPARED, result)
    folder.write_csv("table.csv", ComparisonResult(folder, data).table)
    figures = render_comparison_figures(folder.path)
    for name, picture in figures.items():
        folder.write_bytes(name, picture)
    folder.write_text("report.html", render_comparison_report(folder.path, figures))
    if all(row["status"] == "failed" for row in result["rows"]):
        raise NothingSucceededError(
            f"All runs failed, the first because: {result['rows'][0]['reason']} Tracebacks "
            f"are in {folder.path}/errors."
        )


def collect_comparison(
    settled: Settled, data: Data, folder: RunFolder, failures: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what comparison.json holds, and which images each run got right."""
    import numpy as np

    split = "test" if data.test is not None else "validation"
    rows, outcomes = [], {}
    for entry in settled.entries:
        names = [entry.folder(seed) for seed in settled.seeds]
        reason = next((failures[name] for name in names if name in failures), "")
        found: list[Outcome] = []
        if not reason:
            found = [read_outcome(folder.path / name) for name in names]
            outcomes[entry.name] = found
        rows.append(describe_entry(entry, found, reason, names))
    comparison = compare_outcomes(outcomes, split)
    result = {
        "data": str(data.settings["data"]),
        "split": split,
        "images": len(data.splits[split]),
        "epochs": settled.epochs,
        "seeds": settled.seeds,
        "rows": rows,
        "conclusion": conclude(rows, comparison, outcomes, split),
        "pairs": _list_sentences(comparison),
        "tests": comparison.to_dict() if comparison else None,
        "notes": [_ONCE if split == "test" else _SELECTED, _SECONDS, *data.notes],
    }
    right = {n: np.stack([e.right[split] for e in each]) for n, each in outcomes.items()}
    return result, right


def _list_sentences(comparison: Any) -> list[str]:
    if comparison is None:
        return []
    return [*map(comparison.say, comparison.pairs), *comparison.notes()]
