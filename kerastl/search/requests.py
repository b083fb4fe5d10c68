"""What is asked of a worker, and what it answers: numbers, JSON and arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Status = Literal["done", "failed", "killed", "timeout"]


@dataclass(frozen=True, eq=False)
class Request:
    """One piece of work, as it travels to a worker.

    Args:
        number: What the reply is told by.
        message: Anything JSON can hold; non-finite numbers too.
        arrays: Arrays of numbers or text that only this piece needs.
    """

    number: int
    message: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reply:
    """What became of a request.

    Args:
        number: The request's.
        status: `"done"`; `"failed"` where the function raised; `"killed"` where its process
            died; `"timeout"` where it was ended for taking too long.
        reason: One sentence for everything but `"done"`.
        message: What the function returned; empty unless `"done"`.
        arrays: The arrays it returned with it.
        traceback: Of what it raised, or the last lines it wrote to stderr before it died.
        peak_memory: Bytes its process held at most while at it; 0 where the system does
            not tell.
    """

    number: int
    status: Status
    reason: str = ""
    message: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    traceback: str = ""
    peak_memory: int = 0
