"""A run folder as figures and as one HTML page; the same folder gives the same bytes."""

from pathlib import Path

from matplotlib import style

from kerastl.reporting import sections
from kerastl.reporting.canvas import figure_png
from kerastl.reporting.curves import plot_history
from kerastl.reporting.embeddings import plot_embedding
from kerastl.reporting.figures import plot_confusion, plot_images, plot_worst
from kerastl.reporting.heatmaps import plot_heatmaps
from kerastl.reporting.page import hide_home, render_page
from kerastl.reporting.records import RunRecord, read_record
from kerastl.reporting.reliability import plot_reliability


def render_figures(folder: str | Path) -> dict[str, bytes]:
    """Draw the figures of a run from the files in its folder.

    Args:
        folder: A run folder.

    Returns:
        PNG bytes by file name: history.png, confusion_matrix.png (test, else validation),
        reliability.png, train_batch.png, worst_predictions.png, heatmaps_wrong.png,
        heatmaps_right.png and embedding.png, each where its data is there.

    Raises:
        UsageError: The folder holds nothing of a run.
    """
    return draw_figures(read_record(folder))


def render_report(folder: str | Path, figures: dict[str, bytes] | None = None) -> str:
    """Write a run up as one self-contained HTML page, saying what is missing.

    Args:
        folder: A run folder; every file in it is optional.
        figures: What `render_figures` gave for it, to save drawing them twice; drawn
            here by default.

    Returns:
        HTML with the figures inside; it runs no script and fetches nothing.

    Raises:
        UsageError: The folder holds nothing of a run.
    """
    record = read_record(folder)
    drawn = draw_figures(record) if figures is None else figures
    parts = (show(record, drawn) for show in sections.ORDER)
    return render_page(_name_run(record), parts)


def _name_run(record: RunRecord) -> str:
    base, data = (record.settings.get(key) for key in ("base", "data"))
    if not base or not data:
        return "kerastl run"
    return hide_home(f"kerastl: {base} on {data}")


def draw_figures(record: RunRecord) -> dict[str, bytes]:
    """Draw every figure a record has the data for.

    Args:
        record: What `read_record` returned.

    Returns:
        PNG bytes by file name.
    """
    # A user's own matplotlib style must not change what a folder's report looks like.
    with style.context("default", after_reset=True):
        drawn = {
            "history.png": _draw_history(record),
            "confusion_matrix.png": _draw_confusion(record),
            "reliability.png": _draw_reliability(record),
            "train_batch.png": _draw_sample(record, "train_batch"),
            "worst_predictions.png": _draw_sample(record, "worst"),
            "heatmaps_wrong.png": _draw_heatmaps(record, "worst"),
            "heatmaps_right.png": _draw_heatmaps(record, "best"),
            "embedding.png": _draw_maps(record),
        }
    return {name: png for name, png in drawn.items() if png is not None}


def _draw_history(record: RunRecord) -> bytes | None:
    return None if record.history is None else figure_png(plot_history(record.history))


def _draw_confusion(record: RunRecord) -> bytes | None:
    scores = record.main_scores
    if scores is None or scores.multi_label:
        return None
    title = f"{scores.split}, {scores.n:,} images"
    figure = plot_confusion(scores.confusion, scores.class_names, title=title)
    return figure_png(figure)


def _draw_reliability(record: RunRecord) -> bytes | None:
    if record.calibration is None or not record.calibration.splits:
        return None
    return figure_png(plot_reliability(record.calibration.splits[-1]))


def _draw_sample(record: RunRecord, name: str) -> bytes | None:
    images, titles = record.sample(name)
    if len(images) == 0:
        return None
    draw = plot_worst if name == "worst" else plot_images
    return figure_png(draw(images, titles))


def _draw_heatmaps(record: RunRecord, name: str) -> bytes | None:
    images, maps, titles = record.explained(name)
    if len(images) == 0:
        return None
    headings = {
        ("worst", 2): "Each image, what spoke for the class said, what for the label",
        ("worst", 1): "Each image, what spoke for the most probable class",
        ("best", 1): "Each image, what spoke for the class said",
    }
    heading = headings.get((name, maps.shape[1]), "")
    return figure_png(plot_heatmaps(images, maps, titles, heading=heading))


def _draw_maps(record: RunRecord) -> bytes | None:
    return figure_png(plot_embedding(*record.maps)) if record.maps else None
