"""Building models: the graph, the head, what is refused, weights going into the base."""

import hashlib
import http.server
import json
import random
import threading
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from kerastl.bases import choice, get_base
from kerastl.errors import StorageError, UsageError
from kerastl.models import (
    ModelInfo,
    build_model,
    get_info,
    layer_table,
    predict_probabilities,
    read_info,
    save_model,
    set_class_names,
    set_normalization,
)
from kerastl.models.initialization import load_arrays
from kerastl.weights import files as files_module
from kerastl.weights.files import WeightsFile

# Keras copies its variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """No test fetches anything: nobody listens at the mirror."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KERASTL_WEIGHTS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def tiny(**settings) -> keras.Model:
    return build_model("tiny", **{"weights": None, "num_classes": 3, **settings})


def some_pixels(count: int = 5, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def base_weights(model: keras.Model) -> dict[str, np.ndarray]:
    blocks = {info.name: info.block for info in layer_table(model)}
    return {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in model.layers
        if blocks[layer.name] not in ("head", "preprocessing")
        for variable in layer.weights
    }


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# The graph.


@pytest.mark.parametrize(
    ("base", "settings", "head"),
    [
        ("vgg16", {"hidden": [256]}, ["pooling", "hidden1", "predictions"]),
        (
            "vgg16",
            {"pooling": "flatten", "hidden": [4096, 4096], "dropout": 0.5},
            [*("pooling", "hidden1", "dropout1"), *("hidden2", "dropout2", "predictions")],
        ),
        ("resnet50", {"hidden": [1024]}, ["pooling", "hidden1", "predictions"]),
        ("tiny", {"dropout": 0.5}, ["pooling", "dropout1", "predictions"]),
    ],
)
def test_heads_are_one_line_each(base, settings, head):
    model = build_model(base, weights=None, image_size=32, **settings)

    assert [layer.name for layer in model.layers[-len(head) :]] == head
    assert model.output_shape == (None, 10)
    units = [layer.units for layer in model.layers if layer.name.startswith("hidden")]
    assert units == settings.get("hidden", [])
    np.testing.assert_allclose(model(some_pixels(2)).numpy().sum(1), 1, rtol=1e-5)


def test_the_graph_is_flat_and_starts_with_raw_pixels():
    model = build_model("vgg16", weights=None, image_size=32)

    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.layers[0].name == "pixels"
    assert model.layers[1].name == "preprocessing"
    assert model.get_layer("block5_conv3").output.shape == (None, 2, 2, 512)
    assert model.name == "vgg16"


def test_uint8_and_float_pixels_give_the_same():
    model = tiny()
    pixels = some_pixels()

    expected = model.predict_on_batch(pixels)
    np.testing.assert_array_equal(
        expected, model.predict_on_batch(pixels.astype("float32"))
    )


@pytest.mark.parametrize(
    ("pooling", "kind"),
    [
        ("average", keras.layers.GlobalAveragePooling2D),
        ("max", keras.layers.GlobalMaxPooling2D),
        ("flatten", keras.layers.Flatten),
    ],
)
def test_poolings(pooling, kind):
    assert isinstance(tiny(pooling=pooling).get_layer("pooling"), kind)


def test_multi_label_has_sigmoid_outputs_and_may_have_one():
    model = tiny(num_classes=1, multi_label=True)

    assert model.get_layer("predictions").activation is keras.activations.sigmoid
    assert model.output_shape == (None, 1)


def test_height_and_width_may_differ():
    model = tiny(image_size=(16, 24))

    assert model.input_shape == (None, 16, 24, 3)
    assert get_info(model).image_size == (16, 24)


def test_probabilities_stay_single_precision_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = tiny()
    finally:
        keras.config.set_dtype_policy("float32")

    assert model.get_layer("stem_conv").compute_dtype == "float16"
    assert model.get_layer("predictions").compute_dtype == "float32"
    assert predict_probabilities(model, some_pixels()).dtype == np.float32


def test_float64_reaches_the_outputs():
    keras.config.set_dtype_policy("float64")
    try:
        model = tiny()
    finally:
        keras.config.set_dtype_policy("float32")

    assert model.output.dtype == "float64"


def test_a_seed_fixes_all_initial_weights_and_touches_no_other_seed():
    random.seed(7)
    state = random.getstate()
    first, again, other = tiny(seed=1), tiny(seed=1), tiny(seed=2)

    assert random.getstate() == state
    for a, b in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    for name in ("stem_conv", "predictions"):
        kernel = first.get_layer(name).kernel.numpy()
        assert not np.array_equal(kernel, other.get_layer(name).kernel.numpy())


def test_the_head_of_a_seed_does_not_depend_on_how_the_base_starts(tmp_path):
    tiny(seed=5).save_weights(tmp_path / "w.weights.h5")
    kernels = [
        tiny(seed=1, weights=weights).get_layer("predictions").kernel.numpy()
        for weights in (None, tmp_path / "w.weights.h5")
    ]

    np.testing.assert_array_equal(*kernels)


# What is refused, and when.


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"num_classes": 1}, "num_classes=1 must be a whole number from 2 up"),
        ({"num_classes": 2.5}, "num_classes=2.5 must be"),
        ({"num_classes": True}, "num_classes=True must be"),
        ({"num_classes": 0, "multi_label": True}, "num_classes=0 .* from 1 up"),
        ({"pooling": "averag"}, "pooling='averag' .*Did you mean 'average'"),
        ({"hidden": [256, 0]}, r"hidden=\[256, 0\] must be"),
        ({"hidden": "256"}, "hidden='256' must be"),
        ({"hidden": None}, "hidden=None must be"),
        ({"dropout": 1}, "dropout=1 must be a share"),
        ({"dropout": -0.1}, "dropout=-0.1 must be"),
        ({"dropout": float("nan")}, "dropout=nan must be"),
        ({"image_size": 7}, "image_size=7 is too small for tiny: .* at least 8 "),
        ({"image_size": (32, 7)}, r"image_size=\(32, 7\) is too small"),
        ({"image_size": (32, 32, 3)}, r"image_size=\(32, 32, 3\) is neither"),
        ({"image_size": "32"}, "image_size='32' is neither"),
        ({"image_size": 32.0}, "image_size=32.0 is neither"),
        ({"image_size": -32}, "image_size=-32 is neither"),
        ({"base": "tinny"}, "base='tinny' .*Did you mean 'tiny'"),
        ({"class_names": ["a", "b"]}, "class_names has 2 names for 3 outputs"),
        ({"class_names": ["a", "b", "a"]}, "class_names has 'a' twice"),
        ({"weights": "imagenet"}, "'imagenet' does not exist for tiny"),
        ({"weights": "nowhere.h5"}, "'nowhere.h5': there is no such file"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(settings, sentence):
    arguments = {"base": "tiny", "num_classes": 3, "weights": None, **settings}

    with pytest.raises(UsageError, match=sentence):
        build_model(**arguments)


def test_arguments_are_refused_before_weights_are_fetched():
    with pytest.raises(UsageError, match="image_size=31 is too small for resnet50"):
        build_model("resnet50", image_size=31)


def test_offline_pretrained_weights_fail_with_what_to_do():
    with pytest.raises(StorageError, match=r"resnet50 could not be fetched.*weights=None"):
        build_model("resnet50")


def test_offline_auto_starts_at_random_and_says_so(capsys):
    model = build_model("mobilenetv2", weights="auto", image_size=32)

    assert get_info(model).weights == "random"
    assert "mobilenetv2 starts from random weights" in capsys.readouterr().err


# What travels with a model.


def test_a_model_knows_what_it_was_made_from():
    model = tiny(hidden=[8], dropout=0.25, class_names=["가", "나", "다"])

    assert get_info(model) == ModelInfo(
        base="tiny",
        weights="random",
        image_size=(32, 32),
        hidden=(8,),
        dropout=0.25,
        class_names=("가", "나", "다"),
    )


def test_a_foreign_model_is_refused():
    foreign = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="mine")

    for call in (get_info, layer_table, lambda m: set_class_names(m, ["a", "b"])):
        with pytest.raises(UsageError, match="'mine' was not made by kerastl"):
            call(foreign)


