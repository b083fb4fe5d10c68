"""What a search returns: leaderboard, best settings, the model trained with them."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl import reporting
from kerastl.data import Data
from kerastl.errors import UsageError
from kerastl.runs import PLAN, RunFolder
from kerastl.search.leaderboards import collect_cv_results, summarize, tabulate
from kerastl.search.plans import Plan
from kerastl.search.records import Book
from kerastl.search.refitting import BEST

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kerastl.finetuning import Run


class SearchResult:
    """The trials of a search and its winner; shows itself as a table.

    Attributes:
        folder: RunFolder of the search.
        plan: What was decided before the first trial.
        book: The records of the trials.
        test: dict of the one test score, or None.
        nested: dict of the outer folds' scores, or None.
    """

    def __init__(
        self,
        folder: RunFolder,
        plan: Plan,
        book: Book,
        *,
        data: Data | None = None,
        run: "Run | None" = None,
        test: dict[str, Any] | None = None,
        nested: dict[str, Any] | None = None,
    ):
        self.folder, self.plan, self.book = folder, plan, book
        self.data, self._run = data, run
        self.test, self.nested = test, nested

    def leaderboard(self) -> "pd.DataFrame":
        """Return one row per trial, best first.

        Returns:
            DataFrame with rank, trial, score (validation accuracy), low and high (95 %
            interval), std over fits, one column per parameter, epochs_run, fit_seconds,
            status, reason and peak_memory_mb. Failed trials stand at the end.
        """
        return tabulate(self.plan, self.book)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The best trial, those within its interval, the cheapest of them, the counts."""
        return summarize(self.plan, self.book)

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        notes = list(self.plan.notes)
        return {**self.summary, "test": self.test, "nested": self.nested, "notes": notes}

    @property
    def cv_results_(self) -> "dict[str, np.ndarray | list]":
        """The trials under scikit-learn's names, in the order they were drawn."""
        return collect_cv_results(self.plan, self.book)

    @property
    def best_index_(self) -> int:
        """Position of the best trial in `cv_results_`."""
        return self._best()["trial"] - 1

    @property
    def best_params_(self) -> dict[str, Any]:
        """Parameters of the best trial."""
        return self._best()["params"]

    @property
    def best_score_(self) -> float:
        """Mean validation score of the best trial: the highest of many, so optimistic."""
        return self._best()["score"]["value"]

    def _best(self) -> dict[str, Any]:
        best = self.summary["best"]
        if best is None:
            raise UsageError(f"No trial of the search in {self.folder.path} succeeded.")
        return best

    @property
    def best_run(self) -> "Run":
        """The winner, trained again: its model, history and test score.

        Raises:
            UsageError: The search was run with `refit="none"`.
        """
        if self._run is None:
            if not (self.folder.path / BEST).is_dir():
                raise UsageError(
                    f"The search in {self.folder.path} trained no winner again: go on with "
                    "it by resume=True and refit='train'."
                )
            from kerastl.finetuning import load_run

            self._run = load_run(self.folder.path / BEST, self.data)
        return self._run

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the score of every trial in order, and the best so far."""
        return reporting.plot_trials(self.leaderboard(), ax)

    def __repr__(self) -> str:
        return reporting.search_text(self.leaderboard(), self.metrics)

    def _repr_html_(self) -> str:
        return reporting.search_html(self.leaderboard(), self.metrics)


def load_search(path: str | Path, data: Data | None = None) -> SearchResult:
    """Read a search back from its folder, finished or not; nothing is run.

    Args:
        path: The folder `--out` or `out=` named.
        data: What was searched on; needed only for arrays, to use `best_run`.

    Returns:
        SearchResult with the trials that are finished.

    Raises:
        UsageError: There is no search in the folder.
        StorageError: The plan is damaged.
    """
    folder = RunFolder.open(path, mark=PLAN)
    plan = Plan.from_dict(folder.read_json(PLAN))
    book = Book(folder)
    book.read(range(1, plan.count + 1), len(plan.rungs))
    metrics = folder.read_json("metrics.json") if folder.finished else {}
    return SearchResult(
        folder,
        plan,
        book,
        data=data,
        test=metrics.get("test"),
        nested=metrics.get("nested"),
    )
