"""Several runs as one: the mean of their probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerastl.errors import DataError, UsageError
from kerastl.evaluation import Comparison, Scores, compare_predictions, score
from kerastl.finetuning.loading import load_run
from kerastl.finetuning.results import Run
from kerastl.finetuning.resuming import SOURCE
from kerastl.models import check_views, get_info
from kerastl.predicting import (
    average_members,
    check_weights,
    predict_members,
    predict_paths,
)
from kerastl.runs import RunFolder

if TYPE_CHECKING:
    import pandas as pd

ENSEMBLE = "ensemble"


class Ensemble:
    """Runs on the same data whose probabilities are averaged.

    Runs that differ, in base, seed or schedule, make different mistakes, and the mean
    makes fewer than most of them. It takes the time of all members together.

    Args:
        runs: Two or more of `finetune` or `load_run`, or their folders.
        weights: One number above 0 per run, chosen on validation if at all; default: each
            counts the same.

    Attributes:
        members: dict of Run by name: that of its folder, or `run-1`, `run-2`, ...
        weights: float array that sums to 1.

    Raises:
        UsageError: Fewer than two runs, other classes, or weights that do not fit.
        DataError: The runs were trained on different images or splits.

    Example:

    >>> import kerastl
    >>> data = kerastl.load_images("digits")
    >>> runs = [
    ...     kerastl.finetune(
    ...         kerastl.build_model("tiny", weights=None, seed=seed), data,
    ...         schedule="feature-extraction", epochs=1, max_steps=1, verbose=0)
    ...     for seed in (0, 1)
    ... ]
    >>> Ensemble(runs)
    Ensemble of run-1, run-2
    """

    def __init__(
        self, runs: Sequence[Run | str | Path], weights: Sequence[float] | None = None
    ):
        if len(runs) < 2:
            raise UsageError(f"{len(runs)} run: an ensemble takes two or more.")
        given = _load_runs(runs)
        _check_runs(given)
        self.members = dict(zip(_name_runs(given), given, strict=True))
        self.weights = check_weights(weights, len(given))

    def predict_split(self, name: str, *, tta: str | Sequence[str] = ()) -> np.ndarray:
        """Return the mean probabilities for a split, float32 (n, classes)."""
        return self._average(self._predict_each(name, tta))

    def evaluate(self, *, tta: str | Sequence[str] = ()) -> Scores:
        """Score the test split that all members share.

        Args:
            tta: Views of each image to average over, `"flip"` and `"crops"`.

        Returns:
            Scores; `compare` says whether the gain over each member is more than luck.

        Raises:
            UsageError: The data has no test split.
        """
        labels, names = self._take_split("test"), self._first.data.class_names
        return score(labels, self.predict_split("test", tta=tta), names, split="test")

    def compare(self, split: str = "test", *, tta: str | Sequence[str] = ()) -> Comparison:
        """Compare the ensemble with each member on the same images, by a paired test.

        Args:
            split: `"test"` (default), or `"validation"` to choose by.
            tta: Views of each image to average over.

        Returns:
            Comparison of `ensemble` with every member.
        """
        labels, each = self._take_split(split), self._predict_each(split, tta)
        named = dict(zip(self.members, each, strict=True))
        named = {ENSEMBLE: self._average(each), **named}
        return compare_predictions(labels, named, against=ENSEMBLE)

    def predict(
        self,
        paths: str | Path | list[str | Path],
        *,
        tta: str | Sequence[str] = (),
        threshold: float | None = None,
    ) -> "pd.DataFrame":
        """Classify image files as `kerastl.predict_paths` does."""
        models = [run.model for run in self.members.values()]
        return predict_paths(
            models, paths, tta=tta, threshold=threshold, weights=self.weights
        )

    def __repr__(self) -> str:
        return f"Ensemble of {', '.join(self.members)}"

    @property
    def _first(self) -> Run:
        return next(iter(self.members.values()))

    def _take_split(self, name: str) -> np.ndarray:
        splits = self._first.data.splits
        if name not in splits:
            raise UsageError(f"There is no {name} split, only {', '.join(splits)}.")
        return splits[name].labels

    def _predict_each(self, name: str, tta: str | Sequence[str]) -> list[np.ndarray]:
        views = check_views(tta)
        self._take_split(name)
        models = [run.model for run in self.members.values()]
        return predict_members(models, self._first.data.splits[name].pixels, views)

    def _average(self, each: list[np.ndarray]) -> np.ndarray:
        return average_members(each, self.weights)


def _load_runs(runs: Sequence[Run | str | Path]) -> list[Run]:
    """Return runs, those that are folders loaded; images they share are listed once."""
    known = [run.data for run in runs if isinstance(run, Run)]
    loaded = []
    for run in runs:
        if not isinstance(run, Run):
            fingerprint = RunFolder.open(run).read_json(SOURCE)["fingerprint"]
            same = (data for data in known if data.fingerprint == fingerprint)
            run = load_run(run, next(same, None))
            known.append(run.data)
        loaded.append(run)
    return loaded


def _check_runs(runs: Sequence[Run]) -> None:
    first = runs[0]
    names = get_info(first.model).class_names
    for run in runs:
        others = get_info(run.model).class_names
        if others != names:
            raise UsageError(
                f"One run tells {', '.join(names)} apart, another {', '.join(others)}: "
                "give runs of the same classes."
            )
        if run.data.fingerprint != first.data.fingerprint:
            raise DataError(
                "The runs were trained on different images or splits, so one may have "
                "trained on what another is tested on: train all on the same data, with "
                "the same seed for the splits."
            )


def _name_runs(runs: Sequence[Run]) -> list[str]:
    names = [
        f"run-{number}" if run.folder is None else run.folder.path.name
        for number, run in enumerate(runs, 1)
    ]
    if len({*names, ENSEMBLE}) > len(names):
        return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]
