"""Stages and schedules: what trains, for how long and how fast. Plain data, no Keras."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kerastl.errors import UsageError, check_choice, not_one_of, suggest

OPTIMIZERS = ("adam", "sgd", "adamw", "rmsprop")
LR_SCHEDULES = ("constant", "step", "cosine")
AUGMENTATIONS = ("flip", "crop", "randaugment", "mixup", "cutmix", "erasing")
MIXING = ("mixup", "cutmix")  # they mix labels too, so labels become one-hot
HEAD = "head"
ALL = "all"
PREPROCESSING = "preprocessing"


@dataclass(frozen=True)
class LayerInfo:
    """What the freeze plan needs to know of one layer of a model.

    `block` is `"preprocessing"`, the name of a block of the base, or `"head"`.
    """

    name: str
    block: str
    is_batchnorm: bool
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One compile and fit: which layers train, for how many epochs, how fast.

    Args:
        name: What the stage is called in tables and figures.
        unfreeze: `"head"`; a block of the base, which trains it and all above it; an int n,
            the last n layers of the whole model as in `model.layers[-n:]`; or `"all"`. The
            head always trains.
        epochs: Passes over the training images.
        learning_rate: The highest rate of the stage: the head's.
        optimizer: `"adam"`, `"sgd"`, `"adamw"` or `"rmsprop"`; a fresh one each stage.
        momentum: Of `"sgd"` alone. Default 0.9.
        weight_decay: Decoupled decay per step, as in Keras' optimizers. Default 0.
        batch_size: Images per step.
        lr_schedule: `"constant"`, `"step"` (times `step_factor` every `step_epochs`) or
            `"cosine"` (to zero at the end of the stage).
        step_epochs: Epochs between two steps of `"step"`.
        step_factor: What the rate is multiplied with at each step.
        warmup_epochs: Epochs of linear rise from zero before the schedule starts.
        rate_decay: What the rate is multiplied with for each block down from the head: at
            0.5 the top block of the base trains at half the head's rate, the next at a
            quarter. Above 0, at most 1, the default. Howard and Ruder (ULMFiT, ACL 2018)
            took 1 / 2.6, about 0.38.
        patience: Stop after this many epochs without a better validation score; None never.
        restore_best: End the stage with its best epoch's weights, not the last one's.
        augment: Names out of `AUGMENTATIONS`, applied to training images alone.
        class_weight: `"balanced"` weighs each class by the inverse of its frequency.
        train_batchnorm: Also train BatchNorm layers that are unfrozen. Default False: with
            few images their statistics would drift and undo the pretraining.
        label_smoothing: Share of each label spread over all classes, 0 to 1.
        normalize: `"base"`, the normalisation the base was trained with, or `"data"`, the
            training images' own mean and standard deviation per channel.
        solver: `"fit"`, or `"exact"`: a linear head solved to its optimum in one pass.

    Raises:
        UsageError: A value is of the wrong type or out of range.

    Example:

    >>> Stage(name="head", epochs=3).unfreeze
    'head'
    """

    name: str
    unfreeze: str | int = HEAD
    epochs: int = 10
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 32
    lr_schedule: str = "constant"
    step_epochs: int = 7
    step_factor: float = 0.1
    warmup_epochs: int = 0
    rate_decay: float = 1.0
    patience: int | None = None
    restore_best: bool = True
    augment: tuple[str, ...] = ()
    class_weight: str | None = None
    train_batchnorm: bool = False
    label_smoothing: float = 0.0
    normalize: str = "base"
    solver: str = "fit"

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise UsageError(f"A stage needs a name of text; got {self.name!r}.")
        object.__setattr__(self, "augment", tuple(self.augment))
        self._check_choices()
        self._check_numbers()
        self._check_unfreeze()

    def _check_choices(self) -> None:
        for field, allowed in _CHOICES.items():
            check_choice(field, getattr(self, field), allowed)
        if self.class_weight not in (None, "balanced"):
            raise UsageError(not_one_of("class_weight", self.class_weight, ["balanced"]))
        for name in self.augment:
            check_choice("augment", name, AUGMENTATIONS)
        if set(MIXING) <= set(self.augment):
            raise UsageError(
                "augment has both mixup and cutmix, which would mix each image twice: "
                "name one of them."
            )
        for field in ("restore_best", "train_batchnorm"):
            if not isinstance(getattr(self, field), bool):
                raise UsageError(f"{field}={getattr(self, field)!r}: give true or false.")

    def _check_numbers(self) -> None:
        for field, (low, high, whole) in _RANGES.items():
            check_number(field, getattr(self, field), low, high, whole=whole)
        if self.patience is not None:
            check_number("patience", self.patience, 1, math.inf, whole=True)
        if self.warmup_epochs > self.epochs:
            raise UsageError(
                f"warmup_epochs={self.warmup_epochs} is more than the stage's "
                f"{self.epochs} epochs: give at most {self.epochs}."
            )

    def _check_unfreeze(self) -> None:
        if isinstance(self.unfreeze, str) and self.unfreeze:
            return
        if isinstance(self.unfreeze, bool) or not isinstance(self.unfreeze, int):
            raise UsageError(
                f"unfreeze={self.unfreeze!r}: give 'head', 'all', the name of a block, or "
                "how many layers from the end of the model."
            )
        check_number("unfreeze", self.unfreeze, 1, math.inf, whole=True)


