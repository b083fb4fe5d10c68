"""Training a model stage by stage: `finetune` and the `Run` it returns."""

from typing import Any

__all__ = [
    "Ensemble",
    "Explanation",
    "RateTest",
    "Run",
    "explain",
    "extract_features",
    "find_learning_rate",
    "finetune",
    "load_run",
]

_HOMES = {
    "Ensemble": "ensembles",
    "Explanation": "explaining",
    "RateTest": "curves",
    "Run": "results",
    "explain": "explaining",
    "extract_features": "features",
    "find_learning_rate": "ranging",
    "finetune": "training",
    "load_run": "loading",
}


def __getattr__(name: str) -> Any:
    # lazily, so that planning a job does not import TensorFlow
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
