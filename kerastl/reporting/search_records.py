"""Reading the folder of a search: what is there, and a sentence for what is not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kerastl.errors import UsageError
from kerastl.evaluation.scores import Scores
from kerastl.reporting.boards import arrange_trials, choose_parameters
from kerastl.reporting.records import DAMAGE, read_config, read_json
from kerastl.reporting.search_sentences import read_test
from kerastl.runs.tables import parse_csv

_LOST = {
    "search.json": "the space is not shown",
    "leaderboard.csv": "there is no table of trials and there are no figures",
    "metrics.json": "there is no test score",
    "config.toml": "the settings are not shown",
}
_WINNER = "best/report.html"


@dataclass(frozen=True)
class SearchRecord:
    """What the folder of a search holds; empty or None where a file is missing.

    Args:
        plan: search.json.
        board: Rows of leaderboard.csv.
        summary: metrics.json.
        scores: The test scores in it.
        config: Text of config.toml.
        settings: The same, parsed.
        winner: The winner's own report, relative to the folder; empty without one.
        missing: One sentence per file that is missing or cannot be read.
    """

    plan: dict[str, Any] = field(default_factory=dict)
    board: pd.DataFrame | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    scores: Scores | None = None
    config: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    winner: str = ""
    missing: tuple[str, ...] = ()

    @property
    def space(self) -> dict[str, Any]:
        """What was searched: lists, or distributions as text."""
        return self.plan.get("space") or {}

    @property
    def parameters(self) -> list[str]:
        """The columns of the leaderboard that were searched."""
        if self.board is None:
            return []
        named = [name for name in self.space if name in self.board]
        return named or choose_parameters(self.board)


def read_search(folder: str | Path) -> SearchRecord:
    """Read what a report needs from the folder of a search.

    Args:
        folder: The search's folder; every file in it is optional.

    Returns:
        The record; `missing` names each file that is absent or damaged.

    Raises:
        UsageError: The folder does not exist or holds nothing of a search.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("search.json", "leaderboard.csv")):
        raise UsageError(
            f"{str(folder)!r} is not the folder of a search: it holds neither search.json "
            "nor leaderboard.csv. Give a folder such as runs/search-1."
        )
    fields: dict[str, Any] = {}
    missing = [_read_into(fields, folder / name) for name in _LOST]
    winner = _WINNER if (folder / _WINNER).is_file() else ""
    return SearchRecord(**fields, winner=winner, missing=tuple(filter(None, missing)))


def _read_into(fields: dict[str, Any], path: Path) -> str:
    """Add a file's fields, or return the sentence that says why there are none."""
    if not path.is_file():
        return f"{path.name} is missing: {_LOST[path.name]}."
    try:
        fields.update(_READERS[path.name](path))
    except DAMAGE as error:
        kind = type(error).__name__
        return f"{path.name} cannot be read ({kind}): {_LOST[path.name]}."
    return ""


def _read_plan(path: Path) -> dict[str, Any]:
    plan = dict(read_json(path))
    for part in ("space", "settings"):
        plan[part] = dict(plan.get(part) or {})
    return {"plan": plan}


def _read_board(path: Path) -> dict[str, Any]:
    board = parse_csv(path.read_text(encoding="utf-8"), ("status", "reason"))
    arrange_trials(board)  # raises where it is none
    return {"board": board}


def _read_summary(path: Path) -> dict[str, Any]:
    summary = dict(read_json(path))
    for part in ("best", "within_interval", "nested"):
        summary[part] = dict(summary.get(part) or {})
    summary["notes"] = list(map(str, summary.get("notes") or ()))
    return {"summary": summary, "scores": read_test(summary)}


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "search.json": _read_plan,
    "leaderboard.csv": _read_board,
    "metrics.json": _read_summary,
    "config.toml": read_config,
}
