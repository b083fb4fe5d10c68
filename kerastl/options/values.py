"""What an option may be: one function per kind, from a plain value to a checked one.

Each takes the option's name and a value out of Python, TOML or a flag, and returns it in
the one form the package uses, or raises a UsageError that names both.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

from kerastl.errors import UsageError, check_choice
from kerastl.stages import Schedule, Stage, check_number

NONE = "none"  # TOML knows no null: this text stands for None where None is not the default
_BYTES = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?)I?B?")
_LONG = 10**9  # epochs: a stage that any warm-up fits into


def read_text(name: str, value: Any) -> str:
    """Text that can be written to a file; a path becomes text."""
    text = str(value) if isinstance(value, PurePath) else value
    if not isinstance(text, str) or not text:
        raise UsageError(f"{name}={value!r}: give text.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name}={value!r} is not valid Unicode: rename it.") from None
    return text


def read_text_or_none(name: str, value: Any) -> str | None:
    """Text, where "none" means None."""
    text = None if value is None else read_text(name, value)
    return None if text == NONE else text


def read_choice(choices: Iterable[str]) -> Callable[[str, Any], str]:
    """Return a reader of one of `choices`."""
    return lambda name, value: check_choice(name, value, choices)


def read_switch(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UsageError(f"{name}={value!r}: give true or false.")
    return value


def read_whole(low: int, high: float = math.inf) -> Callable[[str, Any], int]:
    """Return a reader of a whole number between `low` and `high`."""

    def read(name: str, value: Any) -> int:
        check_number(name, value, low, high, whole=True)
        return value

    return read


def read_share(name: str, value: Any) -> float:
    """A number from 0 to 0.95."""
    check_number(name, value, 0, 0.95)
    return float(value)


def read_tuple(read: Callable[[str, Any], Any]) -> Callable[[str, Any], tuple]:
    """Return a reader of a list whose items `read` accepts."""

    def read_all(name: str, value: Any) -> tuple:
        if not isinstance(value, list | tuple):
            raise UsageError(f"{name}={value!r}: give a list.")
        return tuple(read(name, item) for item in value)

    return read_all


def read_size(name: str, value: Any) -> tuple[int, int]:
    """One side, or height and width."""
    sides = value if isinstance(value, list | tuple) else (value, value)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or min(sides) < 1:
        raise UsageError(
            f"{name}={value!r}: give a whole number of pixels from 1 up, or height and "
            "width (48x64 on the command line, [48, 64] in a file)."
        )
    return tuple(sides)


def read_bytes(name: str, value: Any) -> int:
    """A number of bytes, or text such as 500MB."""
    if isinstance(value, str):
        found = _BYTES.fullmatch(value.strip().upper())
        if not found:
            raise UsageError(f"{name}={value!r}: give bytes, such as 500MB or 2GB.")
        value = int(float(found[1]) * 1024 ** " KMGT".index(found[2] or " "))
    return read_whole(1)(name, value)


def read_stage_value(name: str, value: Any) -> Any:
    """Let `Stage` itself judge a setting of it."""
    settings = {"name": "any", "epochs": _LONG, name: value}
    return getattr(Stage(**settings), name)


def read_per_stage(name: str, value: Any) -> Any:
    """A setting of a stage, or a list of one value per stage."""
    if isinstance(value, list | tuple):
        if not value:
            raise UsageError(f"{name}={value!r}: give one value, or one per stage.")
        return tuple(read_stage_value(name, item) for item in value)
    return read_stage_value(name, value)


def read_augment(name: str, value: Any) -> tuple[str, ...]:
    """A list of names of augmentations."""
    return read_stage_value(name, read_tuple(read_text)(name, value))


def read_stage(name: str, value: Any) -> dict[str, Any]:
    """A stage, or a table of its settings, as a table of all of them."""
    if isinstance(value, Mapping):
        value = _stage_from_table(name, value)
    if not isinstance(value, Stage):
        raise UsageError(f"{name}={value!r}: give tables of settings, each with a name.")
    (table,) = Schedule("one", (value,)).to_dict()["stages"]
    return table


def _stage_from_table(name: str, table: Mapping[str, Any]) -> Stage:
    if "name" not in table:
        raise UsageError(f"{name}={dict(table)!r}: give each stage a name.")
    return Schedule.from_dict({"name": "one", "stages": [table]}).stages[0]
