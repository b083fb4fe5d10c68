"""The features of a run's images on a plane, from the pass that scored them."""

from typing import TYPE_CHECKING

import keras
import numpy as np

from kerastl.data import Split
from kerastl.data.rows import Reader
from kerastl.errors import UsageError, check_choice
from kerastl.evaluation.projections import (
    Projection,
    choose_rows,
    project_alike,
    project_features,
)
from kerastl.finetuning.answers import decide, name_labels
from kerastl.finetuning.features import extract_features, split_at_head
from kerastl.models import get_info
from kerastl.reporting import FeatureMap

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run

MOST_IMAGES = 2000  # more points than that hide each other
MOST_VALUES = 1 << 24  # numbers held, for features as wide as a flattened picture
_FEWEST = 3


def predict_with_features(
    model: keras.Model, pixels: np.ndarray, rows: np.ndarray, batch_size: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Predict probabilities of all images, and keep the features of some on the way.

    Args:
        model: From `build_model` or `load_model`.
        pixels: uint8 `(n, height, width, 3)`.
        rows: int `(m,)`, in ascending order: whose features to keep.
        batch_size: Images per step, as in `predict_probabilities`.

    Returns:
        Probabilities, float32 `(n, classes)`; features, float32 `(m, d)`.
    """
    both, reader = _join(model), Reader(pixels)
    probabilities = np.empty((len(pixels), model.output_shape[-1]), np.float32)
    features = np.empty((len(rows), both.output_shape[0][-1]), np.float32)
    for start in range(0, len(pixels), batch_size):
        part = slice(start, start + batch_size)
        found, probabilities[part] = both.predict_on_batch(
            np.ascontiguousarray(reader[part])
        )
        first, last = np.searchsorted(rows, (start, start + batch_size))
        features[first:last] = found[rows[first:last] - start]
    return probabilities, features


def _join(model: keras.Model) -> keras.Model:
    boundary = split_at_head(model).boundary
    return keras.Model(model.inputs[0], [*boundary, model.outputs[0]])


def choose_shown(split: Split, model: keras.Model) -> np.ndarray:
    """Return the rows of a split that a map shows: at most 2,000, in proportion."""
    width = split_at_head(model).boundary[0].shape[-1]
    most = min(MOST_IMAGES, MOST_VALUES // width)
    return choose_rows(np.asarray(split.labels), most)


def map_split(run: "Run", name: str, method: str) -> FeatureMap:
    """Return the map of one split.

    Raises:
        UsageError: No such split, one that was not scored, or too few images.
    """
    check_choice("split", name, run.data.splits)
    if name == "test" and "test" not in run.probabilities:
        raise UsageError(
            "The test split is not mapped before it is scored: call run.evaluate() first, "
            'or give split="validation".'
        )
    rows, features, answers = _gather(run, name)
    projection = project_features(features, method)
    return _describe(run, name, rows, answers, projection)


def map_splits(run: "Run") -> list[FeatureMap]:
    """Return the maps of all scored splits, on the principal components of the first."""
    names = [name for name in ("validation", "test") if name in run.probabilities]
    gathered = [(name, *_gather(run, name)) for name in names]
    if not gathered or len(gathered[0][1]) < _FEWEST:
        return []
    projections = project_alike(*(features for _, _, features, _ in gathered))
    return [
        _describe(run, name, rows, answers, projection)
        for (name, rows, _, answers), projection in zip(gathered, projections, strict=True)
    ]


def collect_maps(run: "Run") -> dict[str, np.ndarray]:
    """Return the maps as arrays, for the report.

    Returns:
        For each split float32 `(n, 2)` as `<split>_points`, texts `(n,)` as
        `<split>_labels` and `<split>_predicted`, the number of images they were drawn from
        as `<split>_total`, and float64 `(2,)` as `<split>_explained`.
    """
    arrays = {}
    for each in map_splits(run):
        arrays |= {
            f"{each.split}_points": each.points,
            f"{each.split}_labels": np.array(each.labels, str),
            f"{each.split}_predicted": np.array(each.predicted, str),
            f"{each.split}_total": np.array(each.total),
            f"{each.split}_explained": np.array(each.explained),
        }
    return arrays


def _gather(run: "Run", name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which rows are shown, their features, and what is said of them."""
    split = run.data.splits[name]
    if name == "validation":
        run.score_split(name)
    rows = choose_shown(split, run.model)
    if name in run.features:
        return rows, run.features[name], run.probabilities[name][rows]
    pixels = split.pixels(get_info(run.model).image_size)[rows]
    if name in run.probabilities:  # of a run that was read back
        features = extract_features(run.model, pixels).astype(np.float32)
        return rows, features, run.probabilities[name][rows]
    answers, features = predict_with_features(run.model, pixels, np.arange(len(rows)))
    return rows, features, answers


def _describe(
    run: "Run", name: str, rows: np.ndarray, answers: np.ndarray, projection: Projection
) -> FeatureMap:
    split, names = run.data.splits[name], run.data.class_names
    return FeatureMap(
        points=projection.points,
        labels=tuple(name_labels(split.labels[rows], names)),
        predicted=tuple(name_labels(decide(answers, split), names)),
        split=name,
        total=len(split),
        method=projection.method,
        explained=projection.explained,
    )
