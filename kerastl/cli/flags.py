"""Options as flags: the help comes from the table of options, and so does every check."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kerastl.errors import ResumeRefusedError, UsageError
from kerastl.options import FIELDS, GROUPS, Options

_NUMBERS = ("N", "RATE", "SHARE")
_IN_FILES_ONLY = ("stages",)


def read_number(text: str) -> int | float | str:
    """Read a number; other text is left for the option itself to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def read_numbers(text: str) -> Any:
    """Read `5` as a number and `3,5` as a list."""
    if "," in text:
        return tuple(read_number(part) for part in text.split(","))
    return read_number(text)


def _read_sides(text: str) -> Any:
    sides = tuple(read_number(part) for part in text.lower().split("x"))
    return sides[0] if len(sides) == 1 else sides


def find_resumed(given: argparse.Namespace, mark: str, what: str) -> Path | None:
    """Return the folder of the job that `--resume` names; None without it.

    Args:
        given: The command line.
        mark: The file with the job's plan.
        what: The job, as in "holds no search to go on with".

    Raises:
        UsageError: `--out` names another folder.
        ResumeRefusedError: The folder holds no such job.
    """
    if given.resume is None:
        return None
    if "out" in given:
        raise UsageError(
            f"--out {given.out} and --resume {given.resume} name two folders: a resumed "
            f"{what} goes on in its own."
        )
    folder = Path(given.resume)
    if folder.is_dir() and not (folder / mark).is_file():
        raise ResumeRefusedError(
            f"{folder} holds no {what} to go on with (no {mark}): start a new one with "
            f"--out {folder}."
        )
    return folder


def read_names(text: str) -> tuple[str, ...]:
    """Read `flip,crops` as names, and `none` as no name."""
    return () if text in ("", "none") else tuple(text.split(","))


def _read_list(text: str) -> tuple[Any, ...]:
    return tuple(read_number(part) for part in read_names(text))


_READERS: dict[str, Callable[[str], Any]] = {
    "image_size": _read_sides,
    "hidden": _read_list,
    "augment": read_names,
}


def add_options(
    parser: argparse.ArgumentParser, groups: Iterable[str], *, skip: Iterable[str] = ()
) -> None:
    """Add a flag for every option of some groups.

    Flags that are not given leave no trace in the namespace, so that a configuration file
    can stand between them and the defaults.
    """
    skipped = {*_IN_FILES_ONLY, *skip}
    for group in groups:
        section = parser.add_argument_group(f"{group}: {GROUPS[group]}")
        for name, field in FIELDS.items():
            if field.metadata["group"] == group and name not in skipped:
                _add_flag(section, name)


def _add_flag(section: argparse._ArgumentGroup, name: str) -> None:
    field = FIELDS[name]
    flag, help = f"--{name.replace('_', '-')}", _describe(name)
    settings: dict[str, Any] = {"default": argparse.SUPPRESS, "help": help}
    if field.type in (bool, bool | None):
        section.add_argument(
            flag, dest=name, action=argparse.BooleanOptionalAction, **settings
        )
        return
    settings["metavar"] = field.metadata["like"]
    section.add_argument(flag, dest=name, type=_reader(name), **settings)


def _reader(name: str) -> Callable[[str], Any]:
    if name in _READERS:
        return _READERS[name]
    return read_numbers if FIELDS[name].metadata["like"] in _NUMBERS else str


def _describe(name: str) -> str:
    field = FIELDS[name]
    parts = [field.metadata["help"]]
    if field.metadata["choices"]:
        parts = [", ".join(field.metadata["choices"]), *parts]
    text = ": ".join(reversed(parts)) if len(parts) > 1 else parts[0]
    default = _show_default(field.default)
    return (f"{text} (default: {default})" if default else text).replace("%", "%%")


def _show_default(default: Any) -> str:
    return "" if default is None or default is False or default == () else str(default)


def collect_options(given: argparse.Namespace, before: Mapping[str, Any]) -> Options:
    """Lay the flags that were given over what a file says.

    Raises:
        UsageError: Lists everything that is not allowed.
    """
    flags = {name: value for name, value in vars(given).items() if name in FIELDS}
    return Options(**{**before, **flags})
