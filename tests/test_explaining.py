"""Grad-CAM: for every base, against CAM, and on images whose class is in a known place."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kerastl
from kerastl.bases import BASES
from kerastl.bases.operations import list_operations
from kerastl.errors import DataError, UsageError
from kerastl.finetuning.explaining import advise_size, compute_maps, find_map
from kerastl.models import ModelInfo, get_info, predict_probabilities
from kerastl.reporting import enlarge_maps, overlay_maps, plot_heatmaps
from kerastl.stages import Stage

FAST = ("tiny", "vgg16", "resnet50", "mobilenetv2", "mobilenetv3small")
SLOW = tuple(name for name in BASES if name not in FAST)


def make_model(base="tiny", side=32, **settings):
    settings = {"num_classes": 3, "weights": None, "image_size": side} | settings
    return kerastl.build_model(base, **settings)


def make_pixels(n=3, side=32, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, side, side, 3)).astype("uint8")


def shake(model):
    """Give biases and BatchNorms values of their own: fresh ones hide mistakes."""
    generator = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) == 1:
            weight.assign(weight.numpy() + generator.uniform(0, 0.3, weight.shape))
    kernel = model.get_layer("predictions").kernel
    kernel.assign(kernel.numpy() + 0.1)  # else a class may have nothing that speaks for it
    return model


def compute_cam(model, pixels, classes):
    """Class activation maps of Zhou et al. 2016, by the kernel of the one Dense."""
    features = keras.Model(model.input, find_map(model)).predict_on_batch(pixels)
    kernel = model.get_layer("predictions").kernel.numpy()
    maps = np.maximum(np.einsum("nhwc,cn->nhw", features, kernel[:, classes]), 0)
    assert (maps.max(axis=(1, 2)) > 0).all()
    return maps / maps.max(axis=(1, 2), keepdims=True)


# Which tensor


def check_target(base):
    row = BASES[base]
    side = row.min_size
    model = make_model(base, side)
    target = find_map(model)
    assert target._keras_history[0].name == row.cuts[-1][1] or base.startswith("convnext")
    assert target.shape[-1] == row.features
    assert model.get_layer("pooling").input.shape == target.shape
    found = kerastl.explain(model, make_pixels(1, side))
    assert found.heatmaps.shape == (1, side, side)
    assert found.grid == target.shape[1:3]
    assert np.isfinite(found.heatmaps).all()
    assert bool(found.note) == (min(found.grid) < 4)
    keras.utils.clear_session()


@pytest.mark.parametrize("base", FAST)
def test_the_last_map_of_a_base_is_found(base):
    check_target(base)


@pytest.mark.slow
@pytest.mark.parametrize("base", SLOW)
def test_the_last_map_of_every_other_base_is_found(base):
    check_target(base)


@pytest.mark.parametrize(
    "head", [{"pooling": "max"}, {"pooling": "flatten"}, {"hidden": (8,), "dropout": 0.5}]
)
def test_the_head_does_not_change_which_tensor_it_is(head):
    assert find_map(make_model(**head))._keras_history[0].name == "block2_norm"


def test_a_pooling_that_keeps_its_dimensions_is_passed_over():
    pixels = keras.Input((16, 16, 3), name="pixels")
    conv = keras.layers.Conv2D(4, 3, name="conv")(pixels)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True)(conv)
    model = keras.Model(pixels, keras.layers.Flatten()(pooled))
    assert find_map(model)._keras_history[0].name == "conv"


# What the maps are


@pytest.mark.parametrize(
    ("base", "side", "pooling"),
    [
        ("tiny", 32, "average"),
        ("tiny", 32, "max"),
        ("vgg16", 96, "max"),
        ("resnet50", 64, "average"),
        pytest.param("mobilenetv2", 64, "average", marks=pytest.mark.slow),
        pytest.param("convnexttiny", 64, "average", marks=pytest.mark.slow),
        pytest.param("densenet121", 64, "max", marks=pytest.mark.slow),
    ],
)
def test_with_pooling_and_one_dense_it_is_cam(base, side, pooling):
    model = shake(make_model(base, side, pooling=pooling))
    pixels, classes = make_pixels(3, side), np.array([2, 0, 1])
    maps, _, _ = compute_maps(model, pixels, classes[:, None])
    cam = compute_cam(model, pixels, classes)
    assert np.count_nonzero(cam) > 3
    np.testing.assert_allclose(maps[:, 0], cam, atol=2e-5)


def test_with_a_flattened_map_weights_are_means_over_the_cells():
    model = shake(make_model(pooling="flatten"))
    pixels = make_pixels()
    features = keras.Model(model.input, find_map(model)).predict_on_batch(pixels)
    kernel = model.get_layer("predictions").kernel.numpy()[:, 1]
    weights = kernel.reshape(features.shape[1:]).mean(axis=(0, 1))
    expected = np.maximum(features @ weights, 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    maps, _, _ = compute_maps(model, pixels, np.full((3, 1), 1))
    np.testing.assert_allclose(maps[:, 0], expected, atol=1e-5)


def test_hidden_layers_are_gone_through_by_finite_differences():
    model = shake(make_model(hidden=(6,)))
    pixels = make_pixels(1)
    maps, _, _ = compute_maps(model, pixels, np.array([[2]]))
    features = keras.Model(model.input, find_map(model)).predict_on_batch(pixels)[0]
    features = features.astype(float)
    hidden, last = (model.get_layer(n).get_weights() for n in ("hidden1", "predictions"))

    def score(means):
        return (np.maximum(means @ hidden[0] + hidden[1], 0) @ last[0] + last[1])[2]

    means, step = features.mean(axis=(0, 1)), 1e-5
    steps = np.eye(len(means)) * step
    weights = [(score(means + row) - score(means - row)) / (2 * step) for row in steps]
    expected = np.maximum(features @ np.array(weights), 0)
    np.testing.assert_allclose(maps[0, 0], expected / expected.max(), atol=1e-3)


def test_a_saturated_softmax_has_a_map_all_the_same():
    model = shake(make_model())
    dense = model.get_layer("predictions")
    dense.kernel.assign(dense.kernel.numpy() * 400)
    pixels = make_pixels()
    assert predict_probabilities(model, pixels).max(axis=1) == pytest.approx(1.0)
    found = kerastl.explain(model, pixels)
    assert (found.heatmaps.max(axis=(1, 2)) == 1).all()
    cam = compute_cam(model, pixels, found.classes)
    np.testing.assert_allclose(found.heatmaps, enlarge_maps(cam, (32, 32)), atol=1e-4)


def test_several_labels_per_image_are_explained_one_by_one():
    model = shake(make_model(multi_label=True, class_names=["red", "round", "big"]))
    pixels = make_pixels()
    found = kerastl.explain(model, pixels, classes=["big", "red", "round"])
    assert found.labels == ("big", "red", "round")
    expected = predict_probabilities(model, pixels)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(found.confidences, expected[[0, 1, 2], [2, 0, 1]], atol=1e-6)
    maps, _, _ = compute_maps(model, pixels, np.array([[2], [0], [1]]))
    np.testing.assert_allclose(maps[:, 0], compute_cam(model, pixels, [2, 0, 1]), atol=1e-5)


def test_by_default_it_is_the_most_probable_class_in_any_number_of_batches():
    model, pixels = shake(make_model()), make_pixels(37)
    found = kerastl.explain(model, pixels)
    probabilities = predict_probabilities(model, pixels)
    assert (found.classes == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-6)
    last = kerastl.explain(model, pixels[36:])
    np.testing.assert_allclose(found.heatmaps[36:], last.heatmaps, atol=1e-5)


def test_a_class_that_nothing_speaks_for_has_an_empty_map():
    model = make_model()
    dense, norm = model.get_layer("predictions"), model.get_layer("block2_norm")
    norm.beta.assign(np.full(norm.beta.shape, 50.0))  # all features positive
    dense.kernel.assign(-np.ones(dense.kernel.shape))
    found = kerastl.explain(model, make_pixels())
    assert (found.heatmaps == 0).all()


def test_explaining_leaves_the_model_as_it_was():
    model, pixels = make_model(dropout=0.5), make_pixels()
    before = [*model.get_weights(), predict_probabilities(model, pixels)]
    kerastl.explain(model, pixels)
    after = [*model.get_weights(), predict_probabilities(model, pixels)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


SHADES = np.array([[1.0, 1.0, 0.3], [0.3, 1.0, 1.0]])  # yellow, cyan


def make_squares(n, seed):
    """Noise with a bright square in a random quadrant, whose colour is the class."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 90, (n, 32, 32, 3))
    labels, quadrants = generator.integers(0, 2, n), generator.integers(0, 4, n)
    for image, label, place in zip(pixels, labels, quadrants, strict=True):
        row, column = generator.integers(2, 7, 2) + 16 * np.array(divmod(place, 2))
        square = generator.integers(190, 256, (8, 8, 3)) * SHADES[label]
        image[row : row + 8, column : column + 8] = square
    return pixels.astype("uint8"), labels, quadrants


