"""What a model was made from: it travels with the model, in memory and on disk."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kerastl.bases import assign_blocks, get_base
from kerastl.errors import DataError, UsageError
from kerastl.stages import HEAD, PREPROCESSING, LayerInfo

if TYPE_CHECKING:
    import keras
    import numpy as np

PREPROCESSING_LAYERS = ("pixels", "preprocessing")
POOLINGS = ("average", "max", "flatten")


@dataclass(frozen=True)
class ModelInfo:
    """What a model was made from, and the names of what it tells apart.

    Args:
        base: Name of its base.
        weights: What the base started from: `"imagenet"`, `"cifar10"`, `"random"` or a
            file: its path in memory, its name alone in a saved model.
        image_size: Height and width of the images it takes.
        pooling: `"average"`, `"max"` or `"flatten"`.
        hidden: Units of the hidden layers of its head.
        dropout: Share of them dropped in training.
        multi_label: Whether an image may have any number of labels.
        class_names: Names in the order of the outputs; empty when not known.
        normalization: `"base"`, or `{"mean": (r, g, b), "std": (r, g, b)}` in [0, 1].
    """

    base: str
    weights: str
    image_size: tuple[int, int]
    pooling: str = "average"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    multi_label: bool = False
    class_names: tuple[str, ...] = ()
    normalization: str | Mapping[str, tuple[float, ...]] = "base"

    def check_pixels(self, images: "np.ndarray", instead: str) -> None:
        """Refuse what are no pixels of the model's image size.

        Args:
            images: As they were given.
            instead: What else might be given, for the sentence.

        Raises:
            UsageError: They are not uint8 `(n, height, width, 3)`.
        """
        height, width = self.image_size
        if images.dtype != "uint8" or images.shape[1:] != (height, width, 3):
            raise UsageError(
                f"images={images.dtype}{images.shape}: give uint8 pixels (n, {height}, "
                f"{width}, 3), the model's image size, or {instead}."
            )

    def to_json(self) -> str:
        """Return it as JSON text."""
        # who is given the model has no use for the folders of the machine it was made on
        values = {**dataclasses.asdict(self), "weights": PurePath(self.weights).name}
        return json.dumps(values, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "ModelInfo":
        """Read what `to_json` wrote.

        Raises:
            DataError: It is not that; names the field.
        """
        values = _parse(text)
        unknown = set(values) ^ {field.name for field in dataclasses.fields(cls)}
        if unknown:
            names = ", ".join(sorted(unknown))
            raise DataError(f"kerastl.json has missing or unknown fields: {names}.")
        for name, check in _CHECKS.items():
            if not check(values[name]):
                raise DataError(f"kerastl.json has a wrong {name}: {values[name]!r}.")
        return cls(**{name: _freeze(value) for name, value in values.items()})


def get_info(model: "keras.Model") -> ModelInfo:
    """Return what a model of this package was made from.

    Raises:
        UsageError: The model was not made by `build_model` or `load_model`.

    Example:

    >>> from kerastl.models import build_model
    >>> get_info(build_model("tiny", weights=None)).image_size
    (32, 32)
    """
    info = getattr(model, "kerastl", None)
    if not isinstance(info, ModelInfo):
        name = getattr(model, "name", model)
        raise UsageError(
            f"The model {name!r} was not made by kerastl: use kerastl.build_model or "
            "kerastl.load_model."
        )
    return info


def set_class_names(model: "keras.Model", names: Sequence[str]) -> None:
    """Give a model the names of its classes, in the order of its outputs.

    Raises:
        UsageError: There are more or fewer names than outputs, or two are the same.

    Example:

    >>> from kerastl.models import build_model
    >>> model = build_model("tiny", num_classes=2, weights=None)
    >>> set_class_names(model, ["ant", "bee"])
    >>> get_info(model).class_names
    ('ant', 'bee')
    """
    info = get_info(model)
    checked = check_class_names(names, model.output_shape[-1])
    model.kerastl = dataclasses.replace(info, class_names=checked)


def check_class_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return names as a tuple when there is one of its own for each of `count` outputs.

    Raises:
        UsageError: There is not.

    Example:

    >>> check_class_names(["ant", "bee"], 2)
    ('ant', 'bee')
    """
    names = tuple(map(str, names))
    if len(names) != count:
        raise UsageError(
            f"class_names has {len(names)} names for {count} outputs: give one for each."
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"class_names has {twice[0]!r} twice: give each class its own.")
    return names


def layer_table(model: "keras.Model") -> tuple[LayerInfo, ...]:
    """List the layers of a model with the block each belongs to.

    Args:
        model: Made by `build_model` or `load_model`.

    Returns:
        One LayerInfo per layer, in the order of `model.layers`: the input and its scaling
        are in `"preprocessing"`, layers above the base in `"head"`.

    Raises:
        UsageError: The model was not made by this package.

    Example:

    >>> from kerastl.models import build_model
    >>> layer_table(build_model("tiny", num_classes=2, weights=None))[-1]
    LayerInfo(name='predictions', block='head', is_batchnorm=False, parameters=162)
    """
    import keras

    cuts = get_base(get_info(model).base).cuts
    blocks = assign_blocks(model, cuts) | dict.fromkeys(PREPROCESSING_LAYERS, PREPROCESSING)
    return tuple(
        LayerInfo(
            name=layer.name,
            block=blocks.get(layer.name, HEAD),
            is_batchnorm=isinstance(layer, keras.layers.BatchNormalization),
            parameters=layer.count_params(),
        )
        for layer in model.layers
    )


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"kerastl.json cannot be read ({error}).") from error
    if not isinstance(values, dict):
        raise DataError(f"kerastl.json holds {type(values).__name__}, not a table.")
    return values


def _freeze(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return {key: tuple(numbers) for key, numbers in value.items()}
    return value


def _is_list_of(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, list) and all(type(item) in _as_tuple(kind) for item in value)


def _as_tuple(kind: type | tuple[type, ...]) -> tuple[type, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


def _is_normalization(value: Any) -> bool:
    if value == "base":
        return True
    return (
        isinstance(value, dict)
        and set(value) == {"mean", "std"}
        and all(_is_list_of(v, (int, float)) and len(v) == 3 for v in value.values())
    )


_CHECKS = {
    "base": lambda value: isinstance(value, str),
    "weights": lambda value: isinstance(value, str),
    "image_size": lambda value: _is_list_of(value, int) and len(value) == 2,
    "pooling": lambda value: value in POOLINGS,
    "hidden": lambda value: _is_list_of(value, int),
    "dropout": lambda value: type(value) in (int, float),
    "multi_label": lambda value: isinstance(value, bool),
    "class_names": lambda value: _is_list_of(value, str),
    "normalization": _is_normalization,
}
