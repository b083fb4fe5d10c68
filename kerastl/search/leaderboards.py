"""Finished trials as tables: the leaderboard, scikit-learn's `cv_results_`, the summary."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.evaluation import Measure, wilson_interval
from kerastl.search.plans import Plan
from kerastl.search.records import FAILED, STOPPED, Book, Record

if TYPE_CHECKING:
    import pandas as pd

NOT_RUN = "not run"
MEGABYTE = 1 << 20


def scored_images(plan: Plan) -> int:
    """Return how many images a trial's score counts: validation's, or all with folds."""
    images = plan.data["images"]
    return sum(images.values()) if plan.settings.cv else images["validation"]


def measure_score(plan: Plan, record: Record) -> Measure:
    """Return a trial's score with Wilson's interval; repeats see the same images again."""
    total = scored_images(plan)
    return Measure(record.score, *wilson_interval(record.score * total, total))


def list_trials(plan: Plan, book: Book) -> list[Record | None]:
    """Return the last record of each trial in order; None where there is none yet."""
    return [book.last(number) for number in range(1, plan.count + 1)]


def rank_records(records: Sequence[Record | None]) -> list[int]:
    """Return each trial's rank from 1: further rungs first, then higher scores.

    Equal trials share a rank, as in scikit-learn. Failed trials and those that did not run
    come last and are never first.
    """
    keys = [_sort_key(record) for record in records]
    first: dict[tuple[int, int, float], int] = {}
    for place, key in enumerate(sorted(keys), start=1):
        first.setdefault(key, place)
    return [first[key] for key in keys]


def _sort_key(record: Record | None) -> tuple[int, int, float]:
    if record is None:
        return (2, 0, 0.0)
    if record.status == FAILED:
        return (1, 0, 0.0)
    return (0, -_reach(record), -record.score)


def _reach(record: Record) -> int:
    # a trial that went on with more epochs is not compared with one that was stopped
    return 1 << 30 if record.complete else record.rung


def find_best(records: Sequence[Record | None]) -> Record | None:
    """Return the best finished trial, the first of equals; None when there is none."""
    usable = [record for record in records if record is not None and record.fits]
    return min(usable, key=_sort_key, default=None)


def tabulate(plan: Plan, book: Book) -> "pd.DataFrame":
    """Return the leaderboard: one row per trial, best first.

    Returns:
        DataFrame with rank, trial, score, low, high (Wilson, 95 %), std over fits, one
        column per parameter, epochs_run, fit_seconds, status, reason and peak_memory_mb.
    """
    import pandas as pd

    records, planned = list_trials(plan, book), _planned(plan)
    pairs = zip(rank_records(records), records, planned, strict=True)
    rows = [
        {"rank": rank, "trial": number, **_describe(plan, record, params)}
        for number, (rank, record, params) in enumerate(pairs, start=1)
    ]
    board = pd.DataFrame(rows).sort_values(["rank", "trial"], kind="stable")
    return board.reset_index(drop=True)


def _describe(plan: Plan, record: Record | None, planned: dict[str, Any]) -> dict[str, Any]:
    scored = record is not None and record.fits
    measure = measure_score(plan, record) if scored else Measure(*[math.nan] * 3)
    params = record.params if record else planned
    seconds = record.work.get("seconds", math.nan) if record else math.nan
    memory = record.work.get("peak_memory", math.nan) if record else math.nan
    return {
        "score": measure.value,
        "low": measure.low,
        "high": measure.high,
        "std": float(np.std(record.scores)) if scored else math.nan,
        **{name: params.get(name) for name in plan.space.parameters},
        "epochs_run": sum(fit["epochs"] for fit in record.fits) if record else 0,
        "fit_seconds": seconds,
        "status": _name_status(record),
        "reason": record.reason if record else "",
        "peak_memory_mb": memory / MEGABYTE,
    }


def _name_status(record: Record | None) -> str:
    if record is None:
        return NOT_RUN
    if record.status == STOPPED:
        return f"stopped at rung {record.rung + 1}"
    return record.status


def collect_cv_results(plan: Plan, book: Book) -> dict[str, np.ndarray | list]:
    """Return the trials under scikit-learn's names, in the order they were drawn.

    `test` in these names is scikit-learn's word for the images a trial is scored on: here
    the validation images. Trials that failed or did not run have NaN and the last rank.
    """
    records = list_trials(plan, book)
    fits = max((len(record.fits) for record in records if record), default=0)
    splits = np.full((len(records), fits), np.nan)
    times = np.full((len(records), fits), np.nan)
    for row, record in enumerate(records):
        if record is not None and record.fits:
            splits[row] = record.scores
            times[row] = record.work.get("fit_seconds", math.nan)
    params = [r.params if r else c for r, c in zip(records, _planned(plan), strict=True)]
    return {
        "mean_fit_time": times.mean(axis=1) if fits else splits.sum(axis=1),
        "std_fit_time": times.std(axis=1) if fits else splits.sum(axis=1),
        **{f"param_{name}": _mask(params, name) for name in plan.space.parameters},
        "params": params,
        **{f"split{i}_test_score": splits[:, i] for i in range(fits)},
        "mean_test_score": splits.mean(axis=1) if fits else np.full(len(records), np.nan),
        "std_test_score": splits.std(axis=1) if fits else np.full(len(records), np.nan),
        "rank_test_score": np.array(rank_records(records), dtype="int32"),
    }


def _planned(plan: Plan) -> list[dict[str, Any]]:
    planned = dict(plan.numbered())
    return [planned.get(number, {}) for number in range(1, plan.count + 1)]


def _mask(params: list[dict[str, Any]], name: str) -> np.ma.MaskedArray:
    values = np.empty(len(params), dtype=object)
    values[:] = [row.get(name) for row in params]
    return np.ma.MaskedArray(values, mask=[name not in row for row in params])


def summarize(plan: Plan, book: Book) -> dict[str, Any]:
    """Say what was best, how sure that is, and what would have been cheaper.

    Returns:
        dict of `best`, `within_interval` and `trials`, as `metrics.json` holds them; the
        first two are None when nothing succeeded.
    """
    records = list_trials(plan, book)
    best = find_best(records)
    counts = {
        "planned": plan.count,
        "done": sum(bool(record and record.fits) for record in records),
        "failed": sum(bool(record and record.status == FAILED) for record in records),
        "not_run": sum(record is None for record in records),
    }
    if best is None:
        return {"best": None, "within_interval": None, "trials": counts}
    measure = measure_score(plan, best)
    near = [
        r
        for r in records
        if r and r.fits and _reach(r) == _reach(best) and r.score >= measure.low
    ]
    cheapest = min(near, key=lambda record: record.work.get("seconds", math.inf))
    return {
        "best": {
            "trial": best.number,
            "params": best.params,
            "score": measure.to_dict(),
            "selected_on": name_scoring(plan),
        },
        "within_interval": {
            "count": len(near),
            "cheapest": {
                "trial": cheapest.number,
                "params": cheapest.params,
                "score": cheapest.score,
                "fit_seconds": cheapest.work.get("seconds"),
            },
        },
        "trials": counts,
    }


def name_scoring(plan: Plan) -> str:
    """Say what trials are scored on.

    The word "selected" stands beside every score that this names: the winner's is the
    highest of many, so it is higher than what new images will give.
    """
    cv, repeats = plan.settings.cv, plan.settings.repeats
    what = f"{cv} folds" if cv else "validation (hold-out)"
    return f"{what}, {repeats} repeats" if repeats > 1 else what
