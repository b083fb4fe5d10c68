"""Models: a base, a head and what they were made from, as plain Keras models.

`kerastl.models` itself imports no Keras: reading what a saved model holds, or refusing a
broken one, takes milliseconds. The names below are looked up when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerastl.models.building import build_model
    from kerastl.models.clip import build_clip
    from kerastl.models.information import (
        ModelInfo,
        get_info,
        layer_table,
        set_class_names,
    )
    from kerastl.models.normalization import set_normalization
    from kerastl.models.prediction import predict_probabilities
    from kerastl.models.preflight import check_model_file, read_info
    from kerastl.models.recipes import CLIP, PRESET, RECIPE, Recipe, check_preset
    from kerastl.models.saving import load_model, save_model
    from kerastl.models.scaling import divide_logits
    from kerastl.models.views import check_views

__all__ = [  # noqa: RUF022  as `sorted` has it, which a test compares with
    "CLIP",
    "ModelInfo",
    "PRESET",
    "RECIPE",
    "Recipe",
    "build_clip",
    "build_model",
    "check_model_file",
    "check_preset",
    "check_views",
    "divide_logits",
    "get_info",
    "layer_table",
    "load_model",
    "predict_probabilities",
    "read_info",
    "save_model",
    "set_class_names",
    "set_normalization",
]

_MODULES = {
    "CLIP": "recipes",
    "ModelInfo": "information",
    "PRESET": "recipes",
    "RECIPE": "recipes",
    "Recipe": "recipes",
    "build_clip": "clip",
    "build_model": "building",
    "check_model_file": "preflight",
    "check_preset": "recipes",
    "check_views": "views",
    "divide_logits": "scaling",
    "get_info": "information",
    "layer_table": "information",
    "load_model": "saving",
    "predict_probabilities": "prediction",
    "read_info": "preflight",
    "save_model": "saving",
    "set_class_names": "information",
    "set_normalization": "normalization",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
