"""Tables, figures and one HTML page, made from a run's or a search's files.

Nothing here trains, loads a model or writes a file: functions return text, figures and
bytes, the same for the same folder.
"""

import importlib

_HOMES = {
    "FeatureMap": "embeddings",
    "best_predictions": "predictions",
    "comparison_html": "comparison_tables",
    "comparison_text": "comparison_tables",
    "enlarge_maps": "heatmaps",
    "near_best": "boards",
    "overlay_maps": "heatmaps",
    "plot_comparison": "comparison_report",
    "plot_confusion": "figures",
    "plot_embedding": "embeddings",
    "plot_heatmaps": "heatmaps",
    "plot_histories": "histories",
    "plot_history": "curves",
    "plot_images": "grids",
    "plot_parallel": "parallel",
    "plot_parameters": "parameters",
    "plot_reliability": "reliability",
    "plot_trials": "trials",
    "plot_worst": "grids",
    "render_comparison_figures": "comparison_report",
    "render_comparison_report": "comparison_report",
    "render_figures": "report",
    "render_overlays": "heatmaps",
    "render_report": "report",
    "render_search_figures": "search_report",
    "render_search_report": "search_report",
    "run_html": "tables",
    "run_text": "tables",
    "search_html": "search_tables",
    "search_text": "search_tables",
    "stage_text": "tables",
    "worst_predictions": "predictions",
    "worst_titles": "predictions",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
