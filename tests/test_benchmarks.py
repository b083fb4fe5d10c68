"""A small version of each benchmark runs, so that none rots. Speed is not judged here."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import loading, measuring, memory, peers, searching, transfer

SMALL = peers.Task(
    base="mobilenet", hidden=4, epochs=1, learning_rates=(0.001, 0.01), batch_sizes=(32,)
)
BEGAN = 1000.0


@pytest.fixture
def holder():
    """A process that holds 60 MB, as does the one it started."""
    hold = "held = bytearray(60 << 20); print('ready', flush=True); input()"
    start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {hold!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", f"{start}; {hold}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        for _ in range(2):
            process.stdout.readline()
        yield process.pid
        process.communicate(b"\n\n")


def make_outcome(scores=(0.5, 0.6, 0.7), wall=30.0, processor=50.0, growth=3):
    """Return an outcome of trials of 8 seconds, of which `fit` takes 6, after 4 seconds."""
    ends = [BEGAN + 12 + 8 * number for number in range(len(scores))]
    trials = [
        peers.describe_trial(
            {"learning_rate": 0.1, "batch_size": number}, score, end - 7.5, end, 6.0
        )
        for number, (score, end) in enumerate(zip(scores, ends, strict=True))
    ]
    sizes = [(500 + growth * number) * memory.MEGABYTE for number in range(len(scores))]
    return searching.Outcome(
        BEGAN, BEGAN + wall, processor, 600, tuple(sizes), tuple(trials), 0.1
    )


def test_the_loading_benchmark_reads_and_trains(tmp_path, capsys):
    loading.make_photos(tmp_path, count=12, side=48)
    theirs, ours = loading.measure_decoding(tmp_path, side=32)
    slow, fast = loading.measure_training(tmp_path, "tiny", side=32)
    assert min(theirs, ours, slow, fast) > 0
    printed = capsys.readouterr().out
    for row in ("cold files", "every later epoch", "extraction", "epoch of the head"):
        assert row in printed


def test_the_transfer_benchmark_draws_the_same_number_of_every_class():
    labels = np.repeat([0, 1, 2], [30, 25, 22])
    chosen = transfer.choose(labels, per_class=20, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [20, 20, 20]
    assert (chosen == transfer.choose(labels, per_class=20, seed=0)).all()
    assert (chosen != transfer.choose(labels, per_class=20, seed=1)).any()


def test_times_are_medians_and_rows_say_how_many_images(capsys):
    assert measuring.median_seconds(lambda: None, 3) >= 0
    measuring.print_row("a name", 2.0, 100, beside=4.0)
    printed = capsys.readouterr().out
    assert "50 images/s" in printed
    assert "2.00x" in printed


def test_a_target_that_is_missed_is_an_error(monkeypatch):
    monkeypatch.setattr(transfer, "compare", lambda *_: [0.1, -0.01])
    monkeypatch.setattr("sys.argv", ["transfer"])
    with pytest.raises(AssertionError, match="random weights won"):
        transfer.main()


def test_memory_is_that_of_a_process_and_of_what_it_started(holder):
    found = memory.tree_memory(holder)
    assert 120 <= found / memory.MEGABYTE < 250
    if memory.PROC.is_dir():
        assert abs(memory._read_proc(holder) - found) < 2 * memory.MEGABYTE


def test_memory_is_watched_until_told_to_stop(holder):
    watch = memory.MemoryWatch(holder, every=0.01)
    watch.start()
    while len(watch.sizes) < 3:
        pass
    watch.stop()
    assert watch.peak == max(watch.sizes)
    assert watch.at(watch.moments[1]) == watch.sizes[1]
    assert watch.at(0) == watch.sizes[0]


def test_memory_of_a_process_that_ended_is_none():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert memory.tree_memory(ended.pid) == 0


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searching")
    counts = peers.write_task(folder, SMALL, images=60)
    assert sum(counts.values()) == 60
    assert 18 <= counts["validation"] <= 22  # a third of every class
    return folder


def check_trials(trials, task):
    found = [(trial["batch_size"], trial["learning_rate"]) for trial in trials]
    assert found == [(c["batch_size"], c["learning_rate"]) for c in task.candidates()]
    for trial in trials:
        assert 0 <= trial["score"] <= 1
        assert 0 < trial["fit_seconds"] < trial["ended"] - trial["began"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner's own
@pytest.mark.parametrize("name", ["hand-written loop", "KerasTuner"])
def test_the_searching_benchmark_runs_the_peers(task_folder, name):
    for module in searching.NEEDED.get(name, ()):
        pytest.importorskip(module)
    peers.run_peer(name, task_folder)
    check_trials(json.loads((task_folder / f"{name}.json").read_text()), SMALL)


def test_the_searching_benchmark_measures_kerastl_in_processes_of_its_own(task_folder):
    outcome = searching.measure_peer("kerastl", task_folder)
    check_trials(outcome.trials, SMALL)
    assert outcome.wall > outcome.before_trials > 0
    assert outcome.processor > outcome.in_fit > 0
    assert outcome.after > 0
    assert outcome.peak >= max(outcome.after_trials) > 200 * memory.MEGABYTE


def test_a_search_that_fails_shows_what_it_printed(task_folder, tmp_path):
    with pytest.raises(SystemExit, match=r"kerastl failed:[^$]*task\.json"):
        searching.measure_peer("kerastl", tmp_path)


def test_all_searches_start_from_the_same_weights():
    import kerastl

    theirs = peers.build_model(SMALL, learning_rate=0.1).get_weights()
    ours = kerastl.build_model(
        SMALL.base, weights=None, image_size=32, hidden=(SMALL.hidden,), seed=SMALL.seed
    ).get_weights()
    assert len(ours) == len(theirs)
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))


def test_a_search_is_told_apart_into_what_its_time_and_memory_went_to(capsys):
    outcome = make_outcome()
    assert outcome.before_trials == 4.5
    assert (outcome.in_fit, outcome.between, outcome.after) == (6.0, 0.5, 2.0)
    assert outcome.beside_fit == 2.0  # of which half a second is between two trials
    assert outcome.growth == pytest.approx(3 * memory.MEGABYTE)
    outcomes = {"hand-written loop": outcome, "kerastl": make_outcome((0.5, 0.6, 0.65))}
    searching.print_outcomes(outcomes)
    searching.print_trials(outcomes)
    printed = capsys.readouterr().out
    assert "0.65" in printed
    assert "3.0" in printed


def test_searches_of_other_candidates_are_not_compared():
    other = make_outcome()
    trials = [{**trial, "batch_size": 7} for trial in other.trials]
    changed = dataclasses.replace(other, trials=tuple(trials))
    with pytest.raises(AssertionError, match="the trials are not the same"):
        searching.print_trials({"kerastl": other, "KerasTuner": changed})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": (0.1, 0.1, 0.2)}, "best scores are 0.50 apart"),
        ({"wall": 300.0}, "10.00 times its seconds"),
        ({"processor": 100.0}, "2.00 times its cpu seconds"),
        ({"growth": 6}, "memory grows 2.00 times"),
    ],
)
def test_the_searching_benchmark_judges_scores_time_and_memory(changes, message):
    outcomes = dict.fromkeys(peers.PEERS, make_outcome())
    searching.check_outcomes(outcomes)
    with pytest.raises(AssertionError, match=message):
        searching.check_outcomes({**outcomes, "kerastl": make_outcome(**changes)})


def test_a_peer_that_is_not_installed_is_left_out_aloud(monkeypatch, capsys):
    monkeypatch.setattr(searching, "NEEDED", {"KerasTuner": ("no_such_module",)})
    assert searching.list_peers() == ["hand-written loop", "kerastl"]
    assert "KerasTuner is not installed" in capsys.readouterr().out
