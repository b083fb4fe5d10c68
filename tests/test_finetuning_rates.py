"""A rate for each block of a stage: on both engines, in files, plans and trials."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import compare, make_data
from test_search_workshop import arrays, count, count_traces, new_workshop, run  # noqa: F401

import kerastl
from kerastl.errors import ResumeRefusedError, UsageError
from kerastl.finetuning.compiling import build_optimizer, compile_stage, freeze_layers
from kerastl.finetuning.fused import apply_fused, supports_fused
from kerastl.finetuning.planning import plan_job
from kerastl.finetuning.signatures import is_companion
from kerastl.models import layer_table
from kerastl.options import Options, from_toml, to_toml
from kerastl.schedules import list_rates, measure_depths, resolve_schedule
from kerastl.stages import OPTIMIZERS, Schedule, Stage

DECAY, DEPTHS, STEPS = 0.3, (0, 2, 1), 12
KINDS = {
    "adam": {"weight_decay": 0.05},
    "adamw": {"weight_decay": 0.3},
    "sgd": {"weight_decay": 0.05, "momentum": 0.9},
    "sgd without momentum": {"momentum": 0.0},
    "rmsprop": {"weight_decay": 0.05},
}
ALL = Stage(name="all", unfreeze="all", epochs=1, learning_rate=1e-3, rate_decay=DECAY)


def build(**model):
    return kerastl.build_model("tiny", num_classes=3, weights=None, image_size=8, **model)


# The optimizers


def make_stage(kind: str, **settings) -> Stage:
    return Stage(name="one", optimizer=kind.split()[0], **{**KINDS[kind], **settings})


def make_variables() -> list[keras.Variable]:
    draw = np.random.default_rng(0)
    return [keras.Variable(draw.uniform(1, 3, (4, 3)), dtype="float64") for _ in DEPTHS]


def draw_gradients(step: int) -> list[tf.Tensor]:
    draw = np.random.default_rng(step)
    return [tf.constant(draw.normal(size=(4, 3))) for _ in DEPTHS]


def train_scaled(kind: str, way: str) -> list[np.ndarray]:
    """Train by one optimizer with a rate for each variable, the rate changing."""
    variables, optimizer = (
        make_variables(),
        build_optimizer(make_stage(kind, rate_decay=DECAY)),
    )
    optimizer.build(variables)
    optimizer.set_depths(DEPTHS)
    optimizer.set_decay(DECAY)
    assert supports_fused(optimizer)
    apply = apply_fused if way == "fused" else type(optimizer).apply
    step = tf.function(lambda *gradients: apply(optimizer, list(gradients), variables))
    for number in range(STEPS):
        optimizer.learning_rate = 0.01 * (number + 1)
        step(*draw_gradients(number))
    assert step.experimental_get_tracing_count() == 1
    return [variable.numpy() for variable in variables]


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("way", ["fused", "keras"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_variable_trains_as_by_an_optimizer_of_its_own(kind, way, float64):
    expected = make_variables()
    for variable, depth, number in zip(expected, DEPTHS, range(3), strict=True):
        own = build_optimizer(make_stage(kind))  # Keras' own class, at the whole rate
        own.build([variable])
        for step in range(STEPS):
            own.learning_rate = 0.01 * (step + 1) * DECAY**depth
            own.apply([draw_gradients(step)[number]], [variable])
    for found, variable in zip(train_scaled(kind, way), expected, strict=True):
        np.testing.assert_allclose(found, variable.numpy(), rtol=1e-10)


def test_the_fused_kernels_are_used():
    variables, optimizer = (
        make_variables(),
        build_optimizer(make_stage("adam", rate_decay=0.5)),
    )
    optimizer.build(variables)
    optimizer.set_depths(DEPTHS)
    step = tf.function(lambda *gradients: apply_fused(optimizer, gradients, variables))
    graph = step.get_concrete_function(*draw_gradients(0)).graph
    kernels = [op.type for op in graph.get_operations() if "Apply" in op.type]
    assert kernels == ["ResourceApplyAdam"] * 3


def test_without_a_decay_optimizers_are_those_of_keras():
    kinds = [
        type(build_optimizer(Stage(name="one", optimizer=name))) for name in OPTIMIZERS
    ]
    assert kinds == [
        getattr(keras.optimizers, n) for n in ("Adam", "SGD", "AdamW", "RMSprop")
    ]


# Blocks


def test_depths_are_counted_from_the_head():
    layers = layer_table(build(hidden=(4,)))
    depths = measure_depths(layers)
    assert depths["predictions"] == depths["hidden1"] == depths["pooling"] == 0
    blocks = {layer.block: depths[layer.name] for layer in layers}
    downwards = ["head", "block2", "block1", "stem"]
    assert [blocks[name] for name in downwards] == [0, 1, 2, 3]


@pytest.mark.parametrize("base", ["googlenet", "tiny"])
def test_compiled_depths_are_those_of_the_layers(base):
    side = 32 if base == "tiny" else 64
    model = kerastl.build_model(base, num_classes=3, weights=None, image_size=side)
    freeze_layers(model, layer_table(model), ALL)
    compile_stage(model, ALL, multi_label=False)
    depths, found = measure_depths(layer_table(model)), model.optimizer.blocks.depths
    owners = {id(v): layer.name for layer in model.layers for v in layer.weights}
    assert list(found) == [depths[owners[id(v)]] for v in model.trainable_variables]
    assert max(found) > 1


def test_rates_of_blocks_that_train():
    layers = layer_table(build())
    top = Stage(name="top", unfreeze="block1", learning_rate=0.1, rate_decay=0.5)
    assert list_rates(layers, top) == {"head": 0.1, "block2": 0.05, "block1": 0.025}
    assert list_rates(layers, Stage(name="head", rate_decay=0.5)) == {"head": 1e-3}


def test_a_dry_run_shows_the_rate_of_each_block():
    options = Options(base="tiny", schedule="full", learning_rate=0.01, rate_decay=0.5)
    text = (
        "at most 0.01 for the head, 0.005 for block2, 0.0025 for block1, 0.00125 for stem"
    )
    assert text in plan_job(options)
    assert "for the head" not in plan_job(dataclasses.replace(options, rate_decay=None))


# The setting


@pytest.mark.parametrize("value", [0, -0.5, 1.5, float("nan"), "0.5", True])
def test_a_factor_is_above_0_and_at_most_1(value):
    with pytest.raises(UsageError, match="rate_decay="):
        Stage(name="all", rate_decay=value)
    with pytest.raises(UsageError, match="rate_decay="):
        Options(rate_decay=value)


def test_it_survives_files():
    assert Schedule.from_dict(Schedule("s", (ALL,)).to_dict()).stages == (ALL,)
    options = Options(rate_decay=0.4, stages=(ALL,))
    again = from_toml(to_toml(options))
    assert (again.rate_decay, again.stages[0]["rate_decay"]) == (0.4, DECAY)


def test_one_value_is_for_stages_that_train_blocks():
    hybrid = resolve_schedule("gradual", ["low", "top"], {"rate_decay": 0.4})
    assert [(s.name, s.rate_decay) for s in hybrid] == [
        ("head", 1.0), ("top", 0.4), ("low", 0.4),
    ]  # fmt: skip
    each = resolve_schedule("fine-tune", ["low", "top"], {"rate_decay": (0.5, 0.4)})
    assert [stage.rate_decay for stage in each] == [0.5, 0.4]
    with pytest.raises(UsageError, match="rate_decay=7"):
        resolve_schedule("feature-extraction", [], {"rate_decay": 7})


# Training


def finetune(engine: str, stage: Stage, **settings):
    data = make_data(count=30)
    return kerastl.finetune(
        build(), data, schedule=stage, engine=engine, verbose=0, **settings
    )


@pytest.mark.slow
def test_both_engines_move_low_layers_less():
    plain, auto = (finetune(engine, ALL) for engine in ("plain", "auto"))
    assert compare(plain, auto)["history"] < 1e-3
    whole = finetune("auto", dataclasses.replace(ALL, rate_decay=1.0))
    start = build().get_layer("stem_conv").get_weights()[0]
    moved = [
        np.abs(run.model.get_layer("stem_conv").get_weights()[0] - start).mean()
        for run in (plain, auto, whole)
    ]
    # Adam's first steps are as long as the rate, and stem is three blocks down
    assert moved[0] / moved[2] == pytest.approx(DECAY**3, rel=0.5)
    assert moved[1] == pytest.approx(moved[0], rel=0.05)


@pytest.mark.slow
def test_a_run_of_another_factor_is_not_gone_on_with(tmp_path):
    class Stop(Exception):
        pass

    def stop(epoch, logs):
        raise Stop

    stage = dataclasses.replace(ALL, epochs=2)
    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    with pytest.raises(Stop):
        finetune("auto", stage, out=tmp_path / "run", callbacks=[callback])
    other = dataclasses.replace(stage, rate_decay=0.5)
    with pytest.raises(ResumeRefusedError, match="rate_decay"):
        finetune("auto", other, out=tmp_path / "run", resume=True)
    found = finetune("auto", stage, out=tmp_path / "run", resume=True)
    whole = finetune("auto", stage, callbacks=[keras.callbacks.Callback()])
    for one, two in zip(found.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize("engine", ["plain", "auto"])
def test_what_callbacks_save_loads_as_plain_keras(engine, tmp_path):
    path = tmp_path / "saved.keras"
    saver = keras.callbacks.ModelCheckpoint(path)
    run = finetune(engine, ALL, callbacks=[saver])
    loaded = keras.models.load_model(path)
    assert type(loaded.optimizer) is keras.optimizers.Adam
    assert len(loaded.optimizer.variables) == 2 + 2 * len(loaded.trainable_variables)
    pixels = run.data.train.pixels(8)[:5].astype("float32")
    np.testing.assert_allclose(loaded.predict(pixels, verbose=0).sum(axis=1), 1, atol=1e-5)


# Trials


def test_trials_that_differ_in_the_factor_share_graphs(arrays, count):  # noqa: F811
    points = [{"rate_decay": 0.5}, {"rate_decay": 0.1}, {"rate_decay": 0.5, "seed": 0}]
    fits = [run(arrays, schedule="full", epochs=1, **point) for point in points]
    assert count["programs"] == 1
    assert max(count_traces(count)) == 1
    weights = [fit["weights"] for fit in fits]
    assert weights[0] == weights[2] != weights[1]


def test_heads_of_stages_with_a_factor_are_companions():
    slow, fast = Stage(name="head", rate_decay=0.5), Stage(name="head", rate_decay=0.1)
    assert is_companion(slow, fast)
    assert not is_companion(slow, Stage(name="head"))  # another optimizer


@pytest.mark.slow
def test_a_search_over_the_factor_ranks_its_trials(tmp_path):
    found = kerastl.grid_search(
        make_data(), {"rate_decay": [1.0, 0.3]}, base="tiny", weights=None, image_size=32,
        schedule="full", epochs=1, out=tmp_path / "search", refit="none",
    )  # fmt: skip
    board = found.leaderboard()
    assert sorted(board["rate_decay"]) == [0.3, 1.0]
    assert board["score"].notna().all()
