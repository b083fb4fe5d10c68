"""Running requests here, in processes or on a cluster, and their replies as they come in.

A request is performed by a child process that may die of it (`children`); a supervisor asks
the child (`supervising`); joblib runs supervisors somewhere (`backends`). This module only
hands out requests and takes replies in.
"""

import collections
import math
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from joblib import Parallel, delayed

from kerastl.errors import StorageError, UsageError, check_choice
from kerastl.search.backends import POOLS, JoblibBackend
from kerastl.search.children import Birth, close_children
from kerastl.search.clusters import Wanted
from kerastl.search.requests import Reply, Request
from kerastl.search.sharing import SharedArrays
from kerastl.search.supervising import (
    Missing,
    Order,
    choose_environment,
    supervise,
    this_machine,
)

TRIAL = "kerastl.search.trials:run_trial"
Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]  # joblib's
TRIES = 3  # of a request whose supervisor died, the last of them alone


def run_requests(
    requests: Iterable[Request],
    *,
    function: str = TRIAL,
    shared: SharedArrays | None = None,
    executor: "str | Executor" = "loky",
    jobs: int = 1,
    threads: int | None = None,
    seconds: float | None = None,
    address: str | None = None,
    gpus: float = 0,
) -> Iterator[Reply]:
    """Run requests in worker processes and yield each reply when it comes in.

    Every request has exactly one reply, whatever happens to the process it runs in. Closing
    the iterator kills what is still running.

    Args:
        requests: Taken one by one, when a worker is free for it; from other threads.
        function: `"package.module:name"` of a function that workers import and call with a
            request's message and with its and the shared arrays, and that returns a
            message and arrays.
        shared: Arrays for all requests, of `share_arrays`.
        executor: `"loky"` (processes of this machine), `"ray"`, `"dask"`, or an `Executor`,
            whose settings then replace `jobs`, `threads`, `address` and `gpus`.
        jobs: Requests at a time.
        threads: Of TensorFlow and numerical libraries, in each worker; where None, as many
            as they take by themselves. Results depend on it in the last digits.
        seconds: After which a request is ended.
        address: Of a running Ray or Dask cluster; where None, one is started here.
        gpus: That each job needs, such as 1 or 0.5; Ray only.

    Yields:
        Replies, in the order they come in.

    Raises:
        UsageError: An argument cannot be meant, or the executor's package is missing.
        StorageError: The shared arrays are gone.

    Example:

    >>> tasks = [Request(0, {"text": "2 + 2"}), Request(1, {"text": "["})]
    >>> replies = list(run_requests(tasks, function="json:loads"))
    >>> [reply.status for reply in replies]
    ['failed', 'failed']
    """
    if isinstance(executor, Executor):
        yield from executor.run(requests, function=function, shared=shared, seconds=seconds)
        return
    with Executor(executor, jobs, threads=threads, address=address, gpus=gpus) as opened:
        yield from opened.run(requests, function=function, shared=shared, seconds=seconds)


