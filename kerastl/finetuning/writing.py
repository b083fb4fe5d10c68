"""Everything a finished run leaves in its folder."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kerastl.data import Split
from kerastl.data.augmentation import Augmentation
from kerastl.finetuning.checkpoints import PROGRESS
from kerastl.finetuning.resuming import CONFIG, record_start
from kerastl.models import get_info, save_model
from kerastl.reporting import (
    render_figures,
    render_report,
    worst_predictions,
    worst_titles,
)
from kerastl.runs import FINISHED, RunFolder

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run

CALIBRATION = "calibration.json"
SHOWN = 16  # images in a figure


def write_results(folder: RunFolder, run: "Run") -> None:
    """Write model, rows, scores, figures and report; then drop what resuming needed."""
    if not folder.exists(CONFIG):
        record_start(run, folder)
    metrics = run.metrics  # before the model is written: it scores the validation split
    save_model(run.model, folder.path / "model.keras")  # atomic and read back, as well
    folder.write_json("labels.json", list(run.data.class_names))
    folder.write_csv("history.csv", run.history)
    folder.write_json("stages.json", run.stages)
    predictions = tabulate_predictions(run)
    folder.write_csv("predictions.csv", predictions)
    folder.write_arrays("samples.npz", collect_samples(run, predictions))
    folder.write_json(FINISHED, metrics)
    write_calibration(folder, run)
    folder.remove(PROGRESS)  # first: without it the other two are not looked for
    for name in (run.progress.start_file, run.progress.epoch_file):
        if name:
            folder.remove(name)


def write_calibration(folder: RunFolder, run: "Run") -> None:
    """Write what calibrating the run found, if it was, and the report."""
    if run.calibration is not None:
        folder.write_json(CALIBRATION, run.calibration.to_dict())
    write_report(folder)


def write_report(folder: RunFolder) -> None:
    """Draw the figures and the report from what the folder holds."""
    figures = render_figures(folder.path)
    for name, picture in figures.items():
        folder.write_bytes(name, picture)
    folder.write_text("report.html", render_report(folder.path, figures))


def tabulate_predictions(run: "Run") -> pd.DataFrame:
    """Return one row per scored image: what it is, what was said and how surely.

    Returns:
        DataFrame with split, name, label, predicted, confidence and `p_<class index>`;
        with several labels per image they are joined by `|`.
    """
    frames = [
        _tabulate(run.data.splits[name], probabilities, run)
        for name, probabilities in run.probabilities.items()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _tabulate(split: Split, probabilities: np.ndarray, run: "Run") -> pd.DataFrame:
    columns = {f"p_{i}": column for i, column in enumerate(probabilities.T)}
    return pd.DataFrame(
        {
            "split": split.name,
            "name": split.names,
            "label": name_labels(split.labels, run.data.class_names),
            "predicted": name_labels(_decide(probabilities, split), run.data.class_names),
            "confidence": probabilities.max(axis=1),
            **columns,
        }
    )


def _decide(probabilities: np.ndarray, split: Split) -> np.ndarray:
    if split.labels.ndim == 2:
        return (probabilities >= 0.5).astype("float32")
    return probabilities.argmax(axis=1)


def name_labels(labels: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    """Return class names for class indices or rows of 0 and 1.

    Example:

    >>> name_labels(np.array([[1, 0, 1], [0, 0, 0]]), ("cat", "dog", "cow"))
    ['cat|cow', '']
    """
    names = np.array(class_names, dtype=object)
    if labels.ndim == 1:
        return names[labels].tolist()
    return ["|".join(names[row > 0]) for row in labels]


def collect_samples(run: "Run", predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return a training batch as the model saw it, and the surest mistakes, with titles."""
    size = get_info(run.model).image_size
    train = run.data.train
    chosen = np.linspace(0, len(train) - 1, min(SHOWN, len(train))).astype(int)
    images = _augment(run, train.pixels(size)[chosen])
    titles = name_labels(train.labels[chosen], run.data.class_names)
    samples = {"train_batch": images, "train_batch_titles": np.array(titles, dtype=str)}
    if predictions.empty:
        return samples
    split = "test" if "test" in run.probabilities else "validation"
    rows = worst_predictions(predictions[predictions["split"] == split], SHOWN)
    position = {name: number for number, name in enumerate(run.data.splits[split].names)}
    pixels = run.data.splits[split].pixels(size)
    worst = pixels[[position[name] for name in rows["name"]]]
    return {
        **samples,
        "worst": worst,
        "worst_titles": np.array(worst_titles(rows), dtype=str),
    }


def _augment(run: "Run", images: np.ndarray) -> np.ndarray:
    names = next((stage.augment for stage in run.schedule if stage.augment), ())
    if not names:
        return images
    augmented = Augmentation(names)(images, seed=run.settings["seed"])
    return augmented.clip(0, 255).round().astype("uint8")
