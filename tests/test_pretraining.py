import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kerastl
from kerastl import pretraining
from kerastl.errors import NothingSucceededError, UsageError
from kerastl.weights.files import ASSETS


def make_folder(root: Path, splits: dict[str, int]) -> Path:
    generator = np.random.default_rng(0)
    for split, count in splits.items():
        for number in range(count):
            pixels = generator.integers(0, 120, (32, 32, 3), dtype="uint8")
            pixels[:, :, number % 2] += 100
            path = root / split / f"class{number % 2}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretrain")
    # five steps at the recipe's rate would leave moving statistics far behind
    data = make_folder(root / "data", {"train": 40, "test": 10})
    out = root / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "PEAK_LEARNING_RATE", 1e-3)
        return pretraining.pretrain_job(
            data, epochs=1, batch_size=8, out=out, command="kerastl pretrain"
        )


def test_the_record_tells_how_the_weights_were_made(result):
    record = result.read_json("tiny.json")
    assert record["command"] == "kerastl pretrain"
    assert record["images"] == 40  # validation images too: nothing is chosen on them
    assert record["test"]["images"] == 10
    assert len(record["history"]["loss"]) == 1
    packed = result.read_bytes("tiny.npz")
    assert record["sha256"] == hashlib.sha256(packed).hexdigest()


def test_the_weights_are_a_base_without_top_in_half_precision(result):
    path = result.path / "tiny.npz"
    with np.load(path) as arrays:
        assert not [name for name in arrays if name.startswith(("top", "predictions"))]
        assert {arrays[name].dtype for name in arrays} == {np.dtype("float16")}
        count = sum(arrays[name].size for name in arrays)
        kernel = arrays["block2_2_conv/kernel"]
    model = kerastl.build_model("tiny", num_classes=2, weights=path)
    assert count == result.read_json("tiny.json")["parameters"]
    assert np.array_equal(model.get_layer("block2_2_conv").get_weights()[0], kernel)


def test_finished_features_have_mean_zero_and_deviation_one(result):
    data = kerastl.load_images(result.path.parent / "data")
    pixels = np.concatenate([data.train.pixels(32), data.validation.pixels(32)])
    model = kerastl.build_model("tiny", num_classes=2, weights=result.path / "tiny.npz")
    pooled = keras.Model(model.input, model.get_layer("pooling").output)
    features = pooled.predict(pixels.astype("float32"), verbose=0)
    alive = features.std(axis=0) > 0.9  # not the channels that hardly ever fire
    assert alive.sum() > 10
    assert np.abs(features[:, alive].mean(axis=0)).max() < 0.3  # rounded to float16
    assert np.median(features[:, alive].std(axis=0)) == pytest.approx(1.0, abs=0.01)


def test_features_that_do_not_differ_are_nothing_to_ship():
    model = pretraining.build_classifier("tiny", 2)
    pixels = np.zeros((4, 32, 32, 3), "uint8")
    with pytest.raises(NothingSucceededError, match="same for all images"):
        pretraining.measure_features(model, pixels)


def test_weights_that_overflow_half_precision_are_refused():
    with pytest.raises(NothingSucceededError, match="do not fit into half precision"):
        pretraining.halve(np.array([1e6]))


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(UsageError, match="base='tinny'.*Did you mean 'tiny'"):
        pretraining.pretrain_job("digits", base="tinny")
    with pytest.raises(UsageError, match="precision='float8'"):
        pretraining.pretrain_job("digits", precision="float8")
    with pytest.raises(UsageError, match="epochs=0"):
        pretraining.pretrain_job("digits", epochs=0)


def test_the_shipped_weights_are_those_of_their_record():
    record = json.loads((ASSETS / "tiny.json").read_text())
    packed = (ASSETS / "tiny.npz").read_bytes()
    assert record["sha256"] == hashlib.sha256(packed).hexdigest()
    assert len(packed) <= 1_000_000
    assert record["parameters"] <= record["parameters_with_top"] <= 500_000
    assert record["test"]["images"] == 10_000
    assert record["test"]["accuracy"]["value"] >= 0.88
    assert record["command"].startswith("kerastl pretrain --data cifar10/")


def test_frozen_features_of_the_shipped_weights_beat_random_ones():
    from benchmarks.transfer import compare

    margins = compare("digits", per_class=20, seeds=1)
    assert margins[0] > 0
