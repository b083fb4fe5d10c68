"""Trying many settings: grid, random and halving search, here or on a cluster."""

from typing import Any

# name -> the module of this package it comes from
_HOMES = {
    "SearchResult": "results",
    "SearchSettings": "settings",
    "grid_search": "searching",
    "halving_search": "searching",
    "load_search": "results",
    "random_search": "searching",
    "tpe_search": "searching",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    # lazily, so that planning a search does not import TensorFlow
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
