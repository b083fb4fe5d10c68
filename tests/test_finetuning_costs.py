"""The list of operations and what is counted on it, against the models themselves."""

import keras
import pytest

from kerastl.bases import BASES
from kerastl.bases.layers import list_layers
from kerastl.bases.operations import Network
from kerastl.finetuning import fast
from kerastl.finetuning.choices import choose_caching, find_cut, plan_cut
from kerastl.finetuning.compiling import freeze_layers
from kerastl.finetuning.costs import estimate_stages
from kerastl.finetuning.cuts import (
    _walk,
    changes,
    count_values,
    find_boundary,
    is_worth_keeping,
)
from kerastl.finetuning.describing import describe_choice, describe_cost
from kerastl.finetuning.planning import plan_job
from kerastl.finetuning.programs import Programs
from kerastl.finetuning.tasks import StageTask
from kerastl.models import build_model, layer_table
from kerastl.options import Options
from kerastl.stages import Stage
from tests.make_layers import count_kernel

SOME = ("tiny", "vgg16", "resnet50", "mobilenetv2")
OTHER = 96  # pixels, where none is known to be exact
ALMOST = 0.15
GB = 10**9


def list_stages(name):
    block = BASES[name].blocks[-2]
    last = min(15, len(list_layers(name)))
    return [
        Stage(name=str(unfreeze), unfreeze=unfreeze, train_batchnorm=trains)
        for unfreeze, trains in [
            ("head", False), (4, False), (last, False), (last, True), (block, False),
            ("all", False), ("all", True),
        ]
    ]  # fmt: skip


def count_flops(operation, output):
    positions = 1
    for side in output.shape[1:-1]:
        positions *= side
    return 2 * count_kernel(operation) * positions


def measure(model, stage):
    """Return what `Cut` says, of Keras' graph and by the rules of `cuts`."""
    freeze_layers(model, layer_table(model), stage)
    fixed, follows = {id(model.inputs[0])}, set()
    below = above = backward = 0
    for operation, inputs, outputs in _walk(model):
        flops = count_flops(operation, outputs[0])
        weights = getattr(operation, "weights", ())
        trains = bool(weights) and operation.trainable
        after = any(id(tensor) in follows for tensor in inputs)
        if not changes(operation) and all(id(tensor) in fixed for tensor in inputs):
            fixed.add(id(outputs[0]))
            below += flops
        else:
            above += flops
        if trains or after:
            follows.add(id(outputs[0]))
            backward += flops * (trains + after)
    boundary = find_boundary(model)
    worthwhile = is_worth_keeping(model)
    return (count_values(boundary), worthwhile, below, above, backward)


def read(name, side, stage, **head):
    cut = plan_cut(Network(name, (side, side), 10, **head), stage)
    return (cut.values, cut.worthwhile, cut.below, cut.above, cut.backward)


def assert_equal(name):
    side = BASES[name].image_size
    model = build_model(name, weights=None)
    for stage in list_stages(name):
        assert read(name, side, stage) == measure(model, stage), stage
    keras.backend.clear_session()


@pytest.mark.parametrize("name", SOME)
def test_the_cost_of_a_stage_is_that_of_the_model(name):
    assert_equal(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BASES) - set(SOME)))
def test_the_cost_of_a_stage_is_that_of_every_model(name):
    assert_equal(name)


def assert_close(name, side):
    model = build_model(name, weights=None, image_size=side)
    for stage in list_stages(name):
        found = measure(model, stage)
        assert read(name, side, stage) == pytest.approx(found, rel=ALMOST), stage
    keras.backend.clear_session()


@pytest.mark.parametrize("name", ["tiny", "mobilenetv2"])
def test_the_cost_at_another_size_is_almost_that_of_the_model(name):
    assert_close(name, OTHER)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BASES))
def test_the_cost_at_other_sizes_is_almost_that_of_every_model(name):
    assert_close(name, max(OTHER, BASES[name].min_size))
    assert_close(name, 256)


@pytest.mark.parametrize(
    "head",
    [
        {"pooling": "flatten", "hidden": (8,), "dropout": 0.5},
        {"pooling": "max", "dropout": 0.5},
        {"hidden": (8, 4)},
    ],
)
def test_the_head_counts_as_it_is_built(head):
    model = build_model("tiny", weights=None, **head)
    network = Network("tiny", (32, 32), 10, **head)
    assert network.layers == layer_table(model)
    for stage in list_stages("tiny"):
        assert read("tiny", 32, stage, **head) == measure(model, stage), stage


