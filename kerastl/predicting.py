"""Classifying image files: paths, folders and globs in, a table out."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl import models  # its names load Keras when used, after all checks
from kerastl.data.decoding import decode_paths
from kerastl.data.listing import find_files
from kerastl.errors import UsageError
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    import keras
    import pandas as pd

FILES_AT_ONCE = 256  # decoded together; bounds the memory for any number of files
MODEL = "model.keras"


def predict_paths(
    model: "keras.Model | str | Path",
    paths: str | Path | Iterable[str | Path],
    *,
    top_k: int = 3,
) -> "pd.DataFrame":
    """Classify image files and return one row per file.

    A file that cannot be read is a row with the reason in `error`; the others are
    classified all the same.

    Args:
        model: From `build_model` or `load_model`, or the path of a run folder or a `.keras`
            file.
        paths: Files, folders (searched through, hidden and system files left out) and
            globs such as `"new/**/*.jpg"`; one or several.
        top_k: How many classes to name per image, the most probable first.

    Returns:
        DataFrame with `path`, `label`, `confidence`, `label_2`, `confidence_2`, ... up to
        `top_k`, and `error` (empty where there is none). With several labels per image
        `label` has all of probability 0.5 and more, joined by `|`.

    Raises:
        UsageError: Nothing matches a path, `top_k` is under 1, or the model is none of
            this package.

    Example:

    >>> import kerastl
    >>> model = kerastl.build_model("tiny", num_classes=2, weights=None)
    >>> predict_paths(model, "no-such.jpg")[["path", "error"]].values.tolist()
    [['no-such.jpg', 'cannot be read (No such file or directory)']]
    """
    import pandas as pd

    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise UsageError(f"top_k={top_k!r}: give a whole number of at least 1.")
    files = expand_paths(paths)
    if isinstance(model, str | Path):
        path = find_model(model)
        models.read_info(path)  # refuses what is no model before Keras is loaded
        start_tensorflow()
        model = models.load_model(path)
    rows = [
        row
        for start in range(0, len(files), FILES_AT_ONCE)
        for row in _predict_files(model, files[start : start + FILES_AT_ONCE], top_k)
    ]
    columns = ["path", *_name_columns(_count_named(model, top_k)), "error"]
    return pd.DataFrame(rows, columns=columns)


def find_model(path: str | Path) -> Path:
    """Return the model file of a run, of a search's best run, or a model file's own path.

    Raises:
        UsageError: There is no such path, or the folder has no model.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"There is no run folder or .keras file {str(path)!r}.")
    if not path.is_dir():
        return path
    for model in (path / MODEL, path / "best" / MODEL):
        if model.is_file():
            return model
    raise UsageError(
        f"{path} has no {MODEL}: give the folder of a finished run, or a .keras file."
    )


def expand_paths(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the files that paths, folders and globs stand for, each once, in order.

    Raises:
        UsageError: A glob or folder holds no image.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files = [file for path in given for file in _expand(path)]
    return list(dict.fromkeys(files))


def _expand(path: str | Path) -> Sequence[Path]:
    there = Path(path)
    if there.is_dir():
        found: Sequence[Path] = [file.path for file in find_files(there).files]
    elif there.exists() or not glob.has_magic(str(path)):
        return [there]
    else:
        matches = map(Path, sorted(glob.glob(str(path), recursive=True)))
        found = [match for match in matches if match.is_file()]
    if not found:
        raise UsageError(f"{str(path)!r} matches no image: give files, folders or globs.")
    return found


def _predict_files(
    model: "keras.Model", files: Sequence[Path], top_k: int
) -> list[dict[str, Any]]:
    pixels, readable, failures = decode_paths(files, models.get_info(model).image_size)
    reasons = dict(failures)
    probabilities = iter(models.predict_probabilities(model, pixels[readable]))
    return [
        {"path": str(file), **_describe(model, next(probabilities), top_k), "error": ""}
        if good
        else {"path": str(file), "error": reasons[str(file)]}
        for file, good in zip(files, readable, strict=True)
    ]


def _describe(
    model: "keras.Model", probabilities: np.ndarray, top_k: int
) -> dict[str, Any]:
    names = _class_names(model)
    ranked = np.argsort(-probabilities, kind="stable")[: _count_named(model, top_k)]
    labels = [names[index] for index in ranked]
    if models.get_info(model).multi_label:
        labels[0] = "|".join(names[index] for index in np.flatnonzero(probabilities >= 0.5))
    pairs = zip(labels, probabilities[ranked].tolist(), strict=True)
    values = [value for pair in pairs for value in pair]
    return dict(zip(_name_columns(len(ranked)), values, strict=True))


def _class_names(model: "keras.Model") -> tuple[str, ...]:
    numbers = tuple(map(str, range(model.output_shape[-1])))
    return models.get_info(model).class_names or numbers


def _count_named(model: "keras.Model", top_k: int) -> int:
    return min(top_k, model.output_shape[-1])


def _name_columns(count: int) -> list[str]:
    ranks = ["", *(f"_{rank}" for rank in range(2, count + 1))]
    return [f"{kind}{rank}" for rank in ranks for kind in ("label", "confidence")]