# field -> what it may be
_CHOICES = {
    "optimizer": OPTIMIZERS,
    "lr_schedule": LR_SCHEDULES,
    "normalize": ("base", "data"),
    "solver": ("fit", "exact"),
}
_SMALLEST = 1e-12  # a rate of zero trains nothing
# field -> lowest, highest, whole number
_RANGES = {
    "epochs": (1, math.inf, True),
    "batch_size": (1, math.inf, True),
    "learning_rate": (_SMALLEST, 1e6, False),
    "momentum": (0.0, 0.9999, False),
    "weight_decay": (0.0, 1e3, False),
    "step_epochs": (1, math.inf, True),
    "step_factor": (_SMALLEST, 1.0, False),
    "warmup_epochs": (0, math.inf, True),
    "rate_decay": (_SMALLEST, 1.0, False),
    "label_smoothing": (0.0, 0.99, False),
}


def check_number(
    name: str, value: Any, low: float, high: float, *, whole: bool = False
) -> None:
    """Refuse what is not a finite number between `low` and `high`.

    Raises:
        UsageError: With the name, the value and the range.
    """
    kinds = (int,) if whole else (int, float)
    good = isinstance(value, kinds) and not isinstance(value, bool)
    if good and math.isfinite(value) and low <= value <= high:
        return
    what = "a whole number" if whole else "a number"
    top = "" if high == math.inf else f" and at most {high:g}"
    raise UsageError(f"{name}={value!r}: give {what} of at least {low:g}{top}.")


STAGE_FIELDS = tuple(field.name for field in dataclasses.fields(Stage))


@dataclass(frozen=True)
class Schedule:
    """An ordered list of stages with a name.

    Example:

    >>> top = Stage(name="top", unfreeze="block5")
    >>> schedule = Schedule("two", (Stage(name="head"), top))
    >>> [stage.unfreeze for stage in schedule]
    ['head', 'block5']
    >>> Schedule.from_dict(schedule.to_dict()) == schedule
    True
    """

    name: str
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if not self.stages:
            raise UsageError(f"Schedule {self.name!r} has no stage: give at least one.")
        names = [stage.name for stage in self.stages]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"Schedule {self.name!r} has two stages called {twice[0]!r}: "
                "give each its own name."
            )

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return name and stages as plain JSON and TOML values, None left out."""
        stages = [dataclasses.asdict(stage) for stage in self.stages]
        kept = [{k: v for k, v in s.items() if v is not None} for s in stages]
        return {"name": self.name, "stages": [_as_lists(stage) for stage in kept]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Schedule":
        """Rebuild what `to_dict` returned.

        Raises:
            UsageError: A key of a stage is unknown, or a value is refused by `Stage`.
        """
        return cls(values["name"], tuple(map(_stage_from_dict, values["stages"])))


def _as_lists(stage: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in stage.items()}


def _stage_from_dict(values: Mapping[str, Any]) -> Stage:
    for key in values:
        if key not in STAGE_FIELDS:
            raise UsageError(
                f"A stage has no setting {key!r}; it has {', '.join(STAGE_FIELDS)}."
                f"{suggest(key, STAGE_FIELDS)}"
            )
    return Stage(**values)
