"""The learning rate range test: its curve, what it leaves, what its rates are worth."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from engines import make_data

import kerastl
from kerastl.__main__ import main
from kerastl.data.batches import Arrays, TrainingBatches
from kerastl.errors import UsageError
from kerastl.finetuning.compiling import compile_stage, freeze_layers
from kerastl.finetuning.curves import (
    check_range,
    has_exploded,
    read_curve,
    smooth_losses,
    space_rates,
)
from kerastl.models import get_info, layer_table
from kerastl.seeds import derive_seed
from kerastl.stages import Stage

HEAD = Stage(name="head")
RATES = space_rates(100, 1e-5, 10)
FALL = 2 - 1.5 / (1 + (0.01 / RATES) ** 2)  # steepest at 0.01, by symmetry
QUIET = {"verbose": 0, "restore_best": False}


def make_noise(scale: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, scale, len(RATES))


# The curve


def test_the_suggestion_is_where_the_loss_falls_fastest():
    found = read_curve(RATES, FALL + make_noise(0.01), HEAD, steps=100)
    assert found.suggestion == pytest.approx(0.01, rel=0.3)
    assert "Take learning_rate=0.0" in str(found)
    assert "made it rise" not in str(found)  # as it never does


def test_a_rise_behind_the_bottom_is_no_fall():
    losses = FALL + np.where(RATES > 0.3, (RATES / 0.3) ** 2 - 1, 0)
    stop = next(n for n in range(3, 101) if has_exploded(list(losses[:n])))
    found = read_curve(RATES[:stop], losses[:stop], HEAD, steps=100)
    assert 0.003 < found.suggestion < 0.03
    assert found.suggestion < found.lowest < 0.5 < found.explosion == RATES[stop - 1]
    assert "it exploded" in str(found)


@pytest.mark.parametrize("scale", [0, 0.001, 0.1, 0.5])
def test_a_flat_curve_suggests_nothing(scale):
    found = read_curve(RATES, 2.3 + make_noise(scale), HEAD, steps=100)
    assert (found.suggestion, found.lowest) == (None, None)
    assert "No rate helped" in str(found)


def test_flat_curves_seldom_suggest_anything():
    draw = np.random.default_rng(1)
    curves = [2.3 + draw.normal(0, 0.2, 100) for _ in range(300)]
    found = [read_curve(RATES, one, HEAD, steps=100).suggestion for one in curves]
    assert sum(rate is not None for rate in found) <= 6


def test_a_loss_that_still_falls_is_said():
    found = read_curve(RATES[:55], FALL[:55], HEAD, steps=55)
    assert "still falling at the highest rate" in str(found)
    assert "made it rise" not in str(found)


def test_a_loss_that_explodes_at_once_leaves_no_curve():
    losses = np.array([2.0, 2.1, float("nan")])
    found = read_curve(RATES[:3], losses, HEAD, steps=100)
    assert found.suggestion is None
    assert "Start the test at a lower rate" in str(found)
    assert found.to_dict()["table"][2]["loss"] is None
    assert found.plot().axes[0].get_xlabel() == "learning rate"


def test_explosions_are_told_from_noise():
    assert not has_exploded([2.3, 2.5, 0.1, 0.05, 0.4, 0.3, 0.3])  # below where it began
    assert not has_exploded([2.3, 2.0, 1.0, 9.0])  # a single batch
    assert has_exploded([2.3, 2.0, 1.0, 0.5, 6.0, 7.0, 8.0])
    assert has_exploded([2.3, float("inf")])


def test_smoothing_does_not_lag():
    values, slopes = smooth_losses(3 - 0.5 * np.arange(30.0), window=5)
    np.testing.assert_allclose(values, 3 - 0.5 * np.arange(30), atol=1e-12)
    np.testing.assert_allclose(slopes, -0.5)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((5, 1e-7, 10.0), "steps=5"),
        ((100, 0, 10.0), "min_rate=0"),
        ((100, 1e-7, "a"), "max_rate='a'"),
        ((100, 1.0, 2.0), "at least ten times the lowest"),
    ],
)
def test_a_range_that_gives_no_curve_is_refused(given, match):
    with pytest.raises(UsageError, match=match):
        check_range(*given)


# The test


@pytest.fixture(scope="module")
def data():
    return make_data(count=90)


def build(**settings):
    return kerastl.build_model("tiny", num_classes=3, image_size=32, **settings)


def find(model, data, **settings):
    return kerastl.find_learning_rate(model, data, **{"steps": 30, **settings})


def test_losses_are_those_of_keras_at_these_rates(data):
    settings = {"batch_size": 20, "min_rate": 1e-4, "max_rate": 0.1, "seed": 3}
    found = find(build(), data, steps=20, **settings).table
    stage, model = Stage(name="rates"), build()
    freeze_layers(model, layer_table(model), stage)
    compile_stage(model, stage, multi_label=False)
    arrays = Arrays(data.train.pixels(32), data.train.labels)
    batches = TrainingBatches(arrays, batch_size=20, seed=derive_seed(3, "rates", "rates"))
    losses = []
    for step, rate in enumerate(space_rates(20, 1e-4, 0.1)):
        batches.set_epoch(step // len(batches))
        model.optimizer.learning_rate = rate
        model.reset_metrics()
        batch = batches[step % len(batches)]
        losses.append(model.train_on_batch(*batch, return_dict=True)["loss"])
    np.testing.assert_allclose(found["loss"], np.array(losses), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"unfreeze": "all", "train_batchnorm": True, "max_rate": 1e6},
        {"unfreeze": "block2", "rate_decay": 0.5, "normalize": "data"},
        {"augment": ("flip",), "label_smoothing": 0.1, "class_weight": "balanced"},
    ],
)
def test_the_model_is_left_as_it_was(data, settings):
    model = build(hidden=(4,), dropout=0.5)
    model.get_layer("stem_conv").trainable = False
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    state = (model.optimizer, get_info(model))
    flags = [layer.trainable for layer in model.layers]
    before = [variable.numpy() for variable in model.variables]
    pixels = data.train.pixels(32)[:8].astype("float32")
    answers = model.predict(pixels, verbose=0)
    find(model, data, batch_size=16, **settings)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, variable.path)
    assert (model.optimizer, get_info(model)) == state
    assert [layer.trainable for layer in model.layers] == flags
    np.testing.assert_array_equal(model.predict(pixels, verbose=0), answers)
    model.fit(pixels, data.train.labels[:8], verbose=0)  # as if nothing had happened


def test_the_model_is_left_as_it_was_when_the_test_fails(data, monkeypatch):
    model = build()
    before = model.get_weights()
    real = keras.Model.reset_metrics

    def fail(self):
        if fail.count == 10:
            raise RuntimeError("cut off")
        fail.count += 1
        real(self)

    fail.count = 0
    monkeypatch.setattr(keras.Model, "reset_metrics", fail)
    with pytest.raises(RuntimeError, match="cut off"):
        find(model, data, unfreeze="all")
    for one, two in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)
    assert get_info(model).class_names == ()


def test_the_same_seed_gives_the_same_curve(data):
    model = build(hidden=(4,), dropout=0.5)
    first, again, other = (find(model, data, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.table, again.table)
    assert not first.table["loss"].equals(other.table["loss"])


def test_few_images_are_shown_again_and_that_is_said(data):
    found = find(build(), data, batch_size=20)
    count = len(data.train)
    assert f"The {count} training images make 4 batches, fewer than 30" in str(found)
    enough = find(build(), data, batch_size=2)
    assert enough.notes == ()


def test_images_without_a_difference_help_no_rate():
    images = np.full((90, 32, 32, 3), 128, "uint8")
    images[:, 0, 0, 0] = np.arange(90)  # no two alike, yet all the same to the base
    data = kerastl.load_images(images, labels=np.random.default_rng(0).permutation(90) % 3)
    found = find(build(weights=None), data, steps=60, max_rate=1e-3, batch_size=30)
    assert found.suggestion is None
    assert "No rate helped" in str(found)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epochs": 3}, "has no setting 'epochs'"),
        ({"learning_rate": 3}, "has no setting 'learning_rate'"),
        ({"unfreeze": "block9"}, "unfreeze='block9'"),
        ({"schedule": "lp-ft"}, "solves its head exactly"),
        ({"schedule": "full", "unfreeze": "all"}, "give one of them"),
        ({"steps": 3}, "steps=3"),
        ({"optimizer": "adm"}, "optimizer='adm'"),
    ],
)
def test_what_cannot_be_tested_is_refused(data, settings, match):
    with pytest.raises(UsageError, match=match):
        find(build(weights=None), data, **settings)


def test_a_schedule_gives_its_first_stage(data):
    assert find(build(), data, schedule="hybrid").stage.unfreeze == 4


# What the rates are worth


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [pytest.param("sgd", marks=pytest.mark.slow), "adam"])
def test_the_suggestion_trains_and_the_explosion_is_one(optimizer):
    data, settings = kerastl.load_images("digits"), {"optimizer": optimizer}
    model = kerastl.build_model("tiny", num_classes=10)
    found = kerastl.find_learning_rate(model, data, **settings)

    def train(rate: float) -> float:
        model = kerastl.build_model("tiny", num_classes=10)
        stage = {"schedule": "feature-extraction", "epochs": 3, "learning_rate": rate}
        run = kerastl.finetune(model, data, **stage, **settings, **QUIET)
        return run.history["loss"].iloc[-1]

    start = found.table["loss"].iloc[:10].mean()
    assert train(found.suggestion) < 0.5 * start
    assert train(found.suggestion) < 0.6 * train(found.suggestion / 100)
    assert train(found.explosion / 10) < start < train(found.explosion * 10)
    assert found.suggestion < found.lowest < found.explosion


# The command


def test_the_command_prints_the_suggestion(capsys):
    assert main(["lr-find", "--base", "tiny", "--steps", "60"]) == 0
    assert "Take learning_rate=" in capsys.readouterr().out


def test_the_command_writes_curve_and_plot(capsys, tmp_path):
    out = tmp_path / "rates"
    flags = ["--base", "tiny", "--unfreeze", "block2", "--rate-decay", "0.5", "--json"]
    flags += ["--steps", "25", "--min", "1e-5", "--max", "0.1", "--out", str(out)]
    assert main(["lr-find", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((out / "rates.json").read_text())
    assert found["unfreeze"] == "block2"
    rates = pd.read_csv(out / "rates.csv")["rate"]
    np.testing.assert_allclose(rates, space_rates(25, 1e-5, 0.1)[: len(rates)])
    assert (out / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["lr-find", *flags]) == 2  # the folder is taken


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--unfreeze", "blokc2"], "Did you mean 'block2'?"),
        (["--unfreeze", "all", "--schedule", "full"], "give one of them"),
        (["--schedule", "fulll"], "Did you mean 'full'?"),
        (["--steps", "ten"], "steps='ten'"),
        (["--min", "1", "--max", "1"], "at least ten times"),
        (["--epochs", "3"], "--epochs"),
    ],
)
def test_mistakes_of_the_command_are_sentences(capsys, tmp_path, flags, said):
    assert main(["lr-find", "--base", "tiny", *flags, "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
