"""How good a model is and how sure that is: measures with intervals and a baseline.

Functions of labels and probabilities; nothing here loads a model or an image.
"""

import importlib

_HOMES = {
    "Calibration": "calibration",
    "Comparison": "comparing",
    "Measure": "intervals",
    "RepeatedComparison": "repeats",
    "Scores": "scores",
    "Threshold": "threshold",
    "calibrate_predictions": "calibration",
    "compare_predictions": "comparing",
    "compare_repeats": "repeats",
    "find_threshold": "threshold",
    "judge_threshold": "threshold",
    "probe_features": "probes",
    "score": "scoring",
    "wilson_interval": "intervals",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
