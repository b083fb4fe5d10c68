"""The driver of a search: hands trials out, takes results in, is the only writer."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import numpy as np

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.errors import StorageError
from kerastl.finetuning.planning import choose_image_size
from kerastl.options import Options, to_toml
from kerastl.search.candidates import apply_parameters
from kerastl.search.companions import group_companions
from kerastl.search.cuts import write_cuts
from kerastl.search.executors import Executor, run_requests
from kerastl.search.plans import Plan
from kerastl.search.records import FAILED, Book, Record
from kerastl.search.requests import Reply, Request
from kerastl.search.rounds import Work, list_stopped, next_round
from kerastl.search.settings import SearchSettings
from kerastl.search.sharing import SharedArrays, share_arrays
from kerastl.seeds import derive_seed

logger = logging.getLogger("kerastl")

KILLED = "killed"
Companions = dict[int, tuple[dict[str, Any], ...]]


class Driver:
    """Runs the trials of a plan that are not finished yet.

    Args:
        plan: Of the search.
        data: Without a test split, so that nothing here can read one.
        book: Where records are kept.
        settings: The plan's, with what may change: jobs, executor, minutes.
        watch: Called with every new record.
    """

    def __init__(
        self,
        plan: Plan,
        data: Data,
        book: Book,
        settings: SearchSettings,
        watch: Callable[[Record], None],
    ):
        if data.test is not None:
            raise ValueError("A search is given data without a test split.")
        self.plan, self.data, self.book = plan, data, book
        self.settings, self.watch = settings, watch
        self.images, self.started = _SharedImages(data), False
        self.fits, self.shared_stages = plan_fits(plan, data), count_shared(plan)
        self.cuts = write_cuts(list_candidates(plan), data)
        minutes = settings.max_minutes
        self.deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def run(self) -> None:
        """Run round after round, until the plan or the time is over."""
        self._stop_trials()  # where a kill came between a rung and this
        works = next_round(self.plan, self.book)
        if not works:
            return
        with self.images, self._open_executor() as executor:
            while works and not (self.started and self._is_late()):
                self._run_round(works, executor)
                self._stop_trials()
                works = next_round(self.plan, self.book)

    def _open_executor(self) -> Executor:
        settings, threads = self.settings, self.plan.settings.threads
        place = {"address": settings.address, "gpus": settings.gpus}
        return Executor(settings.executor, settings.jobs, threads=threads, **place)

    def _stop_trials(self) -> None:
        for record in list_stopped(self.plan, self.book):
            self.book.stop(record)

    def _is_late(self) -> bool:
        return time.monotonic() >= self.deadline

    def _run_round(self, works: Sequence[Work], executor: Executor) -> None:
        shared = self.images.share([self._image_size(work) for work in works])
        killed = self._run_works(works, shared, executor, last_chance=False)
        # a worker may have died of its neighbours' memory, so each has one try alone
        for work in killed:
            self._run_works([work], shared, executor, last_chance=True)

    def _run_works(
        self,
        works: Sequence[Work],
        shared: SharedArrays,
        executor: Executor,
        *,
        last_chance: bool,
    ) -> list[Work]:
        """Run works and write what comes of them; return those whose worker was killed."""
        by_number, killed = {work.number: work for work in works}, []
        minutes = self.settings.trial_minutes
        replies = run_requests(
            self._requests(works),
            shared=shared,
            executor=executor,
            seconds=None if minutes is None else 60 * minutes,
        )
        with closing(replies):
            for reply in replies:
                work = by_number[reply.number]
                if reply.status == KILLED and not last_chance:
                    killed.append(work)
                else:
                    self._take(work, reply)
        return killed

    def _requests(self, works: Sequence[Work]) -> Iterator[Request]:
        companions = self._group_companions(works)
        for work in works:
            if self.started and self._is_late():  # one trial runs however short the time
                return
            self.started = True
            yield self._describe(work, companions.get(work.number, ()))

    def _group_companions(self, works: Sequence[Work]) -> Companions:
        # several workers would each train all of a group; one trial's minutes are its own
        if self.settings.jobs > 1 or self.settings.trial_minutes is not None:
            return {}
        whole = [work for work in works if work.before is None and work.pause_at is None]
        return group_companions({work.number: self._options(work) for work in whole})

    def _describe(self, work: Work, companions: Sequence[dict[str, Any]]) -> Request:
        work, state = self._read_state(work)
        options = self._options(work)
        needs_statistics = any(stage["normalize"] == "data" for stage in options.stages)
        statistics = vars(self.data.channel_statistics()) if needs_statistics else None
        paused = [fit["progress"] for fit in work.before.fits] if work.before else None
        message = {
            "options": to_toml(options),
            "size": name_size(self._image_size(work)),
            "class_names": list(self.data.class_names),
            "multi_label": self.data.multi_label,
            "statistics": statistics,
            "pause_at": work.pause_at,
            "companions": list(companions),
            "cuts": self.cuts.get(work.number, []),
            "shared_stages": self.shared_stages.get(work.number, 0),
            "fits": [
                {"seed": seed, "progress": paused[number] if paused else None}
                for number, (seed, _) in enumerate(self.fits)
            ],
        }
        rows = [name_rows(number, fold) for number, (_, fold) in enumerate(self.fits)]
        arrays = {name: array for part in rows for name, array in part.items()}
        return Request(number=work.number, message=message, arrays=arrays | state)

    def _read_state(self, work: Work) -> tuple[Work, dict[str, np.ndarray]]:
        if work.before is None:
            return work, {}
        try:
            return work, self.book.read_state(work.before)
        except StorageError as error:
            logger.warning("Trial %d starts again: %s", work.number, error)
            return Work(work.number, work.params, work.rung, work.pause_at), {}

    def _options(self, work: Work) -> Options:
        return apply_parameters(self.plan.options, work.params)

    def _image_size(self, work: Work) -> tuple[int, int]:
        options = self._options(work)
        return choose_image_size(options, self.data, get_base(options.base))

    def _take(self, work: Work, reply: Reply) -> None:
        record = read_reply(work, reply)
        is_final = work.pause_at is None
        self.book.write(record, reply.arrays, final=is_final)
        self.watch(record)


def read_reply(work: Work, reply: Reply) -> Record:
    """Turn a worker's answer into a record; a score that is not finite is a failure."""
    asked = {"number": work.number, "params": work.params, "rung": work.rung}
    seconds = sum(fit["seconds"] for fit in reply.message.get("fits", ()))
    if work.before is not None:
        seconds += work.before.work.get("seconds", 0)
    done = {"seconds": seconds, "peak_memory": reply.peak_memory}
    if reply.status != "done":
        return Record(
            **asked,
            status=FAILED,
            reason=reply.reason,
            traceback=reply.traceback,
            work=done,
        )
    fits = tuple(_without_seconds(fit) for fit in reply.message["fits"])
    scores = [fit["score"] for fit in fits]
    if not all(isinstance(score, int | float) and math.isfinite(score) for score in scores):
        reason = f"The score is not finite: {scores}."
        return Record(**asked, status=FAILED, reason=reason, work=done)
    done["fit_seconds"] = [fit["seconds"] for fit in reply.message["fits"]]
    return Record(**asked, fits=fits, work=done)


