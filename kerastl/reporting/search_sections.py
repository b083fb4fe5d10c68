"""The sections of a search's report, each a function of a record and its figures."""

import math
from collections.abc import Callable, Sequence

import pandas as pd

from kerastl.evaluation.layout import MISSING, html_table, printable
from kerastl.reporting import page
from kerastl.reporting.boards import (
    FAILED,
    NOT_RUN,
    arrange_trials,
    find_leader,
    format_value,
    format_values,
    read_values,
    varied_parameters,
)
from kerastl.reporting.marks import number_names
from kerastl.reporting.parameters import list_texts, measure_parameters
from kerastl.reporting.scales import sort_values
from kerastl.reporting.search_records import SearchRecord
from kerastl.reporting.search_sentences import (
    read_reason,
    say_best,
    say_failures,
    say_test,
    search_notes,
)
from kerastl.reporting.search_tables import rank_rows

# How many trials stand on the page before the rest is folded away.
_SHOWN = 25
# Fewer numbers are listed, more are a range.
_LISTED = 6
_CAPTION = "By validation score; low and high are its 95 % interval."
_TRIALS = "Score of each trial in order, the best so far and the interval of the best"
_PARAMETERS = "Score of each trial against each parameter"
_PARALLEL = "Each trial as a line through its parameters to its score"
_HOW_TO_READ = (
    "Trials inside the interval of the best one cannot be told from it. A dash is the "
    "median of a column."
)


def say_summary(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return the test score as headline, or the best trial, then all else to know."""
    if record.board is None:
        return page.paragraph("This search has no trials to show yet.", "lead")
    rows, summary = arrange_trials(record.board), record.summary
    best = say_best(rows, summary.get("best") or {})
    lead = say_test(summary) if record.scores else best
    elsewhere = {lead, *say_failures(rows)}
    said = [line for line in search_notes(rows, summary) if line not in elsewhere]
    leading = page.paragraph(page.hide_home(lead), "lead")
    return "\n".join((leading, *(page.paragraph(page.hide_home(line)) for line in said)))


def show_winner(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return the link to the report of the winner, where it was trained again."""
    if not record.winner:
        return ""
    return page.link("The winner's own report: curves, scores, mistakes", record.winner)


def show_leaderboard(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return the trials as a table, best first, and their scores in order."""
    if record.board is None:
        return ""
    header, rows, right = rank_rows(record.board, record.parameters)
    header = [name.replace("__", ": ") for name in header]  # so that it can wrap
    rows = [[page.hide_home(cell) for cell in row] for row in rows]
    table = html_table(header, rows[:_SHOWN], right, _CAPTION)
    more = len(rows) - _SHOWN
    if more > 0:
        rest = html_table(header, rows[_SHOWN:], right)
        table += page.folded(f"{more:,} more trial{'s' * (more > 1)}", rest)
    trials = page.picture(figures.get("trials.png"), _TRIALS)
    return page.section("Trials", trials, table)


def show_parameters(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return the figures of parameters, and what the numbers in them stand for."""
    scatter, lines = figures.get("parameters.png"), figures.get("parallel.png")
    if not scatter and not lines:
        return ""
    return page.section(
        "Parameters",
        page.paragraph(_HOW_TO_READ, "note"),
        page.picture(scatter, _PARAMETERS),
        page.picture(lines, _PARALLEL),
        _list_numbers(record),
    )


def _list_numbers(record: SearchRecord) -> str:
    """Return the names that the figures could only number, counted from 1."""
    names = drawn_parameters(record)
    if record.board is None or not names:
        return ""
    rows = arrange_trials(record.board)
    rows = rows[rows["kind"] != NOT_RUN].reset_index(drop=True)
    lost = number_names(list(dict.fromkeys(list_texts(measure_parameters(rows, names)))))
    if not lost:
        return ""
    said = page.paragraph("Names numbered in the figures:", "note")
    return said + page.numbered_list(map(page.hide_home, lost))


def drawn_parameters(record: SearchRecord) -> list[str]:
    """Return the parameters that figures show: those that differ between trials."""
    if record.board is None:
        return []
    rows = arrange_trials(record.board)
    ran = rows[rows["kind"] != NOT_RUN]
    return [] if ran.empty else varied_parameters(ran, record.parameters)


def show_space(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return what was searched, what of it was tried, and what the best trial has."""
    if not record.space:
        return ""
    rows = None if record.board is None else arrange_trials(record.board)
    cells = [
        [name, _describe_values(values), *_describe_tried(rows, name)]
        for name, values in record.space.items()
    ]
    header = ["parameter", "searched", "tried", "best trial"]
    table = html_table(header, [[page.hide_home(cell) for cell in row] for row in cells])
    return page.section("Space", table)


def _describe_values(values: object) -> str:
    listed = values if isinstance(values, list) else [values]
    return ", ".join(map(format_value, listed))


def _describe_tried(rows: pd.DataFrame | None, name: str) -> tuple[str, str]:
    if rows is None or name not in rows:
        return MISSING, MISSING
    leader, ran = find_leader(rows), rows[rows["kind"] != NOT_RUN]
    best = MISSING if leader is None else format_value(leader[name])
    return _describe_range(read_values(ran[name])), best


def _describe_range(values: Sequence[object]) -> str:
    """Return the different values in few words: numbers as a range."""
    unique = sort_values(values)
    numbers = [v for v in unique if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < _LISTED:
        return ", ".join(map(format_value, unique)) or MISSING
    ends = f"{format_value(min(numbers))} to {format_value(max(numbers))}"
    others = [format_value(value) for value in unique if value not in numbers]
    return ", ".join([f"{ends} ({len(numbers):,} values)", *others])


def show_failures(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return each failed trial with its reason, parameters and memory."""
    if record.board is None:
        return ""
    rows = arrange_trials(record.board)
    failed = rows[rows["kind"] == FAILED]
    cells = [
        [
            str(row["trial"]),
            page.hide_home(read_reason(row)),
            page.hide_home(format_values(dict(row[record.parameters]))),
            _format_memory(row["peak_memory_mb"]),
        ]
        for _, row in failed.iterrows()
    ]
    header = ["trial", "reason", "parameters", "peak memory"]
    return page.section("Failed trials", html_table(header, cells, (0, 3)) if cells else "")


def _format_memory(megabytes: float) -> str:
    return f"{megabytes:,.0f} MB" if math.isfinite(megabytes) else MISSING


def show_settings(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return how was searched, and config.toml: what was the same in all trials."""
    asked = record.plan.get("settings") or {}
    pairs = [
        [printable(name), page.hide_home(format_value(v))] for name, v in asked.items()
    ]
    return page.section(
        "Settings",
        html_table(["setting of the search", "value"], pairs, (1,)) if pairs else "",
        page.subsection(
            "The same in all trials", page.preformatted(page.hide_home(record.config))
        ),
    )


def show_missing(record: SearchRecord, figures: dict[str, bytes]) -> str:
    """Return what could not be shown and why."""
    return page.section("Missing", *map(page.paragraph, record.missing))


ORDER: tuple[Callable[[SearchRecord, dict[str, bytes]], str], ...] = (
    say_summary,
    show_winner,
    show_leaderboard,
    show_parameters,
    show_space,
    show_failures,
    show_settings,
    show_missing,
)
