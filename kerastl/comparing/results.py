"""What a comparison returns: a table, what it shows, and the runs behind it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl import reporting
from kerastl.data import Data
from kerastl.errors import UsageError
from kerastl.runs import COMPARED, COMPARISON, RunFolder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kerastl.finetuning import Run

_PLAIN = ("name", "base", "schedule", "weights", "status")
_NUMBERS = ("parameters", "trained", "epochs", "seconds", "megabytes")


class FinishedRuns(Mapping):
    """The runs of a comparison by the names of their folders, each loaded when asked for.

    Args:
        folder: Of the comparison.
        names: Of the folders in it.
        data: What was trained on; None to load it again.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], data: Data | None):
        self._folder, self._names, self._data = folder, names, data
        self._loaded: dict[str, Run] = {}

    def __getitem__(self, name: str) -> "Run":
        from kerastl.finetuning import load_run

        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = load_run(self._folder / name, self._data)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"FinishedRuns({', '.join(self._names)})"


class ComparisonResult:
    """What `compare` found; shows itself as a table and what can be concluded from it.

    Args:
        folder: RunFolder of the comparison.
        data: What was trained on; None to load it again for `runs`.

    Attributes:
        folder: RunFolder it is written to.
        result: dict, what `comparison.json` holds.
        conclusion: What can be concluded and what cannot, in sentences.
        runs: Run by the name of its folder, as `tiny-hybrid-0`; each is loaded when it is
            asked for.
    """

    def __init__(self, folder: RunFolder, data: Data | None = None):
        self.folder = folder
        self.result: dict[str, Any] = folder.read_json(COMPARED)
        self.conclusion = "\n".join(self.result["conclusion"])
        done = [row for row in self.result["rows"] if row["status"] == "done"]
        names = tuple(name for row in done for name in row["folders"])
        self.runs = FinishedRuns(folder.path, names, data)

    @property
    def failed(self) -> int:
        """How many combinations have a run that failed."""
        return sum(row["status"] == "failed" for row in self.result["rows"])

    @property
    def table(self) -> "pd.DataFrame":
        """One row per combination.

        Returns:
            DataFrame with name, base, schedule, weights, status; accuracies `validation`
            and `test` with `_low` and `_high` (95 % Wilson), and over several seeds `_min`
            and `_max`; parameters, trained (the most of any stage), epochs, seconds,
            megabytes of the saved model, and reason.
        """
        import pandas as pd

        return pd.DataFrame([self._tabulate(row) for row in self.result["rows"]])

    def _tabulate(self, row: Mapping[str, Any]) -> dict[str, Any]:
        cells = {name: row.get(name) for name in _PLAIN}
        for split in ("validation", "test"):
            measured, runs = row.get(split) or {}, row.get(f"{split}_runs") or []
            cells[split] = measured.get("value")
            cells |= {f"{split}_{end}": measured.get(end) for end in ("low", "high")}
            if len(self.result["seeds"]) > 1:
                cells[f"{split}_min"] = min(runs, default=None)
                cells[f"{split}_max"] = max(runs, default=None)
        return cells | {n: row.get(n) for n in _NUMBERS} | {"reason": row["reason"]}

    @property
    def pairs(self) -> "pd.DataFrame":
        """One row per pair: counts, p, p_adjusted, difference, low and high."""
        import pandas as pd

        return pd.DataFrame((self.result["tests"] or {}).get("pairs", []))

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the validation accuracy of every run over its epochs, in one figure."""
        return reporting.plot_comparison(self.folder.path, ax)

    def __repr__(self) -> str:
        return reporting.comparison_text(self.result)

    def _repr_html_(self) -> str:
        return reporting.comparison_html(self.result)


def load_comparison(path: str | Path, data: Data | None = None) -> ComparisonResult:
    """Read a finished comparison back from its folder; nothing is run.

    Args:
        path: The folder `--out` or `out=` named.
        data: What was trained on; needed only for arrays, to use `runs`.

    Returns:
        ComparisonResult.

    Raises:
        UsageError: There is no comparison in the folder, or it is not finished.
    """
    folder = RunFolder.open(path, mark=COMPARISON)
    if not folder.exists(COMPARED):
        raise UsageError(
            f"{path} holds a comparison that did not come to its end: `kerastl compare "
            f"--resume {path}` goes on with it."
        )
    return ComparisonResult(folder, data)
