"""The networks to train from scratch, against what is published of them."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastl.bases import BASES, get_base
from kerastl.errors import UsageError
from kerastl.finetuning.planning import check_weights, plan_job
from kerastl.models import build_model, load_model, save_model
from kerastl.networks import add_auxiliary_head
from kerastl.networks.inception import MODULES
from kerastl.networks.responses import normalize_responses
from kerastl.options import Options
from kerastl.weights import find_obstacle, is_cached, resolve_weights

SCRATCH = [name for name, base in BASES.items() if base.pretrained is None]


def build(name, **settings):
    return build_model(name, weights=None, num_classes=1000, **settings)


def count_trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def count_convolution(side, given, width, *, bias=True):
    return side * side * given * width + bias * width


# What is published


def test_these_are_the_networks_without_weights():
    assert [
        *("alexnet", "googlenet", "vgg_small", "resnet_small"),
    ] == SCRATCH


@pytest.mark.parametrize(
    ("name", "published", "convolutions"),
    [("resnet18", 11_689_512, 17), ("resnet34", 21_797_672, 33)],
)
def test_the_residual_nets_are_those_of_torchvision(name, published, convolutions):
    model = build(name, image_size=64)
    assert count_trainable(model) == published
    kernels = [v.shape for v in model.trainable_variables if len(v.shape) == 4]
    projections = [shape for shape in kernels if shape[:2] == (1, 1)]
    assert len(kernels) - len(projections) == convolutions  # and the last, dense, one
    assert len(projections) == 3
    sides = [model.get_layer(end).output.shape[1] for _, end in get_base(name).cuts]
    assert sides == [16, 16, 8, 4, 2]


def test_alexnet_has_the_parameters_and_sizes_of_the_paper():
    head = {"pooling": "flatten", "hidden": (4096, 4096), "dropout": 0.5}
    model = build("alexnet", **head)
    assert model.count_params() == 60_965_224
    sizes = [model.get_layer(name).output.shape[1:] for name in ("conv1", "conv2", "conv5")]
    assert sizes == [(55, 55, 96), (27, 27, 256), (13, 13, 256)]
    assert model.get_layer("pooling").output.shape[-1] == 9216


def test_the_halves_of_alexnet_are_a_grouped_convolution():
    model = build("alexnet", image_size=67)
    given, got = model.get_layer("pool1").output, model.get_layer("conv2").output
    inputs = np.random.default_rng(0).normal(size=(2, *given.shape[1:])).astype("float32")
    found = keras.Model(given, got)(inputs).numpy()
    halves = [model.get_layer(f"conv2_{part}").get_weights() for part in (1, 2)]
    grouped = keras.layers.Conv2D(256, 5, padding="same", groups=2, activation="relu")
    grouped.build(inputs.shape)
    grouped.set_weights([np.concatenate(pair, axis=-1) for pair in zip(*halves)])  # noqa: B905
    np.testing.assert_allclose(found, grouped(inputs).numpy(), rtol=1e-4, atol=1e-5)


def test_googlenet_has_the_published_parameters_with_and_without_its_heads():
    model = build("googlenet")
    assert model.count_params() == 6_998_552
    heads = [
        add_auxiliary_head(model.get_layer(name).output, f"aux_{name}", 1000, "softmax")
        for name in get_base("googlenet").auxiliaries
    ]
    joint = keras.Model(model.inputs, [model.output, *heads])
    assert joint.count_params() == 13_378_280
    pooled = [joint.get_layer(f"aux_inception_4{part}_pool").output for part in "ad"]
    assert [tensor.shape[1:] for tensor in pooled] == [(4, 4, 512), (4, 4, 528)]


def test_the_inception_modules_are_those_of_table_1():
    model = build("googlenet", image_size=32)
    # output channels, and thousands of parameters, which the paper gives within 8 %
    table = {
        "3a": (256, 159), "3b": (480, 380), "4a": (512, 364), "4b": (512, 437),
        "4c": (512, 463), "4d": (528, 580), "4e": (832, 840), "5a": (832, 1072),
        "5b": (1024, 1388),
    }  # fmt: skip
    assert list(table) == list(MODULES)
    for module, (channels, thousands) in table.items():
        name = f"inception_{module}"
        parts = [layer for layer in model.layers if layer.name.startswith(f"{name}_")]
        found = sum(layer.count_params() for layer in parts) / 1024
        assert model.get_layer(name).output.shape[-1] == channels
        assert found == pytest.approx(thousands, rel=0.08), module


def test_the_small_nets_have_the_parameters_their_layers_add_up_to():
    widths = [(3, 16), (16, 32), (32, 64), (64, 128), (128, 128), (128, 256)]
    vgg = sum(count_convolution(3, *pair) for pair in widths)
    residual = 0
    for given, width in ((3, 64), (64, 128), (128, 256)):
        residual += count_convolution(3, given, width, bias=False)
        residual += count_convolution(3, width, width, bias=False) + 2 * 4 * width
        residual += count_convolution(1, given, width)
    assert (BASES["vgg_small"].parameters, BASES["resnet_small"].parameters) == (
        vgg, residual,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["vgg_small", "resnet_small"])
def test_the_small_nets_give_4096_values_at_32_pixels(name):
    model = build(name, pooling="flatten")
    assert model.get_layer("pooling").output.shape == (None, 4096)


@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
def test_the_output_is_finite_and_differs_between_images_at_the_start(name):
    side = 96
    model = build_model(name, weights=None, num_classes=3, image_size=side)
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype("uint8")
    pixels[1] //= 4
    last = model.get_layer(get_base(name).cuts[-1][1]).output
    values = keras.Model(model.input, last)(pixels).numpy()
    assert np.isfinite(values).all()
    assert values.std() > 1e-3
    assert np.abs(values[0] - values[1]).max() > 1e-3
    keras.utils.clear_session()


# Local response normalisation


@pytest.mark.parametrize("bias", [1.0, 2.0])
@pytest.mark.parametrize("channels", [3, 96])
def test_responses_are_normalised_as_tensorflow_does(bias, channels):
    inputs = keras.Input((4, 5, channels))
    model = keras.Model(inputs, normalize_responses(inputs, bias))
    x = np.random.default_rng(0).normal(0, 100, (2, 4, 5, channels)).astype("float32")
    expected = tf.nn.local_response_normalization(x, 2, bias, 1e-4, 0.75).numpy()
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-5, atol=1e-4)


def test_responses_of_half_precision_do_not_overflow():
    inputs = keras.Input((1, 1, 8), dtype="float16")
    with_half = keras.Model(inputs, normalize_responses(inputs, 2.0))
    assert np.isfinite(with_half(np.full((1, 1, 1, 8), 1000.0, "float16")).numpy()).all()


@pytest.mark.slow
def test_a_saved_alexnet_loads_and_predicts_without_this_package(tmp_path):
    model = build_model("alexnet", weights=None, image_size=67, num_classes=3)
    path = save_model(model, tmp_path / "alexnet.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 67, 67, 3)).astype("float32")
    expected = model.predict_on_batch(pixels)
    np.testing.assert_array_equal(load_model(path).predict_on_batch(pixels), expected)
    np.savez(tmp_path / "images.npz", pixels=pixels, expected=expected)
    code = (
        "import sys; sys.modules['kerastl'] = None\n"  # any import of it fails
        "import keras, numpy as np\n"
        "given = np.load('images.npz')\n"
        "model = keras.models.load_model('alexnet.keras')\n"
        "found = model.predict_on_batch(given['pixels'])\n"
        "np.testing.assert_allclose(found, given['expected'], rtol=1e-5, atol=1e-7)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# Weights, of which there are none


@pytest.mark.parametrize("weights", ["pretrained", "imagenet"])
def test_pretrained_weights_are_refused_with_what_to_do(weights):
    with pytest.raises(UsageError, match=f"'{weights}' does not exist for alexnet") as got:
        build_model("alexnet", weights=weights)
    assert "weights=None (--weights none)" in str(got.value)
    with pytest.raises(UsageError, match="no pretrained weights"):
        check_weights(get_base("alexnet"), weights)
    with pytest.raises(UsageError, match="no pretrained weights"):
        plan_job(Options(data="digits", base="alexnet", weights=weights))


def test_auto_starts_from_random_weights_and_says_so(capsys):
    model = build_model("vgg_small", weights="auto")
    assert model.kerastl.weights == "random"
    said = capsys.readouterr().err
    assert "vgg_small starts from random weights: it has no pretrained weights" in said


def test_weights_of_one_s_own_can_be_given(tmp_path):
    first = build_model("vgg_small", weights=None, seed=1)
    save_model(first, tmp_path / "mine.keras")
    second = build_model("vgg_small", weights=tmp_path / "mine.keras", seed=2)
    kernels = [m.get_layer("block1_conv1").get_weights()[0] for m in (first, second)]
    np.testing.assert_array_equal(*kernels)


def test_there_is_nothing_to_fetch():
    row = get_base("googlenet")
    assert find_obstacle(row) == "it has no pretrained weights"
    assert not is_cached(row)
    assert row.source == "none"
    assert resolve_weights(row, None).source == "random"
