"""What a staged run says of its progress, also when it goes on in the middle."""

import pytest

from kerastl.finetuning.progress import BarWatcher, LineWatcher
from kerastl.stages import Schedule, Stage

STAGES = (Stage(name="head", epochs=4), Stage(name="top", unfreeze=4, epochs=2))
SCHEDULE = Schedule("mine", STAGES)


def make_row(stage_epoch):
    return {"stage_epoch": stage_epoch, "epoch": stage_epoch, "loss": 0.5, "seconds": 60.0}


@pytest.mark.parametrize("first", [1, 3])
def test_the_time_left_counts_the_epochs_that_are_left(capsys, first):
    watcher = LineWatcher(SCHEDULE)
    watcher.begin_stage(STAGES[0], 0, 10)
    for epoch in range(first, 5):
        watcher.end_epoch(make_row(epoch))
    lines = capsys.readouterr().err.splitlines()[1:]
    left = [f"about {minutes}:00 left" for minutes in range(6 - first, 1, -1)]
    assert [line[line.index("about") :] for line in lines] == left


@pytest.mark.parametrize("first", [1, 3])
def test_the_bar_stands_where_the_work_is(first):
    watcher = BarWatcher(SCHEDULE)
    watcher.begin_stage(STAGES[0], 0, 10)
    for epoch in range(first, 5):
        for _ in range(10):
            watcher.move()
        watcher.end_epoch(make_row(epoch))
    watcher.begin_stage(STAGES[1], 1, 5)
    (task,) = watcher.bar.tasks
    watcher.stop()
    assert (task.completed, task.total) == (40, 50)
