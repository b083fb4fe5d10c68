"""Putting pretrained weights into a base that was just built."""

import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np

from kerastl.bases import Base
from kerastl.errors import KerastlError, StorageError, UsageError
from kerastl.models.preflight import check_weights_only
from kerastl.weights import RANDOM, ResolvedWeights

_NEEDS_CORRECTION = ("imagenet", RANDOM)
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], "float32")
_IMAGENET_STD = np.array([0.229, 0.224, 0.225], "float32")


def load_base_weights(network: keras.Model, base: Base, weights: ResolvedWeights) -> None:
    """Load a file into a base, all of it or an error.

    Args:
        network: The base as built, random.
        base: Its row.
        weights: A file of Keras' own (`.h5`, `.weights.h5`, a whole `.keras` model, of
            which the base's part is taken) or of arrays by `layer/variable` (`.npz`).

    Raises:
        UsageError: The file holds weights of another network.
        StorageError: The file is damaged.
    """
    if weights.path is not None:
        _load_checked(network, base, weights.path)
    _correct_normalization(network, base, weights.source)


def _load_checked(network: keras.Model, base: Base, path: Path) -> None:
    try:
        with warnings.catch_warnings():  # Keras warns where it leaves layers random
            warnings.simplefilter("error", UserWarning)
            _load_file(network, path)
    except KerastlError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, UserWarning) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(
            f"weights={str(path)!r} do not fit {base.name}: {reason}"
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        raise StorageError(f"{path} cannot be read ({error}).") from error


def _load_file(network: keras.Model, path: Path) -> None:
    if path.suffix == ".npz":
        load_arrays(network, path)
    elif path.suffix == ".keras":
        check_weights_only(path)
        network.load_weights(path)
    else:
        network.load_weights(path)


def load_arrays(network: keras.Model, path: Path) -> None:
    """Fill a network from a NumPy archive with one array per `layer/variable`.

    Raises:
        UsageError: An array is missing, left over or of another shape.
        StorageError: The archive is damaged.
    """
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in network.layers
        for variable in layer.weights
    }
    arrays = _read_arrays(path)
    different = sorted(set(variables) ^ set(arrays))
    if different:
        raise UsageError(
            f"weights={str(path)!r} do not fit {network.name}: {len(different)} arrays are "
            f"missing or left over, the first is {different[0]!r}."
        )
    for name, variable in variables.items():
        if arrays[name].shape != tuple(variable.shape):
            raise UsageError(
                f"weights={str(path)!r} do not fit {network.name}: {name!r} has shape "
                f"{arrays[name].shape}, not {tuple(variable.shape)}."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name].astype(variable.dtype))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise StorageError(f"{path} is damaged or no NumPy archive ({error}).") from error


def _correct_normalization(network: keras.Model, base: Base, source: str) -> None:
    """Do what Keras does by one more layer, so that every start has the same graph.

    The published files of EfficientNet hold standard deviations where variances belong,
    and Keras divides by their root a second time where it is told `weights="imagenet"`.
    Random weights get the values that come out of this: the layer computes with copies of
    its variables, so a checkpoint assigned to them must find them as they were.
    """
    if not base.constructor.startswith("EfficientNetB") or source not in _NEEDS_CORRECTION:
        return
    layer = network.get_layer("normalization")
    mean, variance, count = layer.get_weights()
    if source == RANDOM:
        mean, variance = _IMAGENET_MEAN, _IMAGENET_STD
    layer.set_weights([mean, variance * _IMAGENET_STD, count])
    layer.finalize_state()
