"""A list of values for one setting, out of whatever a user writes."""

from pathlib import PurePath
from typing import Any

from kerastl.errors import UsageError
from kerastl.spaces.settings import Reader

_SCALARS = (str, int, float, PurePath, type(None))
_SHOWN = 8  # values of a long list that are printed


def make_plain(value: Any) -> Any:
    """Return numpy's numbers as Python's and lists as tuples, at any depth."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, pandas' columns
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(map(make_plain, value))
    return str(value) if isinstance(value, PurePath) else value


def list_values(name: str, value: Any) -> tuple:
    """Return the values to try: a list, tuple, array or range of them, or just one.

    Raises:
        UsageError: It is none of these.
    """
    value = make_plain(value)
    if isinstance(value, range):
        return tuple(value)
    if isinstance(value, tuple):
        return value
    if isinstance(value, _SCALARS):
        return (value,)
    raise UsageError(
        f"{name}: give a list of values or a distribution of scipy.stats; got "
        f"{type(value).__name__}."
    )


def check_values(name: str, values: tuple, read: Reader) -> None:
    """Refuse an empty list, values that are not allowed, and values given twice.

    Raises:
        UsageError: Names all of them.
    """
    if not values:
        raise UsageError(f"{name} has no values: give at least one.")
    problems, seen = [], []
    for value in values:
        try:
            form = read(value)
        except UsageError as error:
            problems.append(f"{error}{_explain_lists(value, read)}")
            continue
        if form in seen:
            problems.append(f"{name}={write_value(value)} is given twice: leave one out.")
        seen.append(form)
    if problems:
        raise UsageError("\n".join(problems))


def _explain_lists(value: Any, read: Reader) -> str:
    """Help where a list of values was meant as one value that is a list."""
    try:
        read((value,))
    except UsageError:
        return ""
    return f" Each value to try is a list itself: [{write_value((value,))}]."


def write_value(value: Any) -> str:
    """Return a value as it is written on the command line.

    Example:

    >>> write_value((256, 128)), write_value(None), write_value(True)
    ('[256,128]', 'none', 'true')
    """
    if isinstance(value, tuple):
        return f"[{','.join(map(write_value, value))}]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def describe_values(values: tuple) -> str:
    """Return the values, or the first of many, and how many there are."""
    shown = ", ".join(map(write_value, values[:_SHOWN]))
    if len(values) > _SHOWN:
        return f"{shown}, ... ({len(values)} values)"
    return shown
