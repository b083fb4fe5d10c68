"""The learning rate at every step of a stage, as a pure function."""

import math

from kerastl.stages import Stage


def sets_rates(stage: Stage) -> bool:
    """Return whether the stage sets the rate of each step.

    A constant one is set at its start, and callbacks may change it.

    Example:

    >>> sets_rates(Stage(name="top")), sets_rates(Stage(name="top", warmup_epochs=1))
    (False, True)
    """
    return stage.lr_schedule != "constant" or stage.warmup_epochs > 0


def compute_rate(stage: Stage, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of one step.

    Args:
        stage: Gives the highest rate, the shape and the warm-up.
        step: Counted over the whole stage from 0.
        steps_per_epoch: Batches in an epoch.

    Returns:
        The rate: rising linearly over `warmup_epochs`, then constant, stepping down, or
        falling by a cosine to zero at the end of the stage (SGDR, ICLR 2017, one period).

    Example:

    >>> stage = Stage(name="top", epochs=4, learning_rate=1.0, lr_schedule="step",
    ...               step_epochs=2, step_factor=0.1)
    >>> [compute_rate(stage, epoch * 5, steps_per_epoch=5) for epoch in range(4)]
    [1.0, 1.0, 0.1, 0.1]
    """
    warmup = stage.warmup_epochs * steps_per_epoch
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    if stage.lr_schedule == "step":
        return stage.learning_rate * stage.step_factor ** (
            step // (stage.step_epochs * steps_per_epoch)
        )
    if stage.lr_schedule == "cosine":
        done = (step - warmup) / (stage.epochs * steps_per_epoch - warmup)
        return stage.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return stage.learning_rate


def compute_rates(stage: Stage, epoch: int, steps: int) -> list[float]:
    """Return the learning rate of each step of an epoch, both counted from 0."""
    return [compute_rate(stage, epoch * steps + step, steps) for step in range(steps)]
