"""The process a trial runs in: `python -m kerastl.search.worker`, driven through pipes.

It stays for the next trial, so that TensorFlow is imported once, and ends as soon as the
process that started it or the driver of the search is gone.
"""

import contextlib
import faulthandler
import functools
import importlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kerastl.search.framing import read_frame, write_frame
from kerastl.search.sharing import open_folder

LONGEST = 2000  # characters of what an exception says
POLL = 1.0  # seconds between looks at whether the driver is alive
STAT = "/proc/{}/stat"


def main() -> None:
    """Answer requests until the pipe they come through is closed."""
    source, target = _take_pipes()
    faulthandler.enable()  # a crash inside a library leaves its Python lines on stderr
    hello, _ = read_frame(source)
    sys.path += [path for path in hello["paths"] if path not in sys.path]
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    _start(_receive, source, inbox)
    if hello["driver"]:
        _start(_watch, hello["driver"])
    while True:
        order, arrays = inbox.get()
        _answer(target, {"status": "begun"}, {})
        _answer(target, *_perform(order, arrays))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for requests and replies; prints go to stderr."""
    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, target


def _start(run: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=run, args=arguments, daemon=True).start()


def _receive(source: BinaryIO, inbox: queue.SimpleQueue) -> None:
    # In a thread of its own, to learn of the other side's end in the middle of a trial.
    try:
        while True:
            inbox.put(read_frame(source))
    except EOFError:
        os._exit(1)


def _watch(driver: int) -> None:
    while is_alive(driver):
        time.sleep(POLL)
    os._exit(1)


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine runs; one that only awaits burial does not."""
    try:
        return _read_state(process) not in "ZX"
    except FileNotFoundError:
        if os.path.exists(STAT.format(os.getpid())):
            return False
    with contextlib.suppress(PermissionError):  # exists, as somebody else's
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def _read_state(process: int) -> str:
    stat = Path(STAT.format(process)).read_text(errors="replace")
    return stat.rpartition(")")[2].split()[0]


def _perform(
    order: Mapping[str, Any], arrays: dict[str, np.ndarray]
) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
    """Call the function, whatever it does."""
    try:
        function = _find_function(order["function"])
        shared = _open_once(order["shared"]) if order["shared"] else {}
        message, results = _check(function(order["message"], {**shared, **arrays}))
    except BaseException as error:  # SystemExit and MemoryError end a trial, not a search
        return _describe(error), {}
    return {"status": "done", "message": message}, results


# the last one only: maps keep the room of a deleted folder taken
_open_once = functools.lru_cache(maxsize=1)(open_folder)


def _find_function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _check(result: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if isinstance(result, tuple) and len(result) == 2:
        message, arrays = result
        if isinstance(message, Mapping) and isinstance(arrays, Mapping):
            return dict(message), dict(arrays)
    raise TypeError(f"the function returned {type(result).__name__}, not (dict, arrays)")


def _answer(
    target: BinaryIO, reply: dict[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    try:
        write_frame(target, reply, arrays)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # nothing was sent: say why
        write_frame(target, _describe(error), {})


def _describe(error: BaseException) -> dict[str, Any]:
    said = _shorten(_say(error))
    name = type(error).__name__
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return {
        "status": "failed",
        "reason": f"{name}: {said}" if said else name,
        "traceback": "".join(lines),
    }


def _say(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception:  # a `__str__` of somebody else's that fails itself
        return "it cannot say why"


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


if __name__ == "__main__":
    main()
