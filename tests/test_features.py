"""What the head gets for each image, computed once."""

import keras
import numpy as np
import pytest

import kerastl
from kerastl.errors import UsageError
from kerastl.finetuning import features
from kerastl.finetuning.features import extract_features


@pytest.fixture(scope="module")
def model():
    return kerastl.build_model("tiny", num_classes=3, hidden=(8,), seed=1)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype="uint8")


def test_features_are_what_the_head_gets(model, pixels):
    pooled = keras.Model(model.input, model.get_layer("pooling").output)
    found = extract_features(model, pixels, cache=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, pooled.predict(pixels.astype("float32"), verbose=0), atol=1e-5
    )


def test_the_same_images_run_once(model, pixels, tmp_path, monkeypatch):
    first = extract_features(model, pixels, cache=tmp_path)
    monkeypatch.setattr(features, "build_prefix", lambda *a: pytest.fail("nothing runs"))
    again = kerastl.build_model("tiny", num_classes=5, seed=9)  # another head
    with pytest.raises(pytest.fail.Exception, match="nothing runs"):
        extract_features(again, pixels + 1, cache=tmp_path)
    monkeypatch.setattr(features, "build_prefix", lambda *a: None)
    np.testing.assert_array_equal(extract_features(again, pixels, cache=tmp_path), first)


def test_a_split_gives_one_row_per_image(model):
    data = kerastl.load_images("digits")
    found = extract_features(model, data.validation)
    assert found.shape == (len(data.validation), 80)
    assert not found.flags.writeable


@pytest.mark.parametrize("shape", [(2, 16, 16, 3), (2, 32, 32, 1), (32, 32, 3)])
def test_pixels_of_another_form_are_refused(model, shape):
    with pytest.raises(UsageError, match=r"give uint8 pixels \(n, 32, 32, 3\)"):
        extract_features(model, np.zeros(shape, "uint8"))
    with pytest.raises(UsageError, match="images=float32"):
        extract_features(model, np.zeros((2, 32, 32, 3), "float32"))
