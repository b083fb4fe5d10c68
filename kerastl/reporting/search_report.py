"""The folder of a search as figures and one HTML page; the same folder, the same bytes."""

from pathlib import Path

from matplotlib import style

from kerastl.reporting import search_sections
from kerastl.reporting.canvas import figure_png
from kerastl.reporting.page import hide_home, render_page
from kerastl.reporting.parallel import plot_parallel
from kerastl.reporting.parameters import plot_parameters
from kerastl.reporting.search_records import SearchRecord, read_search
from kerastl.reporting.trials import plot_trials


def render_search_figures(folder: str | Path) -> dict[str, bytes]:
    """Draw the figures of a search from the files in its folder.

    Args:
        folder: The folder of a search.

    Returns:
        PNG bytes by file name: trials.png, and parameters.png and parallel.png of the
        parameters that differ between trials, once one has run.

    Raises:
        UsageError: The folder holds nothing of a search.
    """
    return _draw_figures(read_search(folder))


def render_search_report(
    folder: str | Path, figures: dict[str, bytes] | None = None
) -> str:
    """Write a search up as one self-contained HTML page, saying what is missing.

    Args:
        folder: The folder of a search; every file in it is optional.
        figures: What `render_search_figures` gave for it, to save drawing them twice;
            drawn here by default.

    Returns:
        HTML with the figures inside; it runs no script and fetches nothing.

    Raises:
        UsageError: The folder holds nothing of a search.
    """
    record = read_search(folder)
    drawn = _draw_figures(record) if figures is None else figures
    parts = (show(record, drawn) for show in search_sections.ORDER)
    return render_page(_name_search(record), parts)


def _name_search(record: SearchRecord) -> str:
    mode, data = record.plan.get("settings", {}).get("mode"), record.settings.get("data")
    name = f"kerastl: {mode} search" if mode else "kerastl: search"
    return hide_home(f"{name} on {data}") if data else name


def _draw_figures(record: SearchRecord) -> dict[str, bytes]:
    if record.board is None:
        return {}
    names = search_sections.drawn_parameters(record)
    # A user's own matplotlib style must not change what a folder's report looks like.
    with style.context("default", after_reset=True):
        drawn = {"trials.png": figure_png(plot_trials(record.board))}
        if names:
            drawn["parameters.png"] = figure_png(plot_parameters(record.board, names))
            drawn["parallel.png"] = figure_png(plot_parallel(record.board, names))
    return drawn
