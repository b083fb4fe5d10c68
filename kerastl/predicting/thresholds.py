"""The confidence to answer with, from what a finished run left in its folder."""

from pathlib import Path

import numpy as np

from kerastl import models  # its names load Keras when used, after all checks
from kerastl.errors import UsageError
from kerastl.evaluation import Threshold, find_threshold, judge_threshold
from kerastl.predicting.members import check_one_label, find_model
from kerastl.runs import RunFolder

PREDICTIONS = "predictions.csv"
_TEXTS = ("split", "name", "label", "predicted")


def check_threshold(threshold: float | None) -> None:
    """Refuse what is no confidence.

    Raises:
        UsageError: It is not a number from 0 to 1.
    """
    number = isinstance(threshold, int | float | np.number)
    if threshold is not None and not (number and 0 <= threshold <= 1):
        raise UsageError(f"threshold={threshold!r} must be a confidence from 0 to 1.")


def read_threshold(run: str | Path, accuracy: float) -> Threshold:
    """Find a threshold by a run's stored validation predictions; no image is read.

    Args:
        run: A run folder, or that of a search, whose best run it is then.
        accuracy: Wanted share of right answers.

    Returns:
        Threshold, judged on the test split where that was scored.

    Raises:
        UsageError: It is no finished run with validation predictions, or images have
            several labels each.
        StorageError: A file of the run is damaged.
    """
    model = find_model(run)
    if model == Path(run):
        raise UsageError(
            f"{run} is a model file: the threshold is chosen by the validation predictions "
            "of a run, so give the run's folder, or the threshold itself."
        )
    check_one_label(models.read_info(model))
    splits = _read_predictions(RunFolder.open(model.parent))
    if "validation" not in splits:
        raise UsageError(f"{run} has no validation predictions to choose a threshold by.")
    threshold = find_threshold(*splits.pop("validation"), accuracy)
    for name, (labels, probabilities) in splits.items():
        threshold = judge_threshold(threshold, labels, probabilities, name)
    return threshold


def _read_predictions(folder: RunFolder) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return labels and probabilities by split."""
    names = folder.read_json("labels.json")
    rows = folder.read_csv(PREDICTIONS, text_columns=_TEXTS)
    numbers = {name: number for number, name in enumerate(names)}
    columns = [f"p_{number}" for number in range(len(names))]
    return {
        split: (
            part["label"].map(numbers).to_numpy("int64"),
            part[columns].to_numpy("float32"),
        )
        for split, part in rows.groupby("split", sort=False)
    }
