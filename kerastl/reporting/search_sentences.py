"""What came of a search, in sentences: the best trial, its rivals, and what it proves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kerastl.evaluation.layout import printable
from kerastl.evaluation.scores import Scores
from kerastl.evaluation.sentences import headline, verdict
from kerastl.reporting.boards import (
    DONE,
    FAILED,
    NOT_RUN,
    STOPPED,
    choose_parameters,
    find_leader,
    format_values,
)
from kerastl.reporting.tables import NOT_READ, format_seconds

_LISTED_FAILURES = 3
_LONGEST_REASON = 200


def search_notes(rows: pd.DataFrame, summary: Mapping[str, Any]) -> list[str]:
    """Return what to read beside a leaderboard.

    Args:
        rows: What `arrange_trials` returned.
        summary: metrics.json of the search; empty while it runs.

    Returns:
        Lines of plain text: how many trials ran, the best one, those it cannot be told
        from, failures, the test score, the outer folds and what was decided on the way.
    """
    said = [
        count_trials(rows),
        say_best(rows, summary.get("best") or {}),
        say_near(rows, summary.get("within_interval"), summary.get("best") or {}),
        *say_failures(rows),
        say_test(summary),
        say_nested(summary.get("nested")),
        *map(printable, summary.get("notes") or ()),
    ]
    return [line for line in said if line]


def count_trials(rows: pd.DataFrame) -> str:
    """Return how many trials there are, and what became of them."""
    kinds = rows["kind"].value_counts()
    named = {DONE: "done", STOPPED: "stopped early", FAILED: "failed", NOT_RUN: "not run"}
    parts = [f"{kinds[kind]:,} {name}" for kind, name in named.items() if kind in kinds]
    return f"{_count(len(rows), 'trial')}: {', '.join(parts)}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say_best(rows: pd.DataFrame, best: Mapping[str, Any]) -> str:
    """Return which trial leads, by what score, and why that score is optimistic.

    Args:
        rows: What `arrange_trials` returned.
        best: `best` of metrics.json; may be empty.
    """
    leader = find_leader(rows)
    if leader is None:
        return "No trial has a score."
    where = printable(best.get("selected_on") or "validation")
    params = best.get("params") or dict(leader[choose_parameters(rows)])
    named = f"trial {leader['trial']}" + (f" ({format_values(params)})" if params else "")
    scored = int(rows["kind"].isin((DONE, STOPPED)).sum())
    caution = (
        f"It was selected there as the highest of {scored:,} scores, so it is optimistic."
    )
    text = f"Best: {named}, {_show_score(leader)} on {where}."
    return f"{text} {caution}" if scored > 1 else text


def _show_score(row: pd.Series) -> str:
    if not math.isfinite(row["low"]) or not math.isfinite(row["high"]):
        return f"{row['score']:.3f}"
    return f"{row['score']:.3f} (95 % interval {row['low']:.3f} to {row['high']:.3f})"


def say_near(
    rows: pd.DataFrame, within: Mapping[str, Any] | None, best: Mapping[str, Any]
) -> str:
    """Return how many trials cannot be told from the best, and the cheapest of them.

    Args:
        rows: What `arrange_trials` returned.
        within: `within_interval` of metrics.json: `count`, the best one included, and
            `cheapest`.
        best: `best` of metrics.json; may be empty.
    """
    leader = find_leader(rows)
    if leader is None or not within:
        return ""
    others = within["count"] - 1
    if others < 1:
        alone = rows["kind"].isin((DONE, STOPPED)).sum() < 2
        return "" if alone else "No other trial's score lies inside that interval."
    one = others == 1
    scores, lie, them = ("score", "lies", "it") if one else ("scores", "lie", "them")
    text = (
        f"The {scores} of {_count(others, 'other trial')} {lie} inside that interval: the "
        f"search cannot tell {them} from the best."
    )
    return f"{text} {_say_cheapest(leader, within.get('cheapest') or {}, best)}".strip()


def _say_cheapest(
    leader: pd.Series, cheapest: Mapping[str, Any], best: Mapping[str, Any]
) -> str:
    if not cheapest:
        return ""
    if cheapest.get("trial") == leader["trial"]:
        return "The best one is also the cheapest of them."
    params, chosen = cheapest.get("params") or {}, best.get("params") or {}
    # only what it has otherwise: the best one's parameters stand just before
    other = {name: v for name, v in params.items() if v != chosen.get(name, math.nan)}
    named = f"trial {cheapest['trial']} ({format_values(other or params)})"
    return f"The cheapest of them is {named}{_compare_times(cheapest, leader)}."


def _compare_times(cheapest: Mapping[str, Any], leader: pd.Series) -> str:
    if not cheapest.get("fit_seconds"):
        return ""
    took, longer = format_seconds(cheapest["fit_seconds"]), leader["fit_seconds"]
    instead = f" instead of {format_seconds(longer)}" if math.isfinite(longer) else ""
    return f", {took}{instead}"


def say_failures(rows: pd.DataFrame) -> list[str]:
    """Return the reasons of the first trials that failed."""
    failed = rows[rows["kind"] == FAILED]
    said = [
        f"Trial {row['trial']} failed: {read_reason(row)}"
        for _, row in failed[:_LISTED_FAILURES].iterrows()
    ]
    if len(failed) > _LISTED_FAILURES:
        more = len(failed) - _LISTED_FAILURES
        said.append(f"The reasons of {more:,} more are in leaderboard.csv.")
    return said


def read_reason(row: pd.Series) -> str:
    """Return why a trial failed on one line, cut where it is very long."""
    reason = row.get("reason")
    if not isinstance(reason, str) or not reason:
        return "its score is not finite." if row["status"] == DONE else "no reason known."
    line = printable(" ".join(reason.split()))
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def read_test(summary: Mapping[str, Any]) -> Scores | None:
    """Return the one test score of a search, or None."""
    fields = summary.get("test")
    return Scores.from_dict({**fields, "split": "test"}) if fields else None


def say_test(summary: Mapping[str, Any]) -> str:
    """Return the test score with interval and baseline, or that there is none."""
    scores = read_test(summary)
    if scores is None:
        return NOT_READ
    return f"{headline(scores)} Nothing was selected on it. {verdict(scores)}"


def say_nested(nested: Mapping[str, Any] | None) -> str:
    """Return what the outer folds say of searching this way."""
    scores: Sequence[float] = (nested or {}).get("scores") or ()
    if not scores:
        return ""
    mean, low, high = sum(scores) / len(scores), min(scores), max(scores)
    return (
        f"Nested: on {_count(len(scores), 'outer fold')} the winners score {mean:.3f} on "
        f"average ({low:.3f} to {high:.3f}), which is what searching this way gives on "
        "images it has not seen."
    )
