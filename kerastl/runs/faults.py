"""Faults on purpose: a kill, a full disk or a disk error at the k-th step of writing.

`KERASTL_FAILPOINT=<k>[:kill|enospc|eio]` makes the k-th step of this process fail. A test
that counts k upwards until nothing fires any more has met every place where writing can be
interrupted (SQLite calls this anomaly testing).
"""

import errno
import os
import signal

_ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO}
_steps = 0


def step(name: str) -> None:
    """Count one step of writing, and fail here if the environment asks for it."""
    global _steps
    wanted = os.environ.get("KERASTL_FAILPOINT")
    if wanted is None:
        return
    _steps += 1
    number, _, fault = wanted.partition(":")
    if _steps == int(number):
        _fail(fault or "kill", name)


def _fail(fault: str, name: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(_ERRORS[fault], f"{os.strerror(_ERRORS[fault])} (at {name})")