def test_class_names_can_be_set_later_one_for_each_output():
    model = tiny()
    set_class_names(model, ["a", "b", "c"])

    assert get_info(model).class_names == ("a", "b", "c")
    with pytest.raises(UsageError, match="class_names has 1 names for 3 outputs"):
        set_class_names(model, ["a"])


def test_layers_are_listed_with_block_kind_and_size():
    table = layer_table(tiny())
    by_name = {info.name: info for info in table}

    assert [info.name for info in table] == [layer.name for layer in tiny().layers]
    assert by_name["preprocessing"].block == "preprocessing"
    assert by_name["stem_conv"].block == "stem"
    assert by_name["block2_out"].block == "block2"
    assert by_name["predictions"].block == "head"
    assert by_name["predictions"].parameters == 81 * 3
    assert by_name["stem_bn"].is_batchnorm
    assert not by_name["stem_conv"].is_batchnorm


# Normalisation.

STATISTICS = SimpleNamespace(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.243, 0.261))


def preprocessed(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    output = model.get_layer("preprocessing").output
    return keras.Model(model.input, output)(pixels).numpy()


@pytest.mark.parametrize(
    ("base", "turned"), [("vgg16", True), ("tiny", False), ("densenet121", False)]
)
def test_statistics_of_the_data_replace_those_of_the_base(base, turned):
    model = build_model(base, weights=None, image_size=32)
    pixels = some_pixels()
    own = preprocessed(model, pixels)
    expected = (pixels / 255 - STATISTICS.mean) / STATISTICS.std

    set_normalization(model, STATISTICS)

    order = slice(None, None, -1) if turned else slice(None)
    np.testing.assert_allclose(preprocessed(model, pixels), expected[..., order], atol=1e-4)
    assert get_info(model).normalization == {
        "mean": STATISTICS.mean,
        "std": STATISTICS.std,
    }
    set_normalization(model, None)
    np.testing.assert_array_equal(preprocessed(model, pixels), own)
    assert get_info(model).normalization == "base"


def test_predictions_follow_the_normalisation_without_compiling():
    model = tiny()
    before = predict_probabilities(model, some_pixels())
    set_normalization(model, STATISTICS)

    assert not np.array_equal(predict_probabilities(model, some_pixels()), before)


def test_a_base_that_normalises_by_itself_is_refused():
    model = build_model("efficientnetb0", weights=None, image_size=32)

    with pytest.raises(UsageError, match="base='efficientnetb0', whose own layers"):
        set_normalization(model, STATISTICS)


@pytest.mark.parametrize(
    ("mean", "std", "sentence"),
    [
        ((125, 122, 113), (0.2, 0.2, 0.2), r"mean=\(125.0, .* from 0 to 1"),
        ((0.5, 0.5), (0.2, 0.2, 0.2), r"mean=\(0.5, 0.5\) must be three"),
        ((0.5, 0.5, 0.5), (0.2, 0.0, 0.2), r"std=\(0.2, 0.0, 0.2\) must be three"),
        ((0.5, 0.5, float("nan")), (0.2, 0.2, 0.2), "mean=.*nan"),
    ],
)
def test_statistics_out_of_range_are_refused(mean, std, sentence):
    with pytest.raises(UsageError, match=sentence):
        set_normalization(tiny(), SimpleNamespace(mean=mean, std=std))


# Prediction.


def test_probabilities_of_a_read_only_memory_map_in_batches(tmp_path):
    pixels = some_pixels(11)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    model = tiny()

    predicted = predict_probabilities(model, mapped, batch_size=4)

    assert predicted.shape == (11, 3)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(predicted, model.predict_on_batch(pixels), atol=1e-6)
    assert predict_probabilities(model, pixels[:0]).shape == (0, 3)


def test_pixels_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"shape \(5, 16, .*fit.*\(5, 32, 32, 3\)"):
        predict_probabilities(tiny(), some_pixels(side=16))


