"""A small version of each benchmark runs, so that none rots. Speed is not judged here."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    __main__ as everything,
)
from benchmarks import (
    diagnosing,
    extraction,
    heads,
    limits,
    loading,
    measuring,
    memory,
    outcomes,
    peers,
    processes,
    ranking,
    results,
    scale,
    schedules,
    searching,
    settings,
    startup,
    steps,
    tasks,
    transfer,
    zeroshot,
)

SMALL = tasks.Task(
    images=60, epochs=1, base="vgg16", hidden=4, learning_rates=(0.001,), batch_sizes=(32,)
)
CUTS = ("block5_conv2", "block5_pool")
DEEP = dataclasses.replace(SMALL, hidden=0, trains=CUTS)
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
        {
            "candidate": {"batch_size": number},
            "score": score,
            "began": end - 7.5,
            "ended": end,
            "fit_seconds": 6.0,
            "trainable": 9,
        }
        for number, (score, end) in enumerate(zip(scores, ends, strict=True))
    ]
    sizes = [(500 + growth * number) * memory.MEGABYTE for number in range(len(scores))]
    return outcomes.Outcome(
        BEGAN, BEGAN + wall, 5.0, processor, 600, tuple(sizes), tuple(trials), 0.1
    )


def write_images(folder, task):
    tasks.write_task(folder, task)
    return folder


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


def make_ranked(data, probe, tuned):
    """Return an outcome whose scores all have the same order."""
    scores = (probe, probe - 1, 2 * probe)
    return ranking.Outcome(data, "tiny", "random", 32, *scores, 1.0, tuned, 2.0)


def test_the_ranking_benchmark_compares_orders_and_what_choosing_loses():
    same = [make_ranked("a", p, t) for p, t in ((0.1, 0.2), (0.5, 0.6), (0.9, 0.7))]
    other = [make_ranked("b", p, t) for p, t in ((0.1, 0.9), (0.5, 0.6), (0.9, 0.4))]
    found = ranking.judge([*same, *other])
    assert found["a"]["LogME"]["tau"] == pytest.approx(1)
    assert found["a"]["probe"]["loss"] == 0
    assert found["b"]["H-score"]["Spearman"] == pytest.approx(-1)
    assert found["b"]["probe"]["loss"] == pytest.approx(0.5)
    assert found["mean"]["probe"]["tau"] == pytest.approx(0)
    assert found["mean"]["probe"]["loss"] == pytest.approx(0.25)


def test_the_ranking_benchmark_scores_and_fine_tunes(tmp_path, capsys, monkeypatch):
    small = dataclasses.replace(ranking.QUICK, images=30, candidates=ranking.SMALL[:2])
    monkeypatch.setattr(ranking, "QUICK", small)
    ranking.main(["--quick", "--json", str(tmp_path / "found.json")])
    printed = capsys.readouterr().out
    assert "digits: 30 to train on, 60 held back" in printed
    outcomes = json.loads((tmp_path / "found.json").read_text())["details"]["outcomes"]
    assert [one["weights"] for one in outcomes] == ["cifar10", "random"]
    assert all(0 <= one["tuned"] <= 1 for one in outcomes)


def test_times_are_medians_and_rows_say_how_many_images(capsys):
    assert measuring.median_seconds(lambda: None, 3) >= 0
    measuring.print_row("a name", 2.0, 100, beside=4.0)
    printed = capsys.readouterr().out
    assert "50 images/s" in printed
    assert "2.00x" in printed


def make_run(tmp_path, **options):
    return settings.Run("a name", SMALL, json=tmp_path / "made" / "found.json", **options)


def test_a_target_that_is_missed_is_an_error_that_says_by_how_much(tmp_path, capsys):
    rows = [
        results.Row("slow", 4.0, "s", limit=1.0, at_most=3),
        results.Row("ratio", 1.5, "x", at_least=2),
        results.Row("good", 2.0, "x", at_least=2, at_most=2),
        results.Row("unknown", float("nan"), "x", at_least=2),
    ]
    with pytest.raises(AssertionError) as caught:
        results.conclude(make_run(tmp_path), rows, {"more": float("inf")})
    assert str(caught.value) == (
        "slow: 4 s, not <= 3; ratio: 1.5 x, not >= 2; unknown: nan x, not >= 2"
    )
    assert "25.0 %" in capsys.readouterr().out
    record = json.loads((tmp_path / "made" / "found.json").read_text())
    assert record["benchmark"] == "a name"
    assert record["settings"]["images"] == SMALL.images
    assert [row["value"] for row in record["rows"]] == [4.0, 1.5, 2.0, None]
    assert len(record["missed"]) == 3
    assert record["details"] == {"more": None}
    assert record["machine"]["packages"]["keras"]


def test_small_sizes_are_held_only_to_what_means_something_there(tmp_path):
    run = make_run(tmp_path, quick=True)
    results.conclude(run, [results.Row("ratio", 1.5, "x", at_least=2)])
    with pytest.raises(AssertionError, match=r"weights: 1, not <= 0\.1"):
        results.conclude(run, [results.Row("weights", 1, "", at_most=0.1, always=True)])


def test_settings_are_options_and_the_quick_ones_are_smaller():
    read = lambda *given: settings.read_run(  # noqa: E731
        "name", "Doc.", searching.Settings(), searching.QUICK, given
    )
    assert read().settings == searching.Settings()
    run = read("--quick", "--images", "77", "--trainable", "all", "--json", "x/y.json")
    assert run.settings == dataclasses.replace(searching.QUICK, images=77, trainable="all")
    assert (run.quick, run.json) == (True, Path("x/y.json"))
    with pytest.raises(SystemExit):
        read("--trainable", "some")


def test_memory_is_that_of_a_process_and_of_what_it_started(holder):
    found = memory.tree_memory(holder)
    assert 120 <= found / memory.MEGABYTE < 250
    if memory.PROC.is_dir():
        assert abs(memory.read_tree(holder, memory.RESIDENT) - found) < 2 * memory.MEGABYTE


def test_memory_is_watched_until_told_to_stop(holder):
    watch = memory.MemoryWatch(holder, every=0.01)
    watch.start()
    while len(watch.sizes) < 3:
        pass
    watch.stop()
    assert watch.peak == max(watch.sizes)
    assert watch.at(watch.moments[1]) == watch.sizes[1]
    assert watch.at(0) == watch.sizes[0]
    if memory.PROC.is_dir():
        assert 120 <= watch.own_peak / memory.MEGABYTE < watch.peak / memory.MEGABYTE


def test_memory_of_a_process_that_ended_is_none():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert memory.tree_memory(ended.pid) == 0


def test_a_function_runs_in_a_process_of_its_own(tmp_path):
    (tmp_path / "a file").touch()
    finished = processes.run_process("os:listdir", tmp_path)
    assert sorted(finished.result) == ["a file", processes.OUTPUT]
    assert 0 < finished.ended - finished.began < 60
    assert finished.processor > 0


def test_a_process_that_fails_shows_what_it_printed(tmp_path):
    with pytest.raises(SystemExit, match=r"os:rmdir failed:[^$]*not empty"):
        processes.run_process("os:rmdir", tmp_path)


def test_images_of_a_task_are_drawn_alike_from_all_classes():
    labels = np.repeat([0, 1, 2], [50, 9, 20])
    rows = tasks.draw_balanced(labels, 16, seed=0)
    assert len(set(rows.tolist())) == 16
    assert sorted(np.bincount(labels[rows]).tolist()) == [5, 5, 6]
    assert rows.tolist() != tasks.draw_balanced(labels, 16, seed=1).tolist()


def test_flops_are_those_published():
    import keras

    model = keras.applications.ResNet50(
        weights=None, include_top=False, input_shape=(224, 224, 3)
    )
    costs = limits.measure_model(model)
    assert round(costs.above / 1e9, 2) == 7.71
    assert costs.below == 0
    assert costs.first == 2 * 49 * 3 * 64 * 112**2
    for layer in model.layers[:-10]:  # up to conv5_block2_out
        layer.trainable = False
    tail = limits.measure_model(model)
    assert tail.below / costs.above == pytest.approx(0.94, abs=0.006)
    assert tail.first == 2 * 2048 * 512 * 49
    assert tail.bound_fit(2, 10, 5) == 2 * (
        10 * (3 * tail.above - tail.first) + 5 * tail.above
    )


def test_the_peak_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "REPEATS", 2)
    write_images(tmp_path, DEEP)
    found = limits.bound_task(tmp_path)
    assert found["peak"] > 1e9
    assert found["seconds"] > 0


@pytest.fixture(scope="module")
def deep_outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searching")
    counts = tasks.write_task(folder, DEEP)
    assert sum(counts.values()) == 60
    assert 18 <= counts["validation"] <= 22  # a third of every class
    return outcomes.measure_search(peers.PEERS["kerastl"], folder, imports=1.0)


def check_trials(trials, task):
    tried = sorted(str(trial["candidate"]) for trial in trials)
    assert tried == sorted(map(str, task.candidates()))
    for trial in trials:
        assert 0 <= trial["score"] <= 1
        assert 0 < trial["fit_seconds"] < trial["ended"] - trial["began"]


def test_the_search_benchmarks_measure_kerastl_in_processes_of_its_own(deep_outcome):
    check_trials(deep_outcome.trials, DEEP)
    assert deep_outcome.wall > deep_outcome.before_trials > 0
    assert deep_outcome.work == deep_outcome.wall - 1.0
    assert deep_outcome.processor > deep_outcome.in_fit > 0
    assert deep_outcome.after > 0
    assert deep_outcome.peak >= max(deep_outcome.after_trials) > 200 * memory.MEGABYTE
    rows = {row.name: row.value for row in heads.judge(deep_outcome, limit=1.0)}
    epoch = rows["an epoch of a trial of the first group"]
    assert 0 < epoch <= rows["the search, imports included"]


def test_an_epoch_is_what_all_trials_of_a_group_take_over_all_their_epochs():
    trials = [{"epoch_seconds": [0.9, 0.0]}, *[{"epoch_seconds": [0.0, 0.0]}] * 7]
    more = [{"epoch_seconds": [0.2, 0.0]}]
    outcome = dataclasses.replace(make_outcome(), trials=tuple(trials + more))
    assert heads.average_epochs(trials) == pytest.approx(0.9 / 16)
    assert heads.average_epochs(outcome.trials[heads.MOST :]) == pytest.approx(0.1)


def test_all_peers_train_the_same_layers(deep_outcome):
    from benchmarks.rebuilding import build_model

    for trial in deep_outcome.trials:
        model = build_model(DEEP, trial["candidate"])
        trainable = sum(np.prod(v.shape) for v in model.trainable_variables)
        assert trial["trainable"] == trainable


def test_no_peer_trains_batchnorm():
    from benchmarks.rebuilding import build_network, freeze_layers

    base = build_network(dataclasses.replace(SMALL, base="mobilenet"))
    freeze_layers(base, "all")
    kinds = {type(layer).__name__: layer.trainable for layer in base.layers}
    assert (kinds["Conv2D"], kinds["BatchNormalization"]) == (True, False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner's own
@pytest.mark.parametrize("name", [name for name in peers.PEERS if name != "kerastl"])
def test_the_searching_benchmark_runs_the_peers(tmp_path, name):
    for module in searching.NEEDED.get(name, ()):
        pytest.importorskip(module)
    search = getattr(peers, peers.PEERS[name].partition(":")[2])
    trials = search(write_images(tmp_path, SMALL))
    check_trials(trials, SMALL)
    assert trials[0]["trainable"] == (512 + 1) * 4 + (4 + 1) * 10


def test_all_searches_start_from_the_same_weights():
    import kerastl
    from benchmarks.rebuilding import build_model

    theirs = build_model(SMALL, SMALL.candidates()[0]).get_weights()
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
    assert outcome.work == 25.0
    assert outcome.growth == pytest.approx(3 * memory.MEGABYTE)
    found = {"hand-written loop": outcome, "kerastl": make_outcome((0.5, 0.6, 0.65))}
    outcomes.print_outcomes(found)
    outcomes.print_trials(found, [trial["candidate"] for trial in outcome.trials])
    printed = capsys.readouterr().out
    assert "0.650" in printed
    assert "3.0" in printed


@pytest.mark.parametrize("change", [{"candidate": {"batch_size": 7}}, {"trainable": 1}])
def test_searches_of_other_candidates_are_not_compared(change):
    other = make_outcome()
    trials = [{**trial, **change} for trial in other.trials]
    changed = dataclasses.replace(other, trials=tuple(trials))
    outcomes.check_same({"kerastl": other, "KerasTuner": other})
    with pytest.raises(AssertionError, match="the trials are not the same"):
        outcomes.check_same({"kerastl": other, "KerasTuner": changed})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": (0.5, 0.6, 0.4)}, r"kerastl, accuracy from that by hand: 0\.3"),
        ({"wall": 9.0}, "hand-written loop / kerastl: 6.25 x, not >= 14"),
    ],
)
def test_the_searching_benchmark_judges_scores_and_time(tmp_path, changes, message):
    found = dict.fromkeys(peers.PEERS, make_outcome())
    found["kerastl"] = make_outcome(wall=5.5)  # of which imports are five
    target = searching.TARGETS["head", 32]
    good = searching.judge(found, limit=1.0, targets=target)
    results.conclude(make_run(tmp_path), good)
    found["kerastl"] = make_outcome(**{"wall": 5.5, **changes})
    rows = searching.judge(found, limit=1.0, targets=target)
    with pytest.raises(AssertionError, match=message):
        results.conclude(make_run(tmp_path), rows)


def test_a_peer_that_is_not_installed_is_left_out_aloud(monkeypatch, capsys):
    monkeypatch.setattr(searching, "NEEDED", {"KerasTuner": ("no_such_module",)})
    assert "KerasTuner" not in searching.list_peers()
    assert searching.list_peers("loop") == [searching.BY_HAND, searching.OURS]
    assert "KerasTuner is not installed" in capsys.readouterr().out


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    task = dataclasses.replace(SMALL, base="tiny", hidden=0)
    return write_images(tmp_path_factory.mktemp("schedules"), task)


@pytest.mark.parametrize("engine", [schedules.FAST, schedules.PLAIN])
def test_the_schedules_benchmark_times_a_run(tiny_folder, engine):
    found = schedules.time_run(tiny_folder, "full", engine)
    assert 0 < found["first"] <= found["seconds"]
    assert len(found["epochs"]) == len(found["scores"]) == SMALL.epochs
    assert 0 < found["limit"] < found["seconds"]


def test_the_schedules_benchmark_compares_weights(tiny_folder, monkeypatch):
    monkeypatch.setattr("keras.config.set_floatx", lambda kind: None)  # is the process's
    found = schedules.compare_weights(tiny_folder, "full")
    assert found["moved"] >= schedules.MOVED_TARGET
    assert found["apart"] < found["moved"]


def test_the_extraction_benchmark_extracts(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "REPEATS", 2)
    monkeypatch.setattr(extraction, "REPEATS", 1)
    given = json.dumps({"images": 192, "image_size": 32})
    (tmp_path / "settings.json").write_text(given)
    extract, seen = extraction.extract, []
    monkeypatch.setattr(
        extraction, "extract", lambda *given: seen.append(given[1:]) or extract(*given)
    )
    found = extraction.time_extraction(tmp_path, "mobilenet")
    assert found["whole"] > 0
    assert found["seconds"] < found["whole"]
    kinds = ("float32", extraction.MIXED)
    assert seen == [(64,), *((count, kind) for kind in kinds for count in (192, 64))]
    assert len(found["peaks"]) == 2
    assert found["flops"] > 128 * 1e7


def test_the_scale_benchmark_trains_on_mapped_images(tmp_path):
    scale.make_images(tmp_path, 90, 32)
    found = scale.train_many(tmp_path, "60")
    assert 0 < found["loading"] < found["seconds"]
    assert found["accuracy"] >= 0


@pytest.mark.slow
def test_the_scale_benchmark_watches_one_worker(tmp_path):
    task = scale.Settings(trials=3, base="tiny").describe_task()
    rows, details = scale.measure_trials(task)
    assert len(details["after_trials"]) == 3
    assert rows[0].at_most == scale.GROWTH_TARGET


def test_the_startup_benchmark_runs_and_finds_heavy_imports(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(startup, "TARGET", 60)  # speed is not judged here
    startup.main(["--quick", "--repeats", "1", "--json", str(tmp_path / "found.json")])
    assert "kerastl --help" in capsys.readouterr().out
    lines = "import time: 1 | 2 |   keras.src\nimport time: 1 | 2 | kerastl\n"
    assert startup.list_heavy(lines) == ["keras.src"]


@pytest.mark.slow
def test_the_parts_of_a_step_are_measured(tmp_path):
    steps.main(["--quick", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())["details"]
    seconds, first = found["seconds"], found["first"]
    assert set(first) == {steps.FORWARD, steps.GRADIENTS, steps.FUSED, steps.KERAS}
    assert set(seconds) == {*first, steps.AFTER}
    assert all(0 < seconds[part] < first[part] for part in first)  # the first is traced
    assert found["forward_limit"] > 0
    assert found["update_limit"] > 0


@pytest.mark.slow
def test_pairs_of_digits_are_held_out(tmp_path):
    zeroshot.main(["--quick", "--json", str(tmp_path / "found.json")])
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert rows[0]["value"] == 2
    assert all(0 <= row["value"] <= 1 for row in rows if "mean" in row["name"])


@pytest.mark.slow
def test_each_fault_is_built_and_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosing, "EXPECTED", {"none": None, "leak": "leakage"})
    diagnosing.main(["--quick", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())["details"]
    assert found == {"none": [[]], "leak": [["leakage"]]}


def test_a_step_is_told_in_parts():
    seconds = dict(zip((steps.FORWARD, steps.GRADIENTS), (0.1, 0.4), strict=True))
    seconds |= {steps.FUSED: 0.5, steps.KERAS: 0.6, steps.AFTER: 0.9}
    found = {"forward_limit": 0.05, "update_limit": 0.05, "seconds": seconds}
    rows = {row.name: row for row in steps.judge(found | {"first": seconds})}
    assert rows["gradients, in addition"].value == pytest.approx(0.3)
    assert rows["fused update, in addition"].percent == pytest.approx(50)
    assert rows["a step of the fast engine"].percent == pytest.approx(40)
    most = rows["at most, with the arithmetic and its traffic alone"]
    assert most.value == pytest.approx(3.0)


def test_all_benchmarks_run_whichever_fail(monkeypatch, tmp_path, capsys):
    called = []

    def run(command):
        called.append(command[1:])
        return subprocess.CompletedProcess(command, "benchmarks.depths" in command)

    monkeypatch.setattr(everything.subprocess, "run", run)
    assert everything.main(["--quick", "--json", str(tmp_path)]) == 1
    assert len(called) == len(everything.PARTS)
    assert all(command[2] == "--quick" for command in called)
    assert len({command[-1] for command in called}) == len(called)  # a file each
    printed = re.findall(r"failed: (\w+)", capsys.readouterr().out)
    assert printed == ["depths", "depths"]
    assert everything.main(["startup", "loading"]) == 0
    with pytest.raises(SystemExit):
        everything.main(["nothing"])


def test_every_benchmark_is_among_all():
    folder = Path(everything.__file__).parent
    files = folder.glob("*.py")
    modules = {file.stem for file in files if "run = read_run(" in file.read_text()}
    assert modules == {name for name, _, _ in everything.PARTS} | {"limits"}
