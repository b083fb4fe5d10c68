"""Looking at a model file before Keras does: only what this package writes goes through.

A `.keras` file is code as data: its config names the classes to build and what to call them
with. So every class in it must be one that `build_model` emits, every member of the archive
one that `save_model` writes, and no size may be larger than what is on the disk suggests.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerastl.errors import DataError, StorageError, UsageError
from kerastl.models.information import ModelInfo
from kerastl.models.recipes import check_preset, is_recipe, read_recipe
from kerastl.models.tensors import check_weights_store

INFO = "kerastl.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
_LARGEST = {"metadata.json": 1 << 16, CONFIG: 10_000_000, INFO: 1 << 20, WEIGHTS: 2 << 30}
_EXPANSION = 100  # Keras stores members as they are
_ENCRYPTED = 1
_MARKERS = {"__keras_tensor__", "__slice__", "__ellipsis__"}
_KERAS = {
    "keras": {"DTypePolicy", "Sequential"},
    "keras.initializers": {
        *("GlorotUniform", "HeNormal", "Ones", "RandomNormal", "VarianceScaling", "Zeros"),
    },
    "keras.layers": {
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "Flatten",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "InputLayer",
        "LayerNormalization",
        "MaxPooling2D",
        "Multiply",
        "Normalization",
        "ReLU",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "ZeroPadding2D",
    },
    "keras.src.applications.convnext": {"LayerScale"},
    "keras.src.applications.inception_resnet_v2": {"CustomScaleLayer"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.numpy": {"Add", "GetItem", "Multiply", "Pad", "Power"},
}
ALLOWED = frozenset((module, name) for module, names in _KERAS.items() for name in names)


def check_model_file(path: str | Path) -> ModelInfo:
    """Read what a saved model holds, and refuse one that Keras had better not load.

    Imports no Keras, so a broken or foreign file is refused in milliseconds.

    Args:
        path: A `.keras` file.

    Returns:
        ModelInfo of the model.

    Raises:
        UsageError: It is no `.keras` file of this package.
        DataError: It holds something that `save_model` never writes.
        StorageError: It is damaged.
    """
    path = _check_path(path)
    with _open(path) as archive:
        members = _check_members(path, archive)
        _check_ours(path, members)
        _check_config(path, _read(path, archive, CONFIG))
        _read(path, archive, "metadata.json")
        _check_weights(path, _read(path, archive, WEIGHTS))
        return _parse_info(path, _read(path, archive, INFO))


def read_info(path: str | Path) -> ModelInfo:
    """Read what a saved model was made from and its class names, without its weights.

    Raises:
        UsageError: It is no `.keras` file of this package, nor a `clip.json` whose preset
            can be looked for.
        DataError: It holds something that `save_model` never writes.
        StorageError: It is damaged.
    """
    if is_recipe(path):
        recipe = read_recipe(path)
        check_preset(recipe.preset)
        return recipe.info
    path = _check_path(path)
    with _open(path) as archive:
        _check_ours(path, _check_members(path, archive))
        return _parse_info(path, _read(path, archive, INFO))


def check_weights_only(path: Path) -> None:
    """Check a `.keras` file of which only the weights are to be read.

    Raises:
        UsageError: It is no `.keras` file.
        DataError: Its members or its weights are not such as Keras writes.
        StorageError: It is damaged.
    """
    with _open(path) as archive:
        _check_members(path, archive)
        _check_weights(path, _read(path, archive, WEIGHTS))


def _check_path(path: str | Path) -> Path:
    text = str(path)
    if "://" in text:
        raise UsageError(f"{text!r} is an address: download the file and give its path.")
    path = Path(path).expanduser()
    if path.is_dir():
        raise UsageError(f"{text!r} is a folder: give the .keras file in it.")
    if path.suffix != ".keras":
        raise UsageError(f"{text!r} is no .keras file, the only format that is loaded.")
    if not path.is_file():
        raise UsageError(f"{text!r}: there is no such file.")
    return path


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(path, error) from error


def _check_members(path: Path, archive: zipfile.ZipFile) -> set[str]:
    members = archive.infolist()
    names = [member.filename for member in members]
    strange = sorted(set(names) - set(_LARGEST))
    if strange:
        raise _refused(path, f"it holds a file {strange[0]!r}")
    if len(names) != len(set(names)):
        raise _refused(path, "it holds two files of the same name")
    for member in members:
        _check_size(path, member)
    return set(names)


def _check_size(path: Path, member: zipfile.ZipInfo) -> None:
    if member.flag_bits & _ENCRYPTED:
        raise _refused(path, f"its {member.filename} is encrypted")
    largest = _LARGEST[member.filename]
    if member.file_size > largest:
        size = f"{member.file_size:,} bytes, more than {largest:,}"
        raise _refused(path, f"its {member.filename} unpacks to {size}")
    if member.file_size > _EXPANSION * max(member.compress_size, 1):
        raise _refused(path, f"its {member.filename} unpacks to over {_EXPANSION} times")


def _check_ours(path: Path, members: set[str]) -> None:
    if INFO not in members:
        raise UsageError(
            f"{str(path)!r} was not saved by kerastl: it has no {INFO}. Its weights can be "
            "used with build_model(..., weights=path)."
        )


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)  # checks its CRC, too
    except KeyError as error:
        raise _damaged(path, f"{name} is missing") from error
    except Exception as error:  # zlib, lzma and zipfile have no common one
        raise _damaged(path, error) from error


def _check_config(path: Path, text: bytes) -> None:
    try:
        config = json.loads(text)
        if not isinstance(config, dict) or config.get("class_name") != "Functional":
            raise _refused(path, "it is not a functional model")
        for item in _objects(config):
            _check_object(path, item)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise _refused(path, f"its {CONFIG} cannot be read ({error})") from error


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value or "module" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check_object(path: Path, item: dict[str, Any]) -> None:
    module, name = item.get("module"), item.get("class_name")
    marker = module is None and isinstance(name, str) and name in _MARKERS
    known = isinstance(module, str) and isinstance(name, str) and (module, name) in ALLOWED
    if not marker and not known:
        raise _refused(path, f"it uses {module}.{name}")
    if item.get("registered_name") not in (None, name):
        raise _refused(path, f"it calls {name} {item['registered_name']!r}")


def _check_weights(path: Path, content: bytes) -> None:
    try:
        problem = check_weights_store(io.BytesIO(content))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    if problem:
        raise _refused(path, f"its weights hold {problem}")


def _parse_info(path: Path, text: bytes) -> ModelInfo:
    try:
        return ModelInfo.from_json(text)
    except DataError as error:
        raise DataError(f"{path} was not loaded: {error}") from error


def _refused(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} was not loaded: {reason}, which no model saved by kerastl does. Get the "
        "file again from where it was made."
    )


def _damaged(path: Path, reason: object) -> StorageError:
    return StorageError(
        f"{path} is damaged or no .keras file ({reason}). Copy or save it again."
    )