class Executor:
    """Workers that stay warm from one call of `run_requests` to the next.

    Use it as a context manager; leaving it ends every process it started.

    Args:
        name: `"loky"`, `"ray"` or `"dask"`.
        jobs: Requests at a time.
        threads: In each worker.
        address: Of a running cluster.
        gpus: That each job needs.

    Raises:
        UsageError: An argument cannot be meant, or a package is missing.

    Example:

    >>> with Executor("loky", jobs=2) as executor:
    ...     list(executor.run([]))
    []
    """

    def __init__(
        self,
        name: str = "loky",
        jobs: int = 1,
        *,
        threads: int | None = None,
        address: str | None = None,
        gpus: float = 0,
    ):
        _check(name, jobs, threads, address, gpus)
        self.name, self.token = name, uuid.uuid4().hex
        self.wanted = Wanted(jobs, threads, address, gpus, self.token)
        self.backend: JoblibBackend | None = None
        self.birth = Birth(
            token=self.token,
            paths=tuple(path or os.getcwd() for path in sys.path),
            environment=choose_environment(threads),
            driver=os.getpid(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process this executor started."""
        if self.backend is not None:
            self.backend.pool.close()
            self.backend = None
        close_children(self.token)

    def run(
        self,
        requests: Iterable[Request],
        *,
        function: str = TRIAL,
        shared: SharedArrays | None = None,
        seconds: float | None = None,
    ) -> Iterator[Reply]:
        """Run requests as `run_requests` does, leaving the workers warm."""
        if seconds is not None and not seconds > 0:
            raise UsageError(f"seconds={seconds!r} leaves no time: give more than 0.")
        order = Order(function, self.birth, this_machine(), shared, seconds)
        feed = _Feed(order, requests)
        tries: collections.Counter[int] = collections.Counter()
        while not feed.exhausted:
            yield from self._run_feed(feed)
            for request in feed.take_lost():
                tries[request.number] += 1
                if tries[request.number] < TRIES - 1:
                    feed.put_back(request)
                else:
                    yield from self._run_alone(order, request)

    def _run_alone(self, order: Order, request: Request) -> Iterator[Reply]:
        """Give a request its last try, in which no other's end can be taken for its own."""
        feed = _Feed(order, [request])
        while not feed.exhausted:
            yield from self._run_feed(feed)
        if feed.take_lost():
            error = self.backend and self.backend.error
            reason = f"its worker died {TRIES} times ({type(error).__name__}: {error})"
            yield Reply(request.number, "killed", reason)

    def _run_feed(self, feed: "_Feed") -> Iterator[Reply]:
        """Let joblib run requests until there are none, or its backend broke."""
        parallel = self._open()
        replies = parallel(feed.start(self.backend, self.wanted.jobs))
        try:
            for reply in replies:
                request = feed.given.pop(reply.number)
                if isinstance(reply, Missing):
                    self._carry(feed.order.shared)
                    feed.put_back(request)
                else:
                    yield reply
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that joblib kills what still runs
                replies.close()

    def _carry(self, shared: SharedArrays) -> None:
        if self.backend is None:
            raise StorageError(f"{shared.folder} was deleted while the search was running.")
        self.backend.pool.carry(shared)

    def _open(self) -> Parallel:
        jobs = self.wanted.jobs
        options = {"return_as": "generator_unordered", "batch_size": 1}
        if self.name == "loky" and jobs == 1:
            return Parallel(1, backend="loky", **options)
        if self.backend is not None and self.backend.broken:
            self.backend.pool.close()
            self.backend = None
        if self.backend is None:
            self.backend = JoblibBackend(POOLS[self.name](self.wanted))
        return Parallel(jobs, backend=self.backend, pre_dispatch=jobs, **options)


class _Feed:
    """Hands requests to joblib one by one, and knows which have no reply yet.

    joblib takes as many tasks ahead as there are jobs, and a search that runs out of time
    would start those all the same. So after the first ones it gets one at a time, each
    followed by what looks like the end. The real end is `exhausted`.
    """

    def __init__(self, order: Order, requests: Iterable[Request]):
        self.order, self.requests = order, iter(requests)
        self.again: collections.deque[Request] = collections.deque()
        self.given: dict[int, Request] = {}
        self.exhausted = False

    def start(self, backend: JoblibBackend | None, jobs: int) -> Self:
        """Begin to be read by a backend, or here where it is None."""
        self.backend, self.pause = backend, False
        self.at_once = math.inf if backend is None else jobs
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Task:
        if self.pause or (self.backend and self.backend.broken):
            self.pause = False
            raise StopIteration
        request = self._take()
        self.given[request.number] = request
        self.at_once -= 1
        self.pause = self.at_once < 0
        return delayed(supervise)(self.order, request)

    def _take(self) -> Request:
        if self.again:
            return self.again.popleft()
        try:
            return next(self.requests)
        except StopIteration:
            self.exhausted = True
            raise

    def put_back(self, request: Request) -> None:
        """Have a request given out once more."""
        self.again.append(request)
        self.exhausted = False

    def take_lost(self) -> list[Request]:
        """Return what was given out and has no reply."""
        lost, self.given = list(self.given.values()), {}
        return lost


def _check(
    name: str, jobs: int, threads: int | None, address: str | None, gpus: float
) -> None:
    check_choice("executor", name, POOLS)
    _check_count("jobs", jobs)
    if threads is not None:
        _check_count("threads", threads)
    if address is not None and name == "loky":
        raise UsageError(f"address={address!r} goes with executor='ray' or 'dask'.")
    if not (math.isfinite(gpus) and gpus >= 0):
        raise UsageError(f"gpus={gpus!r} is not a number of GPUs, such as 1 or 0.5.")
    if gpus and name != "ray":
        raise UsageError(
            f"gpus={gpus!r} goes with executor='ray'; workers of {name} see the GPUs that "
            "CUDA_VISIBLE_DEVICES names where they are started."
        )


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name}={value!r} is not a whole number from 1.")
