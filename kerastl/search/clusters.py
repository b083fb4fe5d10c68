"""Workers on a cluster: Ray's actors and Dask's tasks, each a supervisor of children."""

import contextlib
import importlib
import logging
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerastl.errors import UsageError
from kerastl.search.addresses import explain_ray, knock_at_dask, knock_at_ray
from kerastl.search.children import close_children
from kerastl.search.sharing import SharedArrays, forget_shared, open_shared, place_shared

POLL = 1.0  # seconds an actor has to leave
PATIENCE = 60.0  # seconds that a cluster has, to answer and to have a worker
LARGE = "1 TB"


@dataclass(frozen=True)
class Wanted:
    """What workers are wanted: how many, where, with what."""

    jobs: int = 1
    threads: int | None = None
    address: str | None = None
    gpus: float = 0
    token: str = ""


# Ray


class RayPool:
    """Actors on a Ray cluster, one task at a time each."""

    fragile = False

    def __init__(self, wanted: Wanted):
        self.ray = _require("ray", "ray")
        self.wanted, self.carried = wanted, ()
        self.started = not self.ray.is_initialized()
        if self.started:
            _start_ray(self.ray, wanted)
        self.kind = self.ray.remote(Supervisor).options(
            num_cpus=wanted.threads or 1, num_gpus=wanted.gpus
        )
        # Ray's own threads, in which its futures call back, must not wait for Ray
        self.threads = ThreadPoolExecutor(wanted.jobs, "kerastl-ray")
        self.lock = threading.Lock()
        self.closed = False
        self.free: list[Any] = []
        self.actors: set[Any] = set()

    def submit(self, task: Callable[[], Any]) -> Future:
        """Give a task to an actor that is free, or to a new one."""
        return self.threads.submit(self._run, task)

    def _run(self, task: Callable[[], Any]) -> Any:
        actor = self._take()
        try:
            result = self.ray.get(actor.run.remote(task, *self.carried))
        except BaseException:
            with self.lock:
                if not self.closed:  # else Ray would start anew, to end it
                    self.actors.discard(actor)
                    self.ray.kill(actor)
            raise
        self.free.append(actor)
        return result

    def _take(self) -> Any:
        with self.lock:
            if self.closed:
                raise RuntimeError("The executor of this request was closed.")
            actor = self.free.pop() if self.free else self.kind.remote()
            self.actors.add(actor)
            return actor

    def carry(self, shared: SharedArrays) -> None:
        """Put the arrays into Ray's store, from which each machine gets them once."""
        if not self.carried:
            self.carried = (shared, self.ray.put(_read(shared)))

    def close(self) -> None:
        """End the actors, and Ray where it was started here."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            with contextlib.suppress(self.ray.exceptions.RayError):  # gone already
                if waiting := [actor.leave.remote() for actor in self.free]:
                    self.ray.wait(waiting, num_returns=len(waiting), timeout=POLL)
            for actor in self.actors:
                self.ray.kill(actor)
        self.threads.shutdown(cancel_futures=True)
        if self.started:
            self.ray.shutdown()
            _let_ray_print(True)


class Supervisor:
    """The actor: a process on a cluster's machine that has children."""

    def run(self, task: Callable[[], Any], *carried: Any) -> Any:
        """Perform one task."""
        return perform(task, *carried)

    def leave(self) -> None:
        """Leave nothing behind on the machine."""
        leave()


def _start_ray(ray: Any, wanted: Wanted) -> None:
    address = wanted.address or os.environ.get("RAY_ADDRESS") or "local"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _let_ray_print(False)
    try:
        _init_ray(ray, address, wanted)
        if address == "local":
            needed = {"GPU": wanted.gpus, "CPU": wanted.threads or 1}
            _check_resources(ray.cluster_resources(), needed)
    except BaseException:
        ray.shutdown()
        _let_ray_print(True)
        raise