def test_heat_lies_where_the_class_is_decided():
    pixels, labels, _ = make_squares(160, 0)
    data = kerastl.load_images(pixels, labels=labels, test=0.0, seed=0)
    model = kerastl.build_model("tiny", num_classes=2)
    stage = Stage(
        name="top", unfreeze="block2", epochs=4, learning_rate=3e-3, batch_size=16
    )
    kerastl.finetune(model, data, schedule=stage, verbose=0)
    fresh, labels, quadrants = make_squares(40, 1)
    found = kerastl.explain(model, fresh)
    assert (found.classes == labels).mean() >= 0.95
    heat = found.heatmaps.reshape(-1, 2, 16, 2, 16).sum(axis=(2, 4)).reshape(-1, 4)
    shares = heat / heat.sum(axis=1, keepdims=True)
    inside = shares[np.arange(len(shares)), quadrants]
    print(inside.mean(), (shares.argmax(axis=1) == quadrants).mean())
    assert inside.mean() > 0.5  # by chance 0.25
    assert (shares.argmax(axis=1) == quadrants).mean() > 0.8


# Coarse maps


@pytest.mark.parametrize(
    ("base", "side", "sentence"),
    [
        ("vgg16", 32, "The map has one cell at 32 px, .* use image_size >= 128"),
        ("resnet50", 64, "The map has 2 x 2 cells at 64 px, .* use image_size >= "),
        ("tiny", 8, "2 x 2 cells"),
    ],
)
def test_a_map_too_coarse_is_said_aloud(base, side, sentence):
    model = make_model(base, side)
    found = kerastl.explain(model, make_pixels(1, side))
    assert re.search(sentence, found.note)
    assert found.note in repr(found)
    heading = found.plot().texts[0].get_text()
    assert "The map has" in heading


