"""The frozen plan of a search: decided, checked and written before the first trial runs."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from kerastl.advice.guidance import guide_search
from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.errors import UsageError
from kerastl.finetuning.planning import check_weights, read_schedule
from kerastl.options import Options, difference, from_toml, to_toml
from kerastl.search.candidates import apply_parameters
from kerastl.search.records import restore_params
from kerastl.search.sampling import (
    check_tpe,
    estimate_size,
    halving_rungs,
    sample_grid,
    sample_random,
)
from kerastl.search.settings import AUTO, MAY_CHANGE, SearchSettings
from kerastl.spaces import Space

FORMAT = 1  # of search.json
PREVIEWED = 20  # candidates checked before images are listed, where n_iter is not known


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what a search does; `search.json` holds it.

    Args:
        settings: With `n_iter`, `random_state` and `threads` settled.
        options: What is the same in all trials.
        space: What differs.
        data: Fingerprint of the training and validation images, classes and counts.
        candidates: Parameters of each trial in order; none for `tpe`, which suggests.
        rungs: `(trials, epochs)` of each rung of successive halving.
        batch: Trials that `tpe` suggests at once.
        notes: What was decided for the user, one line each.
    """

    settings: SearchSettings
    options: Options
    space: Space
    data: dict[str, Any]
    candidates: tuple[dict[str, Any], ...]
    rungs: tuple[tuple[int, int], ...] = ()
    batch: int = 1
    notes: tuple[str, ...] = ()

    def numbered(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield number, from 1, and parameters of each trial."""
        return enumerate(self.candidates, start=1)

    @property
    def count(self) -> int:
        """How many trials there are."""
        return len(self.candidates) or self.settings.n_iter

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "options": to_toml(self.options),
            "space": self.space.to_dict(),
            "data": self.data,
            "rungs": self.rungs,
            "batch": self.batch,
            "notes": self.notes,
            "trials": [{"number": n, "params": params} for n, params in self.numbered()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """Rebuild what `to_dict` gave."""
        return cls(
            settings=SearchSettings(**values["settings"]),
            options=from_toml(values["options"]),
            space=Space.from_dict(values["space"]),
            data=values["data"],
            candidates=tuple(restore_params(t["params"]) for t in values["trials"]),
            rungs=tuple(map(tuple, values["rungs"])),
            batch=values["batch"],
            notes=tuple(values["notes"]),
        )


def check_space(options: Options, space: Space, settings: SearchSettings) -> None:
    """Refuse what cannot run, before images are listed.

    Raises:
        UsageError: A candidate has a setting, stage, size or base that is not allowed.
        StorageError: Weights are neither cached nor can they be downloaded.
    """
    if settings.mode == "tpe":
        check_tpe(space)
    known = settings.n_iter if settings.n_iter != AUTO else PREVIEWED
    candidates = _sample(space, settings, known)
    for params in candidates:
        check_candidate(options, params)
    for name in sorted({params.get("base", options.base) for params in candidates}):
        check_weights(get_base(name), options.weights)


def check_candidate(options: Options, params: Mapping[str, Any]) -> None:
    """Refuse a candidate that cannot run, naming it."""
    try:
        apply_parameters(options, params)
    except UsageError as error:
        shown = ", ".join(f"{name}={value}" for name, value in params.items())
        raise UsageError(f"The candidate {shown} cannot run: {error}") from error


def _sample(space: Space, settings: SearchSettings, count: int) -> list[dict[str, Any]]:
    if settings.mode == "grid":
        return sample_grid(space)
    return sample_random(space, count, settings.random_state or 0)


def make_plan(options: Options, space: Space, settings: SearchSettings, data: Data) -> Plan:
    """Decide everything a search will do.

    Args:
        options: The same in all trials; `base` is a name.
        space: What differs.
        settings: How to search.
        data: Without a test split: no decision may depend on it.

    Returns:
        Plan, every candidate of it checked.

    Raises:
        UsageError: A candidate cannot run, or there is nothing to score trials on.
    """
    if data.validation is None and settings.cv is None:
        raise UsageError(
            "There is no validation split to score trials on: load the images with "
            "validation=0.2, or give cv=5."
        )
    settings, notes = _settle(settings, options, data, space)
    candidates: list[dict[str, Any]] = []
    if settings.mode != "tpe":
        candidates = _sample(space, settings, settings.n_iter)
    for params in candidates:
        check_candidate(options, params)
    return Plan(
        settings=settings,
        options=options,
        space=space,
        data=describe_data(data),
        candidates=tuple(candidates),
        rungs=_plan_rungs(settings, options, candidates),
        batch=settings.jobs,
        notes=tuple(notes),
    )


def _settle(
    settings: SearchSettings, options: Options, data: Data, space: Space
) -> tuple[SearchSettings, list[str]]:
    """Fill in what was left to the search, and say why."""
    changes: dict[str, Any] = {}
    notes = []
    if settings.mode != "grid":
        advice = guide_search(len(data.train) + len(data.validation or ()))
        wanted = settings.n_iter
        if wanted == AUTO:
            wanted = advice.n_iter
            notes.append(advice.reason)
        wanted, note = estimate_size(space, wanted)
        notes += [note] if note else []
        changes["n_iter"] = wanted
    if settings.random_state is None:
        changes["random_state"] = options.seed
    if settings.threads is None:
        changes["threads"] = max(1, count_cores() // settings.jobs)
        if settings.address is not None:
            notes.append(
                f"Each trial takes {changes['threads']} threads, from the cores of this "
                "machine: give threads=N (--threads N) for those of the cluster's."
            )
    return replace(settings, **changes), notes


def count_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_data(data: Data) -> dict[str, Any]:
    """Return what identifies the images a search sees: none of the test split."""
    splits = {name: len(split) for name, split in data.splits.items() if name != "test"}
    return {
        "fingerprint": data.digest(tuple(splits)),
        "classes": list(data.class_names),
        "images": splits,
    }


def _plan_rungs(
    settings: SearchSettings, options: Options, candidates: list[dict[str, Any]]
) -> tuple[tuple[int, int], ...]:
    if settings.mode != "halving":
        return ()
    longest = max(count_epochs(apply_parameters(options, params)) for params in candidates)
    rungs = halving_rungs(len(candidates), longest, settings.min_epochs, settings.factor)
    return tuple((rung.count, rung.epochs) for rung in rungs)


def count_epochs(options: Options) -> int:
    """Return the epochs of all stages together."""
    return sum(stage.epochs for stage in read_schedule(options, get_base(options.base)))


def compare_plans(before: Plan, now: Plan) -> list[str]:
    """Say in what two searches differ; where and for how long they run is not compared.

    Returns:
        Lines such as `n_iter: 5 in the search, 10 now`; empty for the same search.
    """
    found = difference(before.options, now.options)
    found = [line.replace("in the run", "in the search") for line in found]
    pairs = {
        name: (getattr(before.settings, name), getattr(now.settings, name))
        for name in asdict(before.settings)
        if name not in MAY_CHANGE
    }
    pairs |= _compare_spaces(before.space.to_dict(), now.space.to_dict())
    pairs |= {f"data {key}": (before.data[key], now.data[key]) for key in before.data}
    found += [
        f"{name}: {then} in the search, {asked} now"
        for name, (then, asked) in pairs.items()
        if then != asked
    ]
    return found


def _compare_spaces(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*before, *now])
    return {
        f"space {n}": (before.get(n, "not there"), now.get(n, "not there")) for n in names
    }
