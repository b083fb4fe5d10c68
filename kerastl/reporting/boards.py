"""The leaderboard of a search: what its columns and cells mean, which trial leads."""

import ast
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from kerastl.errors import UsageError, suggest
from kerastl.evaluation.layout import MISSING, printable

DONE, STOPPED, FAILED, NOT_RUN = "done", "stopped", "failed", "not run"
# Columns every leaderboard may have; all others are parameters.
FIXED = ("rank", "trial", "score", "low", "high", "std", "epochs_run", "fit_seconds")
FIXED += ("status", "reason", "peak_memory_mb")
_NUMBERS = ("rank", "trial", "score", "low", "high", "std", "fit_seconds", "peak_memory_mb")
_NEEDED = ("trial", "score", "status")
# Longer cells are shown as they are: no setting takes so long a list.
_LONGEST_LIST = 500
_NO_LITERAL = (ValueError, SyntaxError, RecursionError, MemoryError)


def arrange_trials(board: pd.DataFrame) -> pd.DataFrame:
    """Return the leaderboard's rows in the order of their trials, with a `kind` each.

    Args:
        board: leaderboard.csv: trial, score and status, and what else is there.

    Returns:
        The rows sorted by trial. `kind` is "done", "stopped" (before its last epoch),
        "failed" or "not run"; a score that is not finite is a failure. Columns of numbers
        that are absent are NaN, `rank` follows from the scores.

    Raises:
        UsageError: There is no row, or a column that is needed is absent.

    Example:

    >>> board = pd.DataFrame({"trial": [2, 1], "score": [0.9, float("inf")],
    ...                       "status": "done"})
    >>> arrange_trials(board)["kind"].tolist()
    ['failed', 'done']
    """
    missing = [name for name in _NEEDED if name not in board]
    if missing:
        raise UsageError(
            f"The leaderboard has no column {missing[0]!r}, only {list(board.columns)}: "
            "give the rows of leaderboard.csv."
        )
    if board.empty:
        raise UsageError("The leaderboard has 0 rows: no trial is planned yet.")
    rows = board.copy()
    for name in _NUMBERS:
        rows[name] = pd.to_numeric(rows.get(name, math.nan), errors="coerce")
    if rows["trial"].isna().any():
        raise UsageError(
            f"The leaderboard has trials without a number: {list(board['trial'])}. Give "
            "the rows of leaderboard.csv."
        )
    rows["trial"] = rows["trial"].astype("int64")
    rows["kind"] = list(map(_name_kind, rows["status"], rows["score"]))
    if "rank" not in board:
        scores = rows["score"].where(rows["kind"].isin((DONE, STOPPED)))
        rows["rank"] = scores.rank(ascending=False, method="min")
    return rows.sort_values("trial", kind="stable").reset_index(drop=True)


def _name_kind(status: object, score: float) -> str:
    kind = str(status).split(" at ")[0]
    if kind in (DONE, STOPPED):
        return kind if math.isfinite(score) else FAILED
    return kind if kind == NOT_RUN else FAILED