def test_the_advised_size_is_enough():
    model = make_model("vgg16", 32)
    side = int(advise_size(get_info(model), (1, 1)).rpartition(" ")[2].rstrip("."))
    assert min(find_map(make_model("vgg16", side)).shape[1:3]) >= 4
    assert advise_size(get_info(model), (4, 4)) == ""


@pytest.mark.parametrize("base", BASES)
def test_for_every_base_a_larger_size_is_advised_that_is_enough(base):
    row = BASES[base]
    info = ModelInfo(base=base, weights="random", image_size=(row.min_size,) * 2)
    side = int(advise_size(info, (1, 1)).rpartition(" ")[2].rstrip("."))
    assert min(lay_map(base, side)) >= 4
    assert side == 32 or min(lay_map(base, side - 32)) < 4


def lay_map(base, side):
    """Rows and columns of a base's output, from the list of its operations."""
    features = BASES[base].features
    shapes = [one.shape for one in list_operations(base, (side, side))]
    return [shape[:2] for shape in shapes if shape[2:] == (features,)][-1]


# Images and classes given


def write_photos(folder, n=3):
    for number, pixels in enumerate(make_pixels(n)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_files_give_what_their_pixels_give(tmp_path):
    model = shake(make_model())
    found = kerastl.explain(model, write_photos(tmp_path))
    again = kerastl.explain(model, make_pixels())
    assert np.array_equal(found.heatmaps, again.heatmaps)
    assert found.names == tuple(str(tmp_path / f"{n}.png") for n in range(3))
    assert again.names == ("1", "2", "3")


def test_unreadable_files_are_left_out_and_named(tmp_path):
    write_photos(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    model = shake(make_model())
    found = kerastl.explain(model, tmp_path, classes=[0, 1, 2])
    assert [path for path, _ in found.failures] == [str(tmp_path / "1.png")]
    assert found.classes.tolist() == [0, 2]
    assert np.array_equal(found.pixels, make_pixels()[[0, 2]])
    with pytest.raises(DataError, match="1.png"):
        kerastl.explain(model, tmp_path / "1.png")


def test_a_saved_model_is_opened_by_its_path(tmp_path):
    model = shake(make_model())
    path = kerastl.save_model(model, tmp_path / "model.keras")
    found = kerastl.explain(path, make_pixels())
    assert np.array_equal(found.heatmaps, kerastl.explain(model, make_pixels()).heatmaps)


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (3, "classes=3: give a name, or an index from 0 to 2"),
        (-1, "classes=-1"),
        (True, "classes=True"),
        ("cta", "cta.*cat"),
        ([0, 1], "2 classes for 3 images"),
    ],
)
def test_classes_that_do_not_fit_are_refused(classes, sentence):
    model = make_model(class_names=["cat", "dog", "cow"])
    with pytest.raises(UsageError, match=sentence):
        kerastl.explain(model, make_pixels(), classes=classes)