# Weights going into the base.


def save_legacy(model: keras.Model, path: Path) -> bytes:
    """Write weights the way the published ImageNet files are written."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path.read_bytes()


def randomise(model: keras.Model) -> None:
    rng = np.random.default_rng(3)
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Return a function that publishes bytes at every address of a local server."""
    servers = []

    def start(content: bytes) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{servers[-1].server_port}"
        monkeypatch.setenv("KERASTL_WEIGHTS_URL", url)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_weights_of_the_published_format_arrive_layer_by_layer(tmp_path, serve):
    source = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    randomise(source)
    serve(save_legacy(source, tmp_path / "source.h5"))

    model = build_model("mobilenetv2", image_size=32)

    expected = {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in source.layers
        for variable in layer.weights
    }
    assert_same(base_weights(model), expected)
    assert get_info(model).weights == "imagenet"


def publish(monkeypatch, name: str, content: bytes) -> None:
    """Make `content` what the row's hash expects."""
    row = get_base(name)
    file = row.pretrained
    digest = hashlib.md5(content).hexdigest()
    changed = WeightsFile(file.source, file.name, file.url, digest)
    published = type(row)(**{**vars(row), "pretrained": changed})
    monkeypatch.setitem(choice._ROWS, name, published)


def test_efficientnet_computes_what_keras_computes_with_its_published_weights(
    tmp_path, serve, monkeypatch
):
    shape = (32, 32, 3)
    source = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=shape
    )
    normalization = next(x for x in source.layers if "normalization" in x.name)
    means, deviations = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    normalization.set_weights([np.array(means), np.array(deviations), np.array(0)])
    path = tmp_path / "efficientnetb0_notop.h5"
    content = save_legacy(source, path)
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *_, **__: str(path))
    reference = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", input_shape=shape
    )
    publish(monkeypatch, "efficientnetb0", content)
    serve(content)

    model = build_model("efficientnetb0", image_size=32)
    ours = keras.Model(model.input, model.get_layer("top_activation").output)

    pixels = some_pixels(2).astype("float32")
    expected = reference(pixels).numpy()
    np.testing.assert_allclose(ours(pixels).numpy(), expected, rtol=2e-3, atol=1e-5)

    started = build_model("efficientnetb0", weights=None, image_size=32)
    for a, b in zip(
        started.get_layer("normalization").get_weights(),
        model.get_layer("normalization").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["weights.h5", "keras"])
