"""Activations on disk: computed once, found again, made again where they are damaged."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from engines import make_data, train

import kerastl
from kerastl.finetuning import activations, entries
from kerastl.finetuning.activations import digest_array
from kerastl.finetuning.storing import ActivationStore

ROOT = Path(__file__).parents[1]
FORMS = [((3, 2), "float32"), ((3,), "float64")]


def fill(arrays):
    for number, array in enumerate(arrays):
        array += number + 1


def refuse(arrays):
    pytest.fail("it is computed again")


@pytest.fixture
def store(tmp_path):
    return ActivationStore(tmp_path / "store")


def check(arrays):
    assert [(a.shape, a.dtype.name) for a in arrays] == FORMS
    assert [np.unique(a).tolist() for a in arrays] == [[1.0], [2.0]]


def test_what_was_computed_is_found_by_the_next_process(store):
    check(store.get("key", FORMS, fill))
    again = ActivationStore(store.folder).get("key", FORMS, refuse)
    check(again)
    assert all(isinstance(a, np.memmap) and not a.flags.writeable for a in again)


def test_another_key_is_another_entry(store):
    store.get("key", FORMS, fill)
    called = []
    store.get("other", FORMS, lambda arrays: called.append(len(arrays)))
    assert called == [2]


@pytest.mark.parametrize("size", [0, 100, 150])
def test_a_cut_file_is_made_again(store, size, caplog):
    store.get("key", FORMS, fill)
    with (store.folder / "key/0.npy").open("r+b") as file:
        file.truncate(size)
    check(ActivationStore(store.folder).get("key", FORMS, fill))
    assert "is damaged and made again" in caplog.text
    check(ActivationStore(store.folder).get("key", FORMS, refuse))


def test_one_wrong_byte_is_noticed(store, caplog):
    store.get("key", FORMS, fill)
    path = store.folder / "key/1.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    check(ActivationStore(store.folder).get("key", FORMS, fill))
    assert "is damaged and made again" in caplog.text


@pytest.mark.parametrize("text", ["", "{", '{"checksums": [1, 2]}', "[]"])
def test_an_index_that_is_none_is_made_again(store, text):
    store.get("key", FORMS, fill)
    (store.folder / "key/index.json").write_text(text)
    check(ActivationStore(store.folder).get("key", FORMS, fill))


def test_other_forms_under_the_same_key_are_made_again(store):
    store.get("key", [((2, 2), "float32")], fill)
    check(store.get("key", FORMS, fill))


def test_a_process_killed_in_the_middle_leaves_nothing_that_is_believed(store):
    code = f"""
import os, signal
from pathlib import Path
from kerastl.finetuning.storing import ActivationStore
def fill(arrays):
    arrays[0][:] = 9
    os.kill(os.getpid(), signal.SIGKILL)
ActivationStore(Path({str(store.folder)!r})).get("key", {FORMS!r}, fill)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert ran.returncode == -signal.SIGKILL
    assert (store.folder / "key/0.npy").exists()
    check(store.get("key", FORMS, fill))


def test_what_raises_leaves_nothing_that_is_believed(store):
    def fail(arrays):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.get("key", FORMS, fail)
    check(store.get("key", FORMS, fill))


def test_two_at_once_compute_it_once(store):
    began, go_on, called = threading.Event(), threading.Event(), []

    def wait_and_fill(arrays):
        began.set()
        called.append(1)
        assert go_on.wait(20)
        fill(arrays)

    first = threading.Thread(target=store.get, args=("key", FORMS, wait_and_fill))
    first.start()
    assert began.wait(20)
    found = []
    other = ActivationStore(store.folder)
    second = threading.Thread(
        target=lambda: found.append(other.get("key", FORMS, wait_and_fill))
    )
    second.start()
    go_on.set()
    first.join()
    second.join()
    check(found[0])
    assert called == [1]


def measure(store, key):
    return sum(path.stat().st_size for path in (store.folder / key).iterdir())


def test_what_was_not_used_for_longest_goes_first(store, monkeypatch):
    for number, key in enumerate(["a", "b", "c"]):
        store.get(key, FORMS, fill)
        os.utime(store.folder / key / "index.json", (number, number))
    store.get("a", FORMS, refuse)  # used now
    monkeypatch.setattr(entries, "LARGEST", int(3.0 * measure(store, "a")))
    store.get("d", FORMS, fill)
    assert sorted(path.name for path in store.folder.iterdir()) == ["a", "c", "d"]


def test_what_is_mapped_stays_readable_when_its_entry_goes(store, monkeypatch):
    arrays = store.get("a", FORMS, fill)
    monkeypatch.setattr(entries, "LARGEST", int(1.1 * measure(store, "a")))
    store.get("b", FORMS, fill)
    assert [path.name for path in store.folder.iterdir()] == ["b"]
    check(arrays)


def test_without_room_on_the_disk_it_is_computed_in_memory(store, monkeypatch, caplog):
    monkeypatch.setattr(entries, "LARGEST", 10)
    check(store.get("key", FORMS, fill))
    assert "kept in memory" in caplog.text


def test_a_folder_that_cannot_be_written_is_no_end(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    check(ActivationStore(tmp_path / "file").get("key", FORMS, fill))
    assert "kept in memory" in caplog.text


# What they are kept under


def test_pixels_are_told_apart_by_content():
    one = np.zeros((5, 4, 4, 3), "uint8")
    other = one.copy()
    other[4, 3, 3, 2] = 1
    assert digest_array(one) == digest_array(one.copy()) != digest_array(other)


def test_arrays_that_can_change_are_digested_every_time():
    pixels = np.zeros((2, 4, 4, 3), "uint8")
    before = digest_array(pixels)
    pixels[0] = 1
    assert digest_array(pixels) != before


def list_keys() -> set[str]:
    return {path.name for path in entries.cache_folder("activations").iterdir()}


def test_a_second_run_finds_what_the_first_computed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = train("auto", "tiny", "hybrid", epochs=1)
    keys = list_keys()
    assert len(keys) == 4  # of two cuts, training and validation images
    monkeypatch.setattr(activations, "_fill", lambda *a: pytest.fail("computed again"))
    second = train("auto", "tiny", "hybrid", epochs=1)
    for one, other in zip(
        first.model.get_weights(), second.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("change", ["weights", "images", "normalization", "layer"])
def test_whatever_activations_depend_on_changes_the_key(monkeypatch, tmp_path, change):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = make_data()
    settings = {"schedule": "feature-extraction", "epochs": 1, "verbose": 0}
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=32)
    kerastl.finetune(model, data, **settings)
    before = list_keys()
    if change == "weights":
        variable = model.get_layer("stem_conv").weights[0]
        variable.assign(variable + 1e-6)
    elif change == "images":
        data = make_data(count=71)
    elif change == "normalization":
        settings["normalize"] = "data"
    else:
        settings["schedule"] = "fine-tune"
    kerastl.finetune(model, data, **settings)
    assert len(list_keys() - before) == 2


def test_a_budget_of_nothing_keeps_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=32)
    kerastl.finetune(
        model, make_data(), schedule="feature-extraction", epochs=1, cache_budget=0,
        verbose=0,
    )  # fmt: skip
    assert not entries.cache_folder("activations").exists()
    assert isinstance(model, keras.Model)
