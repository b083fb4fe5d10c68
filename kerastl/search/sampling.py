"""Which points of a space are tried: scikit-learn's grid and draws, halving, and TPE."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kerastl.errors import UsageError
from kerastl.search.suggestions import check_tpe, suggest_tpe
from kerastl.spaces import Space, check_point
from kerastl.spaces.listing import make_plain
from kerastl.stages import check_number

__all__ = [
    "Rung",
    "check_tpe",
    "estimate_size",
    "halving_rungs",
    "sample_grid",
    "sample_random",
    "suggest_tpe",
    "survivors",
]
_MOST_POINTS = 100_000  # each becomes a row of the plan


def sample_grid(space: Space) -> list[dict[str, Any]]:
    """Return every point of a space, in the order of scikit-learn's `ParameterGrid`.

    Raises:
        UsageError: The space has a distribution, or more points than can be planned.

    Example:

    >>> sample_grid(Space({"momentum": [0.8, 0.9], "batch_size": [16]}))
    [{'batch_size': 16, 'momentum': 0.8}, {'batch_size': 16, 'momentum': 0.9}]
    """
    if space.distributions:
        raise UsageError(
            f"A grid needs lists, but {', '.join(space.distributions)} is drawn from a "
            "distribution: list the values to try, or search at random."
        )
    _check_count("points of the grid", space.size)
    from sklearn.model_selection import ParameterGrid

    return [dict(point) for point in ParameterGrid(space.parameters)]


def sample_random(space: Space, n_iter: int, random_state: int) -> list[dict[str, Any]]:
    """Draw points as scikit-learn's `ParameterSampler` does, value for value.

    Args:
        space: Without a distribution in it, no point is drawn twice.
        n_iter: How many to draw; more than there are gives all there are.
        random_state: The same one draws the same points.

    Raises:
        UsageError: A number is out of range, or a value was drawn that is not allowed.

    Example:

    >>> space = Space({"learning_rate": "loguniform(1e-4, 1e-2)"})
    >>> sample_random(space, 3, 0) == sample_random(space, 3, 0)
    True
    """
    count, _ = estimate_size(space, n_iter)
    check_number("random_state", random_state, 0, 2**32 - 1, whole=True)
    from sklearn.model_selection import ParameterSampler

    drawn = ParameterSampler(dict(space.parameters), count, random_state=random_state)
    points = [{name: make_plain(value) for name, value in p.items()} for p in drawn]
    for number, point in enumerate(points, start=1) if space.distributions else ():
        _check_drawn(number, point)
    return points


def _check_drawn(number: int, point: Mapping[str, Any]) -> None:
    try:
        check_point(point)
    except UsageError as error:
        raise UsageError(
            f"Draw {number} is not allowed: {error} Narrow the distribution."
        ) from error


def estimate_size(space: Space, n_iter: int | None = None) -> tuple[int, str]:
    """Say how many points will be tried.

    Args:
        space: To draw from.
        n_iter: How many are wanted; None is all of them, as in a grid.

    Returns:
        Their number, and a sentence where it is fewer than wanted, else "".

    Raises:
        UsageError: There is no end of them, or a number is out of range.

    Example:

    >>> estimate_size(Space({"batch_size": [16, 32]}), 5)
    (2, 'The space has 2 points, fewer than n_iter=5: all of them are tried.')
    """
    if n_iter is None:
        if space.size is None:
            raise UsageError("n_iter=None: say how many points to draw of a distribution.")
        return space.size, ""
    _check_count("n_iter", n_iter)
    if space.size is None or n_iter <= space.size:
        return n_iter, ""
    noun = "point" if space.size == 1 else "points"
    return space.size, (
        f"The space has {space.size} {noun}, fewer than n_iter={n_iter}: all of them are "
        "tried."
    )


def _check_count(name: str, count: int) -> None:
    check_number(name, count, 1, _MOST_POINTS, whole=True)


# Successive halving


@dataclass(frozen=True)
class Rung:
    """How many trials train up to how many epochs."""

    count: int
    epochs: int


def halving_rungs(
    n_candidates: int, max_epochs: int, min_epochs: int | None = None, factor: int = 3
) -> tuple[Rung, ...]:
    """Plan successive halving with the arithmetic of scikit-learn's `HalvingGridSearchCV`.

    Args:
        n_candidates: Trials of the first rung.
        max_epochs: That no trial goes beyond.
        min_epochs: Of the first rung. None: as many as let the last rung come closest to
            `max_epochs`, scikit-learn's `"exhaust"`.
        factor: One trial in so many goes on, with that many times the epochs.

    Returns:
        One Rung or more; the last has fewer than `factor` trials where epochs allow it.

    Raises:
        UsageError: A number is out of range.

    Example:

    >>> halving_rungs(9, 10)
    (Rung(count=9, epochs=1), Rung(count=3, epochs=3), Rung(count=1, epochs=9))
    """
    check_number("n_candidates", n_candidates, 1, math.inf, whole=True)
    check_number("max_epochs", max_epochs, 1, math.inf, whole=True)
    check_number("factor", factor, 2, math.inf, whole=True)
    needed = _count_powers(n_candidates, factor)
    if min_epochs is None:
        min_epochs = max(1, max_epochs // factor**needed)
    check_number("min_epochs", min_epochs, 1, max_epochs, whole=True)
    last = min(needed, _count_powers(max_epochs // min_epochs, factor))
    rungs = [Rung(n_candidates, min_epochs)]
    for _ in range(last):
        before = rungs[-1]
        rungs.append(Rung(-(-before.count // factor), before.epochs * factor))
    return tuple(rungs)


def _count_powers(number: int, factor: int) -> int:
    """Return the largest k with factor**k <= number, which float logarithms miss."""
    k = 0
    while factor ** (k + 1) <= number:
        k += 1
    return k


def survivors(
    numbers: Sequence[int], scores: Sequence[float | None], count: int
) -> list[int]:
    """Choose the trials that go on, best first.

    Args:
        numbers: Of the trials.
        scores: One each; None, NaN and infinity are failures, which never go on.
        count: How many may go on; fewer do where too many failed.

    Returns:
        Numbers by falling score; of equal scores the lower number first.

    Example:

    >>> survivors([1, 2, 3, 4], [0.5, float("nan"), 0.9, 0.5], 2)
    [3, 1]
    """
    pairs = zip(numbers, scores, strict=True)
    finite = [(s, n) for n, s in pairs if s is not None and math.isfinite(s)]
    ranked = sorted(finite, key=lambda pair: (-pair[0], pair[1]))
    return [number for _, number in ranked[:count]]
