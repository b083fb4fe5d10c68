"""Which settings may be searched, and what each of them may be."""

from collections.abc import Callable, Mapping
from typing import Any

from kerastl.errors import KerastlError, UsageError, check_choice, suggest
from kerastl.options import FIELDS
from kerastl.options.values import read_augment, read_stage_value
from kerastl.schedules import SCHEDULES
from kerastl.stages import STAGE_FIELDS

UNFREEZE = "unfreeze"  # of the last stage
SEPARATOR = "__"  # between a stage and a setting of it, as scikit-learn writes it
STAGE_SETTINGS = tuple(field for field in STAGE_FIELDS if field != "name")
_GROUPS = ("model", "training")
SEARCHABLE = (
    *(
        name
        for name, field in FIELDS.items()
        if field.metadata["group"] in _GROUPS and name != "stages"
    ),
    UNFREEZE,
)
# options that are no setting of a trial -> what to do instead
_FIXED = {
    "stages": "search `schedule`, or a stage's own setting such as head__learning_rate",
    "seed": "it is the same for all trials; repeats=3 trains each with several seeds",
    "activations": "it is how frozen layers' output is kept, the same for all trials",
    "out": "it is where the whole search is written",
}

Reader = Callable[[Any], Any]


def find_reader(name: str) -> Reader:
    """Return the function that checks one value of a setting and puts it in one form.

    Raises:
        UsageError: It cannot be searched; says why, or names the nearest that can.
    """
    if not isinstance(name, str):
        raise UsageError(f"{name!r} is not the name of a setting: give text.")
    if name in SEARCHABLE:
        return lambda value: _read(name, value)
    if name in FIELDS:
        why = _FIXED.get(name, "it belongs to the images, the same for all trials")
        raise UsageError(f"{name!r} cannot be searched: {why}.")
    stage, separator, setting = name.rpartition(SEPARATOR)
    if not separator:
        raise UsageError(f"There is no setting {name!r}.{suggest(name, SEARCHABLE)}")
    _check_stage_setting(name, stage, setting)
    return lambda value: _read_of_stage(name, setting, value)


def _check_stage_setting(name: str, stage: str, setting: str) -> None:
    if not stage:
        raise UsageError(
            f"{name!r} names no stage: write its name or number before the two "
            f"underscores, such as 1{SEPARATOR}{setting}."
        )
    if setting not in STAGE_SETTINGS:
        hint = suggest(setting, STAGE_SETTINGS)
        raise UsageError(f"{name!r}: a stage has no setting {setting!r}.{hint}")


def _read(name: str, value: Any) -> Any:
    if name == UNFREEZE:
        return read_stage_value(name, value)
    field = FIELDS[name]
    if value is None and field.default is None:
        return None
    if name == "base" and value == "auto":
        raise UsageError("base='auto' is a choice of its own: name the bases to try.")
    if name == "schedule":
        check_choice(name, value, SCHEDULES)
    return field.metadata["read"](name, value)


def _read_of_stage(name: str, setting: str, value: Any) -> Any:
    read = read_augment if setting == "augment" else read_stage_value
    try:
        return read(setting, value)
    except KerastlError as error:
        raise UsageError(f"{name}: {error}") from error


def check_point(params: Mapping[str, Any]) -> None:
    """Refuse a point of a space that has a value its setting cannot have.

    Raises:
        UsageError: Names every such value.

    Example:

    >>> check_point({"momentum": 0.9, "head__learning_rate": 0.01})
    """
    problems = []
    for name, value in params.items():
        try:
            find_reader(name)(value)
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
