"""Where supervisors run: loky's processes, Ray's actors, Dask's workers; for joblib.

There are backends for Ray (its own) and for Dask (joblib's). Ray's hands tasks out in turn,
so that one waits behind a long one while another worker has nothing to do, and replaces a
base class of joblib's for the whole program; the one for Dask never hears of a task whose
worker is gone for good, and waits for ever. The ones here give a task to a worker that is
free, and treat a lost worker as a task without a reply.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from joblib.externals.loky.process_executor import ProcessPoolExecutor
from joblib.parallel import ParallelBackendBase

from kerastl.errors import StorageError
from kerastl.search.clusters import DaskPool, RayPool, Wanted
from kerastl.search.sharing import SharedArrays

POLL = 1.0  # seconds between looks at whether the driver is alive


class Pool(Protocol):
    """Workers that perform what is submitted to them."""

    fragile: bool  # whether the loss of one worker ends the others

    def submit(self, task: Callable[[], Any]) -> Future:
        """Give a task to a worker that is free; the future raises where it is lost."""

    def carry(self, shared: SharedArrays) -> None:
        """Send shared arrays along from now on, for machines that have not got them."""

    def close(self) -> None:
        """End all workers and their children."""


class JoblibBackend(ParallelBackendBase):
    """A pool as joblib sees it; a lost task gives no result instead of ending them all."""

    supports_retrieve_callback = True

    def __init__(self, pool: Pool):
        super().__init__(nesting_level=0)
        self.pool = pool
        self.error: BaseException | None = None
        self.broken = False

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return at least two: joblib runs a single job here, not where it was meant to."""
        return max(2, n_jobs)

    def submit(self, func: Callable[[], Any], callback: Callable | None = None) -> Future:
        """Give joblib's batch of one task to the pool."""
        try:
            future = self.pool.submit(func)
        except Exception as error:
            self.broken = True
            future = Future()
            future.set_exception(error)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future) -> list[Any]:
        """Return the batch's results; none where its worker is lost."""
        try:
            return out.result()
        except BaseException as error:  # asyncio's cancellations are no `Exception`
            self.error = error
            self.broken |= self.pool.fragile
            return []

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Stop at once: the pool cannot be used again."""
        self.broken = True
        self.pool.close()


# loky


class LokyPool:
    """Processes on this machine."""

    fragile = True

    def __init__(self, wanted: Wanted):
        self.executor = ProcessPoolExecutor(
            wanted.jobs, initializer=_end_with, initargs=(os.getpid(),)
        )

    def submit(self, task: Callable[[], Any]) -> Future:
        """Queue a task."""
        return self.executor.submit(task)

    def carry(self, shared: SharedArrays) -> None:
        """Refuse: there is no other machine, so the folder was deleted."""
        raise StorageError(f"{shared.folder} was deleted while the search was running.")

    def close(self) -> None:
        """Kill the processes; their children end with them."""
        self.executor.shutdown(kill_workers=True)


def _end_with(driver: int) -> None:
    """Make a worker end when its driver does, whatever it is doing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    threading.Thread(target=_watch_parent, args=(driver,), daemon=True).start()


def _watch_parent(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(POLL)
    os._exit(1)


POOLS = {"loky": LokyPool, "ray": RayPool, "dask": DaskPool}
