"""A worker's later trials reuse what earlier ones built, and come to the same results."""

import gc
import tracemalloc

import keras
import numpy as np
import pytest
from engines import make_data

from kerastl.finetuning import programs
from kerastl.finetuning.programs import Program
from kerastl.options import Options, to_toml
from kerastl.search import trials, workshop
from kerastl.search.candidates import apply_parameters
from kerastl.search.trials import run_trial

FIXED = {"base": "tiny", "weights": None, "image_size": (32, 32), "hidden": (8,)}


@pytest.fixture(scope="module")
def arrays():
    data = make_data()
    found = {}
    for name, split in data.splits.items():
        found[f"{name}-32x32"] = split.pixels(32)
        found[f"{name}-labels"] = split.labels
    return found


@pytest.fixture(autouse=True)
def new_workshop(monkeypatch):
    monkeypatch.setattr(trials, "_workshop", workshop.Workshop())


@pytest.fixture
def count(monkeypatch):
    """What was built: models, programs, and graphs with their traces."""
    built = {"models": 0, "programs": 0, "graphs": {}}

    def spy(place, name, note):
        original = getattr(place, name)

        def call(*arguments, **options):
            result = original(*arguments, **options)
            note(result)
            return result

        monkeypatch.setattr(place, name, call)

    def add(kind):
        built[kind] += 1

    spy(workshop, "build_model", lambda _: add("models"))
    spy(programs, "compile_stage", lambda _: add("programs"))
    spy(Program, "graph", lambda graph: built["graphs"].setdefault(id(graph), graph))
    return built


def count_traces(built) -> list[int]:
    return [graph.experimental_get_tracing_count() for graph in built["graphs"].values()]


def run(arrays, *, seed=0, **params):
    schedule = {"schedule": "feature-extraction", "epochs": 2}
    options = apply_parameters(Options(**FIXED, **schedule), params)
    message = {
        "options": to_toml(options), "size": "32x32", "class_names": list("abc"),
        "multi_label": False, "statistics": None, "pause_at": None,
        "fits": [{"seed": seed, "progress": None}],
    }  # fmt: skip
    reply, _ = run_trial(message, arrays)
    (fit,) = reply["fits"]
    return fit


def strip(value):
    """Leave times out, at any depth."""
    if isinstance(value, dict):
        return {k: strip(v) for k, v in value.items() if k != "seconds"}
    return [strip(v) for v in value] if isinstance(value, list) else value


ALIKE = [
    {"learning_rate": 0.01},
    {"learning_rate": 0.003, "batch_size": 16},
    {"learning_rate": 0.03, "epochs": 3, "lr_schedule": "cosine", "patience": 1},
    {"batch_size": 7, "seed": 5},
]


def test_trials_that_differ_in_numbers_alone_share_model_and_graphs(arrays, count):
    for params in ALIKE:
        run(arrays, **params)
    assert count["models"] == 2  # one more for the weights of the other seed
    assert count["programs"] == 1
    assert len(count["graphs"]) == 3  # prefix, training, evaluation
    assert max(count_traces(count)) == 1


def test_the_strength_of_the_decay_is_no_part_of_a_graph(arrays, count):
    fits = [
        run(arrays, optimizer="adamw", weight_decay=decay, learning_rate=0.01)
        for decay in (0.01, 0.5)
    ]
    assert count["programs"] == 1
    assert max(count_traces(count)) == 1
    assert fits[0]["weights"] != fits[1]["weights"]


@pytest.mark.parametrize(
    "other",
    [
        {"optimizer": "sgd"},
        {"unfreeze": 12},
        {"label_smoothing": 0.1},
        {"normalize": "data"},
        {"weight_decay": 0.01},
    ],
)
def test_what_is_written_into_a_graph_makes_another(arrays, count, other):
    run(arrays)
    run(arrays, **other)
    run(arrays)
    run(arrays, **other)
    assert (count["models"], count["programs"]) == (1, 2)
    assert max(count_traces(count)) == 1


@pytest.mark.parametrize(
    "params",
    [
        *ALIKE,
        {"optimizer": "adamw", "weight_decay": 0.5},
        {"optimizer": "sgd", "momentum": 0.5, "schedule": "hybrid"},
        {"dropout": 0.5},
        {"normalize": "data"},
        {"augment": ["flip"], "schedule": "full", "epochs": 1},
        {"class_weight": "balanced", "schedule": "fine-tune", "train_batchnorm": True},
    ],
)
def test_a_trial_does_not_depend_on_those_before_it(monkeypatch, arrays, params):
    alone = run(arrays, **params)
    monkeypatch.setattr(trials, "_workshop", workshop.Workshop())
    for before in ({"normalize": "data", "epochs": 1}, ALIKE[3], {"schedule": "full"}):
        run(arrays, **before)
    assert strip(run(arrays, **params)) == strip(alone)
    assert strip(run(arrays, **params)) == strip(alone)


def test_two_models_are_kept_and_the_oldest_goes(arrays, count):
    for hidden in ([4], [5], [4], [6], [5]):
        run(arrays, hidden=hidden, epochs=1)
    assert count["models"] == 4  # 5 went when 6 came


def test_graphs_of_other_layers_are_not_run(arrays):
    model, kept = trials._workshop.take_model(
        Options(**FIXED),
        {"class_names": list("abc"), "multi_label": False},
        (32, 32),
        seed=0,
        resuming=False,
    )
    run(arrays)
    (program,) = kept._kept.values()
    model.get_layer("block1_1_conv").trainable = True
    with pytest.raises(RuntimeError, match="traced for other layers"):
        program.restart(None)


def test_memory_does_not_grow_with_trials(arrays):
    for _ in range(3):
        run(arrays, learning_rate=0.01)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for rate in np.linspace(0.001, 0.01, 10):
        run(arrays, learning_rate=float(rate))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 10 < 100_000  # bytes of Python objects per trial


def test_keras_own_graphs_are_back_after_a_trial(arrays):
    run(arrays)
    (kept,) = trials._workshop._kept.values()
    for program in kept.programs._kept.values():
        assert program.model.train_function is None
    assert isinstance(kept.model, keras.Model)