def _init_ray(ray: Any, address: str, wanted: Wanted) -> None:
    own = {"num_cpus": wanted.jobs * (wanted.threads or 1), "include_dashboard": False}
    options = own if address == "local" else {}
    try:
        if address != "local":
            knock_at_ray(address, PATIENCE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it raises as well
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ValueError, OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise UsageError(explain_ray(wanted.address, error)) from error


def _check_resources(there: dict[str, float], needed: dict[str, float]) -> None:
    # On a cluster that grows, what is not there yet may come; here it never will.
    for name, count in needed.items():
        if count > there.get(name, 0):
            raise UsageError(
                f"A trial that needs {count:g} {name} never starts: this machine has "
                f"{there.get(name, 0):g}. Give less, or the address of a cluster."
            )


def _let_ray_print(allowed: bool) -> None:
    # Ray prints news of dead workers to stdout, which belongs to --json and pipes; there is
    # no public switch for it.
    worker = importlib.import_module("ray._private.worker")
    if hasattr(worker, "_worker_logs_enabled"):
        worker._worker_logs_enabled = allowed


# Dask


class DaskPool:
    """Workers of a Dask cluster."""

    fragile = False

    def __init__(self, wanted: Wanted):
        distributed = _require("distributed", "dask")
        self.config = importlib.import_module("dask.config")
        self.wanted, self.carried = wanted, ()
        self.client = self.cluster = None
        try:
            self._connect(distributed)
        except (OSError, ValueError, TypeError) as error:  # the last for a missing key
            self.close()
            raise UsageError(_explain_dask(wanted.address, error)) from error
        except BaseException:
            self.close()
            raise

    def _connect(self, distributed: Any) -> None:
        if self.wanted.address:
            knock_at_dask(self.wanted.address, PATIENCE)
        else:
            self.cluster = _start_dask(self.wanted)
        self.client = distributed.Client(
            self.wanted.address or self.cluster, timeout=PATIENCE, set_as_default=False
        )
        self.client.wait_for_workers(1, timeout=PATIENCE)

    def submit(self, task: Callable[[], Any]) -> Future:
        """Give a task to the scheduler, which runs it again where a worker is lost."""
        # a state is larger than Dask likes; scattered, it would be lost with a worker
        with self.config.set({"distributed.admin.large-graph-warning-threshold": LARGE}):
            return self.client.submit(perform, task, *self.carried, pure=False)

    def carry(self, shared: SharedArrays) -> None:
        """Put the arrays on a worker, from which the others get them."""
        if not self.carried:
            future = self.client.scatter([_read(shared)], hash=False)[0]
            self.carried = (shared, future)

    def close(self) -> None:
        """End the children, and the cluster where it was started here."""
        if self.client is not None:
            with contextlib.suppress(Exception):  # a scheduler that is gone already
                self.client.run(leave, self.wanted.token)
            self.client.close()
        if self.cluster is not None:
            self.cluster.close()


def _start_dask(wanted: Wanted) -> Any:
    """Start a scheduler here, and workers in processes that need no `__main__` guard."""
    deploy = importlib.import_module("distributed.deploy.spec")
    single = importlib.import_module("distributed.deploy.subprocess").SubprocessWorker
    quiet = logging.CRITICAL
    # whatever port is free: not even without its dashboard is Dask without a web server
    options = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    limits = {"nthreads": 1, "memory_limit": 0, "silence_logs": quiet}
    worker = {"cls": single, "options": {"worker_kwargs": {**options, **limits}}}
    scheduler = importlib.import_module("distributed").Scheduler
    return deploy.SpecCluster(
        workers=dict.fromkeys(range(wanted.jobs), worker),
        scheduler={"cls": scheduler, "options": {**options, "port": 0}},
        worker=worker,
        silence_logs=quiet,
    )


def _explain_dask(address: str | None, error: Exception) -> str:
    if address is None:
        return f"Dask does not start on this machine ({error}); executor='loky' does."
    return (
        f"address={address!r} is no Dask scheduler with workers that answers ({error}); "
        "leave it out to start one on this machine."
    )


# Inside a cluster's worker


def perform(
    task: Callable[[], Any],
    shared: SharedArrays | None = None,
    arrays: dict[str, np.ndarray] | None = None,
) -> Any:
    """Run a task in a cluster's worker, after writing down the arrays it came with."""
    if shared is not None and arrays is not None:
        place_shared(shared, arrays)
    return task()


def leave(token: str | None = None) -> None:
    """End an executor's children in this process and remove its copies of shared arrays."""
    close_children(token)
    forget_shared()


def _read(shared: SharedArrays) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in open_shared(shared).items()}


def _require(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"executor={extra!r} needs a package that is not installed: "
            f"pip install 'kerastl[{extra}]'."
        ) from error