# What a step is


def test_a_step_costs_forward_and_both_gradients():
    # F + 2 T - D1 against 3 T - D1, where all that is above the cut trains
    network = Network("vgg16", (64, 64), 10)
    cut = plan_cut(network, Stage(name="top", unfreeze="block5"))
    flops = {one.name: one.flops for one in network.operations}
    above = [f"block5_conv{n}" for n in (1, 2, 3)] + ["predictions"]
    tail, first = sum(flops[name] for name in above), flops["block5_conv1"]
    whole = sum(flops.values())
    assert cut.count_step(cached=False) == whole + 2 * tail - first
    assert cut.count_step(cached=True) == 3 * tail - first
    assert cut.gain == (whole + 2 * tail - first) / (3 * tail - first)


def test_frozen_layers_above_random_ones_run_again_but_need_no_gradients():
    network = Network("efficientnetb0", (224, 224), 10)
    cut = plan_cut(network, Stage(name="head"))
    assert cut.above > cut.below  # its base drops paths
    assert cut.backward == network.operations[-1].flops


def test_a_stage_sums_up():
    network = Network("vgg16", (64, 64), 10)
    stage = Stage(name="top", unfreeze="block5", epochs=3)
    (cost,) = estimate_stages(network, [stage], (100, 20), 10 * GB)
    cut = cost.cut
    assert cost.once == 120 * cut.below
    assert cost.total - cost.once == 3 * (100 * (cut.above + cut.backward) + 20 * cut.above)
    every = cut.below + cut.above
    assert cost.plain == 3 * (100 * (every + cut.backward) + 20 * every)
    (again,) = estimate_stages(network, [stage], (100, 20), 0)
    assert again.total == again.plain == cost.plain


def test_augmented_images_are_other_images_in_every_epoch():
    network = Network("vgg16", (64, 64), 10)
    stage = Stage(name="head", epochs=3, augment=("flip",))
    (cost,) = estimate_stages(network, [stage], (100, 20), 10 * GB)
    cut = cost.cut
    saved = 2 * 20 * cut.below  # validation images are the same ones
    assert cost.plain - cost.total == saved
    assert cost.choice.size == 4 * 512 * (3 * 100 + 20)


def test_an_exact_head_takes_one_pass():
    network = Network("tiny", (32, 32), 10)
    stage = Stage(name="probe", solver="exact", epochs=1)
    (cost,) = estimate_stages(network, [stage], (100, 20), 0)
    assert cost.total == cost.plain == 120 * sum(one.flops for one in network.operations)
    assert describe_cost(cost, "cache_budget")[0].startswith("all layers run once")


# The choice


@pytest.mark.parametrize(
    ("stage", "budget", "settings", "cached", "reason", "words"),
    [
        ({}, 400, {}, True, "fits", "frozen layers run once"),
        ({}, 399, {}, False, "over", "would take 0.0 MB"),
        ({}, 400, {"width": 8}, False, "over", "would take"),
        ({"augment": ("flip",)}, 819 * 4, {}, False, "over", "would take"),
        ({"augment": ("flip",)}, 820 * 4, {}, True, "views", "kept, their output takes"),
        (
            {"augment": ("flip",)},
            9999,
            {"are_vectors": False},
            False,
            "augmented",
            "augmentation shows other images",
        ),
        (
            {"augment": ("flip",)},
            9999,
            {"are_vectors": False, "shared": True},
            True,
            "views",
            "kept, their output takes",
        ),
        ({}, 400, {"limited": True}, False, "limited", "cut short"),
        ({}, 400, {"worthwhile": False}, False, "nothing", "none is frozen"),
        ({"solver": "exact", "epochs": 1}, 0, {}, True, "exact", "solved"),
    ],
)
def test_frozen_layers_run_once_or_there_is_a_reason(
    stage, budget, settings, cached, reason, words
):
    choice = choose_caching(Stage(name="s", **stage), 10, (8, 2), budget, **settings)
    assert (choice.cached, choice.reason) == (cached, reason)
    assert words in describe_choice(choice, "cache_budget")


