"""From 0-255 RGB pixels to what a base was trained on, as layers of the model."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import keras

from kerastl.bases import Base, get_base
from kerastl.bases.scaling import scale_like, standardise
from kerastl.errors import UsageError
from kerastl.models.information import get_info

LAYER = "preprocessing"


class ChannelStatistics(Protocol):
    """Mean and standard deviation of red, green and blue, in [0, 1]."""

    @property
    def mean(self) -> Sequence[float]:
        """Three means."""

    @property
    def std(self) -> Sequence[float]:
        """Three standard deviations."""


def preprocess(pixels: keras.KerasTensor, base: Base) -> keras.KerasTensor:
    """Add the layers that turn 0-255 RGB pixels into what `base` was trained on."""
    if base.preprocessing == "none":  # the first layers of the base do it
        return pixels
    if base.preprocessing == "caffe":
        pixels = pixels[..., ::-1]
    scale, offset = base.scaling
    return keras.layers.Rescaling(scale, offset, name=LAYER)(pixels)


def set_normalization(model: keras.Model, statistics: ChannelStatistics | None) -> None:
    """Standardise images by their own statistics instead of the base's, in place.

    The model must be compiled again afterwards: what was traced before keeps the old ones.

    Args:
        model: Made by `build_model` or `load_model`.
        statistics: `.mean` and `.std` of red, green and blue in [0, 1], as
            `data.channel_statistics()` returns; None for the base's own.

    Raises:
        UsageError: The base normalises inside its own graph, or a value is out of range.

    Example:

    >>> from types import SimpleNamespace
    >>> from kerastl.models import build_model
    >>> model = build_model("tiny", weights=None)
    >>> set_normalization(model, SimpleNamespace(mean=[0.5] * 3, std=[0.25] * 3))
    >>> model.get_layer("preprocessing").offset
    [-2.0, -2.0, -2.0]
    """
    info = get_info(model)
    mode = get_base(info.base).preprocessing
    if mode == "none":
        raise UsageError(
            f"normalize='data' does not go with base={info.base!r}, whose own layers "
            "normalise: keep normalize='base'."
        )
    known = None if statistics is None else _check_statistics(statistics)
    layer = model.get_layer(LAYER)
    layer.scale, layer.offset = _scaling(mode, known)
    model.predict_function = None
    normalization = known or "base"
    model.kerastl = dataclasses.replace(info, normalization=normalization)


def _check_statistics(statistics: ChannelStatistics) -> dict[str, tuple[float, ...]]:
    mean = tuple(float(value) for value in statistics.mean)
    std = tuple(float(value) for value in statistics.std)
    if len(mean) != 3 or not all(0 <= value <= 1 for value in mean):
        raise UsageError(f"mean={mean} must be three numbers from 0 to 1.")
    if len(std) != 3 or not all(0 < value <= 1 for value in std):
        raise UsageError(
            f"std={std} must be three numbers above 0, up to 1: is it all one colour?"
        )
    return {"mean": mean, "std": std}


def _scaling(mode: str, known: dict[str, tuple[float, ...]] | None) -> tuple:
    if known is None:
        return scale_like(mode)
    scale, offset = standardise(known["mean"], known["std"])
    return (scale[::-1], offset[::-1]) if mode == "caffe" else (scale, offset)
