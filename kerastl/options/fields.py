"""The table of options: one field each, with its default, kind, group and help."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kerastl.errors import KerastlError, UsageError, not_one_of
from kerastl.options.values import (
    read_augment,
    read_bytes,
    read_choice,
    read_per_stage,
    read_share,
    read_size,
    read_stage,
    read_stage_value,
    read_switch,
    read_text,
    read_text_or_none,
    read_tuple,
    read_whole,
)
from kerastl.schedules import SCHEDULES
from kerastl.stages import AUGMENTATIONS, LR_SCHEDULES, OPTIMIZERS

GROUPS = {
    "images": "which images, which labels, which splits",
    "model": "the pretrained base and the head on it",
    "training": "the schedule; the rest changes every stage of it",
    "run": "seed and folder",
}


def _option(
    default: Any,
    read: Callable[[str, Any], Any],
    group: str,
    help: str,
    *,
    like: str = "TEXT",
    choices: Iterable[str] = (),
) -> Any:
    metadata = {
        "read": read,
        "group": group,
        "help": help,
        "like": like,
        "choices": tuple(choices),
    }
    return dataclasses.field(default=default, metadata=metadata)


def _choice(default: str | None, choices: Iterable[str], group: str, help: str) -> Any:
    return _option(default, read_choice(choices), group, help, like="NAME", choices=choices)


def _stage_option(help: str, like: str) -> Any:
    return _option(None, read_stage_value, "training", help, like=like)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything `kerastl finetune` can be told; None leaves a setting to the schedule.

    The same names are flags (`--batch-size`), keys of `config.toml` and arguments in
    Python. All problems are reported at once.

    Raises:
        UsageError: A value is of the wrong type or out of range.

    Example:

    >>> options = Options(base="tiny", epochs=[3, 5], image_size=32)
    >>> options.epochs, options.image_size
    ((3, 5), (32, 32))
    """

    data: str = _option(
        "digits",
        read_text,
        "images",
        "a folder, CSV, TSV or zip file; or digits, random",
        like="PATH",
    )
    path_column: str | None = _option(
        None, read_text, "images", "column with the image paths", like="NAME"
    )
    label_column: str | None = _option(
        None, read_text, "images", "column with the labels", like="NAME"
    )
    label_rule: str | None = _option(
        None, read_text, "images", "builds labels from columns or parts of the path"
    )
    group_rule: str | None = _option(
        None, read_text, "images", "the same for groups that stay in one split"
    )
    multi_label: bool = _option(
        False, read_switch, "images", "an image may have several labels"
    )
    validation: float = _option(
        0.2, read_share, "images", "share for choosing, when there is no such folder",
        like="SHARE",
    )  # fmt: skip
    test: float = _option(
        0.2, read_share, "images", "share for the final score, the same way", like="SHARE"
    )
    merge_validation: bool = _option(
        False, read_switch, "images", "train on the validation images as well"
    )
    on_bad_image: str = _choice(
        "error", ("error", "skip"), "images", "what to do with an unreadable file"
    )
    cache_budget: int | None = _option(
        None, read_bytes, "images",
        "memory for decoded images, and for activations, such as 2GB", like="SIZE",
    )  # fmt: skip

    base: str = _option(
        "auto", read_text, "model", "see `kerastl bases`; auto: resnet50, else tiny",
        like="NAME",
    )  # fmt: skip
    weights: str | None = _option(
        "pretrained", read_text_or_none, "model",
        "pretrained, imagenet, cifar10, auto, none or a path", like="NAME",
    )  # fmt: skip
    image_size: tuple[int, int] | None = _option(
        None, read_size, "model", "side, or HEIGHTxWIDTH; default: the base's", like="SIZE"
    )
    pooling: str = _choice(
        "average", ("average", "max", "flatten"), "model", "of the base's last feature maps"
    )
    hidden: tuple[int, ...] = _option(
        (), read_tuple(read_whole(1)), "model", "sizes of hidden layers", like="256,128"
    )
    dropout: float = _option(
        0.0, read_share, "model", "after each hidden layer, or before the last",
        like="SHARE",
    )  # fmt: skip

    schedule: str = _option(
        "hybrid",
        read_text,
        "training",
        "which layers train when",
        like="NAME",
        choices=SCHEDULES,
    )
    stages: tuple[dict[str, Any], ...] = _option(
        (), read_tuple(read_stage), "training", "stages of your own, in --config files"
    )
    epochs: int | tuple[int, ...] | None = _option(
        None, read_per_stage, "training", "per stage: 5, or 3,5", like="N"
    )
    learning_rate: float | tuple[float, ...] | None = _option(
        None, read_per_stage, "training",
        "one: the first stage's, the rest in proportion", like="RATE",
    )  # fmt: skip
    batch_size: int | None = _stage_option("images per step", "N")
    optimizer: str | None = _choice(None, OPTIMIZERS, "training", "fresh at each stage")
    momentum: float | None = _stage_option("of sgd", "SHARE")
    weight_decay: float | None = _stage_option("decoupled decay per step", "RATE")
    lr_schedule: str | None = _choice(
        None, LR_SCHEDULES, "training", "of the learning rate within a stage"
    )
    step_epochs: int | None = _stage_option("epochs between steps of `step`", "N")
    step_factor: float | None = _stage_option("factor at each step of `step`", "SHARE")
    warmup_epochs: int | None = _stage_option("epochs of linear rise from zero", "N")
    rate_decay: float | tuple[float, ...] | None = _option(
        None, read_per_stage, "training",
        "factor of the rate for each block down from the head", like="SHARE",
    )  # fmt: skip
    patience: int | None = _stage_option("stop after N epochs without a better one", "N")
    restore_best: bool | None = _option(
        None, read_switch, "training", "end a stage with its best epoch, not its last"
    )
    augment: tuple[str, ...] | None = _option(
        None, read_augment, "training",
        f"any of {','.join(AUGMENTATIONS)}; or none", like="NAMES",
    )  # fmt: skip
    class_weight: str | None = _choice(
        None, ("balanced",), "training", "rare classes count more"
    )
    train_batchnorm: bool | None = _option(
        None, read_switch, "training", "also train unfrozen BatchNorm layers"
    )
    label_smoothing: float | None = _stage_option("share spread over all classes", "SHARE")
    normalize: str | None = _choice(
        None, ("base", "data"), "training", "by the base's statistics or these images'"
    )

    activations: str = _choice(
        "float32", ("float32", "float16", "bfloat16", "mixed_bfloat16"), "run",
        "dtype of what frozen layers give; mixed_bfloat16 computes in it",
    )  # fmt: skip
    seed: int = _option(
        0, read_whole(0, 2**31 - 1), "run", "the same seed, the same result", like="N"
    )
    split_seed: int | None = _option(
        None, read_whole(0, 2**31 - 1), "run", "of the splits alone; default: the seed",
        like="N",
    )  # fmt: skip
    out: str | None = _option(
        None, read_text, "run", "new folder; default: runs/finetune-1, -2, ...", like="DIR"
    )

    def __post_init__(self) -> None:
        problems = []
        for field in dataclasses.fields(self):
            try:
                self._read(field)
            except KerastlError as error:
                problems.append(str(error))
        problems += [] if problems else self._find_contradictions()
        if problems:
            raise UsageError("\n".join(problems))

    def _read(self, field: dataclasses.Field) -> None:
        value = getattr(self, field.name)
        if value is None and field.default is None:
            return
        read = field.metadata["read"](field.name, value)
        object.__setattr__(self, field.name, read)

    def _find_contradictions(self) -> list[str]:
        problems = []
        if self.validation + self.test >= 1:
            problems.append(
                f"validation={self.validation} and test={self.test} leave nothing to train "
                "on: give shares that add up to less than 1."
            )
        if not self.stages and self.schedule not in SCHEDULES:
            problems.append(not_one_of("schedule", self.schedule, SCHEDULES))
        return problems


FIELDS = {field.name: field for field in dataclasses.fields(Options)}
