"""Everything measured on one split, as one value that prints, shows and stores itself."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kerastl.errors import DataError
from kerastl.evaluation import sentences
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.layout import format_share, html_table, html_text
from kerastl.evaluation.per_class import per_class_frame

_MEASURES = ("accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "baseline")


@dataclass(frozen=True, eq=False)
class Scores:
    """How good the predictions for one split are; `score` makes it.

    `str(scores)` says in sentences what the numbers mean. With several labels per image
    `accuracy` counts images with every label right, `baseline` is the commonest set of
    labels, `confusion` is (classes, 2, 2) and the measures of one-label tasks are None.

    Args:
        n: Number of images.
        accuracy: Share of images answered right, Wilson interval.
        balanced_accuracy: Mean recall over the classes present.
        macro_f1: Mean F1 over the classes present or predicted.
        micro_f1: F1 of all labels counted together; only with several labels per image.
        top_k: Share of images whose class is among the k likeliest, by k.
        baseline: What always answering `baseline_class` would score on these images.
        baseline_class: The commonest class of these images.
        matthews: Correlation of truth and prediction, -1 to 1; 0 is guessing.
        log_loss: Mean of -log of the probability given to the truth.
        per_class: DataFrame of class, n, precision, recall, recall_low, recall_high, f1;
            NaN where a class is absent or never predicted.
        confusion: Int array (classes, classes): rows are true, columns predicted.
        class_names: Names in the order of the indices.
        multi_label: Whether an image may carry several labels.
        split: Which split was scored, such as "test"; empty when not said.
    """

    n: int
    accuracy: Measure
    balanced_accuracy: Measure | None
    macro_f1: Measure
    micro_f1: Measure | None
    top_k: dict[int, Measure]
    baseline: Measure
    baseline_class: str
    matthews: float | None
    log_loss: float
    per_class: pd.DataFrame
    confusion: np.ndarray
    class_names: tuple[str, ...]
    multi_label: bool = False
    split: str = ""

    def __str__(self) -> str:
        return sentences.describe(self)

    def __repr__(self) -> str:
        place = f"split={self.split!r}, " if self.split else ""
        return f"Scores({place}n={self.n}, accuracy={self.accuracy})"

    def _repr_html_(self) -> str:
        said = "<br>".join(html_text(line) for line in str(self).splitlines())
        rows = [
            [row[0], f"{row[1]:,}", *map(format_share, row[2:])]
            for row in self.per_class.itertuples(index=False, name=None)
        ]
        header = ["class", "images", "precision", "recall", "from", "to", "F1"]
        return f"<p>{said}</p>{html_table(header, rows, right=range(1, 7))}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; unknown numbers are None.

        Returns:
            A dict such as `{"n": 360, "accuracy": {"value": .., "low": .., "high": ..}}`.
        """
        rows = self.per_class.to_dict("records")
        return {
            "split": self.split,
            "n": self.n,
            "multi_label": self.multi_label,
            **{name: _measure_dict(getattr(self, name)) for name in _MEASURES},
            "baseline_class": self.baseline_class,
            "top_k": {str(k): _measure_dict(m) for k, m in self.top_k.items()},
            "matthews": self.matthews,
            "log_loss": self.log_loss,
            "per_class": [{k: _plain(v) for k, v in row.items()} for row in rows],
            "confusion": self.confusion.tolist(),
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Scores":
        """Rebuild what `to_dict` gave, also after a trip through JSON.

        Args:
            fields: The dict, as stored under "test" or "validation" in metrics.json.

        Returns:
            Equal scores.

        Raises:
            DataError: A field is missing or is not what `to_dict` writes.
        """
        try:
            return cls(**_parse(fields))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"These scores are damaged ({type(error).__name__}: {error}); "
                "evaluate the model again."
            ) from error


def _parse(fields: dict[str, Any]) -> dict[str, Any]:
    top_k = {int(k): Measure.from_dict(m) for k, m in fields["top_k"].items()}
    names = tuple(str(name) for name in fields["class_names"])
    confusion = np.array(fields["confusion"], np.int64)
    if len(confusion) != len(names):
        raise ValueError(f"confusion has {len(confusion)} rows, not {len(names)}")
    return {
        **{name: fields[name] for name in ("n", "matthews", "log_loss")},
        **{name: _parse_measure(fields[name]) for name in _MEASURES},
        "baseline_class": str(fields["baseline_class"]),
        "top_k": top_k,
        "per_class": per_class_frame(fields["per_class"]),
        "confusion": confusion,
        "class_names": names,
        "multi_label": bool(fields["multi_label"]),
        "split": str(fields["split"]),
    }


def _measure_dict(measure: Measure | None) -> dict[str, float] | None:
    return None if measure is None else measure.to_dict()


def _parse_measure(fields: dict[str, float] | None) -> Measure | None:
    return None if fields is None else Measure.from_dict(fields)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
