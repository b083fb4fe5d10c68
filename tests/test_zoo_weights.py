"""Presets of keras-hub in our networks: its own code and files, but for the download."""

import dataclasses
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="needs pip install 'kerastl[zoo]'")

import keras  # noqa: E402
from PIL import Image  # noqa: E402
from sklearn.datasets import load_digits, load_sample_images  # noqa: E402

from kerastl.__main__ import main  # noqa: E402
from kerastl.bases import get_base  # noqa: E402
from kerastl.errors import StorageError, UsageError  # noqa: E402
from kerastl.models import build_model  # noqa: E402
from kerastl.weights import find_obstacle, presets, resolve_weights  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SIDE = 96
UNITS = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3]}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def make_backbone(name: str, **changes: object) -> keras.Model:
    """A backbone as keras-hub configures it, every variable of it random."""
    settings = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": UNITS[name],
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": "basic_block",
    }
    backbone = keras_hub.models.ResNetBackbone(**{**settings, **changes})
    noise = np.random.default_rng(7)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            gamma, variance = noise.uniform(0.5, 1.5, (2, size))
            beta, mean = noise.normal(0, 0.3, (2, size))
            layer.set_weights([gamma, beta, mean, variance])
    return backbone


def make_converter(mean=MEAN, std=STD) -> keras.Layer:
    return keras_hub.layers.ResNetImageConverter(
        image_size=(224, 224), scale=list(1 / 255 / std), offset=list(-mean / std)
    )


@dataclasses.dataclass(frozen=True)
class Preset:
    folder: Path
    backbone: keras.Model


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Preset]:
    """Both presets, saved by keras-hub."""
    found = {}
    for name in UNITS:
        folder = tmp_path_factory.mktemp("presets") / name
        backbone = make_backbone(name)
        backbone.save_to_preset(str(folder))
        make_converter().save_to_preset(str(folder))
        found[name] = Preset(folder, backbone)
    return found


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def list_cached(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if path.suffix == ".npz")


def read_photos() -> np.ndarray:
    """Two photographs and a digit, as 0-255 RGB."""
    digit = np.repeat(load_digits().images[0][..., None] * 15, 3, axis=-1)
    photos = [*load_sample_images().images, digit.astype("uint8")]
    resized = [Image.fromarray(photo).resize((SIDE, SIDE)) for photo in photos]
    return np.stack([np.asarray(image) for image in resized]).astype("float32")


def compute(model: keras.Model, name: str) -> np.ndarray:
    last = model.get_layer(get_base(name).cuts[-1][1]).output
    return keras.Model(model.input, last)(read_photos()).numpy()


def compute_with_hub(backbone: keras.Model) -> np.ndarray:
    converter = make_converter()
    converter.image_size = None
    return np.asarray(backbone(converter(read_photos()), training=False))


def assert_same_features(model: keras.Model, name: str, backbone: keras.Model) -> None:
    expected = compute_with_hub(backbone)
    assert expected.std() > 0.1  # neither dead nor overflowing
    assert np.abs(expected[0] - expected[1]).max() > 0.1
    found = compute(model, name)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def copy_preset(preset: Preset, folder: Path, **changed: bytes | None) -> Path:
    """Copy a preset's files but for some; None leaves one out."""
    folder.mkdir()
    for path in preset.folder.iterdir():
        content = changed.get(path.name.replace(".", "_"), path.read_bytes())
        if content is not None:
            (folder / path.name).write_bytes(content)
    return folder


# The same function


@pytest.mark.parametrize("name", UNITS)
def test_features_are_those_that_keras_hub_computes(name, made, home):
    model = build_model(name, weights=made[name].folder, image_size=SIDE, num_classes=3)
    assert_same_features(model, name, made[name].backbone)
    assert model.kerastl.weights == str(made[name].folder)
    assert len(list_cached(home)) == 1


TIMM = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def name_like_timm(layer: str) -> str:
    """Name a layer of keras-hub as timm does, such as `layer1.0.conv2`."""
    found = re.fullmatch(r"stack(\d)_block(\d)_(\d)_(conv|bn)", layer)
    if not found:
        return {"conv1_conv": "conv1", "conv1_bn": "bn1"}[layer]
    stack, block, number, kind = found.groups()
    owner = f"{kind}{number}" if number != "0" else f"downsample.{int(kind == 'bn')}"
    return f"layer{int(stack) + 1}.{block}.{owner}"


def write_timm(backbone: keras.Model, folder: Path) -> Path:
    """What timm publishes, which keras-hub converts by itself when it loads it."""
    from safetensors.numpy import save_file

    tensors = {}
    for layer in backbone.layers:
        for variable in layer.weights:
            value = variable.numpy()
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            name = f"{name_like_timm(layer.name)}.{TIMM[variable.name]}"
            tensors[name] = np.ascontiguousarray(value)
    pixels = {"input_size": [3, 224, 224], "interpolation": "bicubic"}
    config = {
        "architecture": "resnet34",
        "num_classes": 1000,
        "pretrained_cfg": {**pixels, "mean": MEAN.tolist(), "std": STD.tolist()},
    }
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_model_of_timm_is_converted_as_well(made, tmp_path):
    folder = write_timm(made["resnet34"].backbone, tmp_path / "timm")
    model = build_model("resnet34", weights=str(folder), image_size=SIDE)
    assert_same_features(model, "resnet34", made["resnet34"].backbone)


