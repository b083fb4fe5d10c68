"""A comparison of bases and schedules as a table with sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.layout import MISSING, html_table, html_text, printable, text_table
from kerastl.reporting.tables import format_seconds

HEADER = ["model", "validation", "test", "parameters", "trained", "epochs", "time", "MB"]
RIGHT = range(3, len(HEADER))
SHOWN = 6  # pairs that are said in sentences; more are in the table of pairs
PAIR_HEADER = [
    "first", "second", "first only", "second only", "p", "adjusted", "difference",
]  # fmt: skip


def comparison_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells, a row for each combination in the order asked for.

    Args:
        result: comparison.json.

    Example:

    >>> header, rows = comparison_rows({"seeds": [0], "rows": [
    ...     {"name": "vgg16", "status": "failed", "reason": "out of memory"}]})
    >>> rows[0][:3]
    ['vgg16', 'failed', 'failed']
    """
    rows = [_cells(row) for row in result["rows"]]
    if len(result["seeds"]) < 2:
        return HEADER, rows
    for cells, row in zip(rows, result["rows"], strict=True):
        cells.insert(3, _show_range(row.get("test_runs") or row.get("validation_runs")))
    return [*HEADER[:3], "over seeds", *HEADER[3:]], rows


def _cells(row: Mapping[str, Any]) -> list[str]:
    if row["status"] == "failed":
        return [row["name"], "failed", "failed", *[MISSING] * (len(HEADER) - 3)]
    name = row["name"] + (" (random)" if row["weights"] in ("none", "random") else "")
    return [
        name,
        *(_show_measure(row[split]) for split in ("validation", "test")),
        f"{row['parameters']:,}",
        f"{row['trained']:,}",
        str(row["epochs"]),
        format_seconds(row["seconds"]),
        f"{row['megabytes']:.1f}",
    ]


def _show_measure(fields: Mapping[str, float] | None) -> str:
    return MISSING if fields is None else str(Measure.from_dict(dict(fields)))


def _show_range(runs: Sequence[float] | None) -> str:
    return f"{min(runs):.3f} to {max(runs):.3f}" if runs else MISSING


def pair_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the cells of the table of pairs."""
    return [
        [
            pair["first"],
            pair["second"],
            str(pair["first_only"]),
            str(pair["second_only"]),
            f"{pair['p']:.2g}",
            f"{pair['p_adjusted']:.2g}",
            str(Measure(pair["difference"], pair["low"], pair["high"])),
        ]
        for pair in (result.get("tests") or {}).get("pairs", [])
    ]


def comparison_sentences(result: Mapping[str, Any]) -> list[str]:
    """Return what stands under the table: conclusion, pairs, failures, notes."""
    pairs = result["pairs"] if len(pair_rows(result)) <= SHOWN else []
    said = [*result["conclusion"], *pairs, *failures(result), *result["notes"]]
    return list(dict.fromkeys(map(printable, said)))


def failures(result: Mapping[str, Any]) -> list[str]:
    """Return why combinations failed, a sentence each."""
    names: dict[str, list[str]] = {}
    for row in result["rows"]:
        if row["status"] == "failed":
            names.setdefault(row["reason"], []).append(row["name"])
    return [f"{', '.join(each)} failed: {reason}" for reason, each in names.items()]


def comparison_text(result: Mapping[str, Any]) -> str:
    """Return a comparison as plain text: a table and sentences.

    Args:
        result: comparison.json.
    """
    header, rows = comparison_rows(result)
    table = text_table(header, rows, right=_right(header))
    return "\n".join([table, "", *comparison_sentences(result)])


def comparison_html(result: Mapping[str, Any]) -> str:
    """Return the same as `comparison_text` as HTML for a notebook."""
    header, rows = comparison_rows(result)
    said = "".join(f"<p>{html_text(line)}</p>" for line in comparison_sentences(result))
    return html_table(header, rows, right=_right(header)) + said


def _right(header: Sequence[str]) -> range:
    return range(len(header) - len(RIGHT), len(header))
