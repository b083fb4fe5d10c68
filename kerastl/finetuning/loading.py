"""A finished run, read back from its folder."""

from pathlib import Path

import numpy as np

from kerastl.data import Data
from kerastl.data.sources import ARRAYS
from kerastl.diagnosis import Diagnosis
from kerastl.errors import DataError, UsageError
from kerastl.evaluation import Calibration, Scores
from kerastl.finetuning.checkpoints import Progress
from kerastl.finetuning.planning import load_data
from kerastl.finetuning.results import Run
from kerastl.finetuning.resuming import CONFIG, SOURCE
from kerastl.finetuning.writing import CALIBRATION, DIAGNOSIS
from kerastl.models import load_model
from kerastl.options import from_toml
from kerastl.runs import RunFolder
from kerastl.stages import Schedule


def load_run(path: str | Path, data: Data | None = None) -> Run:
    """Return a finished run with its model, history and scores, as `finetune` did.

    Args:
        path: The folder `finetune` or `run.save` wrote.
        data: What it was trained on; default: loaded again from where it was.

    Returns:
        Run; nothing is trained or scored again.

    Raises:
        UsageError: There is no finished run, or its data came as arrays and is not given.
        DataError: The data is not what the run was made from.
        StorageError: A file of the run is damaged.
    """
    folder = RunFolder.open(path)
    if not folder.finished:
        raise UsageError(
            f"{path} holds a run that is not finished: go on with it by --resume {path}."
        )
    options, source = from_toml(folder.read_text(CONFIG)), folder.read_json(SOURCE)
    if data is None and options.data == ARRAYS:
        raise UsageError(f"{path} was trained on arrays: load them and give data=.")
    data = data or load_data(options)
    if data.fingerprint != source["fingerprint"]:
        raise DataError(
            f"The images or labels changed since {path} was made: {options.data} has "
            "another fingerprint now. Give the same data, or evaluate the model on them."
        )
    stages = {"name": options.schedule, "stages": list(options.stages)}
    settings = {key: source[key] for key in ("engine", "max_steps")}
    run = Run(
        model=load_model(folder.path / "model.keras"),
        data=data,
        schedule=Schedule.from_dict(stages),
        settings={**settings, "seed": options.seed},
    )
    run.folder = folder
    run.progress = _read_progress(folder)
    metrics = folder.read_json("metrics.json")
    for name in ("validation", "test"):
        if metrics.get(name):
            run.scores[name] = Scores.from_dict(metrics[name])
    run.probabilities = _read_probabilities(folder)
    if folder.exists(CALIBRATION):
        run.calibration = Calibration.from_dict(folder.read_json(CALIBRATION))
    if folder.exists(DIAGNOSIS):
        run.diagnosis = Diagnosis.from_dict(folder.read_json(DIAGNOSIS))
    return run


def _read_probabilities(folder: RunFolder) -> dict[str, np.ndarray]:
    texts = ("split", "name", "label", "predicted")
    rows = folder.read_csv("predictions.csv", text_columns=texts)
    columns = [name for name in rows.columns if name.startswith("p_")]
    return {
        split: part[columns].to_numpy("float32")
        for split, part in rows.groupby("split", sort=False)
    }


def _read_progress(folder: RunFolder) -> Progress:
    history = folder.read_csv("history.csv", text_columns=("stage",))
    outcomes = folder.read_json("stages.json")
    rows = history.drop(columns="is_best").to_dict("records")
    kept = [row for row, best in zip(rows, history["is_best"], strict=True) if best]
    return Progress(
        stage=len(outcomes), rows=rows, outcomes=outcomes, kept=kept[0] if kept else None
    )