def test_the_rows_prepare_pixels_as_the_converter_does():
    converter = make_converter()
    for name in UNITS:
        scale, offset = get_base(name).scaling
        np.testing.assert_allclose(scale, converter.scale, rtol=1e-6)
        np.testing.assert_allclose(offset, converter.offset, rtol=1e-6)


def test_a_first_load_leaves_no_trace_in_the_program(made):
    keras.config.set_dtype_policy("mixed_float16")
    state = random.getstate()
    try:
        first = build_model("resnet18", weights=made["resnet18"].folder, image_size=32)
        assert random.getstate() == state
        again = build_model("resnet18", weights=made["resnet18"].folder, image_size=32)
    finally:
        keras.config.set_dtype_policy("float32")
    assert [layer.name for layer in first.layers] == [layer.name for layer in again.layers]
    for one, other in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    kernel = first.get_layer("conv1_conv").kernel
    given = made["resnet18"].backbone.get_layer("conv1_conv").kernel
    np.testing.assert_array_equal(kernel.numpy(), given.numpy())  # not through half


# From the server, whose answers a folder gives


def serve(monkeypatch, folders: dict[str, Path]) -> list[str]:
    """Let Kaggle and Hugging Face answer with files of folders; return what is asked."""
    import huggingface_hub.errors
    import kagglehub

    asked = []

    def answer(address: str, filename: str) -> str:
        asked.append(f"{address}/{filename}")
        path = folders[address] / filename
        if not path.is_file():
            raise FileNotFoundError(path)
        return str(path)

    def from_hugging_face(repo_id: str, filename: str) -> str:
        try:
            return answer(f"hf://{repo_id}", filename)
        except FileNotFoundError as error:
            raise huggingface_hub.errors.LocalEntryNotFoundError(str(error)) from error

    def from_kaggle(handle: str, path: str) -> str:
        return answer(f"kaggle://{handle}", path)

    monkeypatch.setattr(kagglehub, "model_download", from_kaggle)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", from_hugging_face)
    monkeypatch.setattr(presets, "probe", lambda *_, **__: "")
    return asked


LOAD = """
import sys
sys.modules["keras_hub"] = None  # any import of it fails
from kerastl.models import build_model
model = build_model("resnet18", weights={weights!r}, image_size=32)
kernel = model.get_layer("conv5_block2_2_conv").get_weights()[0]
print(model.kerastl.weights, float(abs(kernel).sum()))
"""


def load_without_hub(weights: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", LOAD.format(weights=weights)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def sum_kernel(preset: Preset) -> float:
    return float(np.abs(preset.backbone.get_layer("stack3_block1_2_conv").kernel).sum())


def test_what_was_fetched_once_needs_keras_hub_no_more(made, home, monkeypatch, capsys):
    address = get_base("resnet18").pretrained.url
    asked = serve(monkeypatch, {address: made["resnet18"].folder})
    assert find_obstacle(get_base("resnet18")) == ""

    model = build_model("resnet18", weights="imagenet", image_size=SIDE)

    assert_same_features(model, "resnet18", made["resnet18"].backbone)
    assert model.kerastl.weights == "imagenet"
    assert list_cached(home) == ["kerastl_resnet18_imagenet.npz"]
    assert f"Fetching {address} with keras-hub" in capsys.readouterr().err
    asked.clear()
    for weights in ("pretrained", "auto"):
        assert resolve_weights(get_base("resnet18"), weights).source == "imagenet"
    assert asked == []
    source, total = load_without_hub("imagenet")
    assert source == "imagenet"
    assert float(total) == pytest.approx(sum_kernel(made["resnet18"]), rel=1e-5)


def test_resnet34_is_asked_of_hugging_face(made, home, monkeypatch, tmp_path):
    folder = write_timm(made["resnet34"].backbone, tmp_path / "timm")
    asked = serve(monkeypatch, {"hf://timm/resnet34.a1_in1k": folder})
    model = build_model("resnet34", weights="auto", image_size=SIDE)
    assert_same_features(model, "resnet34", made["resnet34"].backbone)
    assert "hf://timm/resnet34.a1_in1k/model.safetensors" in asked
    assert list_cached(home) == ["kerastl_resnet34_imagenet.npz"]


def test_the_address_is_one_that_keras_hub_knows():
    published = keras_hub.models.ResNetBackbone.presets["resnet_18_imagenet"]
    address = get_base("resnet18").pretrained.url
    assert address.rpartition("/")[0] == published["kaggle_handle"].rpartition("/")[0]
    assert get_base("resnet18").parameters == published["metadata"]["params"]
    assert "resnet_34_imagenet" not in keras_hub.models.ResNetBackbone.presets


def test_a_download_that_breaks_off_is_an_error_and_leaves_nothing(home, monkeypatch):
    import kagglehub

    def fail(*_):
        raise ConnectionError("reset by peer\nand more")

    monkeypatch.setattr(kagglehub, "model_download", fail)
    monkeypatch.setattr(presets, "probe", lambda *_, **__: "")
    with pytest.raises(StorageError, match=r"by keras-hub \(reset by peer\)\. Give the f"):
        build_model("resnet18", weights="imagenet")
    resolved = resolve_weights(get_base("resnet18"), "auto")
    assert resolved.source == "random"
    assert "reset by peer" in resolved.note
    assert list_cached(home) == []


def test_a_folder_that_was_loaded_once_needs_keras_hub_no_more(made, home, tmp_path):
    folder = copy_preset(made["resnet18"], tmp_path / "mine")
    resolve_weights(get_base("resnet18"), folder)
    source, total = load_without_hub(str(folder))
    assert source == str(folder)
    assert float(total) == pytest.approx(sum_kernel(made["resnet18"]), rel=1e-5)
    # other files, other weights
    (folder / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="could not be loaded"):
        resolve_weights(get_base("resnet18"), folder)
    assert len(list_cached(home)) == 1


# What does not fit


def test_a_preset_of_another_depth_is_refused(made, home):
    with pytest.raises(UsageError, match="fit resnet34: it has 11,186,112 weights, not 2"):
        build_model("resnet34", weights=made["resnet18"].folder)
    assert list_cached(home) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_pre_activation": True}, "use_pre_activation is True, not False"),
        ({"stackwise_num_strides": [1, 2, 2, 1]}, r"strides is \[1, 2, 2, 1\], not"),
        ({"block_type": "basic_block_vd"}, "block_type is 'basic_block_vd', not"),
    ],
)
def test_a_preset_of_another_residual_net_is_refused(changes, told, tmp_path):
    make_backbone("resnet18", **changes).save_to_preset(str(tmp_path / "other"))
    with pytest.raises(UsageError, match=f"resnet18: it is a ResNetBackbone.*{told}"):
        resolve_weights(get_base("resnet18"), tmp_path / "other")


