"""KerasTuner's part in `searching`: `pip install keras-tuner==1.4.8`."""

import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from benchmarks.rebuilding import build_model, fit_model
from benchmarks.tasks import Arrays, Task, describe_trial

Trials = list[dict[str, Any]]


class Candidates(keras_tuner.HyperModel):
    """The grid as KerasTuner takes it."""

    def __init__(self, task: Task, images: Arrays):
        super().__init__()
        self.task, self.images = task, images
        self.seconds = 0.0

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile one candidate."""
        candidate = {
            "batch_size": hp.Choice("batch_size", list(self.task.batch_sizes)),
            "learning_rate": hp.Choice("learning_rate", list(self.task.learning_rates)),
            "trains": hp.Choice("trains", list(self.task.trains)),
        }
        self.candidate, self.model = candidate, build_model(self.task, candidate)
        return self.model

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, **options: Any
    ) -> keras.callbacks.History:
        """Fit one candidate with its batch size and with KerasTuner's callbacks."""
        fitted = fit_model(model, self.task, self.images, self.candidate, **options)
        history, self.seconds = fitted
        return history


class TimedGridSearch(keras_tuner.GridSearch):
    """GridSearch that notes when its trials began and ended."""

    def __init__(self, hypermodel: Candidates, **options: Any):
        super().__init__(hypermodel, **options)
        self.trials: Trials = []

    def run_trial(self, trial: Any, *arguments: Any, **options: Any) -> Any:
        """Run one trial."""
        self.began = time.time()
        return super().run_trial(trial, *arguments, **options)

    def on_trial_end(self, trial: Any) -> None:
        """Note what is known of a finished trial."""
        super().on_trial_end(trial)
        score, known = self.oracle.get_trial(trial.trial_id).score, self._inner()
        row = describe_trial(known.candidate, score, self.began, known.seconds, known.model)
        self.trials.append(row)

    def _inner(self) -> Candidates:
        return getattr(self.hypermodel, "_hypermodel", self.hypermodel)


def tune(task: Task, images: Arrays, folder: Path) -> Trials:
    """Search the grid and return its trials."""
    tuner = TimedGridSearch(
        Candidates(task, images),
        objective="val_accuracy",
        seed=task.seed,
        directory=folder,
        project_name="keras-tuner",
    )
    tuner.search(verbose=0)
    return tuner.trials
