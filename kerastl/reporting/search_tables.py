"""The leaderboard of a search as a table with sentences, for terminal and notebook."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kerastl.evaluation.layout import (
    MISSING,
    format_share,
    html_table,
    html_text,
    text_table,
)
from kerastl.reporting.boards import (
    FAILED,
    NOT_RUN,
    arrange_trials,
    choose_parameters,
    format_value,
    read_values,
    varied_parameters,
)
from kerastl.reporting.search_sentences import search_notes
from kerastl.reporting.tables import format_seconds

TOP = 10
_BEFORE = ("rank", "trial", "score", "low", "high")
_AFTER = ("epochs", "time", "status")


def search_text(board: pd.DataFrame, summary: Mapping[str, Any] | None = None) -> str:
    """Return a search as plain text: its first trials, and what they mean.

    Args:
        board: leaderboard.csv of the search.
        summary: metrics.json of the search; None while it runs.

    Returns:
        A table of the first ten trials and a few sentences.

    Raises:
        UsageError: There is no trial, or a column that is needed is absent.

    Example:

    >>> board = pd.DataFrame({"rank": [1, 2], "trial": [2, 1], "score": [0.9, 0.7],
    ...                       "dropout": [0.1, 0.4], "status": "done"})
    >>> print(search_text(board).splitlines()[1])
       1      2  0.900    –     –      0.1       –     –  done
    """
    header, rows, right = rank_rows(board)
    table = text_table(header, rows[:TOP], right)
    return "\n".join(filter(None, (table, _say_more(rows), "", *_say(board, summary))))


def search_html(board: pd.DataFrame, summary: Mapping[str, Any] | None = None) -> str:
    """Return the same as `search_text` as HTML for a notebook.

    Args:
        board: leaderboard.csv of the search.
        summary: metrics.json of the search; None while it runs.

    Returns:
        A table and paragraphs; everything in them is escaped.

    Raises:
        UsageError: There is no trial, or a column that is needed is absent.

    Example:

    >>> board = pd.DataFrame({"trial": [1], "score": [0.9], "base": ["<b>"],
    ...                       "status": "done"})
    >>> "<td>&lt;b&gt;</td>" in search_html(board)
    True
    """
    header, rows, right = rank_rows(board)
    lines = filter(None, (_say_more(rows), *_say(board, summary)))
    said = "".join(f"<p>{html_text(line)}</p>" for line in lines)
    return html_table(header, rows[:TOP], right) + said


def _say(board: pd.DataFrame, summary: Mapping[str, Any] | None) -> list[str]:
    return search_notes(arrange_trials(board), summary or {})


def _say_more(rows: Sequence[Sequence[str]]) -> str:
    more = len(rows) - TOP
    return f"and {more:,} more trial{'s' * (more > 1)} in leaderboard.csv" * (more > 0)


def rank_rows(
    board: pd.DataFrame, parameters: Sequence[str] | None = None
) -> tuple[list[str], list[list[str]], list[int]]:
    """Return header, cells and right-aligned columns of the leaderboard, best first.

    Args:
        board: leaderboard.csv of the search.
        parameters: Columns to show; by default those that differ between trials.

    Returns:
        Column titles, one list of texts per trial, and indices of columns of numbers.

    Example:

    >>> board = pd.DataFrame({"trial": [1], "score": [0.9], "status": "done"})
    >>> rank_rows(board)[1]
    [['1', '1', '0.900', '–', '–', '–', '–', 'done']]
    """
    rows = _order(arrange_trials(board))
    names = parameters or varied_parameters(rows, choose_parameters(rows))
    values = {name: read_values(rows[name]) for name in names}
    cells = [
        [
            *_score_cells(row),
            *(_show_parameter(row, column[index]) for column in values.values()),
            *_work_cells(row),
        ]
        for index, row in rows.iterrows()
    ]
    right = [i for i, name in enumerate(names, len(_BEFORE)) if _are_numbers(values[name])]
    last = len(_BEFORE) + len(names)
    right = [*range(len(_BEFORE)), *right, last, last + 1]
    return [*_BEFORE, *names, *_AFTER], cells, right


def _order(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows by rank, those without a score last."""
    lost = rows["kind"].map({FAILED: 1, NOT_RUN: 2}).fillna(0)
    ordered = rows.assign(lost=lost).sort_values(["lost", "rank", "trial"], kind="stable")
    return ordered.drop(columns="lost").reset_index(drop=True)


def _score_cells(row: pd.Series) -> list[str]:
    trial = str(row["trial"])
    if row["kind"] in (FAILED, NOT_RUN):
        return [MISSING, trial, MISSING, MISSING, MISSING]
    rank = f"{row['rank']:.0f}" if math.isfinite(row["rank"]) else MISSING
    return [rank, trial, *(format_share(row[name]) for name in ("score", "low", "high"))]


def _show_parameter(row: pd.Series, value: object) -> str:
    # one that did not run may have none yet
    unknown = row["kind"] == NOT_RUN and value is None
    return MISSING if unknown else format_value(value)


def _work_cells(row: pd.Series) -> list[str]:
    epochs, seconds = row.get("epochs_run"), row["fit_seconds"]
    ran = format_value(epochs) if pd.notna(epochs) else MISSING
    time = format_seconds(seconds) if math.isfinite(seconds) else MISSING
    return [ran, time, FAILED if row["kind"] == FAILED else str(row["status"])]


def _are_numbers(values: Sequence[object]) -> bool:
    return all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in values
    )