def test_a_preset_of_something_else_is_refused(tmp_path):
    other = keras_hub.models.VGGBackbone(
        stackwise_num_repeats=[1, 1], stackwise_num_filters=[4, 8]
    )
    other.save_to_preset(str(tmp_path / "other"))
    with pytest.raises(UsageError, match="it is a VGGBackbone whose block_type is None"):
        resolve_weights(get_base("resnet18"), tmp_path / "other")


def test_a_converter_that_prepares_pixels_otherwise_is_refused(made, tmp_path):
    folder = copy_preset(made["resnet18"], tmp_path / "other")
    make_converter(mean=np.full(3, 0.5), std=np.full(3, 0.5)).save_to_preset(str(folder))
    with pytest.raises(UsageError) as caught:
        resolve_weights(get_base("resnet18"), folder)
    for part in ("-1.000 -1.000 -1.000", "-2.118 -2.036 -1.804", "1.000 1.000 1.000"):
        assert part in str(caught.value)


def test_a_preset_without_a_converter_is_taken(made, tmp_path):
    folder = copy_preset(made["resnet18"], tmp_path / "bare", image_converter_json=None)
    assert resolve_weights(get_base("resnet18"), folder).path.is_file()


@pytest.mark.parametrize(
    "damage",
    [
        {"model_weights_h5": b"half of it"},
        {"model_weights_h5": None},
        {"config_json": b"{not json"},
        {"config_json": b"{}"},
        {"image_converter_json": b"[]"},
    ],
    ids=lambda damage: "-".join(f"{name}-{value}" for name, value in damage.items()),
)
def test_a_damaged_preset_is_named_and_nothing_is_kept(damage, made, tmp_path, home):
    folder = copy_preset(made["resnet18"], tmp_path / "damaged", **damage)
    with pytest.raises(StorageError, match=r"damaged by keras-hub \(.+\)\. Give"):
        build_model("resnet18", weights=folder)
    assert list_cached(home) == []


def test_a_cut_weights_file_is_named(made, tmp_path):
    content = (made["resnet18"].folder / "model.weights.h5").read_bytes()
    folder = copy_preset(
        made["resnet18"], tmp_path / "cut", model_weights_h5=content[: len(content) // 2]
    )
    with pytest.raises(StorageError, match="weights of resnet18 could not be loaded from"):
        resolve_weights(get_base("resnet18"), folder)


# The command line


def test_finetune_takes_a_folder_and_says_what_it_was(
    made, tmp_path, image_folder, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    copy_preset(made["resnet18"], tmp_path / "mine")
    photos = str(image_folder({"cat": 10, "dog": 10}))
    line = ["finetune", "--data", photos, "--base", "resnet18", "--weights", "mine"]
    line += ["--image-size", "32", "--out", "run", "--fast-dev-run", "--quiet"]
    assert main(line) == 0, capsys.readouterr().err
    config = (tmp_path / "run" / "config.toml").read_text()
    assert f'weights = "{tmp_path / "mine"}"' in config
    assert main([*line[:-1], "--weights", str(made["resnet34"].folder), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "do not fit resnet18: it has 21,301,696 weights" in said
    assert "Traceback" not in said
