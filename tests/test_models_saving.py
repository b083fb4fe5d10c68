"""Saving and loading: plain Keras reads our files, and we read nothing but our files."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest

from kerastl.errors import DataError, KerastlError, StorageError, UsageError
from kerastl.models import (
    build_model,
    check_model_file,
    get_info,
    layer_table,
    load_model,
    predict_probabilities,
    read_info,
    save_model,
    set_normalization,
)

# Keras copies its variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def some_pixels(count: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def tiny(**settings) -> keras.Model:
    names = ["고양이", "개", "<b>새</b>"]
    return build_model("tiny", num_classes=3, weights=None, class_names=names, **settings)


@pytest.fixture(scope="module")
def original() -> keras.Model:
    return tiny(hidden=[8], dropout=0.5)


@pytest.fixture(scope="module")
def content(original, tmp_path_factory) -> bytes:
    path = save_model(original, tmp_path_factory.mktemp("saved") / "model.keras")
    return path.read_bytes()


@pytest.fixture
def saved(content, tmp_path) -> Path:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    return path


# A round trip.


def test_everything_comes_back(original, saved):
    model = load_model(saved)

    assert get_info(model) == get_info(original)
    assert layer_table(model) == layer_table(original)
    assert not model.compiled
    assert model.get_config()["output_layers"] == original.get_config()["output_layers"]
    assert model.output_shape == (None, 3)
    pixels = some_pixels()
    predicted = predict_probabilities(model, pixels)
    assert predicted.tobytes() == predict_probabilities(original, pixels).tobytes()


PLAIN_KERAS = """
import sys


class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "kerastl":
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NotInstalled)
import keras, numpy as np

for name in sys.argv[1:]:
    model = keras.models.load_model(name + ".keras")
    pixels = np.load(name + ".pixels.npy")
    np.save(name + ".out.npy", model.predict_on_batch(pixels))
