"""Reading a run folder: what is there, and a sentence for what is missing or damaged."""

import json
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kerastl.diagnosis.records import Diagnosis
from kerastl.errors import DataError, UsageError
from kerastl.evaluation.calibration import Calibration
from kerastl.evaluation.scores import Scores
from kerastl.reporting.embeddings import FeatureMap

_LOST = {
    "config.toml": "the settings are not shown",
    "stages.json": "there is no table of stages",
    "history.csv": "there are no training curves",
    "metrics.json": "there are no scores",
    "predictions.csv": "single mistakes are not listed",
    "samples.npz": "no training batch, no worst predictions, no heat maps are shown",
    "embeddings.npz": "there is no map of the features",
    "environment.json": "versions are not shown",
}
# only some runs have these
_EXTRA = {
    "calibration.json": "its reliability diagram is not shown",
    "diagnosis.json": "what the run was diagnosed with is not shown",
}
_TEXT_COLUMNS = ("split", "name", "label", "predicted")
_NUMBER_COLUMNS = ("stage_index", "epoch", "loss", "accuracy", "val_loss")
_NUMBER_COLUMNS += ("val_accuracy", "seconds")
# Written before text that a spreadsheet would run as a formula; runs.py puts it there.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
DAMAGE = (
    DataError,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds; everything is empty or None where a file is missing.

    Args:
        config: Text of config.toml.
        settings: The same, parsed.
        stages: Entries of stages.json.
        history: Rows of history.csv.
        metrics: metrics.json.
        scores: Scores by split, "test" and "validation".
        predictions: Rows of predictions.csv.
        samples: Arrays of samples.npz: train_batch, worst and best, the titles of each,
            and the heat maps of the latter two.
        maps: Maps of the features, by split.
        environment: environment.json.
        calibration: calibration.json, of a run that was calibrated.
        diagnosis: diagnosis.json, of a run that was diagnosed.
        missing: One sentence per file that is missing or cannot be read.
    """

    config: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    history: pd.DataFrame | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    maps: tuple[FeatureMap, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    diagnosis: Diagnosis | None = None
    missing: tuple[str, ...] = ()

    @property
    def main_scores(self) -> Scores | None:
        """The scores to speak of first: test, else validation, else None."""
        return self.scores.get("test") or self.scores.get("validation")

    def sample(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Return images and titles of a sample by its name; empty without any."""
        titles = self.samples.get(f"{name}_titles", np.zeros(0, str)).tolist()
        return self.samples.get(name, np.zeros((0, 1, 1, 3), np.uint8)), titles

    def explained(self, name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Return images, heat maps and titles of "worst" or "best"; empty without any."""
        maps = self.samples.get(f"{name}_maps", np.zeros((0, 1, 1, 1), np.float32))
        images, titles = self.sample(name)
        return images[: len(maps)], maps, titles[: len(maps)]

    @property
    def maps_note(self) -> str:
        """What to know of the heat maps, or empty."""
        return str(self.samples.get("maps_note", ""))


def read_record(folder: str | Path) -> RunRecord:
    """Read what a report needs from a run folder.

    Args:
        folder: The run's folder.

    Returns:
        The record; `missing` names each file that is absent or damaged.

    Raises:
        UsageError: The folder does not exist or holds nothing of a run.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in _LOST):
        raise UsageError(
            f"{str(folder)!r} is not a run folder: it holds none of {', '.join(_LOST)}. "
            "Give a folder such as runs/finetune-1."
        )
    fields: dict[str, Any] = {}
    wanted = [*_LOST, *(name for name in _EXTRA if (folder / name).is_file())]
    missing = [_read_into(fields, folder / name) for name in wanted]
    return RunRecord(**fields, missing=tuple(filter(None, missing)))


def _read_into(fields: dict[str, Any], path: Path) -> str:
    """Add a file's fields, or return the sentence that says why there are none."""
    if not path.is_file():
        return f"{path.name} is missing: {_LOST[path.name]}."
    try:
        fields.update(_READERS[path.name](path))
    except DAMAGE as error:
        kind = type(error).__name__
        return f"{path.name} cannot be read ({kind}): {(_LOST | _EXTRA)[path.name]}."
    return ""


def read_config(path: Path) -> dict[str, Any]:
    """Return text and settings of config.toml, as fields of a record."""
    text = path.read_text(encoding="utf-8")
    return {"config": text, "settings": tomllib.loads(text)}


def _read_stages(path: Path) -> dict[str, Any]:
    return {"stages": [dict(stage) for stage in read_json(path)]}


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = dict(read_json(path))
    scores = {
        split: Scores.from_dict({**metrics[split], "split": split})
        for split in ("test", "validation")
        if metrics.get(split)
    }
    return {"metrics": metrics, "scores": scores}


def _read_environment(path: Path) -> dict[str, Any]:
    return {"environment": dict(read_json(path))}


def _read_calibration(path: Path) -> dict[str, Any]:
    return {"calibration": Calibration.from_dict(read_json(path))}


def _read_diagnosis(path: Path) -> dict[str, Any]:
    return {"diagnosis": Diagnosis.from_dict(read_json(path))}


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def _read_history(path: Path) -> dict[str, Any]:
    rows = _read_rows(path, ("stage",))
    numbers = [name for name in _NUMBER_COLUMNS if name in rows]
    rows = rows.astype(dict.fromkeys(numbers, "float64"))
    if rows.empty or rows[["stage_index", "epoch"]].isna().any(axis=None):
        raise ValueError("no finished epoch, or one without a number")
    return {"history": rows}


def _read_predictions(path: Path) -> dict[str, Any]:
    rows = _read_rows(path, _TEXT_COLUMNS)
    rows = rows[[*_TEXT_COLUMNS, "confidence"]].astype({"confidence": "float64"})
    return {"predictions": rows}


def _read_rows(path: Path, text_columns: tuple[str, ...]) -> pd.DataFrame:
    types = dict.fromkeys(text_columns, str)
    rows = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    for name in text_columns:
        rows[name] = [unguard(cell) for cell in rows[name].fillna("")]
    return rows


def unguard(cell: str) -> str:
    """Return a text cell without the apostrophe that kept a spreadsheet from running it.

    Example:

    >>> unguard("'=1+1"), unguard("'tis")
    ('=1+1', "'tis")
    """
    bare = cell.lstrip("'")
    return cell[1:] if cell != bare and bare.startswith(_FORMULA_STARTS) else cell


def _read_samples(path: Path) -> dict[str, Any]:
    arrays = _read_arrays(path)
    for name in ("train_batch", "worst", "best"):
        if name in arrays:
            _check_sample(arrays[name], arrays[f"{name}_titles"])
        if f"{name}_maps" in arrays:
            _check_maps(arrays[f"{name}_maps"], arrays[name])
    return {"samples": arrays}


def _check_sample(images: np.ndarray, titles: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.shape[3:] != (3,) or titles.dtype.kind != "U":
        raise ValueError(f"images {images.dtype} {images.shape}, titles {titles.dtype}")
    if len(images) != len(titles):
        raise ValueError(f"{len(images)} images with {len(titles)} titles")


def _check_maps(maps: np.ndarray, images: np.ndarray) -> None:
    if maps.ndim != 4 or len(maps) > len(images) or not _is_finite(maps):
        raise ValueError(f"heat maps {maps.dtype} {maps.shape}, {len(images)} images")


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and bool(np.isfinite(array).all())


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    # Given a path, numpy leaves a broken archive open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _read_maps(path: Path) -> dict[str, Any]:
    arrays = _read_arrays(path)
    splits = [name for name in ("validation", "test") if f"{name}_points" in arrays]
    return {"maps": tuple(_read_map(arrays, split) for split in splits)}


def _read_map(arrays: dict[str, np.ndarray], split: str) -> FeatureMap:
    points, labels, predicted, total, explained = (
        arrays[f"{split}_{part}"]
        for part in ("points", "labels", "predicted", "total", "explained")
    )
    texts = labels.dtype.kind == predicted.dtype.kind == "U"
    fits = points.shape == (len(labels), 2) and len(labels) == len(predicted)
    if not (texts and fits and _is_finite(points) and _is_finite(explained)):
        raise ValueError(f"points {points.dtype} {points.shape}, {len(labels)} labels")
    names = tuple(labels.tolist()), tuple(predicted.tolist())
    return FeatureMap(points, *names, split, int(total), "pca", tuple(explained.tolist()))


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "config.toml": read_config,
    "stages.json": _read_stages,
    "history.csv": _read_history,
    "metrics.json": _read_metrics,
    "predictions.csv": _read_predictions,
    "samples.npz": _read_samples,
    "embeddings.npz": _read_maps,
    "environment.json": _read_environment,
    "calibration.json": _read_calibration,
    "diagnosis.json": _read_diagnosis,
}
