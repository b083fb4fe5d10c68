"""What a backend's worker does with one request: hand it to a child and wait."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from kerastl.search.children import Birth, ask_child
from kerastl.search.requests import Reply, Request
from kerastl.search.sharing import SharedArrays, find_shared

# They change the last digits of a result, and the backends set some of them in their
# workers: a child always gets the driver's.
THREADS = (
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
FORWARDED = (
    "KERAS_BACKEND",
    "PYTHONHASHSEED",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
)
# several children may share one GPU, and stderr is what a dead child leaves behind
DEFAULTS = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
BOOT_ID, PROCESSES = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"


@dataclass(frozen=True)
class Order:
    """All a worker needs to have requests of one call performed.

    Args:
        function: `"package.module:name"`.
        birth: How children are started.
        machine: The driver's, as `this_machine` names it.
        shared: Arrays for all requests.
        seconds: A request may take.
    """

    function: str
    birth: Birth
    machine: str
    shared: SharedArrays | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Missing:
    """The reply of a machine that has not got the shared arrays."""

    number: int


def supervise(order: Order, request: Request) -> Reply | Missing:
    """Have a request performed by a child of this process; never raises an `Exception`."""
    folder = find_shared(order.shared) if order.shared else None
    if order.shared and folder is None:
        return Missing(request.number)
    wish = {
        "function": order.function,
        "message": request.message,
        "shared": folder and str(folder),
    }
    try:
        return ask_child(_adapt(order), wish, request, order.seconds)
    except Exception as error:  # such as no memory for one more process
        return Reply(request.number, "failed", f"{type(error).__name__}: {error}")


def _adapt(order: Order) -> Birth:
    """Leave the driver's process number out where it means another process."""
    birth = order.birth
    if order.machine == this_machine():
        return birth
    return Birth(birth.token, birth.paths, birth.environment)


def choose_environment(threads: int | None) -> tuple[tuple[str, str | None], ...]:
    """Return what children are given whatever their supervisor's environment holds.

    Args:
        threads: Of TensorFlow and of numerical libraries; the driver's setting where None.

    Returns:
        Pairs of name and value; None for a variable that is not set.
    """
    chosen = {name: os.environ.get(name) for name in (*THREADS, *FORWARDED)}
    if threads is not None:
        chosen |= dict.fromkeys(THREADS, str(threads))
    chosen |= {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}
    return tuple(sorted(chosen.items()))


def this_machine() -> str:
    """Name the machine, and the set of processes, that process numbers are of."""
    booted = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    processes = os.readlink(PROCESSES) if os.path.exists(PROCESSES) else ""
    return f"{socket.gethostname()} {booted} {processes}"
