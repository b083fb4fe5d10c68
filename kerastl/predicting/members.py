"""The models that predict: one, or several whose probabilities are averaged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kerastl import models  # its names load Keras when used, after all checks
from kerastl.errors import UsageError
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    import keras

MODEL = "model.keras"
Models: TypeAlias = "keras.Model | str | Path | Sequence[keras.Model | str | Path]"


def find_model(path: str | Path) -> Path:
    """Return the model file of a run or of a search's best run, or a file's own path.

    Raises:
        UsageError: There is no such path, or the folder has no model.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"There is no run folder or .keras file {str(path)!r}.")
    if not path.is_dir():
        return path
    for model in (path / MODEL, path / "best" / MODEL, path / models.RECIPE):
        if model.is_file():
            return model
    raise UsageError(
        f"{path} has no {MODEL}: give the folder of a finished run, or a .keras file."
    )


def load_members(model: "Models", *, one_label: bool = False) -> list["keras.Model"]:
    """Return the models to average, loaded where they are paths.

    Args:
        model: A model, a run folder or a `.keras` file, or a list of them.
        one_label: Refuse models of several labels per image.

    Raises:
        UsageError: There is none, or they tell different classes apart.
    """
    given = list(model) if isinstance(model, list | tuple) else [model]
    if not given:
        raise UsageError("There is no model: give at least one.")
    # what files say is read, and refused, before Keras is loaded
    places = [find_model(each) if isinstance(each, str | Path) else each for each in given]
    infos = [
        models.read_info(each) if isinstance(each, Path) else models.get_info(each)
        for each in places
    ]
    _check_members(infos, one_label=one_label)
    if any(isinstance(each, Path) for each in places):
        start_tensorflow()
    loaded = [models.load_model(p) if isinstance(p, Path) else p for p in places]
    if len({each.output_shape[-1] for each in loaded}) > 1:
        raise UsageError("The models tell different numbers of classes apart.")
    return loaded


def _check_members(infos: "Sequence[models.ModelInfo]", *, one_label: bool) -> None:
    first = infos[0]
    for info in infos:
        if info.class_names != first.class_names:
            raise UsageError(
                f"One model tells {', '.join(first.class_names)} apart, another "
                f"{', '.join(info.class_names)}: only models of the same classes, in the "
                "same order, can be averaged."
            )
        if info.multi_label != first.multi_label:
            raise UsageError(
                "One model gives one label per image, another several: they cannot be "
                "averaged."
            )
    if one_label:
        check_one_label(first)


def check_one_label(info: "models.ModelInfo") -> None:
    """Refuse a threshold for a model of several labels per image.

    Raises:
        UsageError: The model is one.
    """
    if info.multi_label:
        raise UsageError(
            "With several labels per image there is not one confidence to be sure by: "
            "leave the threshold out and read the probabilities."
        )


def predict_members(
    members: Sequence["keras.Model"],
    pixels: Callable[[tuple[int, int]], np.ndarray],
    views: Sequence[str] = (),
) -> list[np.ndarray]:
    """Return the probabilities of each model for the same images.

    Args:
        members: Models, perhaps of different image sizes.
        pixels: Gives the images at a size, such as a split's `pixels`.
        views: Views of each image to average over.

    Returns:
        One float32 `(n, classes)` per model.
    """
    return [
        models.predict_probabilities(
            each, pixels(models.get_info(each).image_size), views=views
        )
        for each in members
    ]


def average_members(
    each: Sequence[np.ndarray], weights: Sequence[float] | None = None
) -> np.ndarray:
    """Return the mean of several models' probabilities; of one alone they are unchanged.

    Args:
        each: One `(n, classes)` per model.
        weights: One number above 0 per model; None for all the same.

    Returns:
        float32 `(n, classes)`.

    Example:

    >>> average_members([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])], [3, 1]).tolist()
    [[0.75, 0.25]]
    """
    shares = check_weights(weights, len(each))
    return each[0] if len(each) == 1 else np.tensordot(shares, each, 1).astype("float32")


def check_weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
    """Return how much each model counts, float64 that sums to 1.

    Args:
        weights: One number above 0 per model; None for all the same.
        count: How many models there are.

    Raises:
        UsageError: The numbers do not fit.

    Example:

    >>> check_weights([1, 3], 2).tolist()
    [0.25, 0.75]
    """
    given = np.ones(count) if weights is None else np.asarray(weights, float)
    if given.shape != (count,) or not np.isfinite(given).all() or (given <= 0).any():
        raise UsageError(
            f"weights={weights!r} for {count} models: give one number above 0 for each."
        )
    return given / given.sum()
