"""Heads of several trials that train beside each other, to the weights they get alone."""

import json

import numpy as np
import pytest
from test_search_workshop import FIXED, strip

from kerastl.finetuning import cohorts
from kerastl.finetuning.programs import Program
from kerastl.options import Options, to_toml
from kerastl.search import trials
from kerastl.search.candidates import apply_parameters
from kerastl.search.companions import MOST, group_companions, read_companions
from kerastl.search.trials import run_trial
from kerastl.search.workshop import Workshop

RATES = [
    {"learning_rate": 0.01},
    {"learning_rate": 0.1, "lr_schedule": "cosine", "warmup_epochs": 1},
    {"learning_rate": 0.03, "patience": 1},
    {"learning_rate": 1e6},  # far too high
    {"learning_rate": 0.003, "lr_schedule": "step", "step_epochs": 1},
]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    found = {}
    for name, count in (("train", 41), ("validation", 17)):
        labels = (np.arange(count) % 3).astype("int32")
        pixels = rng.normal(80 + 40 * labels[:, None, None, None], 30, (count, 32, 32, 3))
        found[f"{name}-32x32"] = pixels.clip(0, 255).astype("uint8")
        found[f"{name}-labels"] = labels
    return found


def describe(**params) -> Options:
    return apply_parameters(
        Options(**FIXED, schedule="feature-extraction", epochs=3, batch_size=8), params
    )


def run_all(monkeypatch, arrays, points, *, together: bool, fits=1) -> list:
    """Run trials one after the other in a new worker; a failed one gives its reason."""
    monkeypatch.setattr(trials, "_workshop", Workshop())
    candidates = {number: describe(**point) for number, point in enumerate(points)}
    companions = group_companions(candidates) if together else {}
    return [
        run_one(arrays, options, companions.get(number, ()), fits)
        for number, options in candidates.items()
    ]


def run_one(arrays, options, companions, fits=1):
    message = {
        "options": to_toml(options), "size": "32x32", "class_names": list("abc"),
        "multi_label": False, "statistics": None, "pause_at": None, "shared_stages": 0,
        "cuts": [],
        "companions": json.loads(json.dumps(list(companions))),
        "fits": [{"seed": seed, "progress": None} for seed in range(fits)],
    }  # fmt: skip
    try:
        return strip(run_trial(message, arrays)[0])
    except Exception as error:
        return repr(error)


@pytest.fixture
def graphs(monkeypatch):
    found = {}
    real = Program.common_graph

    def keep(self, build, *arguments):
        graph = real(self, build, *arguments)
        found[id(graph)] = graph
        return graph

    monkeypatch.setattr(Program, "common_graph", keep)
    return found


@pytest.mark.parametrize(
    "fixed",
    [
        {"hidden": []},
        {"hidden": [8], "dropout": 0.5, "class_weight": "balanced"},
        {"optimizer": "adamw", "weight_decay": 0.01, "label_smoothing": 0.1},
    ],
    ids=["linear", "dropout and weights", "decay and smoothing"],
)
def test_a_head_gets_the_weights_it_gets_alone(monkeypatch, arrays, graphs, fixed):
    points = [{**rate, **fixed} for rate in RATES]
    alone = run_all(monkeypatch, arrays, points, together=False)
    assert graphs == {}
    together = run_all(monkeypatch, arrays, points, together=True)
    assert together == alone  # scores, histories, stages and digests of all weights
    assert len({str(fits) for fits in together}) == len(RATES)
    assert [g.experimental_get_tracing_count() for g in graphs.values()] == [1, 1]


def test_each_head_trains_once(monkeypatch, arrays):
    trained = []
    real = cohorts._train_together

    def count(task, program, batches, validation, stages):
        trained.append(len(stages))
        return real(task, program, batches, validation, stages)

    monkeypatch.setattr(cohorts, "_train_together", count)
    points = [{"learning_rate": 0.01 * n} for n in range(1, 11)]
    run_all(monkeypatch, arrays, points, together=True, fits=2)
    assert trained == [5, 5] * 2  # ten trials in two groups, for each of two seeds


def test_other_images_are_other_heads(monkeypatch, arrays):
    points = {n: describe(learning_rate=0.01 * n) for n in (1, 2)}
    companions = group_companions(points)
    monkeypatch.setattr(trials, "_workshop", Workshop())
    run_one(arrays, points[1], companions[1])
    others = {**arrays, "train-32x32": 255 - arrays["train-32x32"]}
    found = run_one(others, points[2], companions[2])
    monkeypatch.setattr(trials, "_workshop", Workshop())
    assert found == run_one(others, points[2], ())


@pytest.mark.parametrize("name", ["LARGEST", "ROOM"])
def test_large_heads_train_alone(monkeypatch, arrays, graphs, name):
    monkeypatch.setattr(cohorts, name, 100)
    run_all(monkeypatch, arrays, RATES[:2], together=True)
    assert graphs == {}


@pytest.mark.parametrize("params", [{"augment": ["flip"]}, {"schedule": "full"}])
def test_what_is_no_head_on_the_same_images_trains_alone(
    monkeypatch, arrays, graphs, params
):
    points = [{"learning_rate": rate, **params, "epochs": 1} for rate in (0.001, 0.002)]
    run_all(monkeypatch, arrays, points, together=True)
    assert graphs == {}


# Who trains beside whom


def test_trials_that_differ_in_more_than_rates_are_in_other_groups():
    points = [
        {"learning_rate": 0.1},
        {"learning_rate": 0.1, "batch_size": 16},
        {"learning_rate": 0.2},
        {"learning_rate": 0.2, "hidden": [4]},
        {"learning_rate": 0.2, "epochs": 2},
        {"learning_rate": 0.2, "weight_decay": 0.1},  # Adam without decay has no such step
        {"learning_rate": 0.3, "weight_decay": 0.2},
    ]
    found = group_companions({n: describe(**p) for n, p in enumerate(points)})
    rates = {n: [s["learning_rate"] for s in stages] for n, stages in found.items()}
    assert rates == {0: [0.2], 1: [], 2: [0.1], 3: [], 4: [], 5: [0.3], 6: [0.2]}
    assert read_companions(found[0])[0].learning_rate == 0.2


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, {1}), (MOST, {MOST}), (9, {4, 5}), (50, {7, 8})]
)
def test_groups_are_of_nearly_equal_size(count, sizes):
    points = {n: describe(learning_rate=n) for n in range(1, count + 1)}
    found = group_companions(points)
    assert {len(others) + 1 for others in found.values()} == sizes
