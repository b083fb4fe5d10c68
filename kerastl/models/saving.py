"""Saving a model to one file and loading it back, with its class names."""

import re
import warnings
import zipfile
from pathlib import Path

import keras

from kerastl.bases import BASES
from kerastl.errors import DataError, StorageError, UsageError
from kerastl.models.information import ModelInfo, get_info
from kerastl.models.preflight import INFO, check_model_file
from kerastl.models.recipes import CLIP, RECIPE, is_recipe
from kerastl.runs import write_atomic

KERAS_NEEDED = (3, 15, 1)  # three holes in model loading are closed only there


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Save a model as one `.keras` file that plain Keras loads as well.

    The file holds architecture, weights and, as `kerastl.json`, the class names and what
    the model was made from; no optimizer. It is read back and compared before it replaces
    an older one.

    Args:
        model: Made by `build_model` or `load_model`, compiled or not.
        path: Ends in `.keras`.

    Returns:
        pathlib.Path of the file.

    Raises:
        UsageError: The path does not end in `.keras`, or the model is not this package's or
            one of CLIP, whose result is saved instead.
        StorageError: It could not be written; an older file is as it was.

    Example:

    >>> import tempfile
    >>> from kerastl.models import build_model
    >>> model = build_model("tiny", num_classes=2, weights=None, class_names=["ant", "bee"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_model(model, f"{folder}/model.keras")
    ...     load_model(path).kerastl.class_names
    ('ant', 'bee')
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise UsageError(f"{str(path)!r} must end in .keras, the one format that is saved.")
    info = get_info(model)
    if info.base == CLIP:
        raise UsageError(
            "A CLIP model has layers of keras-hub's own, which no .keras file here may "
            f"have: save the zero-shot result, whose {RECIPE} `load_model` takes."
        )
    # Without the compiled state: no optimizer in the file, nothing of the user's own code.
    bare = keras.Model(model.input, model.output, name=model.name)
    return write_atomic(
        path,
        lambda temporary: _write(bare, info, temporary),
        lambda temporary: _verify(bare, info, temporary),
        size=sum(weight.numpy().nbytes for weight in bare.weights),
    )


def load_model(path: str | Path) -> keras.Model:
    """Load a model that `save_model` saved, checked before Keras sees it.

    Args:
        path: A `.keras` file, or the `clip.json` of a zero-shot result, from which the
            model is built again.

    Returns:
        keras.Model, not compiled, with its `kerastl` attribute.

    Raises:
        UsageError: It is no `.keras` file of this package, Keras is too old to load a file
            safely, or keras-hub, which CLIP takes, is not installed.
        DataError: It holds something `save_model` never writes.
        StorageError: It is damaged, or the preset of CLIP cannot be fetched.
    """
    _check_keras()
    if is_recipe(path):
        from kerastl.models.clip import load_clip

        return load_clip(path)
    info = check_model_file(path)
    path = Path(path).expanduser()
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        raise StorageError(f"{path} cannot be loaded ({_first_line(error)}).") from error
    _check_fit(model, info, path)
    model.kerastl = info
    return model


def _write(model: keras.Model, info: ModelInfo, path: Path) -> None:
    with warnings.catch_warnings():  # Keras copies variables in a way NumPy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(INFO, info.to_json())


def _verify(model: keras.Model, info: ModelInfo, path: Path) -> None:
    again = load_model(path)
    stored = ModelInfo.from_json(info.to_json())
    same = again.kerastl == stored and len(again.weights) == len(model.weights)
    pairs = zip(model.weights, again.weights, strict=False)
    if not same or not all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in pairs):
        raise DataError("it differs from the model")


def _check_keras() -> None:
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", keras.__version__)
    if not numbers or tuple(map(int, numbers.groups())) < KERAS_NEEDED:
        needed = ".".join(map(str, KERAS_NEEDED))
        raise UsageError(
            f"Keras {keras.__version__} has holes in model loading that {needed} closed: "
            f'pip install "keras>={needed}"'
        )


def _check_fit(model: keras.Model, info: ModelInfo, path: Path) -> None:
    if info.base not in BASES:
        raise DataError(
            f"{path} has the base {info.base!r}, which this kerastl does not know."
        )
    layers = {layer.name for layer in model.layers}
    missing = {last for _, last in BASES[info.base].cuts} - layers
    outputs = len(info.class_names) in (0, model.output_shape[-1])
    if missing or not outputs or model.input_shape[1:3] != info.image_size:
        raise DataError(f"{path}: its {INFO} does not go with its layers.")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
