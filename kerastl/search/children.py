"""Warm child processes, one request at a time each, and what becomes of them.

A child runs what may raise, hang, crash or be killed for memory; the process that asks it,
the *supervisor*, survives all of that and says what happened.
"""

import atexit
import collections
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kerastl
from kerastl.search.framing import read_frame, write_frame
from kerastl.search.requests import Reply, Request

RECYCLED_AFTER = 20  # requests; what libraries leak goes with the process
KEPT_LINES, LONGEST_LINE = 20, 2000
LOOK_EVERY = 0.2  # seconds between looks at time and memory
GRACE = 2.0  # seconds a process that closed its pipe has to end by itself
# not `-m` with PYTHONPATH, which would put site-packages before the standard library
BOOT = (
    "import sys; root = sys.argv.pop(); root in sys.path or sys.path.insert(0, root); "
    "from kerastl.search.worker import main; main()"
)
STATUS, CLEAR = "/proc/{}/status", "/proc/{}/clear_refs"
RESET_PEAK = "5"  # proc(5)


@dataclass(frozen=True)
class Birth:
    """How children of one executor are started.

    Args:
        token: Of the executor; others' children are left alone.
        paths: Of the driver's `sys.path`, for functions that are not installed.
        environment: Names and values that differ from the supervisor's; None removes.
        driver: Process to die with, where it is on this machine; else 0.
    """

    token: str
    paths: tuple[str, ...] = ()
    environment: tuple[tuple[str, str | None], ...] = ()
    driver: int = 0


class Child:
    """One `kerastl.search.worker` process."""

    def __init__(self, birth: Birth):
        self.birth, self.served, self.begun = birth, 0, False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", BOOT, _find_root()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(birth),
            start_new_session=True,  # Ctrl-C is for the driver
        )
        self.last_lines: collections.deque[bytes] = collections.deque(maxlen=KEPT_LINES)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def greet(self) -> None:
        """Tell the process what it needs before any request."""
        hello = {"paths": list(self.birth.paths), "driver": self.birth.driver}
        write_frame(self.process.stdin, hello, {})

    def _listen(self) -> None:
        for line in iter(lambda: self.process.stderr.readline(LONGEST_LINE), b""):
            self.last_lines.append(line)

    def ask(self, order: Mapping[str, Any], request: Request, watch: "_Watch") -> Reply:
        """Send a request and wait for its reply, or for the process's end."""
        watch.start()
        self.begun = False
        try:
            self._send(order, request.arrays)
            read_frame(self.process.stdout)
            self.begun = True
            answer, arrays = read_frame(self.process.stdout)
        except EOFError:
            return self._explain(request, watch)
        finally:
            watch.stop()
        self.served += 1
        return Reply(request.number, arrays=arrays, peak_memory=watch.peak, **answer)

    def _send(self, order: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        try:
            if not self.served:
                self.greet()
            write_frame(self.process.stdin, order, arrays)
        except BrokenPipeError as error:
            raise EOFError from error

    def _explain(self, request: Request, watch: "_Watch") -> Reply:
        self.bury()
        text = b"".join(self.last_lines).decode(errors="replace")
        if watch.late:
            status, reason = "timeout", f"not done after {watch.seconds:g} seconds"
        else:
            status, reason = "killed", _explain_end(self.process.returncode)
        return Reply(request.number, status, reason, traceback=text, peak_memory=watch.peak)

    def kill(self) -> None:
        """End the process and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def bury(self) -> None:
        """Wait for the process's end, bringing it about if need be, and close its pipes."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self.kill()
        self.process.wait()
        self.listener.join(1)
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # bytes nobody is there to read
                pipe.close()
        if not self.listener.is_alive():  # a grandchild may hold the other end
            self.process.stderr.close()


class _Watch(threading.Thread):
    """Looks at a child while it works: its memory, and whether its time is up."""

    def __init__(self, child: Child, seconds: float | None):
        super().__init__(daemon=True)
        self.child, self.seconds = child, seconds
        self.peak, self.late = 0, False
        self.over = threading.Event()
        _reset_peak(child.process.pid)

    def run(self) -> None:
        end = None if self.seconds is None else time.monotonic() + self.seconds
        while not self.over.wait(_until(end)):
            self._look()
            if end is not None and time.monotonic() >= end:
                self.late = True
                self.child.kill()
                return

    def _look(self) -> None:
        self.peak = max(self.peak, _read_peak(self.child.process.pid))

    def stop(self) -> None:
        self.over.set()
        self.join()
        self._look()


def _until(end: float | None) -> float:
    return LOOK_EVERY if end is None else max(0, min(LOOK_EVERY, end - time.monotonic()))


# The children of this process

_lock = threading.Lock()
_idle: dict[Birth, list[Child]] = {}
_busy: set[Child] = set()
_closed: set[str] = set()


def ask_child(
    birth: Birth, order: Mapping[str, Any], request: Request, seconds: float | None
) -> Reply:
    """Have one request performed by a warm child, or by a new one.

    Args:
        birth: How a new one is started.
        order: What the worker reads: function, message, folder of shared arrays.
        request: Its number and arrays.
        seconds: After which the child is killed; never where None.

    Returns:
        What came of it, the child's death included.
    """
    while True:
        child = _take(birth)
        try:
            watch = _Watch(child, seconds)
            reply = child.ask(order, request, watch)
        except BaseException:
            _drop(child)
            raise
        keep = reply.status == "done" and not watch.late and child.served < RECYCLED_AFTER
        _put_back(child) if keep else _drop(child)
        if not _ended_idle(child, reply):
            return reply


def _ended_idle(child: Child, reply: Reply) -> bool:
    """Tell whether a warm child was gone before it began: its end is not the request's."""
    return reply.status == "killed" and child.served > 0 and not child.begun


def close_children(token: str | None = None) -> None:
    """End the children of one executor, or all; those at work, too."""
    with _lock:
        if token is not None:
            _closed.add(token)
        births = [birth for birth in _idle if token in (None, birth.token)]
        idle = [child for birth in births for child in _idle.pop(birth)]
        busy = [child for child in _busy if token in (None, child.birth.token)]
    for child in [*idle, *busy]:
        child.kill()
    for child in idle:  # whoever waits for a busy one buries it
        child.bury()


atexit.register(close_children)


def _take(birth: Birth) -> Child:
    with _lock:
        if birth.token in _closed:
            raise RuntimeError("The executor of this request was closed.")
        children = _idle.get(birth, [])
        child = children.pop() if children else Child(birth)
        _busy.add(child)
        return child


def _put_back(child: Child) -> None:
    with _lock:
        _busy.discard(child)
        closed = child.birth.token in _closed
        if not closed:
            _idle.setdefault(child.birth, []).append(child)
    if closed:
        _drop(child)


def _drop(child: Child) -> None:
    with _lock:
        _busy.discard(child)
    child.kill()
    child.bury()


def _environment(birth: Birth) -> dict[str, str]:
    changes = dict(birth.environment)
    own = {name: value for name, value in os.environ.items() if name not in changes}
    return own | {name: value for name, value in birth.environment if value is not None}


def _find_root() -> str:
    return str(Path(kerastl.__file__).parents[1])


def _explain_end(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    if -code == signal.SIGKILL:
        return f"killed by signal {-code} (probably out of memory)"
    return f"killed by signal {-code} ({signal.strsignal(-code)})"


def _reset_peak(process: int) -> None:
    with contextlib.suppress(OSError):
        Path(CLEAR.format(process)).write_text(RESET_PEAK)


def _read_peak(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(STATUS.format(process)).read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
