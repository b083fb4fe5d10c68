"""How to search: one table of settings, the same in Python, as flags and on disk."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kerastl.errors import KerastlError, UsageError, check_choice
from kerastl.options.values import read_whole
from kerastl.stages import check_number

MODES = ("grid", "random", "halving", "tpe")
EXECUTORS = ("loky", "ray", "dask")
REFITS = ("train", "all", "none")
AUTO = "auto"
SAMPLING = ("random", "halving", "tpe")  # modes that draw n_iter candidates


def _setting(
    default: Any, read: Callable[[str, Any], Any], help: str, like: str = "N", **more: Any
) -> Any:
    metadata = {"read": read, "help": help, "like": like, **more}
    return dataclasses.field(default=default, metadata=metadata)


def _one_of(choices: Iterable[str]) -> Callable[[str, Any], str]:
    return lambda name, value: check_choice(name, value, choices)


def _read_executor(name: str, value: Any) -> str:
    return check_choice(f"{name} (--engine)", value, EXECUTORS)


def _read_n_iter(name: str, value: Any) -> int | str:
    return value if value == AUTO else read_whole(1)(name, value)


def _read_minutes(name: str, value: Any) -> float:
    check_number(name, value, 0.001, 1e6)
    return float(value)


def _read_gpus(name: str, value: Any) -> float:
    check_number(name, value, 0, 64)
    return value


def _read_address(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name}={value!r}: give text such as tcp://10.0.0.1:8786.")
    return value


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How candidates are chosen, scored and run; None leaves a choice to the search.

    Raises:
        UsageError: A value is of the wrong type or out of range; lists all of them.

    Example:

    >>> SearchSettings(mode="random", n_iter=5).repeats
    1
    """

    mode: str = _setting(
        "random", _one_of(MODES), "how candidates are chosen", "NAME", choices=MODES
    )
    n_iter: int | str = _setting(
        AUTO, _read_n_iter, "candidates to draw; auto: by the number of images", "N"
    )
    random_state: int | None = _setting(
        None, read_whole(0, 2**31 - 1), "of the draw; default: the seed"
    )
    repeats: int = _setting(1, read_whole(1, 1000), "trainings per trial, averaged")
    cv: int | None = _setting(
        None, read_whole(2, 1000), "score by N folds, not by one validation split"
    )
    nested: int | None = _setting(
        None, read_whole(2, 1000), "judge the whole search by N outer folds, for small data"
    )
    factor: int = _setting(
        3, read_whole(2, 1000), "halving: keep one candidate in N per rung"
    )
    min_epochs: int | None = _setting(
        None, read_whole(1), "halving: epochs of the first rung"
    )
    refit: str = _setting(
        "train", _one_of(REFITS), "what the winner is retrained on", "NAME", choices=REFITS
    )
    max_minutes: float | None = _setting(
        None, _read_minutes, "start no trial after so many minutes", "MINUTES"
    )
    trial_minutes: float | None = _setting(
        None, _read_minutes, "give a trial up after so many minutes", "MINUTES"
    )
    jobs: int = _setting(1, read_whole(1, 10_000), "trials at the same time")
    executor: str = _setting(
        "loky", _read_executor, "where trials run", "NAME", choices=EXECUTORS
    )
    address: str | None = _setting(
        None, _read_address, "of a running ray or dask cluster", "ADDRESS"
    )
    gpus: float = _setting(0, _read_gpus, "GPUs per trial, on ray", "N")
    threads: int | None = _setting(
        None, read_whole(1, 10_000), "processor threads per trial; default: cores / jobs"
    )

    def __post_init__(self) -> None:
        problems = [
            text for field in dataclasses.fields(self) if (text := self._read(field))
        ]
        problems += [] if problems else self._find_contradictions()
        if problems:
            raise UsageError("\n".join(problems))

    def _read(self, field: dataclasses.Field) -> str:
        value = getattr(self, field.name)
        if value is None and field.default is None:
            return ""
        try:
            read = field.metadata["read"](field.name, value)
        except KerastlError as error:
            return str(error)
        object.__setattr__(self, field.name, read)
        return ""

    def _find_contradictions(self) -> list[str]:
        problems = []
        if self.mode == "grid" and self.n_iter != AUTO:
            problems.append(
                f"n_iter={self.n_iter} draws candidates, but mode='grid' tries every "
                f"combination: leave it out, or give mode='random'."
            )
        if self.mode != "halving" and self.min_epochs is not None:
            problems.append(
                f"min_epochs={self.min_epochs} is the first rung of mode='halving'; the "
                f"mode is {self.mode!r}."
            )
        if self.nested is not None and self.max_minutes is not None:
            problems.append(
                f"max_minutes={self.max_minutes:g} limits one search, but "
                f"nested={self.nested} runs {self.nested + 1}: leave one out."
            )
        if self.gpus and self.executor != "ray":
            problems.append(
                f"gpus={self.gpus} per trial needs executor='ray'; on dask start one "
                "worker per GPU instead."
            )
        if self.address and self.executor == "loky":
            problems.append(
                f"address={self.address!r} names a cluster, which executor='loky' does not "
                "use: give ray or dask."
            )
        return problems


SETTINGS = {field.name: field for field in dataclasses.fields(SearchSettings)}
# a search gone on with may run elsewhere or for longer; all else makes it another search
MAY_CHANGE = (
    "refit", "max_minutes", "trial_minutes", "jobs", "executor", "address", "gpus",
)  # fmt: skip