def _without_seconds(fit: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fit.items() if name != "seconds"}


def list_candidates(plan: Plan) -> dict[int, Options]:
    """Return what each candidate trains, by number."""
    options = plan.options
    return {n: apply_parameters(options, params) for n, params in plan.numbered()}


def count_shared(plan: Plan) -> dict[int, int]:
    """Return how many leading stages of each candidate another one has, too."""
    trunks = {n: list_trunks(options) for n, options in list_candidates(plan).items()}
    counts = Counter(trunk for found in trunks.values() for trunk in found)
    return {n: sum(counts[t] > 1 for t in found) for n, found in trunks.items()}


def list_trunks(options: Options) -> list[str]:
    """Return what a candidate is up to the end of its first stage, its second, ..."""
    stages = options.stages
    return [to_toml(replace(options, stages=stages[: n + 1])) for n in range(len(stages))]


def plan_fits(plan: Plan, data: Data) -> list[tuple[int, tuple[np.ndarray, ...]]]:
    """Return seed and fold of each training of a trial; no rows for the splits as they are.

    The first repeat takes the seed itself, so that the winner trains again to the same
    weights.
    """
    seed, cv = plan.options.seed, plan.settings.cv
    folds = [()] if cv is None else data.folds(cv, seed)
    seeds = [
        derive_seed(seed, "repeat", n) if n else seed for n in range(plan.settings.repeats)
    ]
    return [(number, fold) for number in seeds for fold in folds]


def name_rows(number: int, fold: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
    """Return a fold's rows under the names a worker looks for."""
    if not fold:
        return {}
    train, validation = fold
    return {f"fit{number}-train-rows": train, f"fit{number}-validation-rows": validation}


def name_size(size: tuple[int, int]) -> str:
    """Return how pixels of a size are called among the shared arrays."""
    return f"{size[0]}x{size[1]}"


class _SharedImages:
    """Decoded images of the splits a search sees, shared once per set of sizes."""

    def __init__(self, data: Data):
        self.data, self.stack = data, ExitStack()
        self.sizes: set[tuple[int, int]] = set()
        self.shared: SharedArrays | None = None

    def __enter__(self) -> "_SharedImages":
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def share(self, sizes: Sequence[tuple[int, int]]) -> SharedArrays:
        """Return arrays that hold at least these sizes."""
        if self.shared is None or not set(sizes) <= self.sizes:
            self.sizes |= set(sizes)
            self.stack.close()
            self.shared = self.stack.enter_context(share_arrays(self._collect()))
        return self.shared

    def _collect(self) -> dict[str, np.ndarray]:
        arrays = {}
        for name, split in self.data.splits.items():
            arrays[f"{name}-labels"] = split.labels
            for size in sorted(self.sizes):
                arrays[f"{name}-{name_size(size)}"] = split.pixels(size)
        return arrays