def test_pixels_of_another_form_are_refused():
    with pytest.raises(UsageError, match=r"float64\(3, 32, 32, 3\)"):
        kerastl.explain(make_model(), make_pixels() / 255)
    with pytest.raises(UsageError, match=r"uint8\(3, 16, 16, 3\)"):
        kerastl.explain(make_model(), make_pixels(side=16))


# Drawing


@pytest.mark.parametrize(("cells", "size"), [((7, 7), (224, 224)), ((2, 5), (9, 31))])
def test_enlarging_is_what_tensorflow_does(cells, size):
    maps = np.random.default_rng(0).random((2, *cells)).astype("float32")
    expected = tf.image.resize(maps[..., None], size, "bilinear").numpy()[..., 0]
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(enlarge_maps(maps, size), expected, atol=1e-5)


def test_an_overlay_is_grey_where_it_is_cold_and_bright_where_it_is_hot():
    images = np.full((1, 2, 1, 3), [200, 100, 0], np.uint8)
    cold, hot = overlay_maps(images, np.array([[[0.0], [1.0]]]))[0, :, 0].astype(int)
    assert len(set(cold)) == 1
    assert hot[0] > hot[2] + 50
    with pytest.raises(UsageError, match=r"\(1, 1, 1\) on images of shape \(1, 2, 1, 3\)"):
        overlay_maps(images, np.zeros((1, 1, 1)))


def test_a_figure_has_a_strip_per_image():
    found = kerastl.explain(shake(make_model()), make_pixels(5))
    axes = found.plot(columns=2).axes
    assert len(axes) == 5
    height, width = axes[0].images[0].get_array().shape[:2]
    assert 2 * height < width < 2.2 * height
    with pytest.raises(UsageError, match=r"maps of shape \(4, 2, 2\) for 5 images"):
        plot_heatmaps(found.pixels, np.zeros((4, 2, 2)), ["a"] * 5)
