"""RandomizedSearchCV's part in `searching`: a Keras model as a scikit-learn estimator.

As scikeras does it: `fit` builds and compiles a new model. The one fold is the validation
split of the others. Its score is of the last epoch, as an estimator within a fold does not
see what it is scored on.
"""

import time
from typing import Any, ClassVar, Self

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import PredefinedSplit, RandomizedSearchCV

from benchmarks.rebuilding import build_model
from benchmarks.tasks import Arrays, Task, describe_trial


class RebuiltClassifier(ClassifierMixin, BaseEstimator):
    """Builds, compiles and fits a model in every `fit`."""

    trials: ClassVar[list[dict[str, Any]]] = []

    def __init__(
        self,
        task: Task,
        *,
        batch_size: int = 32,
        learning_rate: float = 0.001,
        trains: str = "head",
    ):
        self.task, self.trains = task, trains
        self.batch_size, self.learning_rate = batch_size, learning_rate

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Train a new model."""
        self.began_, self.classes_ = time.time(), np.unique(y)
        self.model_ = build_model(self.task, self._candidate())
        start = time.perf_counter()
        self.model_.fit(
            X, y, epochs=self.task.epochs, batch_size=self.batch_size, verbose=0
        )
        self.seconds_ = time.perf_counter() - start
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the most probable class of each image."""
        return self.model_.predict(X, batch_size=32, verbose=0).argmax(axis=1)

    def score(self, X: np.ndarray, y: np.ndarray, sample_weight: None = None) -> float:
        """Return the accuracy, and take note of the trial, which ends with it."""
        score = super().score(X, y, sample_weight)
        trial = describe_trial(
            self._candidate(), score, self.began_, self.seconds_, self.model_
        )
        self.trials.append(trial)
        return score

    def _candidate(self) -> dict[str, Any]:
        names = ("batch_size", "learning_rate", "trains")
        return {name: getattr(self, name) for name in names}


def search(task: Task, images: Arrays) -> list[dict[str, Any]]:
    """Search the grid, in an order of scikit-learn's, and return its trials."""
    splits = ("train", "validation")
    pixels, labels = (
        np.concatenate([images[f"{name}-{kind}"] for name in splits])
        for kind in ("pixels", "labels")
    )
    fold = np.repeat([-1, 0], [len(images[f"{name}-labels"]) for name in splits])
    keras.utils.set_random_seed(task.seed)
    lists = {"learning_rate": task.learning_rates, "trains": task.trains}
    RandomizedSearchCV(
        RebuiltClassifier(task),
        {"batch_size": task.batch_sizes, **lists},
        n_iter=len(task.candidates()),
        cv=PredefinedSplit(fold),
        n_jobs=1,
        refit=False,
        random_state=task.seed,
        error_score="raise",
    ).fit(pixels, labels)
    return RebuiltClassifier.trials