def test_the_base_of_a_saved_model_can_be_taken(tmp_path, kind):
    source = tiny(seed=3, hidden=[8], num_classes=5)
    path = tmp_path / f"source.{kind}"
    if kind == "keras":
        save_model(source, path)
    else:
        source.save_weights(path)

    model = tiny(weights=path, seed=4)

    assert_same(base_weights(model), base_weights(source))
    assert get_info(model).weights == str(path)
    save_model(model, tmp_path / "mine.keras")  # what is passed on names no folders
    assert read_info(tmp_path / "mine.keras").weights == path.name


def save_tiny_arrays(
    path: Path, dtype: str = "float16", **changes
) -> dict[str, np.ndarray]:
    arrays = {k: v.astype(dtype) for k, v in base_weights(tiny(seed=9)).items()} | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return arrays


def test_arrays_by_layer_and_variable_fill_the_base(tmp_path):
    arrays = save_tiny_arrays(tmp_path / "tiny.npz")
    model = tiny(weights=tmp_path / "tiny.npz")

    expected = {name: array.astype("float32") for name, array in arrays.items()}
    assert_same(base_weights(model), expected)


def test_weights_shipped_with_the_package_are_the_default_of_tiny(tmp_path, monkeypatch):
    arrays = save_tiny_arrays(tmp_path / "tiny.npz")
    digest = hashlib.sha256((tmp_path / "tiny.npz").read_bytes()).hexdigest()
    (tmp_path / "tiny.json").write_text(json.dumps({"sha256": digest}))
    monkeypatch.setattr(files_module, "ASSETS", tmp_path)

    model = build_model("tiny", num_classes=3)

    assert_same(base_weights(model), {k: v.astype("float32") for k, v in arrays.items()})
    assert get_info(model).weights == "cifar10"
    auto = build_model("auto", num_classes=3)  # offline, so no resnet50
    assert get_info(auto).base == "tiny"


@pytest.mark.skipif(
    not (files_module.ASSETS / "tiny.npz").is_file(), reason="tiny is not trained yet"
)
def test_the_shipped_weights_of_tiny_load():
    model = build_model("tiny", num_classes=3)

    assert get_info(model).weights == "cifar10"
    assert np.isfinite(predict_probabilities(model, some_pixels())).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stem_conv/kernel": None}, "1 arrays are missing .* 'stem_conv/kernel'"),
        ({"extra/kernel": np.zeros(3)}, "1 arrays are .* 'extra/kernel'"),
        ({"stem_bn/gamma": np.zeros(3)}, r"'stem_bn/gamma' has shape \(3,\), not \(32,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, sentence):
    save_tiny_arrays(tmp_path / "other.npz", **changes)

    with pytest.raises(UsageError, match=f"other.npz' do not fit tiny: {sentence}"):
        tiny(weights=tmp_path / "other.npz")


def test_arrays_that_need_unpickling_are_refused(tmp_path):
    arrays = base_weights(tiny())
    arrays["stem_bn/gamma"] = np.array([{}] * 32, dtype=object)
    np.savez(tmp_path / "bad.npz", **arrays)
    network = keras.Model((model := tiny()).inputs, model.get_layer("block2_out").output)

    with pytest.raises(StorageError, match="bad.npz is damaged or no NumPy archive"):
        load_arrays(network, tmp_path / "bad.npz")


def test_weights_of_another_network_are_refused(tmp_path):
    other = build_model("mobilenet", weights=None, image_size=32)
    other.save_weights(tmp_path / "v.weights.h5")
    save_legacy(other, tmp_path / "v.h5")

    for name in ("v.weights.h5", "v.h5"):
        with pytest.raises(UsageError, match=f"{name}' do not fit tiny"):
            tiny(weights=tmp_path / name)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5", "w.npz", "w.keras"])
def test_damaged_weights_are_refused(tmp_path, name):
    path = tmp_path / name
    if name == "w.npz":
        save_tiny_arrays(path)
    elif name == "w.keras":
        save_model(tiny(), path)
    elif name == "w.h5":
        save_legacy(tiny(), path)
    else:
        tiny().save_weights(path)
    content = path.read_bytes()

    for damaged in (content[: len(content) // 2], b"", b"<html>not a file</html>"):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=rf"{name} (is damaged|cannot be read)"):
            tiny(weights=path)
