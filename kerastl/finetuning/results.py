"""A finished run: the trained model, its history, its scores and how to keep them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import pandas as pd

from kerastl.data import Data
from kerastl.diagnosis import Diagnosis
from kerastl.errors import UsageError
from kerastl.evaluation import Calibration, Scores, Threshold, score
from kerastl.finetuning.calibrating import calibrate_run, find_run_threshold
from kerastl.finetuning.checkpoints import Progress
from kerastl.finetuning.diagnosing import diagnose_run
from kerastl.finetuning.explaining import explain
from kerastl.finetuning.mapping import choose_shown, map_split, predict_with_features
from kerastl.finetuning.selecting import find_best
from kerastl.finetuning.writing import write_results
from kerastl.models import check_views, get_info, predict_probabilities
from kerastl.predicting import predict_paths
from kerastl.reporting import plot_embedding, plot_history, run_html, run_text
from kerastl.runs import RunFolder
from kerastl.stages import Schedule

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "stage",
    "stage_index",
    "epoch",
    "stage_epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
)


class Run:
    """What `finetune` returns; shows itself as a table of its stages.

    Attributes:
        model: keras.Model with the best weights of all stages.
        data: What it was trained on.
        schedule: The stages, as they ran.
        settings: dict of seed, engine and max_steps.
        folder: RunFolder it is written to, or None.
        calibration: What `calibrate` found, or None.
        diagnosis: What `diagnose` found, or None.
    """

    def __init__(
        self,
        *,
        model: keras.Model,
        data: Data,
        schedule: Schedule,
        settings: dict[str, Any],
    ):
        self.model, self.data, self.schedule = model, data, schedule
        self.settings = settings
        self.folder: RunFolder | None = None
        self.progress = Progress()
        self.calibration: Calibration | None = None
        self.diagnosis: Diagnosis | None = None
        self.scores: dict[str, Scores] = {}
        self.probabilities: dict[str, np.ndarray] = {}
        self.features: dict[str, np.ndarray] = {}  # of the images that a map shows

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch over all stages; `is_best` marks the epoch that was kept."""
        rows = self.progress.rows
        frame = pd.DataFrame(rows, columns=[c for c in COLUMNS if not rows or c in rows[0]])
        kept = self.progress.kept
        return frame.assign(is_best=frame["epoch"].eq(kept["epoch"] if kept else None))

    @property
    def stages(self) -> list[dict[str, Any]]:
        """One dict per finished stage: settings, trained parameters and what came of it."""
        return self.progress.outcomes

    @property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds: scores by split, and what was selected on."""
        kept = self.progress.kept or {}
        validated = self.data.validation is not None
        return {
            **{split: scores.to_dict() for split, scores in self._scored().items()},
            "selected_on": "validation" if validated else None,
            "best": {"stage": kept.get("stage"), "epoch": kept.get("epoch")},
            "notes": list(self.data.notes),
        }

    def _scored(self) -> dict[str, Scores]:
        if self.data.validation is not None:
            self.score_split("validation")
        return self.scores

    def score_split(self, name: str) -> Scores:
        """Score the split of this name once, and return the same scores ever after."""
        split = self.data.splits[name]
        if name not in self.scores:
            pixels = split.pixels(get_info(self.model).image_size)
            self.probabilities[name], self.features[name] = predict_with_features(
                self.model, pixels, choose_shown(split, self.model)
            )
            self.scores[name] = score(
                split.labels, self.probabilities[name], self.data.class_names, split=name
            )
        return self.scores[name]

    def score_again(self) -> None:
        """Score every split that was scored again, after the model was changed."""
        scored = list(self.scores)
        self.scores, self.probabilities = {}, {}
        for name in scored:
            self.score_split(name)

    def score_views(self, name: str, tta: str | Sequence[str]) -> Scores:
        """Score a split by the mean over views of each image; it is not kept.

        Args:
            name: `"validation"` to decide whether to take views, `"test"` once decided.
            tta: `"flip"`, `"crops"` or both.

        Returns:
            Scores.
        """
        views, split = check_views(tta), self.data.splits[name]
        pixels = split.pixels(get_info(self.model).image_size)
        probabilities = predict_probabilities(self.model, pixels, views=views)
        return score(split.labels, probabilities, self.data.class_names, split=name)

    def calibrate(self, *, apply: bool = False) -> Calibration:
        """Fit a temperature on the validation split, so that confidences can be believed.

        It is measured on validation and, where that was scored already, on test. The class
        answered stays the same, and so does the accuracy.

        Args:
            apply: Divide the model's last layer by the temperature, so that it predicts
                calibrated probabilities wherever it is loaded, and write the run again.
                Default: the model stays as it is.

        Returns:
            Calibration; `print` it for what it means.

        Raises:
            UsageError: There is no validation split, or the model is calibrated already.
            DataError: No temperature fits best, as where every answer is right.
        """
        return calibrate_run(self, apply=apply)

    def find_threshold(
        self, accuracy: float = 0.95, *, confidence: float = 0.95
    ) -> Threshold:
        """Find the least confidence whose answers are right as often as wanted.

        It is chosen on the validation split and, where test was scored already, judged
        there.

        Args:
            accuracy: Wanted share of right answers.
            confidence: How sure the promise must be.

        Returns:
            Threshold for `predict`; its `value` is None where nothing can be promised.

        Raises:
            UsageError: There is no validation split, several labels per image, or a number
                is out of range.
        """
        return find_run_threshold(self, accuracy, confidence)

    def diagnose(self) -> Diagnosis:
        """Say why validation is below training or falls, and what to try next.

        Judged are leakage, another kind of images in validation, wrong labels, the learning
        rate, under-fitting and over-fitting, by the rows of the history and by linear
        classifiers on features of the base before training. The test split is not read.
        With a folder, it is written there and to the report.

        Returns:
            Diagnosis; `print` it, or see `.main` and `.verdicts`.

        Raises:
            UsageError: There is no validation split, or images may have several labels.
        """
        return diagnose_run(self)

    def evaluate(self, *, tta: str | Sequence[str] = ()) -> Scores:
        """Score the test split: the one number nothing was chosen by.

        The images are read at the first call; later calls return the same scores.

        Args:
            tta: Views of each image to average over, `"flip"` and `"crops"`, where
                `score_views("validation", ...)` spoke for them. These scores are not kept.

        Returns:
            Scores with intervals and baselines.

        Raises:
            UsageError: The data has no test split.
        """
        if self.data.test is None:
            raise UsageError(
                "There is no test split to evaluate on: load the images with test=0.2, or "
                "give a test folder. The validation scores were selected on."
            )
        if tta:
            return self.score_views("test", tta)
        is_new = "test" not in self.scores
        scores = self.score_split("test")
        if is_new and self.folder is not None:
            self.write()
        return scores

    def plot(self, ax: "Sequence[Axes] | None" = None) -> "Figure":
        """Draw loss and accuracy over all stages and return the figure."""
        return plot_history(self.history, ax)

    def predict(
        self,
        paths: str | Path | list[str | Path],
        *,
        tta: str | Sequence[str] = (),
        threshold: float | None = None,
    ) -> pd.DataFrame:
        """Classify image files, folders or globs.

        Args:
            paths: As `kerastl.predict_paths` takes them.
            tta: Views of each image to average over, `"flip"` and `"crops"`.
            threshold: Least confidence to answer with, such as `find_threshold().value`.

        Returns:
            DataFrame with path, label, confidence and the most probable classes, and with
            a threshold `answer`, which may be `not sure`.
        """
        return predict_paths(self.model, paths, tta=tta, threshold=threshold)

    def explain(
        self,
        images: "np.ndarray | str | Path | list[str | Path]",
        *,
        classes: int | str | Sequence[int | str] | None = None,
    ) -> "Figure":
        """Draw where the model looks: images beside their Grad-CAM heat maps.

        `kerastl.explain` returns the maps as arrays and says what they mean.

        Args:
            images: Files, folders and globs, or uint8 pixels of the model's image size.
            classes: Index or name of the class to explain, one for all or one each.
                Default: the most probable one of each image.

        Returns:
            The figure; where maps are too coarse to show anything it says so.

        Raises:
            UsageError: As `kerastl.explain`.
            DataError: None of the files can be read.
        """
        return explain(self.model, images, classes=classes).plot()

    def map_embeddings(self, split: str = "validation", method: str = "pca") -> "Figure":
        """Draw the features that the head gets for each image, as points of a plane.

        What is a group here is easy for the head; a ringed point, an image taken for
        another class, inside a foreign group is odd or wrongly labelled. At most 2,000
        images are shown, drawn so that each class keeps its share.

        Args:
            split: `"validation"` (default), `"train"`, or `"test"` once it is evaluated.
            method: `"pca"`, the two directions of the largest variance; or `"tsne"`, which
                keeps neighbours together and nothing else, and takes seconds per 1,000.

        Returns:
            The figure, a line of which says what may be read from it.

        Raises:
            UsageError: There is no such split, it has under 3 images, or the test split was
                not scored yet.
        """
        return plot_embedding(map_split(self, split, method))

    def save(self, out: str | Path) -> Path:
        """Write model, scores, figures and report to a new folder and return its path.

        Raises:
            UsageError: The folder is not empty.
            StorageError: A file cannot be written.
        """
        with RunFolder.create("finetune", out) as folder:
            write_results(folder, self)
        return folder.path

    def write(self) -> None:
        """Write everything to the run's own folder again."""
        with self.folder:
            write_results(self.folder, self)

    def best_row(self) -> dict[str, Any] | None:
        """Return the row of the best epoch of all stages."""
        best = find_best(self.progress.rows)
        return None if best is None else self.progress.rows[best]

    def __repr__(self) -> str:
        return run_text(self.stages, self.history, self.metrics)

    def _repr_html_(self) -> str:
        return run_html(self.stages, self.history, self.metrics)
