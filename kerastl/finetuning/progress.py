"""Showing a staged run: one bar for the whole job, or one line per epoch."""

import sys
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from kerastl.errors import UsageError
from kerastl.finetuning.describing import describe_row, describe_stage, format_seconds
from kerastl.finetuning.loop import Watcher
from kerastl.stages import Schedule, Stage


def build_watchers(verbose: str | int, schedule: Schedule) -> list[Watcher]:
    """Return what shows progress.

    Args:
        verbose: As in Keras: 0 nothing, 1 a bar, 2 one line per epoch, "auto" a bar on a
            terminal and lines elsewhere. All of it goes to stderr.
        schedule: What will run.

    Raises:
        UsageError: `verbose` is none of these.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise UsageError(f"verbose={verbose!r} is not one of: 'auto', 0, 1, 2.")
    if verbose == "auto":
        verbose = 1 if sys.stderr.isatty() else 2
    if verbose == 0:
        return []
    return [BarWatcher(schedule) if verbose == 1 else LineWatcher(schedule)]


class LineWatcher(Watcher):
    """One line per epoch on stderr, with the time the whole job may still take."""

    def __init__(self, schedule: Schedule):
        self.schedule = schedule
        self.later = 0  # epochs of the stages after this one
        self.spent: list[float] = []

    def begin_stage(self, stage: Stage, index: int, steps: int) -> None:
        """Print which stage starts."""
        self.stage = stage
        self.later = sum(s.epochs for s in self.schedule.stages[index + 1 :])
        number = f"{index + 1}/{len(self.schedule)}"
        print(f"stage {number}: {stage.name}, {describe_stage(stage)}", file=sys.stderr)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Print the epoch's numbers."""
        self.spent.append(row["seconds"])
        epochs = self.later + self.stage.epochs - row["stage_epoch"]
        left = epochs * sum(self.spent) / len(self.spent)
        print(
            f"  epoch {row['stage_epoch']}/{self.stage.epochs}  {describe_row(row)}  "
            f"{row['seconds']:.1f} s  about {format_seconds(left)} left",
            file=sys.stderr,
            flush=True,
        )

    def end_stage(self, outcome: dict[str, Any]) -> None:
        """Print what came of the stage."""
        print(f"  {outcome['outcome']}", file=sys.stderr)


class BarWatcher(Watcher):
    """One bar over all stages, moved by every batch."""

    def __init__(self, schedule: Schedule):
        self.schedule, self.steps = schedule, 0
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("starting", total=None)
        self.callback = _BatchSteps(self)

    def begin_stage(self, stage: Stage, index: int, steps: int) -> None:
        """Start the bar at the first stage and name the stage."""
        self.bar.start()
        self.stage, self.stage_steps, self.before = stage, steps, self.steps
        rest = [s.epochs for s in self.schedule.stages[index:]]
        # stages differ in batch size; the one in progress is the best guess for the rest
        self.bar.update(self.task, total=self.steps + steps * sum(rest))
        self.bar.update(
            self.task, description=f"{stage.name} ({index + 1}/{len(self.schedule)})"
        )

    def move(self) -> None:
        """Count one batch."""
        self.steps += 1
        self.bar.update(self.task, completed=self.steps)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Print the epoch's numbers above the bar."""
        # a resumed stage begins at a later epoch, and an exact one sees no batches
        self.steps = self.before + row["stage_epoch"] * self.stage_steps
        self.bar.update(self.task, completed=self.steps)
        number = f"{row['stage_epoch']}/{self.stage.epochs}"
        self.bar.print(f"{self.stage.name} {number}  {describe_row(row)}", highlight=False)

    def end_stage(self, outcome: dict[str, Any]) -> None:
        """Print what came of the stage; stop the bar after the last."""
        self.bar.print(f"{outcome['name']}: {outcome['outcome']}", highlight=False)
        if outcome["name"] == self.schedule.stages[-1].name:
            self.stop()

    def stop(self) -> None:
        """Take the bar off the terminal."""
        self.bar.stop()


class _BatchSteps(keras.callbacks.Callback):
    """Moves a bar with every training batch."""

    needs_no_batches = True  # the bar moves at the end of an epoch, too

    def __init__(self, watcher: BarWatcher):
        super().__init__()
        self.watcher = watcher

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.watcher.move()
