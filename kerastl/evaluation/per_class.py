"""The table with one row per class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kerastl.evaluation.intervals import wilson_interval
from kerastl.evaluation.metrics import class_f1, divide

_NUMBERS = ("precision", "recall", "recall_low", "recall_high", "f1")
PER_CLASS = ("class", "n", *_NUMBERS)


def per_class_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with fixed dtypes, whatever the rows leave open.

    Args:
        rows: One dict per class with the keys of `PER_CLASS`; None is NaN.

    Returns:
        DataFrame with text, int64 and float64 columns.

    Example:

    >>> row = {"class": "cat", "n": 0, "precision": 0.0, "recall": None,
    ...        "recall_low": 0.0, "recall_high": 1.0, "f1": 0.0}
    >>> float(per_class_frame([row])["recall"].iloc[0])
    nan
    """
    frame = pd.DataFrame(rows, columns=list(PER_CLASS))
    return frame.astype({"n": "int64"} | dict.fromkeys(_NUMBERS, "float64"))


def tabulate_classes(
    names: Sequence[str], hits: np.ndarray, answers: np.ndarray, counts: np.ndarray
) -> pd.DataFrame:
    """Return precision, recall with its Wilson interval and F1 per class.

    Args:
        names: Class names.
        hits: Images of each class answered right, int (classes,).
        answers: How often each class was predicted, int (classes,).
        counts: Images of each class, int (classes,).

    Returns:
        DataFrame with the columns of `PER_CLASS`.

    Example:

    >>> table = tabulate_classes(["cat"], *(np.array([n]) for n in (3, 4, 5)))
    >>> table["precision"].tolist(), table["recall"].tolist()
    ([0.75], [0.6])
    """
    bounds = [wilson_interval(*pair) for pair in zip(hits, counts, strict=True)]
    measured = (divide(hits, answers), divide(hits, counts), *zip(*bounds, strict=True))
    columns = (names, counts, *measured, class_f1(hits, answers, counts))
    rows = zip(*columns, strict=True)
    return per_class_frame([dict(zip(PER_CLASS, row, strict=True)) for row in rows])
