"""What a running search prints: a line per trial, the best so far and the time left."""

import time

from kerastl.finetuning.describing import format_seconds, say
from kerastl.search.leaderboards import find_best, rank_records
from kerastl.search.plans import Plan
from kerastl.search.records import FAILED, Book, Record


class Lines:
    """Prints each finished trial, beside the best one, as the search goes on."""

    def __init__(self, plan: Plan, book: Book, verbose: str | int):
        self.plan, self.book, self.verbose = plan, book, verbose
        self.began, self.shown = time.monotonic(), 0
        self.total = sum(count for count, _ in plan.rungs) or plan.count
        self.before = len(book.records)
        self.best = find_best(list(book.latest.values()))
        if self.before:
            say(f"{self.before} of {self.total} trials are finished already", verbose)

    def show(self, record: Record) -> None:
        """Print one record."""
        self.shown += 1
        self.best = best = find_best([self.best, record])
        say(
            "  ".join(filter(None, [*self._describe(record), self._name_best(best)])),
            self.verbose,
        )

    def _describe(self, record: Record) -> list[str]:
        done = self.before + self.shown
        rung = f" rung {record.rung + 1}" if self.plan.rungs else ""
        params = " ".join(f"{name}={show_value(v)}" for name, v in record.params.items())
        score = f"FAILED: {record.reason}"
        if record.status != FAILED:
            score = f"val_accuracy {record.score:.4f}"
        seconds = format_seconds(record.work.get("seconds", 0))
        head = f"trial {record.number}{rung} ({done}/{self.total})"
        return [head, self._rank(record), score, params, seconds, self._left(done)]

    def _rank(self, record: Record) -> str:
        """Say where a trial stands among those finished by now: the leaderboard grows."""
        if record.status == FAILED:
            return ""
        finished = list(self.book.latest.values())
        rank = rank_records(finished)[finished.index(record)]
        return f"rank {rank} of {len(finished)}"

    def _left(self, done: int) -> str:
        spent = time.monotonic() - self.began
        left = spent / self.shown * max(0, self.total - done)
        return f"about {format_seconds(left)} left" if left else ""

    def _name_best(self, best: Record | None) -> str:
        return "" if best is None else f"best {best.score:.4f} (trial {best.number})"


def show_value(value: object) -> str:
    """Return a parameter's value in few characters.

    Example:

    >>> show_value(0.0123456), show_value((256, 128))
    ('0.01235', '256,128')
    """
    if isinstance(value, tuple):
        return ",".join(map(show_value, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
