"""One pass over the images for all cuts: which, how many images, to the same bits."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from engines import assert_same_weights, make_data

import kerastl
from kerastl.bases import get_base
from kerastl.bases.operations import Network
from kerastl.finetuning import entries, loop
from kerastl.finetuning.activations import build_prefix
from kerastl.finetuning.choices import MIXED
from kerastl.finetuning.compiling import freeze_layers
from kerastl.finetuning.costs import estimate_stages
from kerastl.finetuning.cuts import build_prefix_model, find_boundary
from kerastl.finetuning.passes import list_lasting, list_wanted, plan_pass
from kerastl.finetuning.programs import Program
from kerastl.finetuning.storing import ActivationStore, MemoryStore
from kerastl.models import layer_table
from kerastl.schedules import plan_freeze, resolve_schedule
from kerastl.stages import Stage

TINY = Network("tiny", (32, 32), 3)
GB = 10**9
HEAD, TOP = Stage(name="head"), Stage(name="top", unfreeze="block2")


# Which


def names(stages):
    return [stage.name for stage in stages]


@pytest.mark.parametrize(
    ("stages", "index", "wanted"),
    [
        ([HEAD, TOP], 0, ["top"]),
        ([HEAD, TOP], 1, []),
        ([TOP, HEAD], 0, []),  # its features change when the block is trained
        ([HEAD, Stage(name="all", unfreeze="all")], 0, []),  # nothing is frozen
        ([HEAD, Stage(name="again", epochs=3), TOP], 0, ["top"]),
        ([HEAD, Stage(name="data", unfreeze="block2", normalize="data")], 0, []),
        ([HEAD, Stage(name="data", normalize="data"), TOP], 0, ["top"]),
        # statistics of the block move in the second stage
        (
            [
                HEAD,
                Stage(name="moving", unfreeze=8, train_batchnorm=True),
                Stage(name="last", unfreeze=8),
            ],
            0,
            ["moving"],
        ),
    ],
)
def test_a_pass_gives_cuts_below_which_nothing_changes(stages, index, wanted):
    assert names(list_wanted(TINY, stages, index)) == wanted


def test_every_stage_of_gradual_unfreezing_is_known_at_the_first():
    base = get_base("vgg16")
    stages = resolve_schedule("gradual", base.blocks, {}, head_rate=base.head_rate).stages
    network = Network("vgg16", (64, 64), 10)
    assert list_lasting(network, stages) == stages
    worthwhile = [s for s in stages[1:] if plan_freeze(network.layers, s)["block2_conv1"]]
    assert len(list_wanted(network, stages, 0)) >= len(stages) - 1 - len(worthwhile)
    costs = estimate_stages(network, stages, (100, 20), 100 * GB)
    assert sum(cost.once for cost in costs) == 120 * costs[0].cut.below


def test_only_validation_images_are_known_to_a_stage_with_augmentation():
    flipped = Stage(name="flipped", unfreeze="block2", augment=("flip",))
    costs = estimate_stages(TINY, [HEAD, flipped], (100, 20), GB, shared=True)
    assert costs[1].known == {"validation"}
    assert costs[1].once == 0
    assert costs[1].view == 100 * costs[1].cut.below


def test_what_fits_together_is_what_is_wanted_first():
    stages = [HEAD, TOP, Stage(name="deep", unfreeze="block1")]
    sizes = [cost.choice.size for cost in estimate_stages(TINY, stages, (100, 20), GB)]
    budget = sizes[0] + sizes[1]
    assert budget < sizes[2]
    found = plan_pass(TINY, stages, 0, (100, 20), budget)
    assert [one.stage.name for one in found] == ["head", "top"]
    (own,) = plan_pass(TINY, stages, 0, (100, 20), budget - 1)
    assert own.stage.name == "head"


# To the same bits


def randomize(model):
    draw = np.random.default_rng(1)
    for weight in model.weights:
        if "moving_mean" in weight.path or "beta" in weight.path:
            weight.assign(draw.normal(0, 0.1, weight.shape))
        elif "gamma" in weight.path:
            weight.assign(draw.uniform(0.8, 1.2, weight.shape))


def compute(model, boundaries, dtype):
    spec = (tf.TensorSpec((None, 32, 32, 3), "float32"),)
    tensors = [tensor for boundary in boundaries for tensor in boundary]
    run = build_prefix(build_prefix_model(model, tensors), spec, dtype)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype("float32")
    outputs = iter(run(pixels))
    return [[next(outputs).numpy() for _ in boundary] for boundary in boundaries]


def list_depths(name, model):
    numbers = range(3, len(model.layers) - 4, max(1, len(model.layers) // 6))
    depths = [{"unfreeze": block} for block in get_base(name).blocks]
    both = (False, True)
    depths += [{"unfreeze": n, "train_batchnorm": b} for n in numbers for b in both]
    return [Stage(name=str(n), **depth) for n, depth in enumerate(depths)]


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        pytest.param("resnet50", marks=pytest.mark.slow),
        pytest.param("mobilenetv2", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", MIXED])
def test_together_they_are_what_they_are_alone(name, dtype):
    model = kerastl.build_model(name, num_classes=3, weights=None, image_size=32)
    randomize(model)
    network = Network(name, (32, 32), 3)
    stages = (HEAD, *list_wanted(network, [HEAD], 0, list_depths(name, model)))
    assert len(stages) > 4
    plans = [plan_freeze(layer_table(model), stage) for stage in stages]
    boundaries = [find_boundary(model, plan) for plan in plans]
    together = compute(model, boundaries, dtype)
    for boundary, found in zip(boundaries, together, strict=True):
        (alone,) = compute(model, [boundary], dtype)
        for one, other in zip(alone, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_boundary_that_would_change_another_s_roundings_has_a_pass_of_its_own():
    network = Network("resnet50", (32, 32), 3)
    model = kerastl.build_model("resnet50", num_classes=3, weights=None, image_size=32)
    inside = Stage(name="inside", unfreeze=89)  # its BatchNorm output is only added
    freeze_layers(model, layer_table(model), inside)
    found = [tensor._keras_history[0].name for tensor in find_boundary(model)]
    assert "conv4_block1_0_bn" in found
    block = Stage(name="block", unfreeze="conv4")
    assert names(list_wanted(network, [HEAD, inside, block], 0)) == ["block"]
    assert names(list_wanted(network, [inside, block], 0)) == ["block"]
    # it is itself the end of what is below the other
    assert names(list_wanted(network, [inside], 0, [HEAD])) == []


def test_by_the_plan_the_boundary_is_that_by_the_flags():
    model = kerastl.build_model("tiny", num_classes=3, weights=None)
    layers = layer_table(model)
    for stage in (HEAD, TOP, Stage(name="n", unfreeze=8, train_batchnorm=True)):
        planned = find_boundary(model, plan_freeze(layers, stage))
        freeze_layers(model, layers, stage)
        assert list(map(id, planned)) == list(map(id, find_boundary(model)))


# How many images


@pytest.fixture
def seen(monkeypatch):
    """How many images went through frozen layers, batch by batch."""
    counts, trace = [], Program.trace_prefixes

    def count_images(self, *arguments, **options):
        run = trace(self, *arguments, **options)
        return lambda images: counts.append(len(images)) or run(images)

    monkeypatch.setattr(Program, "trace_prefixes", count_images)
    return counts


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return entries.cache_folder("activations")


GRADUAL = {"schedule": "gradual", "epochs": 1}


def finetune(**settings):
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=32)
    options = {**GRADUAL, "verbose": 0, **settings}
    return kerastl.finetune(model, make_data(), **options)


def test_all_stages_see_each_image_once_and_train_to_the_same_bits(
    seen, kept, monkeypatch, tmp_path
):
    together = finetune()
    assert sum(seen) == 70
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "alone"))
    monkeypatch.setattr(loop, "list_wanted", lambda *_: ())
    seen.clear()
    alone = finetune()
    assert sum(seen) == 70 * sum(cost.choice.cached for cost in costs_of(alone))
    assert sum(seen) > 140
    assert_same_weights(together, alone)


def costs_of(run):
    return estimate_stages(TINY, run.schedule.stages, (49, 21), GB)


@pytest.mark.slow
def test_a_budget_for_some_of_them_takes_more_passes(seen, kept):
    sizes = [cost.choice.size for cost in costs_of(finetune(cache_budget=0))]
    assert seen == []
    run = finetune(cache_budget=sizes[1])  # the second alone
    expected = estimate_stages(TINY, run.schedule.stages, (49, 21), sizes[1])
    passes = [cost for cost in expected if cost.once]
    assert sum(seen) == 70 * len(passes) == 140


def test_without_a_disk_they_are_kept_in_memory(seen, kept, caplog):
    kept.parent.mkdir(parents=True)
    kept.write_text("in the way")
    finetune()
    assert sum(seen) == 70
    assert "kept in memory" in caplog.text


# The store


FORMS = {"a": [((3,), "float32")], "b": [((2,), "float64")]}


def fill(out):
    for arrays in out.values():
        arrays[0] += 1


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_what_was_computed_along_is_found(kind, tmp_path):
    store = ActivationStore(tmp_path) if kind == "disk" else MemoryStore()
    assert store.get_first(FORMS, fill)[0].tolist() == [1, 1, 1]
    assert store.get("b", FORMS["b"], None)[0].tolist() == [1, 1]


def test_what_cannot_be_kept_is_not_there(tmp_path):
    store = ActivationStore(tmp_path)

    def fill_some(out):
        fill(out)
        del out["b"]

    store.get_first(FORMS, fill_some)
    assert store.find("a", FORMS["a"])[0].tolist() == [1, 1, 1]
    assert store.find("b", FORMS["b"]) is None


def test_only_what_is_not_there_is_computed(tmp_path):
    ActivationStore(tmp_path).get("b", FORMS["b"], lambda out: out[0].fill(5))
    asked = []
    store = ActivationStore(tmp_path)
    store.get_first(FORMS, lambda out: asked.append(list(out)) or fill(out))
    assert asked == [["a"]]
    assert store.get("b", FORMS["b"], None)[0].tolist() == [5, 5]


def test_too_much_together_is_computed_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "LARGEST", 20)
    store = ActivationStore(tmp_path)
    store.get_first(FORMS, fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_two_that_want_the_same_in_another_order_wait_for_each_other(tmp_path):
    asked, barrier = [], threading.Barrier(2)

    def ask(order):
        barrier.wait(20)
        found = ActivationStore(tmp_path).get_first(
            {key: FORMS[key] for key in order},
            lambda out: asked.append(sorted(out)) or fill(out),
        )
        assert found[0].max() == 1

    threads = [threading.Thread(target=ask, args=(order,)) for order in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert asked == [["a", "b"]]
