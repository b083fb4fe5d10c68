"""Activations in half the bytes, and computed in bfloat16 as well: what they give."""

import json
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from engines import assert_same_weights, compare, make_data, train

import kerastl
from kerastl.errors import ResumeRefusedError, UsageError
from kerastl.finetuning import entries, fast
from kerastl.finetuning.activations import build_prefix
from kerastl.finetuning.choices import MIXED
from kerastl.finetuning.features import split_at_head
from kerastl.finetuning.folding import find_folds, run_folded
from kerastl.finetuning.precisions import compute_in
from kerastl.finetuning.storing import ActivationStore

HALVES = ("float16", "bfloat16", MIXED)
BASES = (
    "tiny",
    pytest.param("mobilenetv2", marks=pytest.mark.slow),
    pytest.param("resnet50", marks=pytest.mark.slow),
)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return entries.cache_folder("activations")


def finetune(**settings):
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=32)
    options = {"schedule": "gradual", "epochs": 1, "verbose": 0, **settings}
    return kerastl.finetune(model, make_data(), **options)


def measure(folder):
    return sum(path.stat().st_size for path in folder.glob("*/*.npy"))


# Kept


@pytest.mark.parametrize(
    "dtype", [*(pytest.param(d, marks=pytest.mark.slow) for d in HALVES[:2]), MIXED]
)
def test_half_the_bytes_give_almost_the_same_history(dtype, kept, monkeypatch, tmp_path):
    whole = train("auto", "tiny", "hybrid", epochs=2)
    size = measure(kept)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "half"))
    half = train("auto", "tiny", "hybrid", epochs=2, activations=dtype)
    kept = entries.cache_folder("activations")
    headers = 128 * len([*kept.glob("*/*.npy")])
    assert measure(kept) - headers == (size - headers) / 2
    found = compare(whole, half)
    assert 0 < found["history"] < 0.05
    again = train("auto", "tiny", "hybrid", epochs=2, activations=dtype)
    assert_same_weights(half, again)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_damaged_file_of_half_the_bytes_is_made_again(dtype, tmp_path, caplog):
    forms = [((4, 2), dtype)]
    store = ActivationStore(tmp_path)
    values = np.arange(8).reshape(4, 2)
    write = partial(np.copyto, src=values, casting="unsafe")
    first = store.get("key", forms, lambda out: write(out[0]))
    assert first[0].dtype.name == dtype
    assert first[0].nbytes == 16
    path = tmp_path / "key/0.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = ActivationStore(tmp_path).get("key", forms, lambda out: write(out[0]))
    assert "is damaged and made again" in caplog.text
    found = ActivationStore(tmp_path).get("key", forms, None)
    for arrays in (again, found):
        np.testing.assert_array_equal(arrays[0].astype("float32"), values)


def enlarge(model):
    kernel = model.get_layer("stem_conv").weights[0]
    kernel.assign(kernel * 1e6)
    return model


@pytest.mark.parametrize("settings", [{}, {"augment": ["flip"]}])
def test_numbers_beyond_float16_are_refused_and_bfloat16_takes_them(settings, kept):
    def run(dtype):
        model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=32)
        options = {"schedule": "feature-extraction", "epochs": 1, "verbose": 0, **settings}
        data = make_data()
        return kerastl.finetune(enlarge(model), data, activations=dtype, **options)

    with pytest.raises(UsageError, match=r"up to 65,504.* give activations='bfloat16'"):
        run("float16")
    for dtype in ("bfloat16", MIXED):
        assert np.isfinite(run(dtype).history["loss"]).all()


def test_a_dtype_there_is_none_of_and_the_plain_engine_are_refused():
    with pytest.raises(UsageError, match="Did you mean 'float16'"):
        finetune(activations="float1")
    with pytest.raises(UsageError, match="engine='plain', which keeps none"):
        finetune(activations="float16", engine="plain")


@pytest.mark.slow
def test_a_run_goes_on_with_the_dtype_it_began_with(tmp_path, kept):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    callback = keras.callbacks.LambdaCallback(on_train_begin=stop)
    settings = {"schedule": "feature-extraction", "out": tmp_path / "run"}
    with pytest.raises(Stop):
        finetune(**settings, activations="float16", callbacks=[callback])
    with pytest.raises(ResumeRefusedError, match="activations: float16 in the run"):
        finetune(**settings, resume=True)
    run = finetune(**settings, activations="float16", resume=True)
    assert 'activations = "float16"' in (tmp_path / "run/config.toml").read_text()
    assert len(run.history) == 1
    assert json.loads((tmp_path / "run/data.json").read_text())["engine"] == "auto"


# Computed


def build(base):
    keras.utils.set_random_seed(0)
    model = kerastl.build_model(base, num_classes=3, weights=None, image_size=32)
    draw = np.random.default_rng(1)
    for weight in model.weights:
        if "moving_mean" in weight.path or "beta" in weight.path:
            weight.assign(draw.normal(0, 0.1, weight.shape))
        elif "gamma" in weight.path or "moving_variance" in weight.path:
            weight.assign(draw.uniform(0.8, 1.2, weight.shape))
    return model


def compute(model, dtype):
    """Return the features of images, and what a graph computes convolutions in."""
    spec = (tf.TensorSpec((None, 32, 32, 3), "float32"),)
    run = build_prefix(split_at_head(model).prefix, spec, dtype)
    operations = run.get_concrete_function().graph.get_operations()
    used = {one.get_attr("T").name for one in operations if one.type == "Conv2D"}
    images = make_data().train.pixels(32).astype("float32")
    return run(images)[0], used


