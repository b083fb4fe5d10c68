"""Nested cross-validation: the whole search, judged on images none of its steps saw."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kerastl.data import Data
from kerastl.finetuning.describing import say
from kerastl.runs import PLAN, RunFolder
from kerastl.search.plans import Plan
from kerastl.search.settings import SearchSettings

NESTED = "nested"


def run_nested(
    plan: Plan,
    settings: SearchSettings,
    data: Data,
    folder: RunFolder,
    verbose: str | int,
) -> dict[str, Any]:
    """Search once per outer fold, in folders of their own, and score each winner outside.

    The test split has no part in it: the outer folds are of the other images.

    Returns:
        dict of `scores`, the winners' accuracies on their outer folds, `mean` and `std`:
        an estimate of what this way of searching gives, not of any one setting.
    """
    visible = data.without_test()
    rows = visible.folds(settings.nested, plan.options.seed)
    inner = replace(settings, nested=None, refit="train")
    scores = [
        _search_fold(
            plan, inner, visible, folder.path / NESTED / str(number), fold, verbose
        )
        for number, fold in enumerate(rows, start=1)
    ]
    return {
        "scores": scores,
        "mean": statistics.fmean(scores),
        "std": float(np.std(scores)),
    }


def _search_fold(
    plan: Plan,
    settings: SearchSettings,
    data: Data,
    path: Path,
    fold: tuple[np.ndarray, np.ndarray],
    verbose: str | int,
) -> float:
    from kerastl.search.jobs import SearchJob, run_search

    say(f"outer fold {path.name}", verbose)
    train, held_out = fold
    own = data.subset(train, held_out, validation=plan.options.validation)
    job = SearchJob(options=plan.options, settings=settings, space=plan.space, data=own)
    resume = (path / PLAN).is_file()
    result = run_search(job, out=path, resume=resume, verbose=verbose)
    return result.test["accuracy"]["value"]
