"""A worker's later trials reuse what earlier ones built, and come to the same results."""

import gc
import tracemalloc

import keras
import numpy as np
import pytest
from engines import make_data

import kerastl
from kerastl.bases.operations import Network
from kerastl.finetuning import activations, loop, programs
from kerastl.finetuning.passes import list_wanted
from kerastl.finetuning.programs import Program
from kerastl.finetuning.storing import ActivationStore
from kerastl.options import Options, to_toml
from kerastl.search import trials, workshop
from kerastl.search.candidates import apply_parameters
from kerastl.search.cuts import read_cuts, write_cuts
from kerastl.search.driver import count_shared, list_candidates
from kerastl.search.jobs import SearchJob, plan_search
from kerastl.search.settings import SearchSettings
from kerastl.search.trials import run_trial
from kerastl.spaces import Space
from kerastl.stages import Stage

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
    for name in ("graph", "trace_prefixes"):
        spy(Program, name, lambda graph: built["graphs"].setdefault(id(graph), graph))
    return built


def count_traces(built) -> list[int]:
    return [graph.experimental_get_tracing_count() for graph in built["graphs"].values()]


def run(arrays, *, seed=0, shared=0, cuts=(), **params):
    schedule = {"schedule": "feature-extraction", "epochs": 2}
    options = apply_parameters(Options(**FIXED, **schedule), params)
    message = {
        "options": to_toml(options), "size": "32x32", "class_names": list("abc"),
        "multi_label": False, "statistics": None, "pause_at": None, "shared_stages": shared,
        "companions": [],
        "cuts": list(cuts),
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
        *(pytest.param(params, marks=pytest.mark.slow) for params in ALIKE[:2]),
        *ALIKE[2:],
        {"optimizer": "adamw", "weight_decay": 0.5},
        {"optimizer": "sgd", "momentum": 0.5, "schedule": "hybrid"},
        {"dropout": 0.5},
        pytest.param({"normalize": "data"}, marks=pytest.mark.slow),
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


def test_augmented_images_go_through_the_base_once_for_all_trials(
    arrays, count, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = {"schedule": "fine-tune", "augment": ["flip", "crop"], "epochs": 2}
    rates = (0.01, 0.003)
    alone = []
    for rate in rates:
        monkeypatch.setattr(trials, "_workshop", workshop.Workshop())
        alone.append(run(arrays, learning_rate=rate, **settings))
    entries = {path.name for path in (tmp_path / "kerastl/activations").iterdir()}
    assert len(entries) == 2 * (2 + 1)  # of two cuts: two epochs, and validation images
    monkeypatch.setattr(activations, "compute_arrays", lambda *_: pytest.fail("again"))
    monkeypatch.setattr(ActivationStore, "_make", lambda *_: pytest.fail("again"))
    assert [strip(run(arrays, learning_rate=rate, **settings)) for rate in rates] == [
        strip(fit) for fit in alone
    ]


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
    (program,) = kept["programs"]._kept.values()
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


# Stages that trials have in common


@pytest.fixture
def trained(monkeypatch):
    """The names of the stages that are really trained."""
    names, original = [], loop._StageRun.run

    def run_stage(self):
        names.append(self.stage.name)
        original(self)

    monkeypatch.setattr(loop._StageRun, "run", run_stage)
    return names


@pytest.fixture
def states(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kerastl/stages"


TWO = {"schedule": "fine-tune", "epochs": 2, "dropout": 0.3}


def test_a_common_stage_is_trained_once(arrays, trained, states):
    rates = [{"block2__learning_rate": rate} for rate in (0.01, 0.001)]
    alone = [run(arrays, **TWO, **rate) for rate in rates]
    assert not states.exists()
    assert trained == ["head", "block2"] * 2
    trained.clear()
    monkey = [run(arrays, shared=1, **TWO, **rate) for rate in rates]
    assert trained == ["head", "block2", "block2"]
    assert [strip(fit) for fit in monkey] == [strip(fit) for fit in alone]
    assert alone[0]["weights"] != alone[1]["weights"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"hidden": [9]},
        {"head__learning_rate": 0.02},
        {"head__epochs": 3},
        {"normalize": "data"},
    ],
)
def test_what_a_stage_depends_on_makes_another(arrays, trained, states, change):
    run(arrays, shared=1, **TWO)
    trained.clear()
    run(arrays, shared=1, **{**TWO, **change})
    assert trained == ["head", "block2"]


@pytest.mark.parametrize("name", ["state.npz", "index.json"])
def test_a_damaged_end_of_a_stage_is_trained_again(arrays, trained, states, name, caplog):
    first = run(arrays, shared=1, **TWO)
    (entry,) = states.iterdir()
    content = (entry / name).read_bytes()
    (entry / name).write_bytes(content[: len(content) // 2])
    trained.clear()
    assert strip(run(arrays, shared=1, **TWO)) == strip(first)
    assert trained == ["head", "block2"]
    assert "is damaged and made again" in caplog.text


def test_normalization_and_a_stage_rolled_back_are_gone_on_from(arrays, trained, states):
    settings = {
        "schedule": "fine-tune", "epochs": 1, "normalize": "data",
        "block2__learning_rate": 50.0, "optimizer": "sgd",
    }  # fmt: skip
    alone = run(arrays, **settings)
    assert "rolled back" in alone["stages"][1]["outcome"]
    kept = [run(arrays, shared=2, **settings) for _ in range(2)]
    assert [strip(fit) for fit in kept] == [strip(alone)] * 2
    assert trained == ["head", "block2"] * 2


def test_a_folder_that_cannot_be_written_is_no_end(arrays, states, caplog):
    states.parent.mkdir(parents=True)
    states.write_text("in the way")
    alone = run(arrays, **TWO)
    assert strip(run(arrays, shared=1, **TWO)) == strip(alone)
    assert "cannot be kept" in caplog.text


@pytest.mark.parametrize(
    ("space", "shared"),
    [
        ({"block2__learning_rate": [0.1, 0.01], "hidden": [[], [8]]}, [1, 1, 1, 1]),
        ({"head__learning_rate": [0.1, 0.01]}, [0, 0]),
        ({"batch_size": [16, 32]}, [0, 0]),  # of both stages
        ({"block2__epochs": [1, 2], "head__epochs": [1, 2]}, [1, 1, 1, 1]),
    ],
)
def test_the_plan_knows_what_its_candidates_share(space, shared):
    options = Options(base="tiny", schedule="fine-tune", data="digits")
    job = SearchJob(
        options=options, space=Space(space), settings=SearchSettings(mode="grid")
    )
    plan = plan_search(job, kerastl.load_images("digits"))
    assert list(count_shared(plan).values()) == shared


# Cuts that other trials want


DEPTHS = [{"unfreeze": depth} for depth in ("head", "block2", 13)]


def test_one_trial_runs_the_images_for_the_cuts_of_all(arrays, monkeypatch, tmp_path):
    options = [apply_parameters(Options(**FIXED), depth) for depth in DEPTHS]
    cuts = write_cuts(dict(enumerate(options)), make_data())[0]
    assert [cut["unfreeze"] for cut in cuts] == [4, "head", "block2", 13]
    alone = []
    for depth in DEPTHS:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(len(alone))))
        monkeypatch.setattr(trials, "_workshop", workshop.Workshop())
        alone.append(run(arrays, **depth))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "together"))
    cuts = cuts[1:]
    together = [run(arrays, cuts=cuts, **DEPTHS[1])]
    monkeypatch.setattr(ActivationStore, "_make", lambda *_: pytest.fail("again"))
    together += [run(arrays, cuts=cuts, **depth) for depth in (DEPTHS[0], DEPTHS[2])]
    for one, other in zip(together, (alone[1], alone[0], alone[2]), strict=True):
        assert strip(one) == strip(other)


def test_the_driver_tells_trials_the_cuts_of_those_with_their_model():
    options = Options(base="tiny", schedule="feature-extraction", data="digits")
    space = {"unfreeze": ["head", "block2"], "pooling": ["average", "max"]}
    space |= {"learning_rate": [0.1, 0.01]}
    job = SearchJob(
        options=options, space=Space(space), settings=SearchSettings(mode="grid")
    )
    data = kerastl.load_images("digits")
    cuts = write_cuts(list_candidates(plan_search(job, data)), data)
    assert sorted(cuts) == list(range(1, 9))
    assert {str([cut["unfreeze"] for cut in found]) for found in cuts.values()} == {
        "['head', 'block2']"
    }
    assert [stage.unfreeze for stage in read_cuts(cuts[1])] == ["head", "block2"]


def test_a_cut_above_layers_that_were_trained_is_left_out():
    stages = [Stage(name="all", unfreeze="all"), Stage(name="head")]
    network = Network("tiny", (32, 32), 3)
    others = [Stage(name="cut", unfreeze="block2")]
    assert list_wanted(network, stages, 0, others) == tuple(others)
    assert list_wanted(network, stages, 1, others) == ()
