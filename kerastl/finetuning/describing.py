"""Stages, epochs and times in words, for the terminal. No Keras."""

import time
from typing import Any

from kerastl.stages import Stage


def describe_stage(stage: Stage) -> str:
    """Say in half a line what a stage does.

    Example:

    >>> describe_stage(Stage(name="top", unfreeze=15, epochs=3))
    'trains the last 15 layers for 3 epochs at 0.001'
    """
    if stage.solver == "exact":
        return "solves the head exactly"
    what = f"the last {stage.unfreeze} layers"
    if not isinstance(stage.unfreeze, int):
        named = {"head": "the head", "all": "everything"}
        what = named.get(stage.unfreeze, f"{stage.unfreeze} and above")
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    return f"trains {what} for {epochs} at {stage.learning_rate:g}"


def describe_row(row: dict[str, Any]) -> str:
    """Return an epoch's losses and accuracies as text.

    Example:

    >>> describe_row({"loss": 0.5, "accuracy": 0.75})
    'loss 0.5000  accuracy 0.7500'
    """
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return "  ".join(f"{name} {row[name]:.4f}" for name in names if name in row)


def format_seconds(seconds: float) -> str:
    """Return seconds as `m:ss`, or `h:mm:ss` from an hour on.

    Example:

    >>> format_seconds(75)
    '1:15'
    """
    text = time.strftime("%H:%M:%S", time.gmtime(round(seconds)))
    return text.removeprefix("00:").removeprefix("0")
