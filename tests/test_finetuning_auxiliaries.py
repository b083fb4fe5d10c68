"""Auxiliary heads: they train with a stage, on both engines, and are gone afterwards."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from engines import compare, make_data

import kerastl
from kerastl.bases import BASES, choice
from kerastl.bases.operations import Network
from kerastl.finetuning import plain
from kerastl.finetuning.auxiliaries import (
    AssistedModel,
    assist_model,
    list_head_weights,
    start_heads,
)
from kerastl.finetuning.compiling import compile_stage, freeze_layers
from kerastl.finetuning.costs import list_heads, plan_cut
from kerastl.finetuning.planning import plan_job
from kerastl.finetuning.programs import Programs
from kerastl.finetuning.tasks import StageTask
from kerastl.models import layer_table
from kerastl.options import Options
from kerastl.stages import Stage

ROOT = Path(__file__).parents[1]
PLACE = "block1_out"  # of tiny, which has no such head of its own, but trains in seconds
FULL = Stage(name="all", unfreeze="all", learning_rate=1e-3, epochs=2, batch_size=16)
# frozen up to the head's block: the engines differ in what they run
UPPER = dataclasses.replace(FULL, name="upper", unfreeze="block1", label_smoothing=0.1)


def add_place(monkeypatch):
    row = dataclasses.replace(BASES["tiny"], auxiliaries=(PLACE,))
    monkeypatch.setitem(choice._ROWS, "tiny", row)


@pytest.fixture
def assisted(monkeypatch):
    add_place(monkeypatch)


def build(base="tiny", **settings):
    return kerastl.build_model(base, num_classes=3, weights=None, image_size=32, **settings)


def freeze(model, stage):
    freeze_layers(model, layer_table(model), stage)
    return model


def train(stages, engine="auto", base="tiny", **settings):
    return kerastl.finetune(
        build(base), make_data(), schedule=stages, engine=engine, verbose=0, **settings
    )


def make_batch(count=4):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype("float32")
    return images, np.arange(count) % 3


# What they are


def test_the_loss_of_training_has_three_tenths_of_each_head_s(assisted):
    model = assist_model(freeze(build(), FULL))
    compile_stage(model, FULL, multi_label=False)
    images, labels = make_batch()
    own, extra = (np.asarray(output) for output in model.joint(images, training=False))
    crossed = [-np.log(p[np.arange(4), labels]).mean() for p in (own, extra)]
    found = model.compute_loss(None, labels, [own, extra], training=True)
    assert float(found) == pytest.approx(crossed[0] + 0.3 * crossed[1], rel=1e-5)
    found = model.compute_loss(None, labels, [own, extra], training=False)
    assert float(found) == pytest.approx(crossed[0], rel=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_outside_of_training_it_is_the_model_alone(assisted, tmp_path):
    model = freeze(build(), FULL)
    training = assist_model(model)
    images, _ = make_batch()
    expected = model.predict_on_batch(images)
    np.testing.assert_array_equal(training.predict_on_batch(images), expected)
    assert training.output_shape == (None, 3)
    training.save(tmp_path / "by-a-callback.keras")
    loaded = keras.models.load_model(tmp_path / "by-a-callback.keras")
    assert type(loaded) is type(model)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize(
    ("unfreeze", "found"),
    [("head", False), ("block2", False), ("block1", True), ("all", True)],
)
def test_a_stage_has_the_heads_above_what_it_trains(assisted, unfreeze, found):
    stage = Stage(name="s", unfreeze=unfreeze)
    model = assist_model(freeze(build(), stage))
    assert isinstance(model, AssistedModel) == found
    assert bool(list_head_weights(model)) == found
    network = Network("tiny", (32, 32), 3)
    assert list_heads(network, plan_cut(network, stage)) == ([PLACE] if found else [])


def test_several_labels_have_sigmoid_heads(assisted):
    model = assist_model(freeze(build(multi_label=True), FULL))
    last = [layer for layer in model.joint.layers if layer.name.startswith("auxiliary")][-1]
    assert last.activation is keras.activations.sigmoid


def test_heads_start_from_their_seed(assisted):
    first, second = (assist_model(freeze(build(), FULL)) for _ in range(2))

    def draw(model, seed):
        start_heads(model, seed)
        return [weight.numpy() for weight in list_head_weights(model)]

    same, again, other = draw(first, 1), draw(second, 1), draw(first, 2)
    assert all(np.array_equal(*pair) for pair in zip(same, again, strict=True))
    kernels = [array.ndim > 1 for array in same]
    differ = [not np.array_equal(*pair) for pair in zip(same, other, strict=True)]
    assert differ == kernels == [True, False] * 3


def test_other_bases_have_none():
    model = freeze(build(), FULL)
    assert assist_model(model) is model
    assert list_head_weights(model) == []


# What a run does with them


def test_both_engines_train_to_the_same_weights(assisted):
    first, second = (train([UPPER], engine) for engine in ("plain", "auto"))
    assert compare(first, second)["history"] < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tiny", "googlenet"])
def test_in_float64_they_are_equal(base):
    ran = subprocess.run(
        [sys.executable, __file__, base],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    for found in json.loads(ran.stdout.splitlines()[-1]):
        assert max(found["weights"], found["history"]) < 1e-10
        assert found["kept"]


def test_they_change_what_is_trained_and_leave_nothing(assisted, monkeypatch):
    found = train([FULL])
    names = [layer.name for layer in found.model.layers]
    assert names == [layer.name for layer in build().layers]
    assert [output.shape for output in found.model.outputs] == [(None, 3)]
    monkeypatch.undo()
    assert compare(found, train([FULL]))["weights"] > 1e-3


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_weights(assisted, tmp_path, monkeypatch):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    expected = train([FULL], out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train([FULL], out=tmp_path / "run", callbacks=[Stop()])
    resumed = train([FULL], out=tmp_path / "run", resume=True)
    assert compare(expected, resumed)["weights"] == 0
    assert not [layer for layer in resumed.model.layers if "auxiliary" in layer.name]


def test_programs_of_a_search_start_them_anew(assisted):
    data, programs = make_data(), Programs()
    from kerastl.data.batches import Arrays
    from kerastl.finetuning.fast import FastEngine

    model = freeze(build(), FULL)
    arrays = Arrays(data.train.pixels(32), data.train.labels)
    start = model.get_weights()

    def run():
        model.set_weights(start)
        engine = FastEngine(
            StageTask(
                model, FULL, arrays, None, num_classes=3, multi_label=False, seed=7,
                programs=programs,
            )
        )  # fmt: skip
        engine.train(lambda epoch, logs, stopped: False)
        return engine.model, model.get_weights()

    (first, one), (second, two) = run(), run()
    assert first is second
    assert isinstance(first, AssistedModel)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_callbacks_see_the_model_alone(assisted):
    seen = []

    class Predict(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model.predict(make_batch()[0], verbose=0).shape)

    train([FULL], callbacks=[Predict()])
    assert seen == [(4, 3)] * FULL.epochs


def test_the_plan_names_them():
    options = Options(data="digits", base="googlenet", weights=None, schedule="gradual")
    lines = [line.strip() for line in plan_job(options).splitlines()]
    found = [line for line in lines if line.startswith("with auxiliary head")]
    both = "with auxiliary heads on inception_4a and inception_4d in training"
    # head and inception5 train nothing below them
    assert found == [f"{both}, loss times 0.3, work not counted"] * 4


def test_without_the_heads_weights_a_resumed_state_does_not_fit(assisted):
    task = StageTask(
        freeze(build(), FULL), FULL, make_arrays(), None, num_classes=3,
        multi_label=False, seed=0,
    )  # fmt: skip
    engine = plain.PlainEngine(task)
    heads = len(list_head_weights(engine.model))
    state = engine.get_state()
    assert heads == 6
    with pytest.raises(ValueError, match="shorter"):
        engine.set_state(state[:-heads])


def make_arrays():
    from kerastl.data.batches import Arrays

    split = make_data().train
    return Arrays(split.pixels(32), split.labels)


if __name__ == "__main__":
    keras.config.set_floatx("float64")
    name = sys.argv[1]
    if name == "tiny":
        choice._ROWS[name] = dataclasses.replace(BASES[name], auxiliaries=(PLACE,))
    else:
        UPPER = dataclasses.replace(UPPER, unfreeze="inception4")
    runs = [[train([s], e, name) for e in ("plain", "auto")] for s in (FULL, UPPER)]
    print(json.dumps([compare(*pair) for pair in runs]))
