"""Labelled images from folders, tables, zips and arrays: checked, split, decoded."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerastl.data.checks import check_images as check_images
    from kerastl.data.dataset import Data as Data
    from kerastl.data.dataset import Split as Split
    from kerastl.data.decoding import decode_image as decode_image
    from kerastl.data.loading import load_images as load_images

_HOMES = {
    "Data": "dataset",
    "Split": "dataset",
    "check_images": "checks",
    "decode_image": "decoding",
    "load_images": "loading",
}
__all__ = ["Data", "Split", "check_images", "decode_image", "load_images"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