def measure_distance(one, other):
    one, other = (np.asarray(tf.cast(each, "float32")) for each in (one, other))
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.fixture
def under_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(MIXED)
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("base", BASES)
def test_layers_compute_as_under_the_policy_of_keras(base, under_policy):
    model = build(base)
    keras.config.set_dtype_policy("float32")
    same = build(base)
    expected, _ = compute(model, "float32")  # which keeps what is computed as it is
    prefix = split_at_head(same).prefix
    images = make_data().train.pixels(32).astype("float32")
    with compute_in(prefix, MIXED):
        found = tf.function(prefix)(images, training=False)
    assert found.dtype == expected.dtype == tf.bfloat16
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("base", BASES)
def test_folded_they_are_no_further_from_float32_than_under_the_policy(base, under_policy):
    policy, _ = compute(build(base), "float32")
    keras.config.set_dtype_policy("float32")
    model = build(base)
    whole, _ = compute(model, "float32")
    folded, used = compute(model, MIXED)
    assert (folded.dtype, used) == (tf.bfloat16, {"bfloat16"})
    assert 0 < measure_distance(folded, whole) < 1.2 * measure_distance(policy, whole)


@pytest.mark.parametrize(
    ("base", "folded", "left"),
    [
        ("tiny", 5, 3),
        pytest.param("vgg16", 0, 0, marks=pytest.mark.slow),
        pytest.param("resnet50", 53, 0, marks=pytest.mark.slow),
        pytest.param("mobilenetv2", 52, 0, marks=pytest.mark.slow),
        pytest.param("densenet121", 59, 62, marks=pytest.mark.slow),
        pytest.param("googlenet", 0, 0, marks=pytest.mark.slow),
    ],
)
def test_in_float32_folded_layers_give_the_same(base, folded, left):
    prefix = split_at_head(build(base)).prefix
    norms = [o for o in prefix.operations if "BatchNormalization" in type(o).__name__]
    assert (len(find_folds(prefix)), len(norms) - folded) == (folded, left)
    images = make_data().train.pixels(32).astype("float32")
    (found,) = run_folded(prefix, images)
    assert measure_distance(found, prefix(images, training=False)) < 1e-5


def test_a_batchnorm_is_folded_only_into_a_convolution_that_gives_it_numbers():
    pixels = keras.Input((8, 8, 3))
    bent = keras.layers.Conv2D(4, 3, activation="relu")(pixels)
    bent = keras.layers.BatchNormalization()(bent)
    apart = keras.layers.SeparableConv2D(4, 3)(bent)
    apart = keras.layers.BatchNormalization(scale=False)(apart)
    conv, norm = keras.layers.Conv2D(4, 1), keras.layers.BatchNormalization()
    twice = norm(conv(norm(conv(apart))))
    last = keras.layers.Conv2D(6, 3, groups=2, strides=2, padding="same")(twice)
    both = keras.layers.BatchNormalization(center=False)(last)
    model = keras.Model(pixels, [both, last])
    assert len(find_folds(model)) == 1
    images = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype("float32")
    for found, expected in zip(run_folded(model, images), model(images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_model_computes_as_before():
    model, images = build("tiny"), make_data().train.pixels(32)
    before = model.predict(images, verbose=0)
    compute(model, MIXED)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)
    assert compute(model, "bfloat16")[1] == {"float32"}


def test_a_graph_follows_weights_that_are_assigned_anew():
    model = build("tiny")
    spec = (tf.TensorSpec((None, 32, 32, 3), "float32"),)
    run = build_prefix(split_at_head(model).prefix, spec, MIXED)
    images = make_data().train.pixels(32).astype("float32")
    run(images)
    norm = next(one for one in model.layers if "bn" in one.name)
    norm.gamma.assign(2 * norm.gamma)
    np.testing.assert_array_equal(run(images)[0], compute(model, MIXED)[0])


def test_layers_compute_as_before_after_a_trace_that_failed(monkeypatch):
    model = build("tiny")
    monkeypatch.setattr(model.layers[-3], "call", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compute(model, MIXED)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_what_is_computed_otherwise_is_kept_apart(kept):
    finetune(schedule="feature-extraction", activations="bfloat16")
    first = {entry.name for entry in kept.glob("*")}
    finetune(schedule="feature-extraction", activations=MIXED)
    second = {entry.name for entry in kept.glob("*")} - first
    assert len(first) == len(second) == 2  # training and validation
    finetune(schedule="feature-extraction", activations=MIXED)
    assert {entry.name for entry in kept.glob("*")} == first | second


def test_every_epoch_of_augmented_images_is_computed_so(kept, monkeypatch):
    seen = []

    def note(*arguments):
        found = extract_view(*arguments)
        seen.append(found.tensors[0].dtype.name)
        return found

    extract_view = fast.extract_view
    monkeypatch.setattr(fast, "extract_view", note)
    settings = {"schedule": "feature-extraction", "epochs": 2, "augment": ["flip"]}
    half = finetune(**settings, activations=MIXED)
    assert set(seen) == {"bfloat16"}
    assert 0 < compare(finetune(**settings), half)["history"] < 0.05
