"""Which trials come next: a pure function of the plan and of what is finished."""

from dataclasses import dataclass
from typing import Any

from kerastl.search.plans import Plan
from kerastl.search.records import Book, Record
from kerastl.search.sampling import suggest_tpe, survivors


@dataclass(frozen=True)
class Work:
    """A trial, or one rung of it, that is to be run.

    `pause_at` is the number of epochs after which it is paused; None is never. `before` is
    the record to go on from.
    """

    number: int
    params: dict[str, Any]
    rung: int = 0
    pause_at: int | None = None
    before: Record | None = None


def next_round(plan: Plan, book: Book) -> list[Work]:
    """Return the trials of the round in progress that are not finished; none at the end.

    It depends on finished rounds alone, so a search that goes on after a kill decides what
    it would have decided.
    """
    return _ROUNDS[plan.settings.mode](plan, book)


def _all_at_once(plan: Plan, book: Book) -> list[Work]:
    return [
        Work(number, params)
        for number, params in plan.numbered()
        if book.find(number, 0) is None
    ]


def _next_rung(plan: Plan, book: Book) -> list[Work]:
    candidates, alive = dict(plan.numbered()), [number for number, _ in plan.numbered()]
    for rung, (count, epochs) in enumerate(plan.rungs):
        alive = _select(alive, count, book, rung)
        is_last = rung == len(plan.rungs) - 1
        pause_at = None if is_last else epochs
        works = [
            Work(n, candidates[n], rung, pause_at, book.find(n, rung - 1))
            for n in alive
            if book.find(n, rung) is None
        ]
        if works:
            return works
    return []


def _select(alive: list[int], count: int, book: Book, rung: int) -> list[int]:
    """Return who reaches a rung."""
    if rung == 0:
        return alive
    scores = [book.find(number, rung - 1).score for number in alive]
    return survivors(alive, scores, count)


def list_stopped(plan: Plan, book: Book) -> list[Record]:
    """Return the last records of trials that a finished rung leaves behind."""
    alive, stopped = [number for number, _ in plan.numbered()], []
    for rung in range(len(plan.rungs)):
        if not all(book.find(number, rung) for number in alive) or rung + 1 == len(
            plan.rungs
        ):
            break
        chosen = _select(alive, plan.rungs[rung + 1][0], book, rung + 1)
        left = [book.find(number, rung) for number in alive if number not in chosen]
        stopped += [record for record in left if not record.complete]
        alive = chosen
    return stopped


def _next_batch(plan: Plan, book: Book) -> list[Work]:
    """Suggest as many trials as run at once, each from all batches before."""
    total, batch = plan.settings.n_iter, plan.batch
    for first in range(1, total + 1, batch):
        numbers = range(first, min(first + batch, total + 1))
        if all(book.find(number, 0) for number in numbers):
            continue
        told = [book.find(number, 0) for number in range(1, first)]
        finished = [(r.params, None if not r.fits else r.score) for r in told]
        return [
            Work(n, suggest_tpe(plan.space, finished, n, plan.settings.random_state))
            for n in numbers
            if book.find(n, 0) is None
        ]
    return []


_ROUNDS = {
    "grid": _all_at_once,
    "random": _all_at_once,
    "halving": _next_rung,
    "tpe": _next_batch,
}
