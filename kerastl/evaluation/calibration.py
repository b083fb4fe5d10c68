"""How sure a model is against how often it is right, before and after a temperature."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from kerastl.errors import DataError, UsageError
from kerastl.evaluation.inputs import check_inputs
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.layout import html_text
from kerastl.evaluation.metrics import log_loss
from kerastl.evaluation.multilabel import binary_log_loss
from kerastl.evaluation.reliability import Bin, list_answers, list_bins, measure_error
from kerastl.evaluation.sentences import count_images
from kerastl.evaluation.temperature import apply_temperature, fit_temperature
from kerastl.seeds import derive_seed

VALIDATION = "validation"
Predictions = tuple[np.ndarray, np.ndarray]  # labels and probabilities


@dataclass(frozen=True)
class Reliability:
    """How well the confidences of one split fit.

    Args:
        error: Expected calibration error in 15 bins of equal width, with its interval.
        adaptive_error: The same in 15 bins of equal numbers of answers.
        luck: What a perfectly calibrated model would show on as many images, 95 % of the
            time.
        log_loss: Mean of -log of the probability given to the truth.
        bins: What the reliability diagram draws.
    """

    error: Measure
    adaptive_error: Measure
    luck: Measure
    log_loss: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class SplitCalibration:
    """One split before and after.

    Args:
        split: Its name.
        n: Number of images.
        before: As the model was.
        after: With its logits divided by the temperature.
    """

    split: str
    n: int
    before: Reliability
    after: Reliability

    def __str__(self) -> str:
        before, after = self.before, self.after
        optimistic = ", optimistic since it was fitted here" * (self.split == VALIDATION)
        return (
            f"{self.split} ({count_images(self.n)}): calibration error {before.error} "
            f"before, {after.error} after{optimistic}; on so many images a model as sure "
            f"as it is right shows {after.luck.low:.3f} to {after.luck.high:.3f} by luck. "
            f"Log loss {before.log_loss:.3f} before, {after.log_loss:.3f} after."
        )


@dataclass(frozen=True)
class Calibration:
    """A temperature and what it does; `calibrate_predictions` makes it.

    Args:
        temperature: What logits are divided by, with its 95 % interval.
        splits: Each split before and after, the one it was fitted on first.
        multi_label: Whether the probabilities are sigmoids.
        applied: Whether the run's model has it built in.
    """

    temperature: Measure
    splits: tuple[SplitCalibration, ...]
    multi_label: bool = False
    applied: bool = False

    def transform(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float32 (n, classes), of the model as it was."""
        return apply_temperature(
            probabilities, self.temperature.value, multi_label=self.multi_label
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; what was not measured is None."""
        return {
            "temperature": self.temperature.to_dict(),
            "splits": [_split_dict(split) for split in self.splits],
            "multi_label": self.multi_label,
            "applied": self.applied,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Rebuild what `to_dict` gave, also after a trip through JSON.

        Raises:
            DataError: Something is missing or is not what `to_dict` writes.
        """
        try:
            return cls(
                Measure.from_dict(values["temperature"]),
                tuple(_read_split(each) for each in values["splits"]),
                bool(values["multi_label"]),
                bool(values["applied"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"This calibration is damaged ({type(error).__name__}: {error}); "
                "calibrate the run again."
            ) from error

    def __str__(self) -> str:
        n = count_images(self.splits[0].n)
        lines = (
            f"Temperature {self.temperature}, fitted on {n} of the {VALIDATION} split: "
            f"{self._verdict()}",
            *map(str, self.splits),
            "Errors over bins are too high by luck, the more so with few images. Which "
            "class is answered does not change.",
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _verdict(self) -> str:
        if self.temperature.low > 1:
            return "the model was too sure."
        if self.temperature.high < 1:
            return "the model was not sure enough."
        return "the model is not distinguishable from one that is as sure as it is right."

    def _repr_html_(self) -> str:
        return f"<p>{'<br>'.join(html_text(line) for line in str(self).splitlines())}</p>"


def calibrate_predictions(
    predictions: Mapping[str, Predictions], *, seed: int = 0
) -> Calibration:
    """Fit a temperature on validation predictions and measure what it does.

    Args:
        predictions: Labels and probabilities by split, as `score` takes them:
            `"validation"`, which the temperature is fitted on, and others to measure it on.
        seed: Of the bootstrap resamples, 0 by default.

    Returns:
        Calibration; `print` it for what the numbers mean.

    Raises:
        UsageError: There are no validation predictions, or shapes do not fit.
        DataError: No temperature fits best, as where every answer is right.

    Example:

    >>> labels = np.arange(400) % 2
    >>> said = np.where(np.arange(400) % 4 == 1, 1 - labels, labels)
    >>> sure = np.eye(2)[said] * 0.98 + 0.01
    >>> found = calibrate_predictions({"validation": (labels, sure)})
    >>> print(str(found).splitlines()[0])
    Temperature 4.183 (3.404 to 5.139), fitted on 400 images of the validation split: the
    model was too sure.
    >>> found.transform(sure)[0].round(2).tolist()
    [0.75, 0.25]
    """
    if VALIDATION not in predictions:
        raise UsageError(
            "A temperature is fitted on validation images, and there are none: load the "
            "images with validation=0.2."
        )
    for labels, probabilities in predictions.values():
        check_inputs(labels, probabilities, tuple(map(str, range(probabilities.shape[-1]))))
    multi_label = predictions[VALIDATION][0].ndim == 2
    temperature = fit_temperature(*predictions[VALIDATION])
    names = sorted(predictions, key=lambda name: name != VALIDATION)
    calibration = Calibration(temperature, (), multi_label)
    splits = tuple(
        _judge(name, predictions[name], calibration, derive_seed(seed, "calibration", name))
        for name in names
    )
    return Calibration(temperature, splits, multi_label)


def _judge(
    name: str, given: Predictions, calibration: Calibration, seed: int
) -> SplitCalibration:
    labels, before = given
    after = calibration.transform(before)
    measured = (measure_reliability(labels, each, seed=seed) for each in (before, after))
    return SplitCalibration(name, len(labels), *measured)


def measure_reliability(
    labels: np.ndarray, probabilities: np.ndarray, *, seed: int = 0
) -> Reliability:
    """Measure how well confidences fit: errors with intervals, log loss and bins.

    Args:
        labels: Class indices (n,), or 0 and 1 (n, classes).
        probabilities: Float (n, classes).
        seed: Of the bootstrap resamples, 0 by default.

    Returns:
        Reliability; with several labels per image over all images and labels.
    """
    generator = np.random.default_rng(seed)
    confidence, right = list_answers(labels, probabilities)
    error, luck = measure_error(confidence, right, generator)
    adaptive, _ = measure_error(confidence, right, generator, adaptive=True)
    loss = log_loss if labels.ndim == 1 else binary_log_loss
    return Reliability(
        error, adaptive, luck, loss(labels, probabilities), list_bins(confidence, right)
    )


def _split_dict(split: SplitCalibration) -> dict[str, Any]:
    sides = {"before": split.before, "after": split.after}
    return {
        "split": split.split,
        "n": split.n,
        **{name: _reliability_dict(side) for name, side in sides.items()},
    }


def _reliability_dict(side: Reliability) -> dict[str, Any]:
    measures = {f.name: getattr(side, f.name) for f in fields(side)[:3]}
    return {
        **{name: measure.to_dict() for name, measure in measures.items()},
        "log_loss": side.log_loss,
        "bins": [_bin_dict(each) for each in side.bins],
    }


def _bin_dict(each: Bin) -> dict[str, Any]:
    edges = {"low": each.low, "high": each.high, "n": each.n}
    if each.n == 0:
        return {**edges, "confidence": None, "accuracy": None}
    return {**edges, "confidence": each.confidence, "accuracy": each.accuracy.to_dict()}


def _read_split(values: Mapping[str, Any]) -> SplitCalibration:
    sides = (_read_reliability(values[name]) for name in ("before", "after"))
    return SplitCalibration(str(values["split"]), int(values["n"]), *sides)


def _read_reliability(values: Mapping[str, Any]) -> Reliability:
    measures = (
        Measure.from_dict(values[name]) for name in ("error", "adaptive_error", "luck")
    )
    bins = tuple(_read_bin(each) for each in values["bins"])
    return Reliability(*measures, float(values["log_loss"]), bins)


def _read_bin(values: Mapping[str, Any]) -> Bin:
    edges = (float(values["low"]), float(values["high"]), int(values["n"]))
    if edges[2] == 0:
        return Bin(*edges, np.nan, Measure(np.nan, 0.0, 1.0))
    accuracy = Measure.from_dict(values["accuracy"])
    return Bin(*edges, float(values["confidence"]), accuracy)
