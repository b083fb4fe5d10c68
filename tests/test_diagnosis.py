"""Runs built to have exactly one fault each: which verdicts hold, and which do not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_data_folds import opened  # noqa: F401

import kerastl
from benchmarks import diagnosing
from benchmarks.faults import EXPECTED, SIZES, build, draw, flip_labels, leak, train
from kerastl.diagnosis import Diagnosis, Facts, Images, Verdict, judge
from kerastl.diagnosis.facts import make_folds
from kerastl.diagnosis.fitting import judge_over
from kerastl.diagnosis.likeness import judge_leakage, judge_shift
from kerastl.diagnosis.limits import LIMITS
from kerastl.diagnosis.noise import find_wrong
from kerastl.diagnosis.rates import judge_rate
from kerastl.diagnosis.records import (
    CAUSES,
    LEAKAGE,
    NO,
    NOISE,
    OVER,
    RATE,
    SHIFT,
    UNDER,
    YES,
)
from kerastl.errors import DataError, UsageError
from kerastl.evaluation.intervals import measure_difference
from kerastl.stages import Stage

seeds = pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))]
)


@pytest.fixture(scope="module")
def healthy():
    run = build("none", 0)
    run.diagnose()
    return run


@seeds
@pytest.mark.parametrize("fault", EXPECTED)
def test_each_fault_is_found_and_no_other(fault, seed):
    """A row of the matrix faults x verdicts."""
    found = build(fault, seed).diagnose()
    expected = EXPECTED[fault]
    assert diagnosing.list_held(found) == ([expected] if expected else []), str(found)
    assert (found.main and found.main.name) == expected
    assert [verdict.name for verdict in found.verdicts] == list(CAUSES)
    assert all(bool(v.next) == (v.holds == YES) for v in found.verdicts)
    if "batch" in fault:
        assert "batch_size=32" in found[RATE].next


@seeds
def test_the_listed_labels_are_mostly_the_flipped_ones(seed):
    """A fifth of 360 flipped: measured precision 0.85 to 0.95, recall 0.73 to 0.79."""
    data, flipped = flip_labels(draw(SIZES, seed), seed)
    run = train(data, seed, epochs=5, learning_rate=0.01)
    named = [suspect.name for suspect in run.diagnose()[NOISE].suspects]
    hits = len(flipped & set(named))
    assert len(set(named)) == len(named)
    assert hits / len(named) > 0.75
    assert hits / len(flipped) > 0.6
    assert len(flipped & set(named[:20])) >= 18  # the surest come first


def test_the_listed_copies_are_those_that_were_taken_from_train():
    data, partners = leak(draw(SIZES, 0), 0)
    run = train(data, 0, epochs=2, learning_rate=0.01)
    listed = {s.name: s.reason for s in run.diagnose()[LEAKAGE].suspects}
    right = [
        name for name, train in partners.items() if listed.get(name, "").endswith(train)
    ]
    assert len(right) >= 0.9 * len(partners)
    assert len(listed) <= 1.1 * len(partners)


def test_exact_copies_and_shared_groups_are_leaks_too():
    facts = make_facts(0)
    groups = np.arange(60)
    groups[:20] = facts.train.groups[:20]
    assert judge_leakage(facts).holds == NO
    validation = replace(facts.validation, groups=groups + 1000 * (np.arange(60) >= 20))
    found = judge_leakage(replace(facts, validation=validation))
    assert found.holds == YES
    assert found.measures["known"].value >= 20 / 60


def test_the_test_split_is_never_read(image_folder, opened, monkeypatch):  # noqa: F811
    tree = image_folder({"cat": 30, "dog": 30}, side=32)
    for path in sorted(tree.rglob("*.png")):
        path.rename(path.with_name(f"{path.parent.name}-{path.name}"))
    data = kerastl.load_images(tree)
    model = kerastl.build_model("tiny", num_classes=2)
    run = kerastl.finetune(model, data, schedule="feature-extraction", epochs=1, verbose=0)
    opened.clear()
    monkeypatch.setattr(type(run), "evaluate", lambda self: pytest.fail("test is scored"))
    run.diagnose()
    names = {
        split: {n.rpartition("/")[2] for n in s.names} for split, s in data.splits.items()
    }
    assert names["train"] & opened  # the spy sees what is read
    assert names["test"] & opened == set()
    assert "test" not in run.scores


def test_the_benchmark_counts_what_was_named_and_what_was_not():
    named = {"none": [[], [SHIFT]], "leak": [[LEAKAGE], [LEAKAGE, OVER]], "over": [[], []]}
    rows = {row.name: row for row in diagnosing.judge(named, has_targets=True)}
    assert rows["none: another cause named"].value == 0.5
    assert rows["leak: leakage named"].value == 1
    assert rows["leak: another cause named"].value == 0.5
    assert rows["all faults: named"].misses() == "all faults: named: 0.5, not >= 0.8"
    assert rows["all runs: another cause named"].misses().endswith("0.3333, not <= 0.2")


# What it looks like


def test_a_newcomer_reads_the_main_finding_first():
    first = Verdict(LEAKAGE, NO, "0 of 40 images have a copy.")
    second = Verdict(OVER, YES, "The loss rose by 0.4.", "kerastl finetune --dropout 0.5")
    found = Diagnosis((first, second), ("No test image was looked at.",))
    lines = str(found).splitlines()
    assert lines[0] == f"Look at this first: over-fitting. {CAUSES[OVER]}"
    assert lines[2].startswith("over-fitting: yes.")
    assert lines[3] == "  next: kerastl finetune --dropout 0.5"
    assert lines[4].startswith("leakage: no.")
    assert "<td>over-fitting</td><td>yes</td>" in found._repr_html_()
    with pytest.raises(UsageError, match="'overfitting'"):
        found["overfitting"]


def test_it_survives_json(healthy):
    found = healthy.diagnosis
    assert found.main is None
    assert str(found).startswith("Nothing wrong was found")
    again = Diagnosis.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again == found
    with pytest.raises(DataError, match="diagnose the run again"):
        Diagnosis.from_dict({"verdicts": [{"name": "bad luck"}]})


@pytest.mark.slow
def test_it_is_written_to_the_folder_and_the_report(healthy, tmp_path):
    healthy.save(tmp_path / "run")
    loaded = kerastl.load_run(tmp_path / "run", healthy.data)
    assert loaded.diagnosis == healthy.diagnosis
    assert "<h2>Diagnosis</h2>" in (tmp_path / "run/report.html").read_text()
    (tmp_path / "run/diagnosis.json").unlink()
    loaded.diagnose()
    stored = json.loads((tmp_path / "run/diagnosis.json").read_text())
    assert stored["verdicts"][0]["evidence"] == healthy.diagnosis[LEAKAGE].evidence


def test_the_next_command_can_be_pasted(healthy):
    from kerastl.finetuning.diagnosing import make_writer

    changed = make_writer(healthy)({"learning_rate": 0.001, "dropout": 0.5})
    names = {"kerastl": kerastl, "run": healthy}
    exec(changed.replace("learning_rate=0.001", "learning_rate=0.001, epochs=1"), names)
    assert names["run"].schedule.stages[0].learning_rate == 0.001
    assert names["run"].model.kerastl.dropout == 0.5


def test_the_command_line(tmp_path, capsys):
    from kerastl.__main__ import main
    from kerastl.cli.program import build_parser

    folder = tmp_path / "run"
    line = "finetune --data digits --base tiny --schedule feature-extraction --epochs 1 "
    line += "--learning-rate 1e-5 --quiet --out"
    assert main([*line.split(), str(folder)]) == 0
    capsys.readouterr()
    assert main(["diagnose", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["main"] == UNDER
    (verdict,) = [v for v in found["verdicts"] if v["name"] == UNDER]
    program, *arguments = verdict["next"].split()
    assert (program, arguments[0], arguments[-2:]) == (
        "kerastl",
        "finetune",
        ["--epochs", "3"],
    )
    build_parser().parse_args(arguments)
    assert main([*arguments, "--dry-run"]) == 0
    assert "for 3 epochs" in capsys.readouterr().out
    assert main(["diagnose", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("lacking", ["validation", "single labels"])
def test_what_cannot_be_diagnosed_is_refused(healthy, lacking):
    data = healthy.data
    change = {"validation": None} if lacking == "validation" else {"multi_label": True}
    run = kerastl.Run(
        model=healthy.model,
        data=replace(data, **change),
        schedule=healthy.schedule,
        settings=healthy.settings,
    )
    with pytest.raises(UsageError, match=r"validation=0\.2|multi_label=True"):
        run.diagnose()


# Verdicts by themselves


def make_facts(seed, *, shift=0.0, losses=(2.0, 1.0, 0.5, 0.3, 0.2), classes=3):
    """Clouds of features, one per class; no model, no image."""
    generator = np.random.default_rng(seed)

    def draw(count, start, moved):
        labels = np.arange(count) % classes
        features = (
            generator.normal(size=(count, 5)) + 4 * np.eye(classes, 5)[labels] + moved
        )
        given = np.eye(classes)[labels] * 0.9 + 0.1 / classes
        names = [f"{start}-{n}" for n in range(count)]
        return Images(names, labels, features, given, np.arange(count) + start)

    rows = [
        {"stage_index": 0, "epoch": n, "loss": loss, "accuracy": 0.3, "val_loss": loss,
         "val_accuracy": 0.3}
        for n, loss in enumerate(losses, 1)
    ]  # fmt: skip
    return Facts(
        draw(180, 0, 0.0),
        draw(60, 180, shift),
        [f"class {n}" for n in range(classes)],
        rows,
        (Stage(name="head", epochs=len(losses)),),
        ["kept"],
        lambda changes: f"again {sorted(changes)}",
        "check",
        "review",
        seed=seed,
    )


def test_clean_splits_raise_no_alarm():
    """Of 12 clean draws at most one says that the splits differ or leak."""
    found = [make_facts(seed) for seed in range(12)]
    alarms = [judge_shift(f).holds == YES or judge_leakage(f).holds == YES for f in found]
    assert sum(alarms) <= 1


def test_few_training_images_are_no_leak_of_many_others():
    """Of 40 draws at most two: 1 % of so few distances is less than the least of them."""
    alarms = 0
    for seed in range(40):
        facts = make_facts(seed)
        few = replace(facts, train=facts.validation, validation=facts.train)
        alarms += judge_leakage(few).holds == YES
    assert alarms <= 2


def test_a_moved_cloud_is_told_apart():
    found = judge_shift(make_facts(0, shift=2.0))
    assert found.holds == YES
    assert found.measures["told apart"].low > 0.6
    assert all(suspect.name.startswith("180-") for suspect in found.suspects)


@pytest.mark.parametrize(
    ("used", "again"),
    [
        ((), ["crop"]),
        (("flip",), ["flip", "crop"]),
        (("flip", "crop"), ["flip", "crop", "randaugment"]),
        (("crop", "randaugment", "erasing"), ["crop", "randaugment", "erasing"]),
    ],
)
def test_what_to_try_next_keeps_the_augmentation_there_was(used, again):
    stages = (Stage(name="head"), Stage(name="tail", augment=used))
    facts = replace(make_facts(0), stages=stages, write=lambda changes: str(changes))
    rows = [{**row, "accuracy": 0.9, "loss": 1 / row["epoch"]} for row in facts.rows]
    losses = [row | {"val_loss": 9.0 * (row["epoch"] > 2)} for row in rows]
    found = judge_over(replace(facts, rows=losses))
    assert found.holds == YES
    assert f"'augment': {again}" in found.next


@pytest.mark.parametrize(
    ("losses", "holds", "said"),
    [
        ((2.0, 1.0, 0.5, 0.3, 0.2, 0.15), NO, "went from 2.000"),
        ((1.5, 9.0, 3.0, 12.0, 2.0, 15.0), YES, "too high"),
        ((1.2, 1.3, float("nan")), YES, "no finite number"),
        ((1.10, 1.099, 1.098, 1.097, 1.096, 1.095), YES, "too low"),
        ((1.1, 0.9), "cannot tell", "too few"),
    ],
)
def test_the_pace_of_the_loss_tells_the_rate(losses, holds, said):
    found = judge_rate(make_facts(0, losses=losses))
    assert (found.holds, said in found.evidence) == (holds, True), found.evidence


def test_what_a_cause_explains_is_not_said_to_hold():
    facts = make_facts(0, losses=(1.10, 1.099, 1.098, 1.097, 1.096, 1.095))
    nothing = replace(facts.train, probabilities=np.full((180, 3), 1 / 3))
    found = judge(replace(facts, train=nothing))
    assert found.main.name == RATE
    assert found[UNDER].holds == "cannot tell"
    assert "mend that first" in found[UNDER].evidence


def test_confident_learning_lists_what_is_contradicted():
    """By hand: thresholds are 0.6 and 0.625; the last is surer of 0 than those of 0."""
    found = np.array(
        [[0.7, 0.3], [0.5, 0.5], [0.1, 0.9], [0.0, 1.0], [0.5, 0.5], [0.9, 0.1]]
    )
    labels = np.array([0, 0, 1, 1, 1, 1])
    assert find_wrong(np.arange(2), found, labels).tolist() == [5]


def test_folds_keep_groups_whole():
    labels, groups = np.arange(60) % 2, np.arange(60) // 4
    for rows, judged in make_folds(labels, groups, 0):
        assert set(groups[rows]) & set(groups[judged]) == set()
    assert make_folds(labels, np.zeros(60, int), 0) is None


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0),
    ],
)
def test_the_difference_of_shares_is_newcombes(counts, low, high):
    found = measure_difference(*counts)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_every_limit_has_its_reason():
    assert all(len(limit.reason) > 20 for limit in LIMITS.values())
