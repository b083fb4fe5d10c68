"""The parameters of a classifier as options: checked, and in plain Python values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from kerastl.options import FIELDS, Options
from kerastl.options.values import read_share, read_whole
from kerastl.stages import Schedule, Stage


def read_parameters(parameters: Mapping[str, Any]) -> Options:
    """Check every parameter, and return those that a training depends on.

    Args:
        parameters: As `get_params` returns them.

    Raises:
        UsageError: Lists all of model and training that are not allowed.

    Example:

    >>> parameters = {"validation_fraction": 0.1, "random_state": 3, "epochs": np.int64(2)}
    >>> options = read_parameters(parameters | {"schedule": "full"})
    >>> options.validation, options.seed, options.epochs
    (0.1, 3, 2)
    """
    values = {name: _plain(value) for name, value in parameters.items()}
    share = read_share("validation_fraction", values["validation_fraction"])
    seed = _read_seed(values["random_state"])
    named = {name: value for name, value in values.items() if name in FIELDS}
    named |= _read_stages(values["schedule"])
    return Options(**named, validation=share, test=0.0, seed=seed)


def _plain(value: Any) -> Any:
    """Turn what scikit-learn draws from arrays and distributions into plain numbers."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _read_seed(random_state: Any) -> int:
    if isinstance(random_state, int):
        return read_whole(0, 2**31 - 1)("random_state", random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _read_stages(schedule: Any) -> dict[str, Any]:
    if isinstance(schedule, Schedule):
        return {"schedule": schedule.name, "stages": schedule.stages}
    if isinstance(schedule, Stage | list | tuple):
        stages = (schedule,) if isinstance(schedule, Stage) else tuple(schedule)
        return {"schedule": "custom", "stages": stages}
    return {"schedule": schedule}
