"""What is compared: every base with every schedule, of as many epochs, with each seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kerastl.bases import get_base
from kerastl.bases.sizes import check_image_size, is_count
from kerastl.errors import KerastlError, UsageError, check_choice
from kerastl.finetuning.planning import check_weights, read_schedule, resolve_base
from kerastl.options import Options
from kerastl.schedules import SCHEDULES
from kerastl.search.candidates import apply_parameters
from kerastl.stages import Schedule, Stage

AUTO = "auto"


@dataclass(frozen=True)
class Entry:
    """One combination of base and schedule.

    Args:
        base: Its name.
        schedule: Its name.
        name: What it is called in tables: what tells it from the others.
        options: Of its run with the first seed, every stage written out; None where it
            cannot run.
        reason: Why it cannot; empty where it can.
    """

    base: str
    schedule: str
    name: str
    options: Options | None
    reason: str = ""

    def folder(self, seed: int) -> str:
        """Return the name of the folder of its run with a seed."""
        return f"{self.base}-{self.schedule}-{seed}"


@dataclass(frozen=True)
class Entrants:
    """What a comparison is asked to compare.

    Args:
        bases: Names of bases.
        schedules: Names of schedules.
        repeats: Runs of each combination, with as many seeds.
        epochs: Of each run in all, divided over its stages; None for those of the longest
            schedule.

    Raises:
        UsageError: A name or a number is not allowed.
    """

    bases: tuple[str, ...] = (AUTO,)
    schedules: tuple[str, ...] = ("feature-extraction", "hybrid")
    repeats: int = 1
    epochs: int | None = None

    def __post_init__(self):
        for field in ("bases", "schedules"):
            names = getattr(self, field)
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise UsageError(f"{field}={names!r}: give a list of names.")
            object.__setattr__(self, field, tuple(names))
        bases = [b if b == AUTO else get_base(b).name for b in self.bases]
        object.__setattr__(self, "bases", tuple(dict.fromkeys(bases)))
        for name in self.schedules:
            check_choice("schedule", name, SCHEDULES)
        object.__setattr__(self, "schedules", tuple(dict.fromkeys(self.schedules)))
        for field, value in (("repeats", self.repeats), ("epochs", self.epochs)):
            if not is_count(value) and (field, value) != ("epochs", None):
                raise UsageError(
                    f"{field}={value!r} must be a whole number from 1 up"
                    f"{', of all stages together' * (field == 'epochs')}."
                )
        if len(self.bases) * len(self.schedules) < 2:
            raise UsageError(
                f"bases={list(self.bases)} and schedules={list(self.schedules)} are "
                f"{len(self.bases) * len(self.schedules)} combination: give two or more to "
                "compare."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def list_seeds(self, first: int) -> list[int]:
        """Return the seeds of the runs of each combination."""
        return list(range(first, first + self.repeats))


def resolve_entrants(entrants: Entrants, options: Options) -> tuple[Entrants, Options, str]:
    """Replace the base "auto" by the one to take, and say which and why."""
    if AUTO not in entrants.bases:
        return entrants, options, ""
    if len(entrants.bases) > 1:
        raise UsageError("bases: 'auto' among others could be one of them: name it.")
    options, reason = resolve_base(replace(options, base=AUTO))
    return replace(entrants, bases=(options.base,)), options, reason


def list_entries(entrants: Entrants, options: Options) -> tuple[list[Entry], int]:
    """Return every combination, checked, and the epochs that each run gets.

    Args:
        entrants: Without `"auto"`.
        options: The same for all.

    Returns:
        Entries, those that cannot run with the reason; and the epochs.

    Raises:
        KerastlError: None of them can run: that of the first.
    """
    obstacles = {base: find_base_problem(base, options) for base in entrants.bases}
    found: dict[tuple[str, str], Options | KerastlError] = {}
    for base in entrants.bases:
        for schedule in entrants.schedules:
            found[base, schedule] = obstacles[base] or _settle(options, base, schedule)
    total = entrants.epochs or max(
        (_count_epochs(o) for o in found.values() if isinstance(o, Options)), default=1
    )
    for key, settled in found.items():
        if isinstance(settled, Options):
            found[key] = _give_epochs(settled, total)
    if all(isinstance(each, KerastlError) for each in found.values()):
        raise next(iter(found.values()))  # type: ignore[misc]
    return [_make_entry(entrants, *key, each) for key, each in found.items()], total


def find_base_problem(base: str, options: Options) -> KerastlError | None:
    """Return why a base cannot run on its size or weights, without trying."""
    try:
        row = get_base(base)
        check_image_size(row, options.image_size)
        check_weights(row, options.weights)
    except KerastlError as error:
        return error
    return None


def _settle(options: Options, base: str, schedule: str) -> Options | KerastlError:
    try:
        return apply_parameters(options, {"base": base, "schedule": schedule})
    except KerastlError as error:
        return error


def _give_epochs(options: Options, total: int) -> Options | KerastlError:
    try:
        schedule = share_epochs(read_schedule(options, get_base(options.base)), total)
    except KerastlError as error:
        return error
    return replace(options, stages=tuple(schedule.to_dict()["stages"]))


def _count_epochs(options: Options) -> int:
    return sum(stage.epochs for stage in read_schedule(options, get_base(options.base)))


def share_epochs(schedule: Schedule, total: int) -> Schedule:
    """Divide a number of epochs over the stages, in proportion to those they have.

    Every stage gets one at least; one that is solved exactly counts as one.

    Raises:
        UsageError: There are more stages than epochs.

    Example:

    >>> stages = (Stage(name="a", epochs=5), Stage(name="b", epochs=3))
    >>> [stage.epochs for stage in share_epochs(Schedule("two", stages), 20)]
    [12, 8]
    """
    if total < len(schedule):
        raise UsageError(
            f"epochs={total} of all stages together are fewer than the {len(schedule)} "
            f"stages of schedule {schedule.name!r}: give more."
        )
    fitted = [stage.epochs if stage.solver != "exact" else 0 for stage in schedule]
    left, given = total - len(schedule), []
    for place, weight in enumerate(fitted):
        rest = sum(fitted[place:])
        share = round(left * weight / rest) if rest else 0
        given.append(1 + share)
        left -= share
    pairs = zip(schedule, given, strict=True)
    return Schedule(schedule.name, tuple(_with_epochs(*pair) for pair in pairs))


def _with_epochs(stage: Stage, epochs: int) -> Stage:
    return replace(stage, epochs=epochs, warmup_epochs=min(stage.warmup_epochs, epochs))


def _make_entry(
    entrants: Entrants, base: str, schedule: str, found: Options | KerastlError
) -> Entry:
    name = name_entry(entrants.bases, entrants.schedules, base, schedule)
    if isinstance(found, KerastlError):
        return Entry(base, schedule, name, None, str(found))
    return Entry(base, schedule, name, found)


def name_entry(
    bases: Sequence[str], schedules: Sequence[str], base: str, schedule: str
) -> str:
    """Return what tells one combination from the others.

    Example:

    >>> name_entry(["vgg16", "resnet50"], ["hybrid"], "vgg16", "hybrid")
    'vgg16'
    >>> name_entry(["vgg16"], ["hybrid", "full"], "vgg16", "full")
    'full'
    """
    if len(schedules) == 1:
        return base
    return schedule if len(bases) == 1 else f"{base} {schedule}"
