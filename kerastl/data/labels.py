r"""Labels and groups out of columns and paths: a one-line rule language.

A rule is a template: `{gender}-{wear}` joins columns of a table. On paths, `{parent}` is
the folder above the file, `{stem}` the file name without extension, `{1}`, `{2}` the parts
from the left and `{-1}`, `{-2}` from the right (`{-1}` without extension). With a regular
expression in front, `re:(?P<id>\d+)_(?P<wear>mask|normal) -> {id}-{wear}`, its named groups
are fields too. `{age:<30,30-59,60+}` puts a number into the first bin that holds it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from kerastl.data.listing import normalize_name
from kerastl.errors import DataError, UsageError, suggest

Rule = str | Callable[[str], str | None]
_FIELD = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_BIN = re.compile(r"(<=|>=|<|>)?\s*(-?\d+(?:\.\d+)?)\s*(?:(\+)|-\s*(-?\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Bin:
    """One interval of numbers, written as people write it."""

    text: str
    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether `value` is inside."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below


def parse_bin(text: str) -> Bin:
    """Read `<30`, `<=30`, `>60`, `>=60`, `60+`, `30-59` (both ends inside) or `7`.

    Raises:
        UsageError: It is none of these.

    Example:

    >>> parse_bin("30-59").holds(59), parse_bin("<30").holds(30)
    (True, False)
    """
    match = _BIN.fullmatch(text.strip())
    if not match or (match[1] and (match[3] or match[4])):
        raise UsageError(
            f"The bin {text!r} is not one of the forms <30, <=30, >60, >=60, 60+, 30-59, 7."
        )
    return _make_bin(text.strip(), match)


def _make_bin(text: str, match: re.Match) -> Bin:
    number, sign = float(match[2]), match[1]
    if sign in ("<", "<="):
        return Bin(text, float("-inf"), number, open_high=sign == "<")
    if sign or match[3]:
        return Bin(text, number, float("inf"), open_low=sign == ">")
    return Bin(text, number, float(match[4]) if match[4] else number)


def bin_value(field: str, value: str, bins: tuple[Bin, ...]) -> str:
    """Return the text of the first bin that holds the number `value`.

    Raises:
        DataError: `value` is no number, or no bin holds it.
    """
    try:
        number = float(value)
    except ValueError:
        raise DataError(f"{field}={value!r} is not a number, so it fits no bin.") from None
    for each in bins:
        if each.holds(number):
            return each.text
    listed = ",".join(each.text for each in bins)
    raise DataError(f"{field}={value} fits no bin of {listed}.")


def path_fields(name: str) -> dict[str, str]:
    """Name the parts of a relative path.

    Example:

    >>> path_fields("a/b.jpg")
    {'1': 'a', '2': 'b', '-1': 'b', '-2': 'a', 'stem': 'b', 'parent': 'a'}
    """
    *folders, file = name.split("/")
    parts = [*folders, file.rsplit(".", 1)[0] or file]
    left = {str(place): part for place, part in enumerate(parts, 1)}
    right = {str(-place): part for place, part in enumerate(reversed(parts), 1)}
    ends = {"stem": parts[-1]} | ({"parent": parts[-2]} if folders else {})
    return left | right | ends


@dataclass(frozen=True)
class Template:
    """A parsed rule: an optional pattern and the template it feeds.

    Args:
        argument: `label_rule` or `group_rule`, for messages.
        rule: The whole rule as given.
        pattern: Regular expression searched for in the path, or None.
        template: The text with `{fields}`.
    """

    argument: str
    rule: str
    pattern: re.Pattern | None
    template: str

    @cached_property
    def fields(self) -> dict[str, tuple[Bin, ...]]:
        """Each field of the template with its bins (none: the value itself)."""
        found = _FIELD.findall(self.template)
        return {
            name: tuple(parse_bin(part) for part in bins.split(",")) if bins else ()
            for name, bins in found
        }

    def __call__(self, name: str, columns: Mapping[str, str] | None = None) -> str:
        """Build the text for one path; `columns` are the values of its table row.

        Raises:
            DataError: The pattern is not in `name`, or a bin or value is missing.
            UsageError: The template asks for a field that does not exist.
        """
        values = path_fields(name) | dict(columns or {}) | self._search(name)
        return _FIELD.sub(lambda match: self._fill(match[1], values), self.template)

    def _search(self, name: str) -> dict[str, str]:
        if self.pattern is None:
            return {}
        match = self.pattern.search(name)
        if match is None:
            raise DataError(f"the pattern {self.pattern.pattern!r} does not match it.")
        return {field: value or "" for field, value in match.groupdict().items()}

    def _fill(self, field: str, values: Mapping[str, str]) -> str:
        if field not in values:
            raise UsageError(_unknown_field(self, field, values))
        if not values[field].strip():
            raise DataError(f"{field} is empty.")
        bins = self.fields[field]
        return bin_value(field, values[field], bins) if bins else values[field].strip()


def _unknown_field(rule: Template, field: str, values: Mapping[str, str]) -> str:
    names = sorted(values)
    return (
        f"{rule.argument}={rule.rule!r} asks for {{{field}}}, which is not one of: "
        f"{', '.join(names)}.{suggest(field, names)}"
    )


def parse_rule(argument: str, rule: str) -> Template:
    r"""Read a rule before any file is touched.

    Args:
        argument: What it is called in messages, `label_rule` or `group_rule`.
        rule: A template, or `re:PATTERN -> TEMPLATE`; with a single named group the arrow
            and template may be left out.

    Raises:
        UsageError: It is no valid pattern, has no fields or a bin that cannot be read.

    Example:

    >>> rule = parse_rule("label_rule", r"re:_(?P<age>\d+)/(?P<wear>mask|normal) -> "
    ...                   "{age:<30,30-59,60+}-{wear}")
    >>> rule("000001_female_Asian_45/mask1.jpg")
    '30-59-mask'
    """
    if not rule.startswith("re:"):
        return _check_template(Template(argument, rule, None, rule))
    pattern, arrow, template = rule[3:].rpartition(" -> ")
    compiled = _compile(argument, pattern if arrow else template)
    if not arrow:
        template = _only_group(argument, rule, compiled)
    return _check_template(Template(argument, rule, compiled, template.strip()))


def _compile(argument: str, pattern: str) -> re.Pattern:
    try:
        return re.compile(pattern.strip())
    except re.error as error:
        raise UsageError(
            f"{argument} holds {pattern!r}, which is not a regular expression: {error}."
        ) from error


def _only_group(argument: str, rule: str, pattern: re.Pattern) -> str:
    if len(pattern.groupindex) != 1:
        raise UsageError(
            f"{argument}={rule!r} needs ' -> ' and a template of its named groups, such as "
            "'re:(?P<id>\\d+)_ -> {id}'."
        )
    return "{" + next(iter(pattern.groupindex)) + "}"


def _check_template(rule: Template) -> Template:
    if not rule.fields:
        raise UsageError(
            f"{rule.argument}={rule.rule!r} has no field: write a template such as "
            f"'{{{rule.rule if rule.rule.isidentifier() else 'parent'}}}'."
        )
    return rule


def apply_rule(
    argument: str, rule: Rule, name: str, columns: Mapping[str, str] | None = None
) -> str | None:
    """Run a parsed rule or a Python function on one path.

    Args:
        argument: `label_rule` or `group_rule`, for messages.
        rule: A `Template`, or a function of the relative path; None from it skips the file.
        name: Relative path.
        columns: The other values of the table row, by column.

    Raises:
        DataError: The path does not fit; the sentence names it.
        UsageError: The function returned something that is no text.
    """
    if isinstance(rule, Template):
        try:
            return normalize_name(rule(name, columns))
        except DataError as error:
            raise DataError(f"{argument} cannot be used on {name!r}: {error}") from None
    result = rule(name)
    if result is None:
        return None
    if not isinstance(result, str) or not result.strip():
        raise UsageError(
            f"{argument} returned {result!r} for {name!r}: return text, or None to skip."
        )
    return normalize_name(result.strip())
