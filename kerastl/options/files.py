"""Options as TOML text and back, and what differs between two of them."""

import json
import tomllib
from typing import Any

from kerastl.errors import UsageError, suggest
from kerastl.options.fields import FIELDS, GROUPS, Options
from kerastl.options.values import NONE

Stages = tuple[dict[str, Any], ...]
# where images and results lie changes nothing: a fingerprint tells whether images differ
_PLACES = ("data", "cache_budget", "out")
_LARGEST_FILE = 1 << 20  # characters of a configuration


def to_toml(options: Options, *, comments: bool = False) -> str:
    """Write options as a TOML file that `from_toml` and `--config` read.

    Args:
        options: What to write; settings left to the schedule are not written.
        comments: Explain every option, those left out too, as `--print-config` does.

    Returns:
        str of flat keys, and a `[[stages]]` table per stage of a custom schedule.

    Example:

    >>> print(to_toml(Options(base="tiny", hidden=(256,))).splitlines()[6:9])
    ['base = "tiny"', 'weights = "pretrained"', 'pooling = "average"']
    """
    lines = []
    for group, title in GROUPS.items():
        lines += [f"# {group}: {title}"] if comments else []
        lines += _write_group(options, group, comments)
        lines += [""] if comments else []
    for stage in options.stages:
        lines += ["", "[[stages]]"]
        lines += [f"{key} = {_write_value(value)}" for key, value in stage.items()]
    return "\n".join(lines).rstrip() + "\n"


def _write_group(options: Options, group: str, comments: bool) -> list[str]:
    lines = []
    for name, field in FIELDS.items():
        if field.metadata["group"] != group or name == "stages":
            continue
        value = getattr(options, name)
        note = f"  # {field.metadata['help']}" if comments else ""
        if value is not None or field.default is not None:
            lines.append(f"{name} = {_write_value(NONE if value is None else value)}{note}")
        elif comments:
            lines.append(f"# {name} ={note}")
    return lines


def _write_value(value: Any) -> str:
    # JSON is TOML for these, but for one character that TOML wants escaped
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_toml(text: str) -> dict[str, Any]:
    """Read the keys that a configuration sets, unchecked but for their names.

    Returns:
        dict of option name to value, to be laid under the flags of a command line.

    Raises:
        UsageError: It is no TOML, or a key is unknown; names the nearest.
    """
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"The configuration has {len(text)} characters: is it one?")
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"The configuration is not valid TOML: {error}.") from error
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        raise UsageError("\n".join(map(_explain_unknown, unknown)))
    return values


def _explain_unknown(name: str) -> str:
    return f"There is no option {name!r}.{suggest(name, FIELDS)}"


def from_toml(text: str) -> Options:
    """Rebuild what `to_toml` wrote.

    Raises:
        UsageError: It is no TOML, a key is unknown or a value is not allowed.

    Example:

    >>> from_toml('base = "vgg16"\\nimage_size = [32, 48]').image_size
    (32, 48)
    """
    return Options(**parse_toml(text))


def difference(before: Options, now: Options) -> list[str]:
    """Say in which options two runs differ; where data and results lie is not compared.

    Args:
        before: Of the run on disk.
        now: What is asked for.

    Returns:
        list of str, empty when they would do the same.

    Example:

    >>> difference(Options(epochs=5), Options(epochs=10))
    ['epochs: 5 in the run, 10 now']
    """
    pairs = {name: (getattr(before, name), getattr(now, name)) for name in FIELDS}
    stages = pairs.pop("stages")
    for name in _PLACES:
        del pairs[name]
    return _compare(pairs) + _compare_stages(*stages)


def _compare(pairs: dict[str, tuple[Any, Any]], prefix: str = "") -> list[str]:
    return [
        f"{prefix}{name}: {_show(before)} in the run, {_show(now)} now"
        for name, (before, now) in pairs.items()
        if before != now
    ]


def _compare_stages(before: Stages, now: Stages) -> list[str]:
    names = tuple(", ".join(stage["name"] for stage in stages) for stages in (before, now))
    if len(before) != len(now):
        return _compare({"stages": (names[0] or None, names[1] or None)})
    return [
        line
        for then, asked in zip(before, now, strict=True)
        for line in _compare(_pair(then, asked), f"stage {then['name']!r}, ")
    ]


def _pair(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (before.get(key), now.get(key)) for key in dict.fromkeys([*before, *now])}


def _show(value: Any) -> str:
    return "not set" if value is None else str(value)
