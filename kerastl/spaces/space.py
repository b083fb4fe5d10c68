"""A checked search space."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerastl.errors import UsageError
from kerastl.spaces.distributions import (
    check_distribution,
    describe_distribution,
    is_distribution,
    looks_like_distribution,
    parse_distribution,
    write_distribution,
)
from kerastl.spaces.listing import check_values, describe_values, list_values
from kerastl.spaces.settings import find_reader


@dataclass(frozen=True, eq=False, repr=False)
class Space:
    """What a search tries of each setting.

    Args:
        parameters: Setting -> list of values, one value, or a frozen distribution of
            scipy.stats, exactly as scikit-learn takes them; a distribution may also be
            text, `"loguniform(1e-5, 1e-2)"`. A setting is any option of the model or of
            training; `unfreeze`, of the last stage; or `<stage>__<setting>`, where the
            stage is its name or its number from 1. Kept as tuples of plain values, and
            distributions.

    Raises:
        UsageError: A setting cannot be searched or a value is not allowed; lists all.

    Example:

    >>> space = Space({"learning_rate": [0.01, 0.001], "head__epochs": [3, 5, 10]})
    >>> space.size
    6
    >>> Space.from_dict(space.to_dict()) == space
    True
    """

    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.parameters, Mapping):
            raise UsageError(
                "A search space is a dict of setting to values, such as "
                f"{{'batch_size': [16, 32]}}; got {type(self.parameters).__name__}."
            )
        if not self.parameters:
            raise UsageError("The search space is empty: name a setting and its values.")
        checked, problems = {}, []
        for name, value in self.parameters.items():
            try:
                checked[name] = _read_parameter(name, value)
            except UsageError as error:
                problems.append(str(error))
        if problems:
            raise UsageError("\n".join(problems))
        object.__setattr__(self, "parameters", checked)

    @property
    def size(self) -> int | None:
        """How many points there are; None where a distribution is drawn from."""
        if self.distributions:
            return None
        return math.prod(map(len, self.parameters.values()))

    @property
    def distributions(self) -> dict[str, Any]:
        """The settings that are drawn from a distribution."""
        items = self.parameters.items()
        return {name: values for name, values in items if is_distribution(values)}

    def describe(self) -> str:
        """Return a line per setting, and how many points there are.

        Example:

        >>> print(Space({"epochs": [3, 5], "dropout": "uniform(0.1, 0.4)"}).describe())
        epochs   3, 5
        dropout  uniform(0.1, 0.4): 0.1 to 0.5 (scipy's loc and scale)
        drawn from a distribution: any number of points
        """
        width = max(map(len, self.parameters))
        lines = [
            f"{name:{width}}  {_describe_parameter(values)}"
            for name, values in self.parameters.items()
        ]
        return "\n".join([*lines, self._describe_size()])

    def _describe_size(self) -> str:
        if self.size is None:
            return "drawn from a distribution: any number of points"
        counts = " x ".join(str(len(values)) for values in self.parameters.values())
        product = f"{counts} = {self.size:,}" if " " in counts else counts
        return f"{product} point{'s' if self.size > 1 else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: a list, or a distribution as text."""
        items = self.parameters.items()
        return {name: _write_parameter(values) for name, values in items}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Space":
        """Rebuild what `to_dict` returned.

        Raises:
            UsageError: A setting cannot be searched or a value is not allowed.
        """
        return cls(values)

    @property
    def _text(self) -> str:
        return json.dumps(self.to_dict(), sort_keys=True)  # distributions have no equality

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Space({self.to_dict()!r})"


def read_space(value: Space | Mapping[str, Any]) -> Space:
    """Turn what a user calls a search space into one.

    Args:
        value: A Space, or what it is made from.

    Raises:
        UsageError: A setting cannot be searched or a value is not allowed; lists all.

    Example:

    >>> read_space({"base": "vgg16", "batch_size": [16, 32]}).parameters
    {'base': ('vgg16',), 'batch_size': (16, 32)}
    """
    return value if isinstance(value, Space) else Space(value)


def _read_parameter(name: str, value: Any) -> Any:
    read = find_reader(name)
    if isinstance(value, str) and looks_like_distribution(value):
        value = parse_distribution(value)
    if is_distribution(value):
        check_distribution(name, value, read)
        return value
    values = list_values(name, value)
    check_values(name, values, read)
    return values


def _write_parameter(values: Any) -> Any:
    return write_distribution(values) if is_distribution(values) else _as_lists(values)


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, tuple) else value


def _describe_parameter(values: Any) -> str:
    if is_distribution(values):
        return describe_distribution(values)
    return describe_values(values)
