"""A linear head solved to its optimum on the frozen base's features: one pass, no steps."""

from collections.abc import Sequence

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from kerastl.data.batches import Arrays, EvaluationBatches
from kerastl.data.feeding import feed
from kerastl.evaluation.probes import PENALTIES
from kerastl.finetuning.compiling import compile_stage, prepare_training
from kerastl.finetuning.tasks import Record, StageTask

WITHOUT_VALIDATION = 0.1  # of `PENALTIES`; else that with the lowest validation loss
MAX_ITERATIONS = 2000


class ProbeEngine:
    """Solves the last Dense layer by L-BFGS, as `solver="exact"` asks.

    The first stage of LP-FT (Kumar et al., ICLR 2022). Features are standardised for the
    solver and the scaling is folded into the weights, so the model stays plain Keras.
    """

    def __init__(self, task: StageTask):
        self.task, self.model = task, task.model
        compile_stage(task.model, task.stage, multi_label=task.multi_label)
        self.head = task.model.layers[-1]
        self.features = keras.Model(task.model.input, self.head.input)

    def get_state(self) -> list[np.ndarray]:
        """Return nothing: a solved head leaves no optimizer behind."""
        return []

    def set_state(self, arrays: Sequence[np.ndarray]) -> None:
        """Put nothing back."""

    def train(self, record: Record) -> None:
        """Solve the head and record it as the stage's only epoch."""
        task = self.task
        train = self._extract(task.train)
        validation = self._extract(task.validation) if task.validation else None
        solver, kernel, bias = self._solve(train, validation)
        self.head.set_weights([kernel.astype("float32"), bias.astype("float32")])
        logs = _measure(kernel, bias, train, task.train.labels, "")
        if task.validation is not None:
            logs |= _measure(kernel, bias, validation, task.validation.labels, "val_")
        record(0, {**logs, "learning_rate": float(solver.C)}, False)

    def _extract(self, arrays: Arrays) -> np.ndarray:
        batches = EvaluationBatches(
            arrays, batch_size=self.task.stage.batch_size, max_steps=self.task.max_steps
        )
        return self.features.predict(feed(batches), verbose=0)

    def _solve(
        self, train: np.ndarray, validation: np.ndarray | None
    ) -> tuple[LogisticRegression, np.ndarray, np.ndarray]:
        task = self.task
        arrays = prepare_training(task.train, task.stage, task.num_classes)
        labels, weights = task.train.labels[: len(train)], arrays.weights
        if validation is None:
            return _solve(train, labels, weights, WITHOUT_VALIDATION)
        solved = [_solve(train, labels, weights, penalty) for penalty in PENALTIES]
        return min(
            solved,
            key=lambda s: _measure(*s[1:], validation, task.validation.labels, "")["loss"],
        )


def _solve(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, penalty: float
) -> tuple[LogisticRegression, np.ndarray, np.ndarray]:
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0
    solver = LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS)
    weights = None if weights is None else weights[: len(labels)]
    solver.fit((features - mean) / scale, labels, sample_weight=weights)
    coefficients, intercept = solver.coef_, solver.intercept_
    if len(coefficients) == 1:  # two classes: scikit-learn solves for their difference
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel = coefficients.T / scale[:, None]
    return solver, kernel, intercept - mean @ kernel


def _measure(
    kernel: np.ndarray,
    bias: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    prefix: str,
) -> dict[str, float]:
    logits = features @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = labels[: len(features)]
    loss = log_loss(labels, probabilities, labels=np.arange(kernel.shape[1]))
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    return {f"{prefix}accuracy": float(accuracy), f"{prefix}loss": float(loss)}
