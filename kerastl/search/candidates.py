"""A point of a search space as the options of one training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kerastl.bases import Base, get_base
from kerastl.bases.sizes import check_image_size
from kerastl.errors import UsageError, suggest
from kerastl.finetuning.planning import read_schedule, resolve_base
from kerastl.options import FIELDS, Options
from kerastl.schedules import resolve_schedule
from kerastl.spaces import check_point
from kerastl.spaces.settings import SEPARATOR, UNFREEZE
from kerastl.stages import STAGE_FIELDS, Schedule, Stage

_CHANGES = tuple(name for name in STAGE_FIELDS if name in FIELDS)  # of every stage


def apply_parameters(options: Options, params: Mapping[str, Any]) -> Options:
    """Return what one trial trains: options with a point of a space laid over them.

    Args:
        options: What is the same in all trials. `base="auto"` is settled here; settle it
            before a search, so that it is asked for once.
        params: Setting -> value, as in a `Space`. Settings of all stages apply before
            those of one; `unfreeze` is the last stage's.

    Returns:
        Options with the name of the base and every stage of the schedule written out.

    Raises:
        UsageError: A value is not allowed, the schedule has no such stage, one setting of
            a stage is given twice, or the base has no such block, or is larger than the
            images.

    Example:

    >>> point = {"schedule": "fine-tune", "head__epochs": 3, "unfreeze": "block4"}
    >>> stages = apply_parameters(Options(base="vgg16"), point).stages
    >>> [(stage["name"], stage["epochs"], stage["unfreeze"]) for stage in stages]
    [('head', 3, 'head'), ('block5', 10, 'block4')]
    """
    check_point(params)
    plain = {name: value for name, value in params.items() if name in FIELDS}
    if "schedule" in plain:
        plain["stages"] = ()  # stages of one's own are what another schedule replaces
    options, _ = resolve_base(replace(options, **plain))
    base = get_base(options.base)
    rest = {name: value for name, value in params.items() if name not in FIELDS}
    schedule = _change_stages(_resolve(options, base), rest)
    result = replace(
        options,
        base=base.name,
        schedule=schedule.name,
        stages=tuple(schedule.to_dict()["stages"]),
        **dict.fromkeys(_CHANGES),
    )
    read_schedule(result, base)
    check_image_size(base, result.image_size)
    return result


def _resolve(options: Options, base: Base) -> Schedule:
    """Return the schedule unchecked: a stage's own settings may be what mends it."""
    schedule: str | Schedule = options.schedule
    if options.stages:
        schedule = Schedule.from_dict({"name": schedule, "stages": options.stages})
    changes = {name: getattr(options, name) for name in _CHANGES}
    return resolve_schedule(schedule, base.blocks, changes, head_rate=base.head_rate)


def _change_stages(schedule: Schedule, params: Mapping[str, Any]) -> Schedule:
    changes: dict[str, dict[str, Any]] = {stage.name: {} for stage in schedule}
    for name, value in params.items():
        stage, setting = _find_stage(schedule, name)
        if setting in changes[stage]:
            raise UsageError(
                f"{name}={value!r} sets what another setting sets, {setting} of stage "
                f"{stage!r}: leave one out."
            )
        changes[stage][setting] = value
    stages = [_change_stage(stage, changes[stage.name]) for stage in schedule]
    return Schedule(schedule.name, tuple(stages))


def _change_stage(stage: Stage, changes: Mapping[str, Any]) -> Stage:
    try:
        return replace(stage, **changes)
    except UsageError as error:
        raise UsageError(f"Stage {stage.name!r}: {error}") from error


def _find_stage(schedule: Schedule, name: str) -> tuple[str, str]:
    """Return the name of the stage that a parameter is about, and the setting."""
    names = [stage.name for stage in schedule]
    if name == UNFREEZE:
        return names[-1], UNFREEZE
    stage, _, setting = name.rpartition(SEPARATOR)
    if stage in names:
        return stage, setting
    if stage.isdecimal() and 1 <= int(stage) <= len(names):
        return names[int(stage) - 1], setting
    raise UsageError(
        f"{name!r}: schedule {schedule.name!r} has no stage {stage!r}; its stages are "
        f"{', '.join(names)}, or 1 to {len(names)}.{suggest(stage, names)}"
    )
