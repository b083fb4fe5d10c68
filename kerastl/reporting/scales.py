"""Where a parameter's values lie on an axis: numbers, decades or columns of categories."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from kerastl.reporting.boards import format_value

# A few numbers that repeat, such as batch sizes, are told apart best as columns.
_FEW_NUMBERS = 8
_LONG_SPAN, _SHORT_SPAN = 100, 10
_SMALL_SHARE = 0.05
_NONE = "none"
_STEPS = (1, 2, 5, 10)
_MARGIN, _NONE_GAP = 0.06, 0.18
# How much wider each further trial makes its column.
_STEP = 0.08
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, eq=False)
class Scale:
    """An axis for one parameter.

    Args:
        places: float array with one place per trial.
        ticks: Places with a label.
        labels: Their labels, as many as ticks.
        bounds: Lowest and highest place to show.
        categories: Whether values are columns, one step apart.
        log: Whether places are to be drawn on a logarithmic axis.
    """

    places: np.ndarray
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    bounds: tuple[float, float]
    categories: bool = False
    log: bool = False

    def fractions(self, places: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return places as shares of the axis, 0 at its lower end and 1 at its upper."""
        bend = np.log10 if self.log else np.asarray
        low, high = bend(np.array(self.bounds))
        return (bend(np.asarray(places, float)) - low) / (high - low)


def measure_values(values: Sequence[Any]) -> Scale:
    """Choose the axis for a parameter's values.

    Numbers lie on a linear axis, on a logarithmic one where they span more than two
    decades or where they lie more evenly on it, and beside "none" where it was tried.
    Few numbers that repeat, and everything else, are columns.

    Args:
        values: One per trial, as `read_values` returns them.

    Returns:
        The scale.

    Example:

    >>> measure_values([0.00001, 0.003, 0.02]).log
    True
    >>> measure_values([16, 64, 16, None]).labels
    ('none', '16', '64')
    """
    numbers = [value for value in values if _is_number(value)]
    others = {value for value in values if not _is_number(value)}
    few = len(set(numbers)) <= _FEW_NUMBERS and len(set(numbers)) < len(numbers)
    if others <= {None} and numbers and not few:
        return _measure_numbers(values, numbers)
    return _line_up(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line_up(values: Sequence[Any]) -> Scale:
    # the same columns in the same order, whatever the order of the trials
    columns = sort_values(values)
    places = np.array([columns.index(value) for value in values], float)
    labels = tuple(map(format_value, columns))
    ticks = tuple(map(float, range(len(columns))))
    return Scale(places, ticks, labels, (-0.5, len(columns) - 0.5), categories=True)


def sort_values(values: Iterable[Any]) -> list[Any]:
    """Return the different values in an order that does not depend on theirs.

    Example:

    >>> sort_values(["resnet101", 32, None, "resnet50", 16, (8, 4), ()])
    [None, 16, 32, 'resnet50', 'resnet101', (), (8, 4)]
    """
    return sorted(set(values), key=_rank_category)


def _rank_category(value: Any) -> tuple[int, int, float, str]:
    kinds = (value is None, isinstance(value, bool), _is_number(value))
    kind = kinds.index(True) if True in kinds else 3 + isinstance(value, tuple)
    size = len(value) if isinstance(value, tuple) else 0
    number = float(value) if kind in (1, 2) else 0.0
    return kind, size, number, _order_digits(repr(value))


def _order_digits(text: str) -> str:
    """Return text that sorts by the numbers in it: resnet50 before resnet101."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(12), text)


def _measure_numbers(values: Sequence[Any], numbers: Sequence[float]) -> Scale:
    low, high = min(numbers), max(numbers)
    log = _spread_by_decades(numbers)
    bend, unbend = (math.log10, lambda x: 10**x) if log else (float, float)
    first, last = bend(low), bend(high)
    span = last - first or max(abs(first), 1) * 0.2
    margin = _MARGIN * span if last > first else span
    start, none = first - margin, first - _NONE_GAP * span - margin
    ticks = _choose_ticks(unbend(start), unbend(last + margin), log, numbers)
    labels = [format_value(tick) for tick in ticks]
    if None in values:
        ticks, labels = [unbend(none), *ticks], [_NONE, *labels]
        start = none - margin
    places = [unbend(none) if value is None else float(value) for value in values]
    bounds = unbend(start), unbend(last + margin)
    return Scale(np.array(places), tuple(ticks), tuple(labels), bounds, log=log)


def _spread_by_decades(numbers: Sequence[float]) -> bool:
    low, high = min(numbers), max(numbers)
    if low <= 0 or high <= _SHORT_SPAN * low:
        return False
    small = np.mean(np.array(numbers) < high / _LONG_SPAN)
    # a uniform draw seldom comes so close to zero: one such number is not a scale
    if small >= _SMALL_SHARE:
        return True
    middle = float(np.median(numbers))
    linear = (middle - low) / (high - low)
    decades = math.log(middle / low) / math.log(high / low)
    return abs(decades - 0.5) < abs(linear - 0.5)


def _choose_ticks(
    low: float, high: float, log: bool, numbers: Sequence[float]
) -> list[float]:
    if len(set(numbers)) == 1:
        return [float(numbers[0])]
    places = MaxNLocator(5, steps=_STEPS).tick_values(low, high)
    if log:
        decades = LogLocator(numticks=5).tick_values(low, high)
        fine = LogLocator(subs=(1, 3), numticks=5).tick_values(low, high)
        few = sum(low <= tick <= high for tick in decades) < 3
        places = fine if few else decades
    whole = all(isinstance(number, int) for number in numbers)
    inside = [float(tick) for tick in places if low <= tick <= high]
    return [tick for tick in inside if not whole or tick.is_integer()]


def measure_scores(scores: np.ndarray) -> Scale:
    """Return the axis for scores: linear, with room above and below.

    Args:
        scores: float array, one per trial, NaN where there is none.

    Returns:
        The scale; its places are the scores.

    Example:

    >>> measure_scores(np.array([0.5, np.nan, 0.9])).labels
    ('0.50', '0.60', '0.70', '0.80', '0.90')
    """
    known = scores[np.isfinite(scores)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    margin = max(_MARGIN * (high - low), 0.01)
    bounds = float(low - margin), float(high + margin)
    ticks = MaxNLocator(5, steps=_STEPS).tick_values(*bounds)
    inside = tuple(float(tick) for tick in ticks if bounds[0] <= tick <= min(bounds[1], 1))
    digits = 3 if high - low < 0.05 else 2
    return Scale(scores, inside, tuple(f"{tick:.{digits}f}" for tick in inside), bounds)


def spread_columns(places: np.ndarray, width: float) -> np.ndarray:
    """Return places with those that coincide moved apart, the same every time.

    Args:
        places: float array (n,).
        width: How far apart the outermost of many in one place may lie.

    Returns:
        float array (n,); the first of each place stays where it is.

    Example:

    >>> spread_columns(np.array([0.0, 1.0, 0.0]), 0.5).round(2).tolist()
    [0.0, 1.0, -0.06]
    """
    spread = np.array(places, float)
    for place in np.unique(places):
        here = np.flatnonzero(places == place)
        steps = (np.arange(len(here)) * _GOLDEN + 0.5) % 1 - 0.5
        spread[here] += min(width, _STEP * len(here)) * steps
    return spread
