"""What a stage's graphs depend on: stages that are equal in it share them. No Keras."""

from dataclasses import dataclass, replace

from kerastl.stages import MIXING, Stage

# what stages may differ in whose heads train beside each other: rates, and when to stop
OWN = (
    "learning_rate", "weight_decay", "lr_schedule", "step_epochs", "step_factor",
    "warmup_epochs", "rate_decay", "patience", "restore_best",
)  # fmt: skip
ADAMW_DECAY = 0.004  # what AdamW has in Keras unless told


@dataclass(frozen=True)
class Signature:
    """All that a stage's graphs depend on beside the forms of their inputs."""

    trained: tuple[str, ...]
    cached: bool
    optimizer: str
    momentum: float
    decays: bool
    scales: bool
    label_smoothing: float
    one_hot: bool
    normalization: str

    @classmethod
    def of(
        cls, stage: Stage, *, trained: tuple[str, ...], cached: bool, normalization: str
    ) -> "Signature":
        """Describe a stage.

        Args:
            stage: Of the schedule.
            trained: Names of what it trains.
            cached: Whether what is frozen runs once, so that steps are those of the rest.
            normalization: Of the model's pixels.

        Example:

        >>> slow, fast = Stage(name="slow"), Stage(name="fast", learning_rate=0.1)
        >>> about = {"trained": ("kernel",), "cached": True, "normalization": "base"}
        >>> Signature.of(slow, **about) == Signature.of(fast, **about)
        True
        """
        return cls(
            trained=trained,
            cached=cached,
            optimizer=stage.optimizer,
            momentum=stage.momentum,
            decays=choose_decay(stage) is not None,
            scales=scales_rates(stage),
            label_smoothing=stage.label_smoothing,
            one_hot=needs_one_hot(stage),
            normalization=normalization,
        )


def choose_decay(stage: Stage) -> float | None:
    """Return the decoupled weight decay of the stage's optimizer; None for none."""
    if stage.optimizer == "adamw":
        return stage.weight_decay or ADAMW_DECAY
    return stage.weight_decay or None


def scales_rates(stage: Stage) -> bool:
    """Return whether blocks have rates of their own; then optimizers do more in a step."""
    return stage.rate_decay != 1


def needs_one_hot(stage: Stage) -> bool:
    """Return whether mixing or smoothing makes labels that are not one class."""
    return bool(stage.label_smoothing or set(stage.augment) & set(MIXING))


def is_companion(first: Stage, second: Stage) -> bool:
    """Return whether heads of two stages can train beside each other, batch by batch.

    Example:

    >>> slow, fast = Stage(name="head"), Stage(name="head", learning_rate=0.1)
    >>> is_companion(slow, fast), is_companion(slow, Stage(name="head", batch_size=16))
    (True, False)
    """
    same = {name: getattr(first, name) for name in OWN}
    kinds = [(choose_decay(s) is None, scales_rates(s)) for s in (first, second)]
    return replace(second, **same) == first and kinds[0] == kinds[1]
