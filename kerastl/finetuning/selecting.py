"""Which epoch is best and when to stop: pure functions of the rows of a run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def score_row(row: Row) -> tuple[float, float] | None:
    """Return what epochs are compared by: validation accuracy, then lower loss.

    Without a validation split nothing may be selected, so the later epoch always wins.

    Returns:
        A tuple, higher is better; None when a number is not finite: never the best.

    Example:

    >>> score_row({"epoch": 1, "loss": 0.1, "val_accuracy": 0.9, "val_loss": 0.3})
    (0.9, -0.3)
    >>> score_row({"epoch": 1, "loss": float("nan")}) is None
    True
    """
    values = [row[key] for key in ("loss", "val_accuracy", "val_loss") if key in row]
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return None
    if "val_accuracy" in row:
        return (row["val_accuracy"], -row["val_loss"])
    return (float(row["epoch"]), 0.0)


def find_best(rows: Sequence[Row]) -> int | None:
    """Return the index of the best row, the first of equals; None when no row is finite."""
    scored = [(score, -i) for i, row in enumerate(rows) if (score := score_row(row))]
    return -max(scored)[1] if scored else None


def should_stop(rows: Sequence[Row], patience: int | None) -> bool:
    """Return whether a stage's rows end in divergence or `patience` epochs without gain."""
    if not rows:
        return False
    if score_row(rows[-1]) is None:
        return True
    if patience is None:
        return False
    return len(rows) - 1 - find_best(rows) >= patience
