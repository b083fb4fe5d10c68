"""Bases and schedules compared: each trained alike, one table, and what it shows."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerastl.comparing.calls import compare as compare
    from kerastl.comparing.results import ComparisonResult as ComparisonResult
    from kerastl.comparing.results import load_comparison as load_comparison

_HOMES = {
    "ComparisonResult": "results",
    "compare": "calls",
    "load_comparison": "results",
}
__all__ = ["ComparisonResult", "compare", "load_comparison"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
