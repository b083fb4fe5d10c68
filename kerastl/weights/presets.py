"""Presets of keras-hub: their weights, turned into the arrays of a network of ours.

keras-hub is imported only where there is a preset to convert.
"""

import os
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.errors import StorageError, UsageError
from kerastl.runs import write_atomic
from kerastl.runs.arrays import verify_npz, write_npz
from kerastl.weights.download import probe
from kerastl.weights.files import HasWeights

if TYPE_CHECKING:
    import keras

INSTALL = "pip install 'kerastl[zoo]'"
CONFIG = "config.json"  # a folder with it is a preset
_ELSE = (
    "Give the folder of a preset that is on this machine (weights=PATH, --weights PATH), "
    "or start from random weights with weights=None (--weights none)."
)
# what a residual net of basic blocks is in keras-hub's words; how many, the weights say
_LAYOUT = {
    "block_type": "basic_block",
    "use_pre_activation": False,
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_strides": [1, 2, 2, 2],
}
_PIXELS = np.array([[[0, 0, 0], [255, 255, 255]]], "float32")
_CLOSE = 1e-3  # a grey level is 17 times that


def explain_package() -> str:
    """Say that keras-hub is missing and how to get it; an empty string when it is there."""
    try:
        found = find_spec("keras_hub") is not None
    except ValueError:  # something that is no module bears its name
        found = False
    return "" if found else f"keras-hub, which is not installed: {INSTALL}"


def explain_preset(base: HasWeights) -> str:
    """Say why the preset of a base cannot be fetched; an empty string when it can."""
    address = base.pretrained.url
    # any answer will do: which files there are is between the server and keras-hub
    reason = probe(_find_server(address), refusals=False)
    return reason and f"{address} cannot be reached ({reason})"


def fetch_preset(base: HasWeights, path: Path) -> None:
    """Let keras-hub fetch the preset of a base, and keep its weights at `path`.

    Raises:
        UsageError: keras-hub is not installed.
        StorageError: The preset cannot be fetched or loaded.
    """
    address = base.pretrained.url
    asked = f"weights={base.pretrained.source!r} of {base.name} come from"
    _require_package(asked)
    if reason := explain_preset(base):  # keras-hub would try for half a minute
        raise StorageError(f"{asked} keras-hub, and {reason}. {_ELSE}")
    print(f"Fetching {address} with keras-hub", file=sys.stderr)
    keep_preset(base, address, path, asked)


def keep_preset(base: HasWeights, address: str, path: Path, asked: str) -> None:
    """Convert the preset at `address`, as `convert_preset` does, into a file.

    Args:
        base: The row of the network.
        address: Of the preset.
        path: The `.npz` file to write.
        asked: What was asked for, to begin the sentence with where keras-hub is missing.
    """
    _require_package(asked)
    arrays = convert_preset(base, address)
    write_atomic(path, write_npz(arrays), verify_npz(arrays))


def _require_package(asked: str) -> None:
    if missing := explain_package():
        raise UsageError(f"{asked} {missing}.")


def _find_server(address: str) -> str:
    if address.startswith("hf:"):
        return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return "https://api.kaggle.com"


def convert_preset(base: HasWeights, address: str) -> dict[str, np.ndarray]:
    """Return the weights of a preset under the names that our network of it has.

    Args:
        base: The row of the network, whose weights are counted and whose preprocessing is
            compared with the preset's.
        address: What keras-hub's `from_preset` takes, a folder or `scheme://...`.

    Returns:
        dict from `layer/variable` to float32 arrays.

    Raises:
        UsageError: It is the preset of another network, or prepares pixels otherwise.
        StorageError: keras-hub cannot load it.
    """
    with _keep_random_state():
        backbone, converter = _load(base, address)
    problem = _compare_networks(backbone, base) or _compare_pixels(converter, base)
    if problem:
        raise UsageError(f"weights={address!r} do not fit {base.name}: {problem}.")
    return {
        f"{_rename(layer.name)}/{variable.name}": np.asarray(variable, "float32")
        for layer in backbone.layers
        for variable in layer.weights
    }


@contextmanager
def _keep_random_state() -> Iterator[None]:
    """Put back what Keras draws seeds from: a first load is to be like any other."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _load(base: HasWeights, address: str) -> tuple["keras.Model", Any]:
    try:
        import keras_hub

        # weights are kept whatever precision the program at hand computes in
        backbone = keras_hub.models.Backbone.from_preset(address, dtype="float32")
        return backbone, _load_converter(keras_hub.layers.ImageConverter, address)
    except Exception as error:  # downloads, files and their formats raise almost anything
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise StorageError(
            f"The weights of {base.name} could not be loaded from {address} by keras-hub "
            f"({reason}). {_ELSE}"
        ) from error


def _load_converter(converter: type, address: str) -> Any:
    try:
        return converter.from_preset(address)
    except FileNotFoundError:  # saved without one
        return None


def _compare_networks(backbone: "keras.Model", base: HasWeights) -> str:
    config = backbone.get_config()
    for name, expected in _LAYOUT.items():
        found = config.get(name)
        if (list(found) if isinstance(found, tuple) else found) != expected:
            kind = type(backbone).__name__
            return f"it is a {kind} whose {name} is {found!r}, not {expected!r}"
    count = backbone.count_params()
    if count != base.parameters:
        return f"it has {count:,} weights, not {base.parameters:,}"
    return ""


def _compare_pixels(converter: Any, base: HasWeights) -> str:
    if converter is None:
        return ""
    converter.image_size = None  # pixels come in the size that is trained on
    found = np.asarray(converter(_PIXELS[None]))[0, 0]
    scale, offset = base.scaling
    expected = _PIXELS[0] * scale + offset
    if found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=_CLOSE):
        return ""
    ranges = [" ".join(f"{value:.3f}" for value in pixel) for pixel in (*found, *expected)]
    return (
        "its image converter turns black and white into {} and {}, this base's "
        "preprocessing into {} and {}"
    ).format(*ranges)


def _rename(layer: str) -> str:
    """Return our name of a layer: `stack0_block1_2_conv` is `conv2_block2_2_conv`."""
    found = re.fullmatch(r"stack(\d+)_block(\d+)_(.+)", layer)
    if not found:
        return layer
    return f"conv{int(found[1]) + 2}_block{int(found[2]) + 1}_{found[3]}"