@pytest.mark.parametrize("unfreeze", ["head", 15, "all"])
@pytest.mark.parametrize("augment", [(), ("flip",)])
@pytest.mark.parametrize("short", [0, 1])
@pytest.mark.parametrize("shared", [False, True])
def test_the_plan_chooses_as_the_engine_does(unfreeze, augment, short, shared):
    stage = Stage(name="s", unfreeze=unfreeze, augment=augment)
    model = build_model("tiny", weights=None)
    freeze_layers(model, layer_table(model), stage)
    network = Network("tiny", (32, 32), 10)
    seen = 50 * (stage.epochs if augment else 1) + 20
    budget = plan_cut(network, stage).values * seen * 4 - short
    task = StageTask(
        model, stage, range(50), range(20), num_classes=10, multi_label=False, seed=0,
        cache_budget=budget, programs=Programs() if shared else None,
    )  # fmt: skip
    engine = fast.FastEngine.__new__(fast.FastEngine)
    engine.task = task
    (cost,) = estimate_stages(network, [stage], (50, 20), budget, shared=shared)
    assert cost.choice.cached == engine._can_cache()
    alone = augment and unfreeze != "head" and not shared
    assert cost.choice.cached == (not short and not alone and unfreeze != "all")


# What is printed


def plan(**options):
    return plan_job(Options(data="digits", base="tiny", **options)).splitlines()


def test_a_plan_says_what_each_stage_costs():
    lines = plan(cache_budget=GB)
    about = (
        "frozen layers run once{}: their output takes {} MB, at most 1.0 GB (cache_budget)"
    )
    assert [line.strip() for line in lines if "frozen" in line] == [
        about.format("", "0.5"), about.format(", in the pass of an earlier stage", "70.7")
    ]  # fmt: skip
    stage = next(n for n, line in enumerate(lines) if "last-15" in line)
    assert "0.0513 GFLOP forward per image up to there, 0.0324 above" in lines[stage + 2]
    assert "steps are 1.6 times cheaper" in lines[stage + 2]
    assert lines[-1].startswith("costs     about 1.1 TFLOP in all, 2.92 with all layers")


def test_half_the_bytes_fit_where_all_do_not():
    text = "\n".join(plan(cache_budget=36 * 10**6, activations="bfloat16"))
    assert "their output takes 0.2 MB, at most 36.0 MB" in text
    assert "their output takes 35.3 MB, at most 36.0 MB" in text
    assert "would take 70.7 MB" in "\n".join(plan(cache_budget=36 * 10**6))


def test_a_plan_says_why_frozen_layers_run_in_every_epoch():
    text = "\n".join(plan(cache_budget=10**6))
    assert "their output would take 70.7 MB, at most 1.0 MB (cache_budget)" in text
    assert "run once, steps would be 1.6 times cheaper" in text
    augmented = "\n".join(plan(augment=("flip",)))
    assert "over other images in each; kept, their output takes 3.6 MB" in augmented
    assert "augmentation shows other images in each" in augmented
    assert "times cheaper" not in augmented
    assert "none is frozen below" in "\n".join(plan(schedule="full"))
    assert "a third of the free memory" in "\n".join(plan())


def test_operations_without_any_that_trains_have_no_cut():
    cut = find_cut(Network("tiny", (32, 32), 10).operations, ())
    assert (cut.places, cut.values, cut.above, cut.backward) == ((), 0, 0, 0)


def test_an_epoch_cut_short_is_planned_as_the_engine_runs_it():
    stage, network = Stage(name="s", epochs=3, batch_size=8), Network("tiny", (32, 32), 10)
    (short,) = estimate_stages(network, [stage], (50, 20), 10**9, max_steps=2)
    (whole,) = estimate_stages(network, [stage], (50, 20), 10**9)
    assert (short.choice.reason, whole.choice.reason) == ("limited", "fits")
    assert (short.train, short.validation) == (16, 16)
    assert (whole.train, whole.validation) == (50, 20)
    model = build_model("tiny", weights=None)
    freeze_layers(model, layer_table(model), stage)
    engine = fast.FastEngine.__new__(fast.FastEngine)
    engine.task = StageTask(
        model, stage, range(50), range(20), num_classes=10, multi_label=False, seed=0,
        max_steps=2, cache_budget=10**9,
    )  # fmt: skip
    assert not engine._can_cache()
