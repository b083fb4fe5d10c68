"""What a finished run can say about its own confidence: temperature and threshold."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kerastl.errors import UsageError
from kerastl.evaluation import (
    Calibration,
    Threshold,
    calibrate_predictions,
    find_threshold,
    judge_threshold,
)
from kerastl.finetuning.writing import write_calibration, write_results
from kerastl.models import divide_logits

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run


def calibrate_run(run: "Run", *, apply: bool) -> Calibration:
    """Fit a temperature on a run's validation split; `Run.calibrate` says the rest."""
    if run.calibration is not None and run.calibration.applied:
        raise UsageError(
            "The model is calibrated already, by a temperature of "
            f"{run.calibration.temperature.value:.3f}: read run.calibration."
        )
    _check_validation(run)
    if apply:  # by what the model says now: an earlier call may have been cut off
        run.score_again()
    calibration = calibrate_predictions(collect_predictions(run), seed=run.settings["seed"])
    if apply:
        divide_logits(run.model, calibration.temperature.value)
        run.score_again()
        calibration = replace(calibration, applied=True)
    run.calibration = calibration
    if run.folder is not None:
        with run.folder:
            (write_results if apply else write_calibration)(run.folder, run)
    return calibration


def find_run_threshold(run: "Run", accuracy: float, confidence: float) -> Threshold:
    """Find a threshold on a run's validation split and judge it on test, if scored."""
    _check_validation(run)
    predictions = collect_predictions(run)
    validation = predictions.pop("validation")
    threshold = find_threshold(*validation, accuracy, confidence=confidence)
    for name, (labels, probabilities) in predictions.items():
        threshold = judge_threshold(threshold, labels, probabilities, name)
    return threshold


def collect_predictions(run: "Run") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return labels and probabilities of validation, and of test where it was scored."""
    run.score_split("validation")
    return {
        name: (run.data.splits[name].labels, run.probabilities[name])
        for name in ("validation", "test")
        if name in run.probabilities
    }


def _check_validation(run: "Run") -> None:
    if run.data.validation is None:
        raise UsageError(
            "There is no validation split to choose on: load the images with "
            "validation=0.2. The test split is for judging."
        )
