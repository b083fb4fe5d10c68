"""Which trials of a round may train their heads beside each other."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kerastl.finetuning.signatures import OWN, choose_decay
from kerastl.options import Options, to_toml
from kerastl.stages import Schedule, Stage

MOST = 8  # heads in one graph: each further one saves less and lengthens the trace


def group_companions(
    candidates: Mapping[int, Options],
) -> dict[int, tuple[dict[str, Any], ...]]:
    """Return the first stages of the others that each trial can train beside.

    Their models are the same, and their first stages, which alone are compared, see the
    same batches and differ in nothing but rates and when to stop.

    Args:
        candidates: Options with stages written out, by number of the trial, in the order
            they will run.

    Example:

    >>> stage = {"name": "head", "learning_rate": 0.1}
    >>> slow, fast = (Options(stages=({**stage, "learning_rate": r},)) for r in (0.1, 1.0))
    >>> found = group_companions({1: slow, 2: fast})
    >>> found[1][0]["learning_rate"], found[2][0]["learning_rate"]
    (1.0, 0.1)
    """
    groups: dict[str, list[int]] = {}
    for number, options in candidates.items():
        groups.setdefault(_describe_kind(options), []).append(number)
    parts = [part for numbers in groups.values() for part in _divide(numbers)]
    return {
        number: tuple(candidates[other].stages[0] for other in part if other != number)
        for part in parts
        for number in part
    }


def read_companions(stages: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return stages as they came with a request."""
    schedules = (Schedule.from_dict({"name": "one", "stages": [one]}) for one in stages)
    return tuple(schedule.stages[0] for schedule in schedules)


def _describe_kind(options: Options) -> str:
    stage = options.stages[0]
    decays = choose_decay(Stage(**stage)) is not None
    shared = {name: value for name, value in stage.items() if name not in OWN}
    return json.dumps([to_toml(replace(options, stages=(shared,))), decays])


def _divide(numbers: Sequence[int]) -> list[Sequence[int]]:
    """Return parts of at most `MOST`, as equal in size as can be: fewer sizes to trace."""
    count = -(-len(numbers) // MOST)
    size, more = divmod(len(numbers), count)
    ends = [size * n + min(n, more) for n in range(count + 1)]
    return [numbers[first:last] for first, last in itertools.pairwise(ends)]
