"""The folder of a comparison as one figure and one HTML page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerastl.errors import UsageError
from kerastl.evaluation.layout import html_table
from kerastl.reporting import page
from kerastl.reporting.canvas import figure_png
from kerastl.reporting.comparison_tables import (
    PAIR_HEADER,
    comparison_rows,
    failures,
    pair_rows,
)
from kerastl.reporting.histories import plot_histories
from kerastl.runs import COMPARED
from kerastl.runs.tables import parse_csv

_CURVES = "Validation loss and accuracy of every run over its epochs"
_HOW_TO_READ = (
    "A star is the epoch that was kept, a ring the first epoch of a later stage; of "
    "several seeds the thick line is the mean."
)
_COLUMNS = (
    "Accuracy with its 95 % interval; parameters in all and the most that a stage trained; "
    "seconds of training; megabytes of the saved model."
)


def plot_comparison(folder: str | Path, ax: Axes | Sequence[Axes] | None = None) -> Figure:
    """Draw the curves of all runs of a comparison that finished.

    Args:
        folder: Of the comparison.
        ax: As in `plot_histories`.
    """
    histories = read_histories(Path(folder), _read_result(folder))
    return plot_histories(histories, ax)


def _read_result(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / COMPARED
    if not path.is_file():
        raise UsageError(
            f"{str(folder)!r} is not the folder of a comparison: it holds no {COMPARED}. "
            "Give a folder such as runs/compare-1."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def read_histories(folder: Path, result: dict[str, Any]) -> dict[str, list[pd.DataFrame]]:
    """Return the rows of history.csv of every run, by the name of the combination."""
    return {
        row["name"]: [
            parse_csv((folder / name / "history.csv").read_text("utf-8"), ("stage",))
            for name in row["folders"]
            if (folder / name / "history.csv").is_file()
        ]
        for row in result["rows"]
        if row["status"] == "done"
    }


def render_comparison_figures(folder: str | Path) -> dict[str, bytes]:
    """Draw the figure of a comparison from the files in its folder.

    Args:
        folder: The folder of a comparison.

    Returns:
        PNG bytes as `histories.png`; nothing where no run finished.

    Raises:
        UsageError: The folder holds no comparison.
    """
    histories = read_histories(Path(folder), _read_result(folder))
    if not any(histories.values()):
        return {}
    # A user's own matplotlib style must not change what a folder's report looks like.
    with style.context("default", after_reset=True):
        return {"histories.png": figure_png(plot_histories(histories))}


def render_comparison_report(
    folder: str | Path, figures: dict[str, bytes] | None = None
) -> str:
    """Write a comparison up as one self-contained HTML page.

    Args:
        folder: The folder of a comparison.
        figures: What `render_comparison_figures` gave for it; drawn here by default.

    Returns:
        HTML with the figure inside; it runs no script and fetches nothing.

    Raises:
        UsageError: The folder holds no comparison.
    """
    result = _read_result(folder)
    drawn = render_comparison_figures(folder) if figures is None else figures
    lead, *more = result["conclusion"]
    parts = (
        page.paragraph(page.hide_home(lead), "lead"),
        *(page.paragraph(page.hide_home(line)) for line in more),
        _show_models(result),
        _show_curves(drawn),
        _show_pairs(result),
        page.section("Failed", *map(page.paragraph, map(page.hide_home, failures(result)))),
        page.section("Notes", *map(page.paragraph, map(page.hide_home, result["notes"]))),
        _show_links(result),
    )
    return render(result, parts)


def render(result: dict[str, Any], parts: Sequence[str]) -> str:
    """Return the page of a comparison from its parts."""
    title = f"kerastl: {len(result['rows'])} models compared on {result['data']}"
    return page.render_page(page.hide_home(title), parts)


def _show_models(result: dict[str, Any]) -> str:
    header, rows = comparison_rows(result)
    right = range(len(header) - 5, len(header))
    return page.section("Models", html_table(header, rows, right, _COLUMNS))


def _show_curves(figures: dict[str, bytes]) -> str:
    picture = page.picture(figures.get("histories.png"), _CURVES)
    note = page.paragraph(_HOW_TO_READ, "note")
    return page.section("Training", note, picture) if picture else ""


def _show_pairs(result: dict[str, Any]) -> str:
    rows = pair_rows(result)
    if not rows:
        return ""
    said = map(page.paragraph, map(page.hide_home, result["pairs"]))
    table = html_table(PAIR_HEADER, rows, range(2, len(PAIR_HEADER)))
    return page.section("Which differences are real", table, *said)


def _show_links(result: dict[str, Any]) -> str:
    done = [row for row in result["rows"] if row["status"] == "done"]
    names = [name for row in done for name in row["folders"]]
    links = (page.link(name, f"{name}/report.html") for name in names)
    return page.section("Reports of the runs", *links)
