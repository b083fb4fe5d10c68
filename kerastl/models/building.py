"""Building a model: pixels, preprocessing, base, pooling and head in one flat graph."""

import dataclasses
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras

from kerastl.bases import AUTO, Base, build_base, choose_base, get_base
from kerastl.bases.sizes import as_tuple, check_image_size, is_count
from kerastl.errors import UsageError, check_choice
from kerastl.models.information import POOLINGS, ModelInfo, check_class_names
from kerastl.models.initialization import load_base_weights
from kerastl.models.normalization import preprocess
from kerastl.seeds import derive_seed
from kerastl.weights import PRETRAINED, RANDOM, ResolvedWeights, resolve_weights

_POOLING_LAYERS = {
    "average": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}


def build_model(
    base: str = "resnet50",
    *,
    num_classes: int = 10,
    weights: str | Path | None = PRETRAINED,
    image_size: int | tuple[int, int] | None = None,
    pooling: str = "average",
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    multi_label: bool = False,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build a classifier of images on a pretrained base.

    The result is a plain functional `keras.Model` and one flat graph: every layer of the
    base is among `model.layers`, and raw pixels go in.

    Args:
        base: Name of a base, such as `"vgg16"` or `"tiny"`, or `"auto"`: ResNet50 where
            its weights can be had, else `tiny`.
        num_classes: Outputs. Default 10.
        weights: `"pretrained"`, the base's own (default); `"imagenet"`; `"auto"`, the
            base's own where they can be had, else random; None, random; or a path.
        image_size: Side, or height and width, in pixels. Default: the base's own.
        pooling: `"average"` (default) or `"max"` over the picture, or `"flatten"`.
        hidden: Units of hidden ReLU layers between pooling and output. Default none.
        dropout: Share dropped after each hidden layer, or after pooling without one.
        multi_label: Sigmoid outputs for images with any number of labels, not softmax.
        class_names: Names in the order of the outputs, kept with the model.
        seed: Of all random initial weights. Default 0.

    Returns:
        keras.Model from `(batch, height, width, 3)` RGB pixels in [0, 255] to
        `(batch, num_classes)` probabilities, with a `kerastl` attribute (ModelInfo).

    Raises:
        UsageError: An argument that cannot be meant, before anything is loaded or built.
        StorageError: The weights are not in the cache and cannot be fetched.

    Example:

    >>> model = build_model("tiny", num_classes=2, weights=None)
    >>> model.output_shape
    (None, 2)
    """
    _check_outputs(num_classes, multi_label=multi_label)
    names = () if class_names is None else check_class_names(class_names, num_classes)
    row, weights = _choose(base, weights)
    info = ModelInfo(
        base=row.name,
        weights=RANDOM,
        image_size=check_image_size(row, image_size),
        pooling=check_choice("pooling", pooling, POOLINGS),
        hidden=_check_hidden(hidden),
        dropout=_check_dropout(dropout),
        multi_label=multi_label,
        class_names=names,
    )
    resolved = resolve_weights(row, weights)
    _say(resolved.note)
    model = _assemble(row, resolved, info, num_classes, seed)
    model.kerastl = dataclasses.replace(info, weights=resolved.source)
    return model


def _choose(base: str, weights: str | Path | None) -> tuple[Base, str | Path | None]:
    if base != AUTO:
        return get_base(base), weights
    choice = choose_base()
    _say(choice.reason)
    return get_base(choice.name), weights


def _say(line: str) -> None:
    if line:
        print(line, file=sys.stderr)


def _assemble(
    base: Base, weights: ResolvedWeights, info: ModelInfo, num_classes: int, seed: int
) -> keras.Model:
    pixels = keras.Input((*info.image_size, 3), name="pixels")
    with _seeded(seed, "base"):
        network = build_base(base, preprocess(pixels, base))
    load_base_weights(network, base, weights)
    with _seeded(seed, "head"):
        outputs = _add_head(network.output, info, num_classes)
    return keras.Model(pixels, outputs, name=base.name)


def _add_head(
    features: keras.KerasTensor, info: ModelInfo, num_classes: int
) -> keras.KerasTensor:
    x = _POOLING_LAYERS[info.pooling](name="pooling")(features)
    for number, units in enumerate(info.hidden, start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden{number}")(x)
        x = _drop(x, info.dropout, number)
    if not info.hidden:
        x = _drop(x, info.dropout, 1)
    return keras.layers.Dense(
        num_classes,
        activation="sigmoid" if info.multi_label else "softmax",
        dtype=keras.config.dtype_policy().variable_dtype,  # probabilities in half precision
        name="predictions",  # would lose the small ones
    )(x)


def _drop(x: keras.KerasTensor, dropout: float, number: int) -> keras.KerasTensor:
    return keras.layers.Dropout(dropout, name=f"dropout{number}")(x) if dropout else x


@contextmanager
def _seeded(seed: int, part: str) -> Iterator[None]:
    """Seed what Keras draws its initial weights' seeds from, and put it back."""
    state = random.getstate()
    random.seed(derive_seed(seed, part))
    try:
        yield
    finally:
        random.setstate(state)


def _check_outputs(num_classes: int, *, multi_label: bool) -> None:
    least = 1 if multi_label else 2
    if not is_count(num_classes) or num_classes < least:
        hint = "" if multi_label else " One class alone leaves nothing to tell apart."
        raise UsageError(
            f"num_classes={num_classes!r} must be a whole number from {least} up.{hint}"
        )


def _check_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    units = as_tuple(hidden)
    if not all(is_count(number) for number in units):
        raise UsageError(
            f"hidden={hidden!r} must be whole numbers above 0, such as (256,)."
        )
    return units


def _check_dropout(dropout: float) -> float:
    number = isinstance(dropout, int | float) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout < 1:
        raise UsageError(f"dropout={dropout!r} must be a share from 0 to below 1.")
    return float(dropout)
