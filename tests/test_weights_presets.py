"""Weights that keras-hub has to read once, on a machine that has not got it."""

import http.server
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kerastl.__main__ import main
from kerastl.bases import BASES, get_base
from kerastl.errors import StorageError, UsageError
from kerastl.finetuning.planning import check_weights, plan_job
from kerastl.models import build_model
from kerastl.options import Options
from kerastl.runs import write_atomic
from kerastl.runs.arrays import write_npz
from kerastl.weights import cached_path, find_lack, find_obstacle, resolve_weights
from kerastl.weights import presets as presets_module

MISSING = (
    r"weights='imagenet' of resnet18 come from keras-hub, which is not installed: "
    r"pip install 'kerastl\[zoo\]'\."
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # any import of it fails
    return tmp_path / "keras"


@pytest.fixture
def seems_installed(monkeypatch) -> None:
    """Let keras-hub seem to be there; whoever imports it fails all the same."""
    monkeypatch.setattr(presets_module, "find_spec", lambda name: SimpleNamespace())


def find_closed_port() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def fill_cache(name: str) -> dict[str, np.ndarray]:
    """Put random weights where converted ones of a base are kept."""
    model = build_model(name, weights=None, image_size=32, seed=5)
    arrays = {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in model.layers
        for variable in layer.weights
        if layer.name != "predictions"
    }
    write_atomic(cached_path(get_base(name)), write_npz(arrays))
    return arrays


# Rows


def test_two_rows_come_from_presets_and_every_row_says_where_from():
    origins = {name: base.origin for name, base in BASES.items()}
    presets = [name for name, origin in origins.items() if origin == "keras-hub"]
    assert presets == ["resnet18", "resnet34"]
    assert {base.source for base in BASES.values() if base.name in presets} == {"imagenet"}
    assert origins["tiny"] == "package"
    assert origins["resnet50"] == "web"
    assert origins["googlenet"] == "none"


def test_the_table_shows_the_origin(capsys):
    assert main(["bases"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[4:6] == ["weights", "from"]
    rows = {line.split()[0]: line.split() for line in lines}
    assert rows["resnet18"][4:7] == ["imagenet", "keras-hub", "no"]


# Without keras-hub


@pytest.mark.parametrize("weights", ["imagenet", "pretrained"])
def test_without_keras_hub_each_way_in_says_what_to_install(weights, capsys):
    for ask in (
        lambda: build_model("resnet18", weights=weights),
        lambda: check_weights(get_base("resnet18"), weights),
        lambda: plan_job(Options(data="digits", base="resnet18", weights=weights)),
    ):
        with pytest.raises(UsageError, match=MISSING):
            ask()
    line = ["finetune", "--data", "digits", "--base", "resnet18", "--weights", weights]
    assert main([*line, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "pip install 'kerastl[zoo]'" in said
    assert "Traceback" not in said


def test_without_keras_hub_nothing_is_asked_of_a_server(monkeypatch):
    monkeypatch.setattr(presets_module, "probe", None)
    assert find_lack(get_base("resnet34")) == find_obstacle(get_base("resnet34"))
    assert "keras-hub, which is not installed" in find_lack(get_base("resnet34"))


def test_without_keras_hub_auto_starts_at_random_and_says_why(capsys):
    model = build_model("resnet18", weights="auto", image_size=32)
    assert model.kerastl.weights == "random"
    said = capsys.readouterr().err
    assert "resnet18 starts from random weights: its weights come from keras-hub" in said
    assert "pip install 'kerastl[zoo]'" in said


def test_a_folder_is_refused_without_keras_hub(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="is a preset of keras-hub, which is not inst"):
        resolve_weights(get_base("resnet18"), tmp_path)


# What is no preset


@pytest.mark.parametrize("base", ["alexnet", "vgg16", "tiny"])
def test_other_bases_take_no_folder(base, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=f"is a folder.*give {base} a file .weights.h5"):
        resolve_weights(get_base(base), tmp_path)


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no preset of keras-hub: it holds no config"):
        resolve_weights(get_base("resnet18"), str(tmp_path))


@pytest.mark.parametrize("given", ["", "imagnet", 3])
def test_other_words_are_refused_with_what_is_allowed(given):
    with pytest.raises(UsageError, match="is not one of: pretrained"):
        resolve_weights(get_base("resnet18"), given)


# Without a network


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_an_unreachable_server_is_an_error_at_once(name, seems_installed, monkeypatch):
    closed = find_closed_port()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(presets_module, "_find_server", lambda address: closed)
    start = time.monotonic()

    with pytest.raises(StorageError) as caught:
        build_model(name, weights="imagenet")

    assert time.monotonic() - start < 5
    for part in (get_base(name).pretrained.url, "refused", "weights=PATH", "weights=None"):
        assert part in str(caught.value)
    resolved = resolve_weights(get_base(name), "auto")
    assert resolved.source == "random"
    assert "cannot be reached (Connection refused)." in resolved.note


def test_the_address_says_which_server_is_asked(monkeypatch):
    servers = [
        presets_module._find_server(get_base(name).pretrained.url)
        for name in ("resnet18", "resnet34")
    ]
    assert servers == ["https://api.kaggle.com", "https://huggingface.co"]
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    assert presets_module._find_server("hf://timm/x") == "https://mirror.example"


def test_a_server_that_answers_anything_is_reachable(seems_installed, monkeypatch):
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        assert find_obstacle(get_base("resnet34")) == ""
    finally:
        server.shutdown()
        server.server_close()


def test_a_keras_hub_that_cannot_be_imported_is_named(seems_installed, monkeypatch):
    monkeypatch.setattr(presets_module, "probe", lambda *_, **__: "")
    with pytest.raises(StorageError, match="by keras-hub .*keras_hub.*--weights none"):
        resolve_weights(get_base("resnet18"), "imagenet")


# Cached


def test_converted_weights_need_neither_keras_hub_nor_a_server(monkeypatch, capsys):
    arrays = fill_cache("resnet18")
    monkeypatch.setattr(presets_module, "probe", None)
    assert find_obstacle(get_base("resnet18")) == ""
    for weights in ("imagenet", "pretrained", "auto"):
        model = build_model("resnet18", weights=weights, image_size=32)
        assert model.kerastl.weights == "imagenet"
        kernel = model.get_layer("conv5_block2_2_conv").get_weights()[0]
        np.testing.assert_array_equal(kernel, arrays["conv5_block2_2_conv/kernel"])
        keras.utils.clear_session()
    assert main(["bases"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[6] for line in lines if line.startswith("resnet18 ")] == ["yes"]


def test_a_damaged_file_in_the_cache_is_not_taken(home):
    fill_cache("resnet18")
    path = cached_path(get_base("resnet18"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=MISSING):
        resolve_weights(get_base("resnet18"), "imagenet")
    assert resolve_weights(get_base("resnet18"), "auto").source == "random"
