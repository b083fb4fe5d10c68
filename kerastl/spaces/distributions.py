"""scipy's distributions as text and back, and what they really draw."""

import ast
import math
import re
from typing import Any

from kerastl.errors import UsageError, suggest
from kerastl.spaces.settings import Reader

# a word and parentheses with none inside: `loguniform(1e-5, 1e-2)`
_CALL = re.compile(r"\s*(?:(?:scipy\.)?stats\.)?([A-Za-z_]\w*)\s*\(([^()]*)\)\s*")
_LONGEST = 200  # characters of a distribution's text
_SHARES = (0.01, 0.5, 0.99)  # of the draws lie below the values that are checked
_EXAMPLE = "such as loguniform(1e-5, 1e-2)"


def is_distribution(value: object) -> bool:
    """Whether something draws values; it may still be one that is refused."""
    return hasattr(value, "rvs")


def looks_like_distribution(text: str) -> bool:
    """Whether text is a call, such as `uniform(0, 1)`."""
    return _CALL.fullmatch(text) is not None


def parse_distribution(text: str) -> Any:
    """Make the frozen distribution that text names; nothing in it is executed.

    Raises:
        UsageError: scipy.stats has none of that name, or it takes other arguments.

    Example:

    >>> parse_distribution("uniform(0.001, 0.1)").args
    (0.001, 0.1)
    """
    found = _CALL.fullmatch(text)
    if not found or len(text) > _LONGEST:
        raise UsageError(f"{text[:_LONGEST]!r} is no distribution {_EXAMPLE}.")
    family = _find_family(found[1])
    arguments, named = _parse_arguments(text, found[2])
    try:
        frozen = family(*arguments, **named)
        frozen.support()
    except (TypeError, ValueError) as error:
        shapes = ", ".join(filter(None, [family.shapes, "loc", "scale"]))
        raise UsageError(f"{text}: {found[1]} takes ({shapes}): {error}") from error
    return frozen


def _find_family(name: str) -> Any:
    from scipy import stats

    kinds = (stats.rv_continuous, stats.rv_discrete)
    names = [key for key, value in vars(stats).items() if isinstance(value, kinds)]
    if name not in names:
        raise UsageError(f"scipy.stats has no distribution {name!r}.{suggest(name, names)}")
    return getattr(stats, name)


def _parse_arguments(text: str, inside: str) -> tuple[list[float], dict[str, float]]:
    try:
        call = ast.parse(f"f({inside.strip()})", mode="eval").body
        positional = [_evaluate_number(node) for node in call.args]
        named = {item.arg: _evaluate_number(item.value) for item in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{text}: give numbers, {_EXAMPLE}.") from error
    if None in named or not (positional or named):
        raise UsageError(f"{text}: give its arguments as numbers, {_EXAMPLE}.")
    return positional, named


def _evaluate_number(node: ast.expr) -> float:
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign = -1 if isinstance(node.op, ast.USub) else 1
        node = node.operand
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return sign * node.value
    raise ValueError("not a number")


def write_distribution(frozen: Any) -> str:
    """Return the text that `parse_distribution` makes an equal distribution of.

    Example:

    >>> from scipy.stats import loguniform
    >>> write_distribution(loguniform(1e-5, 1e-2))
    'loguniform(1e-05, 0.01)'
    """
    positional = [_write_number(number) for number in frozen.args]
    named = [f"{key}={_write_number(number)}" for key, number in frozen.kwds.items()]
    return f"{frozen.dist.name}({', '.join([*positional, *named])})"


def _write_number(number: Any) -> str:
    plain = number.tolist() if hasattr(number, "tolist") else number
    if type(plain) not in (int, float) or not math.isfinite(plain):
        raise UsageError(f"A distribution's arguments are finite numbers; got {plain!r}.")
    return repr(plain)


def check_distribution(name: str, given: Any, read: Reader) -> None:
    """Refuse a distribution that cannot be written down, or that draws what is not allowed.

    Args:
        name: Of the setting.
        given: Anything that draws values.
        read: Checks one value of the setting.

    Raises:
        UsageError: It is not frozen, not scipy's, or a value it is likely to draw is
            refused.
    """
    _check_kind(name, given)
    try:
        text = write_distribution(given)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    for share in _SHARES:
        value = _find_value(given, share)
        if isinstance(value, float) and math.isnan(value):
            raise UsageError(f"{name}={text} is no distribution: check its arguments.")
        try:
            read(value)
        except UsageError as error:
            raise UsageError(
                f"{name}={text} draws values such as {value:.4g}. {error}"
            ) from error


def _check_kind(name: str, given: Any) -> None:
    from scipy import stats

    if any(given is family for family in vars(stats).values()):
        raise UsageError(
            f"{name}: scipy.stats.{given.name} has no arguments: give them, {_EXAMPLE}."
        )
    frozen = isinstance(given, stats.distributions.rv_frozen)
    if not frozen or type(given.dist) is not type(getattr(stats, str(given.dist.name), 0)):
        raise UsageError(
            f"{name}: {type(given).__name__} is none of scipy.stats' distributions by "
            f"name, so the search could not write it down: give one {_EXAMPLE}."
        )


def is_discrete(frozen: Any) -> bool:
    """Whether a distribution draws whole numbers."""
    from scipy import stats

    return isinstance(frozen.dist, stats.rv_discrete)


def _find_value(frozen: Any, share: float) -> float:
    value = float(frozen.ppf(share))
    return int(value) if is_discrete(frozen) and math.isfinite(value) else value


def describe_distribution(frozen: Any) -> str:
    """Return its text and the values it covers, where those are not its two arguments.

    Example:

    >>> describe_distribution(parse_distribution("uniform(0.001, 0.1)"))
    "uniform(0.001, 0.1): 0.001 to 0.101 (scipy's loc and scale)"
    """
    text = write_distribution(frozen)
    low, high = (float(end) for end in frozen.support())
    if is_discrete(frozen):
        ending = " (the upper end is left out)" if frozen.dist.name == "randint" else ""
        return f"{text}: {low:g} to {high:g}{ending}"
    if frozen.args == (low, high):
        return f"{text}: {low:g} to {high:g}"
    if math.isinf(low) or math.isinf(high):
        likely = [_find_value(frozen, share) for share in _SHARES]
        return f"{text}: mostly {likely[0]:.4g} to {likely[-1]:.4g}"
    note = " (scipy's loc and scale)" if frozen.dist.name == "uniform" else ""
    return f"{text}: {low:g} to {high:g}{note}"
