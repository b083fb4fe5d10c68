"""What zero-shot learning gives: a classifier, its scores and what they mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.errors import check_choice
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.layout import MISSING, html_table, html_text, text_table
from kerastl.runs import FINISHED, RunFolder
from kerastl.zeroshot.answers import tabulate_answers
from kerastl.zeroshot.attributes import Attributes, list_names
from kerastl.zeroshot.choosing import Choice
from kerastl.zeroshot.measures import Generalized, ZeroShotScores

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from kerastl.zeroshot.heads import Head

ALL, UNSEEN = "all", "unseen"
HEADER = ("answers among", "seen", "unseen", "harmonic mean", "chance")
_TITLES = {"eszsl": "ESZSL", "dap": "direct attribute prediction"}
_SETTINGS = {"eszsl": ("gamma", "lambda"), "dap": ("C",)}


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShot:
    """A classifier of seen and unseen classes; `zero_shot` makes it.

    Args:
        model: Plain Keras, from pixels to the probabilities of all classes.
        head: What its last layer holds.
        method: `"eszsl"` or `"dap"`.
        attributes: The table as it was used, the seen classes first.
        choice: Regularisers and calibration, chosen by seen classes.
        scores: On test images, and all images of unseen classes.
        notes: What to know, one line each.
    """

    model: "keras.Model"
    head: "Head"
    method: str
    attributes: Attributes
    choice: Choice
    scores: ZeroShotScores
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the model's outputs, the seen classes first."""
        return self.head.classes

    @property
    def seen(self) -> tuple[str, ...]:
        """Classes trained on."""
        return self.classes[: self.head.seen]

    @property
    def unseen(self) -> tuple[str, ...]:
        """Classes never trained."""
        return self.classes[self.head.seen :]

    def classifier(self, classes: str = ALL) -> "keras.Model":
        """Return the model that answers all classes, or one that answers the unseen alone.

        Args:
            classes: `"all"` (default) or `"unseen"`.

        Returns:
            keras.Model, for `save_model`, `predict_paths` and the like.

        Raises:
            UsageError: `classes` is neither.
        """
        if check_choice("classes", classes, (ALL, UNSEEN)) == ALL:
            return self.model
        from kerastl.zeroshot.heads import attach_head

        return attach_head(self.model, self.head.unseen)

    def predict(
        self, images: np.ndarray | str | Path | Iterable[str | Path], classes: str = ALL
    ) -> "pd.DataFrame":
        """Classify images.

        Args:
            images: Files, folders and globs, or uint8 pixels `(n, height, width, 3)` of the
                model's image size.
            classes: `"all"` (default), or `"unseen"` where it is known that an image shows
                one of these.

        Returns:
            DataFrame as of `predict_paths`; for pixels `label` and `confidence`.

        Raises:
            UsageError: `classes` is neither, nothing matches a path, or pixels are of
                another size.
        """
        return tabulate_answers(self.classifier(classes), images)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the model as plain values, for JSON."""
        names = _SETTINGS[self.method]
        return {
            "method": self.method,
            "base": self.model.kerastl.base,
            "weights": Path(self.model.kerastl.weights).name,
            "image_size": list(self.model.kerastl.image_size),
            "seen": list(self.seen),
            "unseen": list(self.unseen),
            "attributes": list(self.attributes.names),
            "settings": dict(zip(names, self.choice.penalties, strict=True)),
            "held_out_accuracy": self.choice.accuracy,
            "held_out_chance": self.choice.chance,
            "constant": self.choice.constant,
            "scale": self.choice.scale,
            "scores": self.scores.to_dict(),
            "notes": list(self.notes),
        }

    def save(self, out: str | Path | None = None) -> Path:
        """Write model, class names, attributes and scores to a new run folder.

        Args:
            out: A new or empty folder. Default: `runs/zero-shot-<n>`.

        Returns:
            pathlib.Path of the folder, which `kerastl predict` and `load_model` of its
            `model.keras` take.

        Raises:
            UsageError: The folder is not empty.
            StorageError: A file cannot be written.
        """
        with RunFolder.create("zero-shot", out) as folder:
            self.write(folder)
        return folder.path

    files = ("model.keras", "labels.json", "attributes.csv", FINISHED)  # that are written

    def write(self, folder: RunFolder) -> None:
        """Write the same to a folder that is held already."""
        import pandas as pd

        from kerastl.models import save_model

        save_model(self.model, folder.path / "model.keras")
        folder.write_json("labels.json", list(self.classes))
        table = pd.DataFrame(self.attributes.values, columns=list(self.attributes.names))
        table.insert(0, "class", list(self.classes), allow_duplicates=True)
        folder.write_csv("attributes.csv", table)
        folder.write_json(FINISHED, self.to_dict())

    def __str__(self) -> str:
        table = text_table(HEADER, self._rows(), right=range(1, len(HEADER)))
        return "\n".join([self._title(), "", table, "", *self._sentences()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        table = html_table(
            HEADER, self._rows(), right=range(1, len(HEADER)), caption=self._title()
        )
        lines = "".join(f"<li>{html_text(line)}</li>" for line in self._sentences())
        return f"{table}<ul>{lines}</ul>"

    def _title(self) -> str:
        info = self.model.kerastl
        return (
            f"{len(self.unseen)} classes never trained ({list_names(self.unseen)}) and "
            f"{len(self.seen)} trained, by {len(self.attributes.names)} attributes and "
            f"{_TITLES[self.method]} on {info.base} ({info.weights})."
        )

    def _rows(self) -> list[list[str]]:
        scores = self.scores
        among = [MISSING, _show(scores.zero_shot), MISSING, f"{scores.chance:.3f}"]
        of_all = f"{scores.chance_of_all:.3f}"
        return [
            ["unseen classes", *among],
            ["all classes, uncalibrated", *_cells(scores.uncalibrated), of_all],
            ["all classes", *_cells(scores.all_classes), of_all],
        ]

    def _sentences(self) -> list[str]:
        return [
            *self._judge(),
            f"Chosen by seen classes held out of training: {self._settings()}, right for "
            f"{self.choice.accuracy:.3f} there (chance {self.choice.chance:.3f}; the best "
            "of many, so optimistic).",
            "Accuracies are means over classes; intervals are of other images of these "
            "classes, not of other classes.",
            *self.notes,
        ]

    def _judge(self) -> list[str]:
        measure, chance = self.scores.zero_shot, self.scores.chance
        if measure is None:
            return ["There are no images of unseen classes, so nothing is known of them."]
        if len(self.unseen) == 1:
            return [
                "With one unseen class only the answers among all classes say anything."
            ]
        if measure.low > chance:
            return ["Unseen classes are told from each other better than by chance."]
        if measure.high < chance:
            return [
                "Unseen classes are told from each other worse than by chance: these "
                "attributes are not what the features see."
            ]
        return ["Unseen classes are not told from each other beyond chance."]

    def _settings(self) -> str:
        names = _SETTINGS[self.method]
        values = zip(names, self.choice.penalties, strict=True)
        return " and ".join(f"{name} {value:g}" for name, value in values)


def _cells(scores: Generalized) -> list[str]:
    return [_show(each) for each in (scores.seen, scores.unseen, scores.harmonic)]


def _show(measure: Measure | None) -> str:
    return MISSING if measure is None else str(measure)
