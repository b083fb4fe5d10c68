"""Everything a finished run leaves in its folder."""

from typing import TYPE_CHECKING

import pandas as pd

from kerastl.finetuning.answers import tabulate_split
from kerastl.finetuning.checkpoints import PROGRESS
from kerastl.finetuning.mapping import collect_maps
from kerastl.finetuning.resuming import CONFIG, record_start
from kerastl.finetuning.samples import collect_samples
from kerastl.models import save_model
from kerastl.reporting import render_figures, render_report
from kerastl.runs import FINISHED, RunFolder

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run

CALIBRATION = "calibration.json"
DIAGNOSIS = "diagnosis.json"


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
    folder.write_arrays("embeddings.npz", collect_maps(run))
    folder.write_json(FINISHED, metrics)
    if run.diagnosis is not None:
        folder.write_json(DIAGNOSIS, run.diagnosis.to_dict())
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


def write_diagnosis(folder: RunFolder, run: "Run") -> None:
    """Write what the run was diagnosed with, and the report."""
    folder.write_json(DIAGNOSIS, run.diagnosis.to_dict())
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
        tabulate_split(run.data.splits[name], probabilities, run.data.class_names)
        for name, probabilities in run.probabilities.items()
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