assert "kerastl" not in sys.modules
"""


def assert_plain_keras_agrees(models: dict[str, keras.Model], folder: Path) -> None:
    expected = {}
    for name, model in models.items():
        save_model(model, folder / f"{name}.keras")
        pixels = some_pixels(side=model.input_shape[1])
        np.save(folder / f"{name}.pixels.npy", pixels)
        expected[name] = predict_probabilities(model, pixels)
    command = [sys.executable, "-I", "-W", "ignore", "-c", PLAIN_KERAS, *models]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    for name in models:
        np.testing.assert_array_equal(np.load(folder / f"{name}.out.npy"), expected[name])


def test_plain_keras_in_a_fresh_process_predicts_the_same_bytes(tmp_path):
    normalised = tiny()
    statistics = SimpleNamespace(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))
    set_normalization(normalised, statistics)
    models = {
        "tiny": tiny(pooling="flatten", hidden=[16], dropout=0.5),
        "normalised": normalised,
        "vgg16": build_model("vgg16", weights=None, image_size=32, hidden=[16]),
        "mobile": build_model("mobilenetv3small", weights=None, image_size=32),
    }
    assert_plain_keras_agrees(models, tmp_path)
    assert get_info(load_model(tmp_path / "normalised.keras")) == get_info(normalised)


@pytest.mark.slow
@pytest.mark.parametrize(
    "base",
    [
        *("resnet50", "convnexttiny", "efficientnetb0", "efficientnetv2b0", "densenet121"),
        *("inceptionresnetv2", "inceptionv3", "nasnetmobile", "xception", "mobilenetv2"),
    ],
)
def test_plain_keras_loads_every_family(base, tmp_path):
    model = build_model(base, weights=None, image_size=96)
    assert_plain_keras_agrees({base: model}, tmp_path)
    load_model(tmp_path / f"{base}.keras")


def test_a_trained_model_is_saved_without_what_trained_it(tmp_path):
    model = tiny()

    def own_loss(labels, predictions):
        return keras.ops.mean(keras.ops.square(labels - predictions))

    model.compile("adam", own_loss)
    model.fit(some_pixels(), np.eye(3, dtype="float32"), verbose=0)
    path = save_model(model, tmp_path / "model.keras")

    assert model.compiled
    with zipfile.ZipFile(path) as archive:
        assert not json.loads(archive.read("config.json"))["compile_config"]
    again = predict_probabilities(load_model(path), some_pixels())
    assert again.tobytes() == predict_probabilities(model, some_pixels()).tobytes()


def test_the_class_names_can_be_read_without_keras(saved, original):
    assert read_info(saved) == get_info(original)
    code = (
        "import sys; from kerastl.models import read_info, check_model_file;"
        "check_model_file(sys.argv[1]); print(read_info(sys.argv[1]).class_names[2]);"
        "assert not {'keras', 'tensorflow'} & {*sys.modules}"
    )
    command = [sys.executable, "-X", "utf8", "-c", code, str(saved)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert shown.stdout == "<b>새</b>\n"


def test_which_layers_train_is_kept(tmp_path):
    model = tiny()
    model.get_layer("block1_1_conv").trainable = False
    again = load_model(save_model(model, tmp_path / "model.keras"))

    assert [x.trainable for x in again.layers] == [x.trainable for x in model.layers]


# Saving.


def test_only_keras_files_of_our_models_are_saved(tmp_path):
    for name in ("model.h5", "model", "model.weights.h5"):
        with pytest.raises(UsageError, match=f"{name}' must end in .keras"):
            save_model(tiny(), tmp_path / name)
    foreign = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="mine")
    with pytest.raises(UsageError, match="'mine' was not made by kerastl"):
        save_model(foreign, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_at_any_step_leaves_the_old_file(saved, content, monkeypatch):
    model = tiny()
    for step in range(1, 50):
        monkeypatch.setenv("KERASTL_FAILPOINT", f"{step}:enospc")
        monkeypatch.setattr("kerastl.runs.faults._steps", 0)
        with suppress(StorageError):
            save_model(model, saved)
        if saved.read_bytes() != content:
            break
        assert list(saved.parent.iterdir()) == [saved]

    assert step > 3
    monkeypatch.delenv("KERASTL_FAILPOINT")
    assert get_info(load_model(saved)) == get_info(model)


def test_a_kill_while_saving_leaves_the_old_file(saved, content):
    code = (
        "import sys; from kerastl.models import load_model, save_model;"
        "model = load_model(sys.argv[1]); save_model(model, sys.argv[1])"
    )
    environment = {**os.environ, "KERASTL_FAILPOINT": "3:kill"}
    command = [sys.executable, "-c", code, str(saved)]
    ended = subprocess.run(command, env=environment, capture_output=True)

    assert ended.returncode == -signal.SIGKILL
    assert saved.read_bytes() == content


# Files that are not loaded. Keras must not even see them.


@pytest.fixture
def no_keras(monkeypatch):
    def fail(*_, **__):
        pytest.fail("Keras was given the file")

    monkeypatch.setattr(keras.models, "load_model", fail)


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None], **options) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def change_config(path: Path, change: Callable[[dict], None]) -> Path:
    def edit(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config).encode()

    return rewrite(path, edit)


def replace_layer(package: str | None, name: str, /, **config) -> Callable[[dict], None]:
    def change(model: dict) -> None:
        layer = model["config"]["layers"][3]
        layer.update(module=package, class_name=name, registered_name=None)
        layer["config"].update(config)

    return change


def in_activation(value: object) -> Callable[[dict], None]:
    def change(model: dict) -> None:
        model["config"]["layers"][-1]["config"]["activation"] = value

    return change


def function(module: str, name: str) -> dict:
    return {"module": module, "class_name": "function", "config": name}


HOSTILE_CONFIGS = {
    "a lambda layer": replace_layer("keras.layers", "Lambda", function="..."),
    "a saved model": replace_layer("keras.layers", "TFSMLayer", filepath="/tmp/evil"),
    "a torch module": replace_layer("keras.layers", "TorchModuleWrapper", module="..."),
    "a file of words": replace_layer(
        "keras.layers", "StringLookup", vocabulary="/etc/passwd"
    ),
    "a module of the system": replace_layer("os", "system", command="touch canary"),
    "no module": replace_layer(None, "Conv2D"),
    "a class of the user": replace_layer("my.package", "Layer"),
    "a layer we never use": replace_layer("keras.layers", "GaussianNoise"),
    "a function": in_activation(function("os", "system")),
    "a keras function": in_activation(function("keras.utils", "get_file")),
    "a python lambda": in_activation({"class_name": "__lambda__", "config": {}}),
    "a type": in_activation({"class_name": "__typespec__", "config": []}),
    "a name that is no text": in_activation({"class_name": ["Dense"], "module": ["os"]}),
    "a module alone": in_activation({"module": "os", "config": {}}),
    "an optimizer": lambda config: config.update(
        compile_config={"optimizer": {"module": "os", "class_name": "system"}}
    ),
    "another root": lambda config: config.update(class_name="Sequential", module="keras"),
    "another registered name": lambda config: config["config"]["layers"][2].update(
        registered_name="evil>Layer"
    ),
}


@pytest.mark.parametrize("change", HOSTILE_CONFIGS.values(), ids=HOSTILE_CONFIGS)
def test_configs_that_call_other_code_are_refused(saved, change, no_keras):
    with pytest.raises(
        DataError, match=r"model.keras was not loaded: it .*saved by kerastl"
    ):
        load_model(change_config(saved, change))


def test_configs_that_are_too_large_or_too_deep_are_refused(saved, no_keras, content):
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for text in (deep, b"[]", b"null", b"{", b'{"class_name": "Functional"', b"\xff"):
        saved.write_bytes(content)
        rewrite(saved, lambda members, text=text: members.update({"config.json": text}))
        with pytest.raises(DataError, match="model.keras was not loaded: it"):
            load_model(saved)
    large = b" " * 10_000_001
    rewrite(saved, lambda members: members.update({"config.json": large}))
    with pytest.raises(DataError, match="config.json unpacks to 10,000,001 bytes"):
        load_model(saved)


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/evil", "assets/words.txt", "a\\b", "config.json/x"]
)
def test_members_that_do_not_belong_are_refused(saved, name, no_keras):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr(name, "evil")

    with pytest.raises(DataError, match="it holds a file"):
        load_model(saved)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_members_of_one_name_are_refused(saved, no_keras):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("config.json", "{}")

    with pytest.raises(DataError, match="two files of the same name"):
        load_model(saved)


def test_bombs_are_refused_by_their_declared_size(saved, no_keras):
    zeros = bytes(200_000_000)
    compressed = {"compression": zipfile.ZIP_DEFLATED}
    rewrite(saved, lambda m: m.update({"model.weights.h5": zeros}), **compressed)
    assert saved.stat().st_size < 1_000_000

    with pytest.raises(DataError, match="model.weights.h5 unpacks to over 100 times"):
        load_model(saved)


def test_encrypted_members_are_refused(saved, no_keras):
    data = bytearray(saved.read_bytes())
    for position in range(len(data) - 4):
        if data[position : position + 4] == b"PK\x01\x02":
            data[position + 8] |= 1
    saved.write_bytes(data)

    with pytest.raises(DataError, match="is encrypted"):
        load_model(saved)


def external_link(store: h5py.File) -> None:
    store["layers/stolen"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(store: h5py.File) -> None:
    store["layers/again"] = h5py.SoftLink("/layers")


def virtual_array(store: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "data", shape=(4,))
    store.create_virtual_dataset("layers/virtual", layout)


def outside_array(store: h5py.File) -> None:
    place = [("/etc/hostname", 0, 16)]
    store.create_dataset("layers/outside", (4,), "f4", external=place)


def shape_bomb(store: h5py.File) -> None:
    store.create_dataset("layers/bomb", (1 << 40,), "f4", chunks=(1024,))


def squeezed_bomb(store: h5py.File) -> None:
    zeros = np.zeros(1 << 20, "f4")
    store.create_dataset("layers/bomb", data=zeros, compression="gzip")


def words(store: h5py.File) -> None:
    store["layers/words"] = ["some", "words"]


@pytest.mark.parametrize(
    "change",
    [
        *(external_link, soft_link, virtual_array, outside_array),
        *(shape_bomb, squeezed_bomb, words),
    ],
)
def test_weights_that_reach_outside_or_explode_are_refused(saved, change, no_keras):
    def edit(members: dict[str, bytes]) -> None:
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "a") as store:
            change(store)
        members["model.weights.h5"] = buffer.getvalue()

    rewrite(saved, edit)
    for load in (load_model, lambda path: tiny_with(path)):
        with pytest.raises(DataError, match="its weights hold .*layers/"):
            load(saved)


def tiny_with(path: Path) -> keras.Model:
    return build_model("tiny", num_classes=3, weights=path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"{", "kerastl.json cannot be read"),
        (b'{"a":' * 100_000, "kerastl.json cannot be read"),
        (b"[1]", "kerastl.json holds list"),
        (b'{"base": "tiny"}', "missing or unknown fields: class_names, dropout"),
    ],
)
def test_broken_information_is_refused(saved, text, sentence, no_keras):
    rewrite(saved, lambda members: members.update({"kerastl.json": text}))

    with pytest.raises(DataError, match=f"model.keras was not loaded: .*{sentence}"):
        load_model(saved)


def change_info(path: Path, **values) -> Path:
    def edit(members: dict[str, bytes]) -> None:
        members["kerastl.json"] = json.dumps(
            {**json.loads(members["kerastl.json"]), **values}
        )

    return rewrite(path, edit)


@pytest.mark.parametrize(
    "values",
    [
        {"base": 3},
        {"image_size": [32]},
        {"image_size": [32, "32"]},
        {"hidden": "8"},
        {"dropout": "0"},
        {"multi_label": 1},
        {"class_names": [1, 2, 3]},
        {"pooling": "median"},
        {"normalization": "own"},
        {"normalization": {"mean": [0, 0, 0], "std": [1, 1]}},
    ],
)
def test_information_of_a_wrong_kind_is_refused(saved, values, no_keras):
    [name] = values

    with pytest.raises(DataError, match=f"kerastl.json has a wrong {name}: "):
        load_model(change_info(saved, **values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"base": "vgg16"}, "does not go with its layers"),
        ({"class_names": ["a"]}, "does not go with its layers"),
        ({"image_size": [64, 64]}, "does not go with its layers"),
        ({"base": "resnet9000"}, "'resnet9000', which this kerastl does not know"),
    ],
)
def test_information_about_another_model_is_refused(saved, values, sentence):
    with pytest.raises(DataError, match=sentence):
        load_model(change_info(saved, **values))


def test_a_model_of_plain_keras_is_refused_as_not_ours(tmp_path, no_keras):
    path = tmp_path / "plain.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)

    for call in (load_model, read_info):
        with pytest.raises(UsageError, match=r"plain.keras' was not saved by kerastl"):
            call(path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("model.h5", "model.h5' is no .keras file"),
        ("model.pkl", "model.pkl' is no .keras file"),
        ("https://example.com/m.keras", "m.keras' is an address"),
        ("hf://someone/model", "hf://someone/model' is an address"),
        ("folder.keras", "folder.keras' is a folder"),
        ("missing.keras", "missing.keras': there is no such file"),
    ],
)
def test_other_formats_and_places_are_refused(tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("model.h5", "model.pkl"):
        Path(name).write_bytes(b"...")
    Path("folder.keras").mkdir()

    with pytest.raises(UsageError, match=sentence):
        load_model(given)


@pytest.mark.parametrize("text", [b"", b"not a zip", b"\x80\x04pickle", b"PK\x05\x06"])
def test_what_is_no_archive_is_damaged(saved, text, no_keras):
    saved.write_bytes(text)

    with pytest.raises(StorageError, match="model.keras is damaged or no .keras file"):
        load_model(saved)


def test_a_truncated_file_is_damaged(saved, content, no_keras):
    for length in range(0, len(content), len(content) // 40):
        saved.write_bytes(content[:length])
        with pytest.raises(StorageError, match="model.keras is damaged"):
            load_model(saved)


def test_missing_members_are_damage(saved, content, no_keras):
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        saved.write_bytes(content)
        rewrite(saved, lambda members, name=name: members.pop(name))
        with pytest.raises(StorageError, match=f"{name} is missing"):
            load_model(saved)


def test_a_flipped_bit_is_found_or_changes_nothing(saved, content, original):
    found = 0
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        try:
            assert check_model_file(saved) == get_info(original)
        except KerastlError:
            found += 1

    assert found > 140


def test_an_old_keras_is_refused_with_the_line_to_type(saved, monkeypatch):
    monkeypatch.setattr(keras, "__version__", "3.15.0")

    with pytest.raises(UsageError, match='Keras 3.15.0 .*pip install "keras>=3.15.1"'):
        load_model(saved)
