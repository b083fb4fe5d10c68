"""Pretrained weights: where they are kept, how they are fetched, how they are verified.

Files have the names and the folder Keras gives them, `$KERAS_HOME/models`, so what Keras
has downloaded is found and what is downloaded here serves Keras too. Beside them lie the
presets of keras-hub that were converted.
"""

from kerastl.weights.fetching import fetch_weights, find_lack, find_obstacle
from kerastl.weights.files import WeightsFile, cache_folder, cached_path, is_cached
from kerastl.weights.resolving import (
    PRETRAINED,
    RANDOM,
    ResolvedWeights,
    resolve_weights,
)

__all__ = [
    "PRETRAINED",
    "RANDOM",
    "ResolvedWeights",
    "WeightsFile",
    "cache_folder",
    "cached_path",
    "fetch_weights",
    "find_lack",
    "find_obstacle",
    "is_cached",
    "resolve_weights",
]
