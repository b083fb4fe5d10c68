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
from kerastl.evaluation.threshold import NOT_SURE
from kerastl.predicting.members import (
    Models,
    average_members,
    check_weights,
    load_members,
    predict_members,
)
from kerastl.predicting.thresholds import check_threshold

if TYPE_CHECKING:
    import keras
    import pandas as pd

FILES_AT_ONCE = 256  # decoded together; bounds the memory for any number of files


def predict_paths(
    model: "Models",
    paths: str | Path | Iterable[str | Path],
    *,
    top_k: int = 3,
    tta: str | Sequence[str] = (),
    threshold: float | None = None,
    weights: Sequence[float] | None = None,
) -> "pd.DataFrame":
    """Classify image files and return one row per file.

    A file that cannot be read is a row with the reason in `error`; the others are
    classified all the same.

    Args:
        model: From `build_model` or `load_model`, or the path of a run folder or a `.keras`
            file; a list of them for the mean of their probabilities.
        paths: Files, folders (searched through, hidden and system files left out) and
            globs such as `"new/**/*.jpg"`; one or several.
        top_k: How many classes to name per image, the most probable first.
        tta: Views of each image to average over, `"flip"` and `"crops"`; none by default.
        threshold: Least confidence to answer with, 0 to 1, such as `value` of
            `run.find_threshold`; adds a column `answer`. Default: no such column.
        weights: How much each of several models counts; default: all the same.

    Returns:
        DataFrame with `path`, `answer` (the label or `not sure`, with a threshold),
        `label`, `confidence`, `label_2`, `confidence_2`, ... up to `top_k`, and `error`
        (empty where there is none). With several labels per image `label` has all of
        probability 0.5 and more, joined by `|`.

    Raises:
        UsageError: Nothing matches a path, an argument is out of range, the model is none
            of this package, or several tell different classes apart.

    Example:

    >>> import kerastl
    >>> model = kerastl.build_model("tiny", num_classes=2, weights=None)
    >>> predict_paths(model, "no-such.jpg")[["path", "error"]].values.tolist()
    [['no-such.jpg', 'cannot be read (No such file or directory)']]
    """
    import pandas as pd

    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise UsageError(f"top_k={top_k!r}: give a whole number of at least 1.")
    views = models.check_views(tta)
    check_threshold(threshold)
    files = expand_paths(paths)
    check_weights(weights, len(model) if isinstance(model, list | tuple) else 1)
    members = load_members(model, one_label=threshold is not None)
    rows = [
        row
        for start in range(0, len(files), FILES_AT_ONCE)
        for row in _predict_files(
            members, files[start : start + FILES_AT_ONCE], top_k, views, weights
        )
    ]
    columns = ["path", *_name_columns(_count_named(members[0], top_k)), "error"]
    table = pd.DataFrame(rows, columns=columns)
    if threshold is not None:
        table.insert(1, "answer", _answer(table, threshold))
    return table


def _answer(table: "pd.DataFrame", threshold: float) -> "pd.Series":
    sure = table["confidence"].isna() | (table["confidence"] >= threshold)
    return table["label"].where(sure, NOT_SURE)


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
    members: Sequence["keras.Model"],
    files: Sequence[Path],
    top_k: int,
    views: Sequence[str],
    weights: Sequence[float] | None,
) -> list[dict[str, Any]]:
    sizes = {models.get_info(each).image_size for each in members}
    decoded = {size: decode_paths(files, size) for size in sizes}
    readable = np.all([each[1] for each in decoded.values()], axis=0)
    reasons = {name: why for each in decoded.values() for name, why in each[2]}
    given = predict_members(members, lambda size: decoded[size][0][readable], views)
    model, probabilities = members[0], iter(average_members(given, weights))
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
