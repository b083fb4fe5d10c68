"""Search spaces out of text: `--param learning_rate=0.1,0.01`, and TOML files."""

import re
import tomllib
from collections.abc import Iterable
from typing import Any

from kerastl.errors import UsageError
from kerastl.spaces.distributions import looks_like_distribution, parse_distribution
from kerastl.spaces.settings import find_reader
from kerastl.spaces.space import Space

_EXAMPLES = "learning_rate=loguniform(1e-5,1e-2) or batch_size=16,32"
_WORDS = {"true": True, "false": False, "none": None}
_SIDES = re.compile(r"(\d{1,9})x(\d{1,9})")  # an image size, as its flag writes it
_LARGEST_FILE = 1 << 20  # characters of a space


def parse_parameter(text: str) -> tuple[str, Any]:
    """Read `name=values` as given to `--param`.

    Args:
        text: After the name, a distribution of scipy.stats, or values with commas between
            them: numbers, `true`, `false`, `none`, names, and lists in brackets.

    Returns:
        The name, and a tuple of values or a frozen distribution; unchecked until they are
        a Space.

    Raises:
        UsageError: It is not of that form.

    Example:

    >>> parse_parameter("hidden=[],[256],[512,256]")
    ('hidden', ((), (256,), (512, 256)))
    """
    name, separator, values = text.partition("=")
    if not separator or not name.strip():
        raise UsageError(f"{text!r} names no setting: write {_EXAMPLES}.")
    name = name.strip()
    if looks_like_distribution(values):
        return name, parse_distribution(values)
    return name, tuple(_parse_item(name, item) for item in _split(text, values))


def parse_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Read several `name=values`, each name once.

    Raises:
        UsageError: One is not of that form, or a name is given twice.

    Example:

    >>> parse_parameters(["batch_size=16,32", "base=vgg16"])
    {'batch_size': (16, 32), 'base': ('vgg16',)}
    """
    parameters: dict[str, Any] = {}
    for name, values in map(parse_parameter, texts):
        if name in parameters:
            raise UsageError(f"{name} is given twice: write all its values after one.")
        parameters[name] = values
    return parameters


def parse_space(text: str) -> Space:
    """Read a space from a TOML file: a key per setting, a list or a distribution as text.

    Raises:
        UsageError: It is no TOML, or no space.

    Example:

    >>> parse_space('batch_size = [16, 32]\\nlearning_rate = "uniform(0.1, 0.2)"').size
    """
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"The search space has {len(text)} characters: is it one?")
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"The search space is not valid TOML: {error}.") from error
    return Space({name: _read_entry(name, value) for name, value in table.items()})


def _read_entry(name: str, value: Any) -> Any:
    """TOML knows no null: "none" stands for it, as in a configuration."""
    if isinstance(value, list):
        return [_read_none(name) if item == "none" else item for item in value]
    return _read_none(name) if value == "none" else value


def _split(text: str, values: str) -> list[str]:
    """Cut at the commas outside brackets."""
    parts, depth = [""], 0
    for character in values:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth not in (0, 1):
            raise UsageError(f"{text}: the brackets do not match; write [256,128],[512].")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise UsageError(f"{text}: a bracket is not closed; write [256,128],[512].")
    parts = [part.strip() for part in parts]
    if "" in parts:
        raise UsageError(f"{text}: a value is missing; write {_EXAMPLES}.")
    return parts


def _parse_item(name: str, item: str) -> Any:
    if item == "none":
        return _read_none(name)
    sides = _SIDES.fullmatch(item)
    if name == "image_size" and sides:
        return int(sides[1]), int(sides[2])
    if item.startswith("[") and item.endswith("]"):
        inside = item[1:-1].strip()
        return tuple(map(_parse_literal, _split(item, inside))) if inside else ()
    return _prefer(name, [_parse_literal(item), item])


def _read_none(name: str) -> Any:
    """Of a setting that is a list, nothing is the empty list."""
    return _prefer(name, [(), None])


def _prefer(name: str, choices: list[Any]) -> Any:
    """Return the first choice the setting takes, else the last: its error will be told."""
    try:
        read = find_reader(name)
    except UsageError:
        return choices[0]
    for choice in choices:
        try:
            read(choice)
        except UsageError:
            continue
        return choice
    return choices[-1]


def _parse_literal(text: str) -> Any:
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
