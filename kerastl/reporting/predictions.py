"""What predictions.csv tells beyond the scores: the most confident mistakes and mix-ups."""

from pathlib import PurePosixPath

import pandas as pd

from kerastl.evaluation.layout import printable, text_width
from kerastl.reporting.canvas import shorten

_NAME_WIDTH = 26


def worst_predictions(rows: pd.DataFrame, count: int = 12) -> pd.DataFrame:
    """Return the mistakes the model was most sure of, the worst first.

    Args:
        rows: name, label, predicted, confidence; further columns stay.
        count: At most so many, 12 by default.

    Returns:
        Rows of `rows`, their index kept; empty when nothing is wrong.

    Example:

    >>> rows = pd.DataFrame({"name": ["a", "b", "c"], "label": ["x", "x", "y"],
    ...                      "predicted": ["y", "x", "x"], "confidence": [0.6, 0.9, 0.8]})
    >>> worst_predictions(rows)["name"].tolist()
    ['c', 'a']
    """
    wrong = rows[rows["label"] != rows["predicted"]]
    order = wrong.sort_values(["confidence", "name"], ascending=[False, True])
    return order.head(count)


def best_predictions(rows: pd.DataFrame, count: int = 8) -> pd.DataFrame:
    """Return what the model was surest of and right, the classes in turn.

    Args:
        rows: name, label, predicted, confidence; further columns stay.
        count: At most so many, 8 by default.

    Returns:
        Rows of `rows`, their index kept; empty when nothing is right.

    Example:

    >>> rows = pd.DataFrame({"name": ["a", "b", "c"], "label": ["x", "x", "y"],
    ...                      "predicted": ["x", "x", "y"], "confidence": [0.9, 0.8, 0.6]})
    >>> best_predictions(rows, 2)["name"].tolist()
    ['a', 'c']
    """
    right = rows[rows["label"] == rows["predicted"]]
    ordered = right.sort_values(["confidence", "name"], ascending=[False, True])
    turn = ordered.groupby("label").cumcount()
    return ordered.loc[turn.sort_values(kind="stable").index].head(count)


def worst_titles(rows: pd.DataFrame) -> list[str]:
    """Return a title of three lines per row, for `plot_worst`.

    Args:
        rows: name, label, predicted, confidence.

    Returns:
        One text per row: the end of its name, the label, and what was said instead.

    Example:

    >>> row = {"name": "cat/1.jpg", "label": "cat", "predicted": "dog", "confidence": 0.98}
    >>> worst_titles(pd.DataFrame([row]))
    ['cat/1.jpg\\nlabel: cat\\nsaid: dog, 98.0 %']
    """
    columns = rows[["name", "label", "predicted", "confidence"]]
    return [_write_title(*row) for row in columns.itertuples(index=False, name=None)]


def _write_title(name: str, label: str, predicted: str, confidence: float) -> str:
    said = shorten(printable(predicted), 14)
    lines = (_end_of_name(name), f"label: {printable(label)}")
    return "\n".join((*lines, f"said: {said}, {100 * confidence:.1f} %"))


def _end_of_name(name: str) -> str:
    """Return as many last parts of a path as fit, for they tell images apart."""
    parts = PurePosixPath(printable(name)).parts
    for start in range(len(parts)):
        ending = "/".join(parts[start:])
        if text_width(ending) <= _NAME_WIDTH:
            return ending
    tail = parts[-1] if parts else ""
    while text_width(tail) > _NAME_WIDTH - 1:
        tail = tail[1:]
    return f"…{tail}"


def count_mixups(rows: pd.DataFrame, count: int = 10) -> list[tuple[str, str, int]]:
    """Return the commonest mistakes as (label, predicted, images), most first.

    Args:
        rows: label and predicted.
        count: At most so many, 10 by default.

    Returns:
        Tuples; ties in the order of the names.

    Example:

    >>> rows = pd.DataFrame({"label": ["a", "a", "b"], "predicted": ["b", "b", "b"]})
    >>> count_mixups(rows)
    [('a', 'b', 2)]
    """
    wrong = rows[rows["label"] != rows["predicted"]]
    sizes = wrong.groupby(["label", "predicted"], sort=True).size()
    ordered = sizes.sort_values(ascending=False, kind="stable").head(count)
    return [(*pair, int(size)) for pair, size in ordered.items()]