def drop_unrun(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the trials that ran; others may have no parameters yet.

    Args:
        rows: What `arrange_trials` returned.

    Raises:
        UsageError: None has run.
    """
    ran = rows[rows["kind"] != NOT_RUN].reset_index(drop=True)
    if ran.empty:
        raise UsageError(
            f"None of the {len(rows)} trials on the leaderboard has run: there is nothing "
            "to draw yet."
        )
    return ran


def find_leader(rows: pd.DataFrame) -> pd.Series | None:
    """Return the row of the best trial: the first rank, else the highest score.

    Args:
        rows: What `arrange_trials` returned.

    Returns:
        The row, of a trial that was stopped only where none is done; None without scores.
    """
    kinds = [kind for kind in (DONE, STOPPED) if (rows["kind"] == kind).any()]
    if not kinds:
        return None
    done = rows[rows["kind"] == kinds[0]]
    return done.sort_values(["rank", "trial"], kind="stable").iloc[0]


def near_best(board: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that the search cannot tell apart from its best one.

    Args:
        board: leaderboard.csv.

    Returns:
        Its finished trials with a score inside the best one's interval, in their order,
        the best among them; without an interval the best alone.

    Raises:
        UsageError: It is no leaderboard.

    Example:

    >>> board = pd.DataFrame({"trial": [1, 2, 3], "score": [0.90, 0.88, 0.70],
    ...                       "low": [0.86, 0.83, 0.64], "status": "done"})
    >>> near_best(board)["trial"].tolist()
    [1, 2]
    """
    rows = arrange_trials(board)
    leader = find_leader(rows)
    if leader is None:
        return rows[:0]
    # a score after fewer epochs is no rival of one after all of them
    rivals = (rows["kind"] == leader["kind"]) & (rows["status"] == leader["status"])
    inside = rivals & (rows["score"] >= leader["low"])
    return rows[inside | (rows["trial"] == leader["trial"])]


def choose_parameters(
    rows: pd.DataFrame, parameters: Sequence[str] | None = None
) -> list[str]:
    """Return the parameters to show: those given, else every column of one.

    Raises:
        UsageError: One of them is no column; the sentence names the nearest.

    Example:

    >>> choose_parameters(pd.DataFrame(columns=["trial", "batch_size", "status"]))
    ['batch_size']
    """
    if parameters is None:
        known = {*FIXED, "kind", *(f"{name}.1" for name in FIXED)}
        return [name for name in rows.columns if name not in known]
    for name in parameters:
        if name not in rows:
            raise UsageError(
                f"The leaderboard has no parameter {name!r}, only "
                f"{choose_parameters(rows)}.{suggest(name, rows.columns)}"
            )
    return list(parameters)


def varied_parameters(rows: pd.DataFrame, parameters: Sequence[str]) -> list[str]:
    """Return the parameters that differ between trials, or all where none does.

    Example:

    >>> rows = pd.DataFrame({"base": ["tiny", "tiny"], "epochs": [1, 2]})
    >>> varied_parameters(rows, ["base", "epochs"])
    ['epochs']
    """
    varied = [name for name in parameters if len(set(read_values(rows[name]))) > 1]
    return varied or list(parameters)


def read_values(cells: Iterable[object]) -> list[Any]:
    """Return a column of parameters as plain values, read back from CSV where needed.

    Args:
        cells: Numbers, texts, lists or missing values.

    Returns:
        Numbers, bools, texts, tuples and None; whole numbers as int.

    Example:

    >>> read_values([16.0, "[512, 256]", "true", "adam", float("nan")])
    [16, (512, 256), True, 'adam', None]
    """
    return [_read_value(cell) for cell in cells]


def _read_value(cell: object) -> Any:
    if isinstance(cell, str):
        cell = _read_literal(cell)
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, list | tuple):
        return tuple(map(_read_value, cell))
    if isinstance(cell, float):
        return _read_float(cell)
    known = cell is None or isinstance(cell, bool | int | str)
    return cell if known else None if cell is pd.NA else str(cell)


def _read_float(cell: float) -> int | float | str | None:
    if math.isnan(cell):
        return None
    if math.isinf(cell):
        return str(cell)
    return int(cell) if cell.is_integer() else cell


def _read_literal(text: str) -> object:
    if text in ("none", "None", "null"):
        return None
    if len(text) > _LONGEST_LIST:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except _NO_LITERAL:
            continue
        return value if isinstance(value, bool | int | float | list | tuple) else text
    return text


def format_value(value: object) -> str:
    """Return a parameter's value as `--param` takes it, numbers to four digits.

    Example:

    >>> [format_value(v) for v in (0.0123456, 64, 1e-5, (512, 256), ("flip",), True, None)]
    ['0.01235', '64', '1e-5', '[512, 256]', '[flip]', 'true', 'none']
    """
    value = _read_value(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 1e7):
        mantissa, _, power = f"{value:.4g}".partition("e")
        return f"{mantissa}e{int(power)}" if power else mantissa
    return printable(value)


def format_values(values: dict[str, Any]) -> str:
    """Return a trial's parameters as one phrase.

    Example:

    >>> format_values({"learning_rate": 0.01, "hidden": [512]})
    'learning_rate=0.01, hidden=[512]'
    """
    pairs = [f"{printable(name)}={format_value(v)}" for name, v in values.items()]
    return ", ".join(pairs) or MISSING
