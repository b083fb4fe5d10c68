import pytest

from kerastl.errors import UsageError
from kerastl.schedules import (
    SCHEDULES,
    check_schedule,
    named_schedule,
    plan_freeze,
    resolve_schedule,
)
from kerastl.stages import LayerInfo, Schedule, Stage

BLOCKS = ["block1", "block2", "block3"]
LAYERS = [
    LayerInfo("preprocessing", "preprocessing", False, 0),
    LayerInfo("conv1", "block1", False, 10),
    LayerInfo("bn1", "block1", True, 4),
    LayerInfo("conv2", "block2", False, 10),
    LayerInfo("bn2", "block2", True, 4),
    LayerInfo("conv3", "block3", False, 10),
    LayerInfo("pooling", "head", False, 0),
    LayerInfo("predictions", "head", False, 5),
]


def trained(stage):
    return {name for name, trains in plan_freeze(LAYERS, stage).items() if trains}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_named_schedule_runs_on_these_layers(name):
    schedule = named_schedule(name, BLOCKS)
    if name == "hybrid":
        schedule = Schedule("hybrid", schedule.stages[:1])  # only 8 layers here
    check_schedule(LAYERS, schedule)
    assert Schedule.from_dict(schedule.to_dict()) == schedule


@pytest.mark.parametrize(
    ("unfreeze", "expected"),
    [
        ("head", {"pooling", "predictions"}),
        ("block3", {"conv3", "pooling", "predictions"}),
        ("block2", {"conv2", "conv3", "pooling", "predictions"}),
        ("all", {"conv1", "conv2", "conv3", "pooling", "predictions"}),
        (1, {"pooling", "predictions"}),
        (3, {"conv3", "pooling", "predictions"}),
        (4, {"conv3", "pooling", "predictions"}),
        (8, {"conv1", "conv2", "conv3", "pooling", "predictions"}),
    ],
)
def test_what_unfreezes_trains_without_batchnorm(unfreeze, expected):
    assert trained(Stage(name="s", unfreeze=unfreeze)) == expected


def test_batchnorm_trains_only_when_asked_and_unfrozen():
    stage = Stage(name="s", unfreeze="block2", train_batchnorm=True)
    assert trained(stage) == {"conv2", "bn2", "conv3", "pooling", "predictions"}


def test_the_plan_is_total_and_keeps_preprocessing_fixed():
    plan = plan_freeze(LAYERS, Stage(name="s", unfreeze="all", train_batchnorm=True))
    assert list(plan) == [layer.name for layer in LAYERS]
    assert plan["preprocessing"] is False


def test_what_matches_nothing_is_refused():
    with pytest.raises(UsageError, match="unfreeze='blok3'.*Did you mean 'block3'"):
        plan_freeze(LAYERS, Stage(name="s", unfreeze="blok3"))
    with pytest.raises(UsageError, match="unfreeze=9, but the model has 8 layers"):
        plan_freeze(LAYERS, Stage(name="s", unfreeze=9))


def test_a_bad_last_stage_is_found_before_the_first_runs():
    stages = (Stage(name="head"), Stage(name="x"), Stage(name="y", unfreeze="conv9"))
    with pytest.raises(UsageError, match="'conv9'"):
        check_schedule(LAYERS, Schedule("bad", stages))


def test_an_exact_solver_needs_a_linear_head():
    check_schedule(LAYERS, named_schedule("lp-ft", BLOCKS))
    hidden = [*LAYERS, LayerInfo("hidden1", "head", False, 7)]
    with pytest.raises(UsageError, match="'probe' solves its head exactly"):
        check_schedule(hidden, named_schedule("lp-ft", BLOCKS))


def test_gradual_goes_down_block_by_block_and_slower():
    schedule = named_schedule("gradual", BLOCKS)
    assert [s.unfreeze for s in schedule] == ["head", "block3", "block2", "block1"]
    rates = [s.learning_rate for s in schedule]
    assert rates == sorted(rates, reverse=True)


def test_changes_apply_to_all_stages_or_one_each():
    schedule = resolve_schedule("hybrid", BLOCKS, {"epochs": [1, 2], "batch_size": 8})
    assert [(s.epochs, s.batch_size) for s in schedule] == [(1, 8), (2, 8)]
    schedule = resolve_schedule("hybrid", BLOCKS, {"augment": ["flip"], "patience": None})
    assert [s.augment for s in schedule] == [("flip",), ("flip",)]


def test_one_learning_rate_keeps_the_ratio_between_stages():
    schedule = resolve_schedule("hybrid", BLOCKS, {"learning_rate": 0.01})
    assert [s.learning_rate for s in schedule] == pytest.approx([0.01, 0.001])
    same = resolve_schedule("hybrid", BLOCKS, {"learning_rate": 1e-3})
    assert same == named_schedule("hybrid", BLOCKS)


def test_wrong_changes_are_refused():
    with pytest.raises(
        UsageError, match="epochs has 3 values, but schedule 'hybrid' has 2"
    ):
        resolve_schedule("hybrid", BLOCKS, {"epochs": [1, 2, 3]})
    with pytest.raises(UsageError, match="'epoch' is not a setting.*Did you mean 'epochs'"):
        resolve_schedule("hybrid", BLOCKS, {"epoch": 3})
    with pytest.raises(UsageError, match="learning_rate='abc'"):
        resolve_schedule("hybrid", BLOCKS, {"learning_rate": "abc"})
    with pytest.raises(UsageError, match="schedule='hybird'.*Did you mean 'hybrid'"):
        resolve_schedule("hybird", BLOCKS)


def test_a_stage_or_a_list_of_them_is_a_schedule():
    stage = Stage(name="all", unfreeze="all")
    assert resolve_schedule(stage, BLOCKS).stages == (stage,)
    assert resolve_schedule([stage], BLOCKS).stages == (stage,)
