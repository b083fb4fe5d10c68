"""Decoded pixels: right rows, right order, in memory or in a file that goes away."""

import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from kerastl.data import pixels as module
from kerastl.data.decoding import decode_image
from kerastl.data.pixels import UnreadableError, free_memory, load_pixels, resize_arrays
from kerastl.errors import DataError, StorageError, UsageError


@pytest.fixture
def photos(tmp_path):
    """Seventy small files of different sizes, more than one thread takes at once."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(70):
        shape = (*random.integers(8, 60, 2), 3)
        image = Image.fromarray(random.integers(0, 256, shape, dtype="uint8"))
        image.save(folder / f"{index:02}.{'jpg' if index % 2 else 'png'}")
    return sorted(folder.iterdir())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_each_row_is_what_the_decoder_gives(photos):
    pixels = load_pixels(photos, (20, 24))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (70, 20, 24, 3)
    assert not isinstance(pixels, np.memmap)
    expected = np.stack([decode_image(path, (20, 24)) for path in photos])
    assert np.array_equal(pixels, expected)


def test_pixels_cannot_be_written(photos, cache):
    for budget in (None, 0):
        pixels = load_pixels(photos, 8, budget=budget)
        with pytest.raises(ValueError, match="read-only"):
            pixels[0] = 0


def test_over_the_budget_a_file_holds_the_same_pixels(photos, cache, caplog):
    pixels = load_pixels(photos, 16, budget=70 * 16 * 16 * 3 - 1)
    assert isinstance(pixels, np.memmap)
    assert np.array_equal(pixels, load_pixels(photos, 16))
    assert str(cache / "kerastl") in caplog.text
    assert "more than" in caplog.text


def test_at_the_budget_nothing_is_written(photos, cache):
    pixels = load_pixels(photos, 16, budget=70 * 16 * 16 * 3)
    assert not isinstance(pixels, np.memmap)
    assert not cache.exists()


def test_the_file_goes_with_the_array(photos, cache):
    pixels = load_pixels(photos, 16, budget=0)
    part = pixels[3:5]
    kept = np.array(part)
    del pixels
    gc.collect()
    assert np.array_equal(part, kept)
    del part
    gc.collect()
    assert list((cache / "kerastl").iterdir()) == []


def test_nothing_is_left_after_the_process(photos, cache):
    program = (
        "import os, sys; from kerastl.data.pixels import load_pixels;"
        "pixels = load_pixels(sys.argv[2:], 16, budget=0);"
        "print(int(pixels.sum()), flush=True);"
        "os.kill(os.getpid(), 9) if sys.argv[1] == 'kill' else None"
    )
    expected = int(load_pixels(photos, 16).sum())
    for how, code in (("end", 0), ("kill", -9)):
        command = [sys.executable, "-c", program, how, *map(str, photos)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (code, str(expected))
        assert list((cache / "kerastl").iterdir()) == []


def test_without_a_cache_folder_the_temporary_one_is_used(photos, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    pixels = load_pixels(photos, 8, budget=0)
    assert isinstance(pixels, np.memmap)
    assert (tmp_path / "temporary").exists()


def test_a_disk_without_room_is_refused_before_decoding(photos, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 5000, 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(module, "decode_into", lambda *_: pytest.fail("decoded"))
    with pytest.raises(StorageError, match=r"0\.0 GB free .* XDG_CACHE_HOME"):
        load_pixels(photos, 64, budget=0)
    assert list((cache / "kerastl").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="POSIX only")
def test_a_disk_that_fills_up_is_an_error_and_not_a_crash(photos, cache, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        load_pixels(photos, 64, budget=0)
    assert list((cache / "kerastl").iterdir()) == []


def test_a_cache_folder_that_is_a_file_is_named(photos, cache):
    cache.write_text("")
    with pytest.raises(StorageError, match=r"cache/kerastl cannot hold decoded pixels"):
        load_pixels(photos, 8, budget=0)


def test_every_unreadable_file_is_counted_and_three_are_named(photos):
    for path in photos[10:15]:
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        load_pixels(photos, 8)
    message = str(caught.value)
    assert message.startswith("5 images cannot be used: ")
    assert all(str(path) in message for path in photos[10:13])
    assert str(photos[13]) not in message
    assert "; and 2 more." in message


def test_all_unreadable_files_are_kept_even_between_processes(photos):
    for path in photos[:5]:
        path.write_bytes(b"")
    with pytest.raises(UnreadableError) as caught:
        load_pixels(photos, 8)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert [path for path, _ in again.failures] == [str(path) for path in photos[:5]]


def test_one_unreadable_file_is_named_alone(photos):
    photos[7].write_bytes(b"")
    with pytest.raises(
        DataError, match=r"^1 image cannot .*07.jpg is empty \(0 bytes\)\. "
    ):
        load_pixels(photos, 8)


@pytest.mark.parametrize("budget", [-1, 1.5, "2GB", True])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(UsageError, match="budget="):
        load_pixels([], 8, budget=budget)


def test_free_memory_keeps_to_the_containers_limit(tmp_path, monkeypatch):
    assert 10**7 < free_memory() < 10**14
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    assert free_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 10**7


def test_the_default_budget_is_a_third_of_free_memory(photos, cache, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 3 * 70 * 8 * 8 * 3 - 3)
    assert isinstance(load_pixels(photos, 8), np.memmap)
    monkeypatch.setattr(module, "free_memory", lambda: 3 * 70 * 8 * 8 * 3)
    assert not isinstance(load_pixels(photos, 8), np.memmap)


def test_arrays_are_resized_as_files_are(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 40, 3), dtype="uint8")
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    for size in (7, (64, 50), (30, 40)):
        assert np.array_equal(resize_arrays(images, size), load_pixels(paths, size))


def test_grey_arrays_become_colour():
    grey = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 1), dtype="uint8")
    same = resize_arrays(grey, 9)
    assert np.array_equal(same, np.repeat(grey, 3, -1))
    assert np.array_equal(resize_arrays(grey, 4), resize_arrays(same, 4))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 8, 8), "uint8"), ((2, 8, 8, 4), "uint8"), ((2, 8, 8, 3), "f4")],
)
def test_arrays_that_are_no_images_are_refused(shape, dtype):
    with pytest.raises(UsageError, match="cannot be resized"):
        resize_arrays(np.zeros(shape, dtype), 4)
