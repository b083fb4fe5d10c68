"""Rows of arrays that may be larger than memory."""

import subprocess
import sys

import numpy as np
import pytest

import kerastl
from kerastl.data import rows
from kerastl.data.rows import Reader, release_pages, take_images, walk_images


@pytest.fixture
def mapped(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype="uint8")
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.mark.parametrize("chosen", [[3, 5, 4], range(10, 20), [], [39]])
def test_rows_of_a_mapped_array_are_mapped(mapped, chosen, monkeypatch):
    monkeypatch.setattr(rows, "PART", 500)  # two images
    taken = take_images(mapped, list(chosen))
    assert isinstance(taken, np.memmap)
    assert not taken.flags.writeable
    np.testing.assert_array_equal(taken, np.asarray(mapped)[list(chosen)])


def test_rows_of_an_array_in_memory_are_in_memory(mapped):
    taken = take_images(np.array(mapped), [1, 3])
    assert not isinstance(taken, np.memmap)


def test_neighbours_are_not_copied(mapped):
    taken = take_images(mapped, [7, 8, 9])
    assert np.shares_memory(taken, mapped)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_released_pages_hold_what_was_written(tmp_path, mode):
    np.save(tmp_path / "numbers.npy", np.arange(4096))
    array = np.load(tmp_path / "numbers.npy", mmap_mode=mode)
    if mode != "r":
        array[0] = 7  # in "c" in the pages alone
    release_pages(array)
    assert array[0] == (0 if mode == "r" else 7)
    assert array[-1] == 4095


def test_reading_in_parts_gives_what_the_array_gives(mapped, monkeypatch):
    released = []
    monkeypatch.setattr(rows, "PART", 500)
    monkeypatch.setattr(rows, "release_pages", released.append)
    reader = Reader(mapped)
    for part in (slice(0, 10), np.array([5, 1]), slice(30, 50)):
        np.testing.assert_array_equal(reader[part], mapped[part])
    assert len(released) == 1  # a batch of two is no part
    walked = list(walk_images(mapped, [4, 2, 9]))
    np.testing.assert_array_equal(walked, mapped[[4, 2, 9]])
    assert len(released) == 2


SHARES = """
import resource, sys
import numpy as np
import kerastl
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = np.load(sys.argv[1], mmap_mode="r")
data = kerastl.load_images((pixels, np.arange(len(pixels)) % 2), validation=0.3, test=0)
data.fingerprint
assert data.train.pixels(128).nbytes > 250 << 20
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_splitting_a_mapped_array_takes_no_memory_for_it(tmp_path):
    pixels = np.lib.format.open_memmap(
        tmp_path / "pixels.npy", "w+", "uint8", (8000, 128, 128, 3)
    )
    for row in range(len(pixels)):
        pixels[row, 0, 0] = (row % 256, row // 256, 0)  # no two alike
    pixels.flush()
    ran = subprocess.run(
        [sys.executable, "-c", SHARES, str(tmp_path / "pixels.npy")],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) / 1024 < 320  # MB, of 375; a few parts are resident


def test_training_on_a_mapped_array_is_training_on_the_array(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "PART", 20_000)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype="uint8")
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    runs = []
    for images in (pixels, mapped):
        data = kerastl.load_images((images, np.arange(30) % 3), test=0)
        model = kerastl.build_model("tiny", num_classes=3)
        runs.append(kerastl.finetune(model, data, schedule="hybrid", epochs=1, verbose=0))
    first, second = (run.model.get_weights() for run in runs)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert runs[0].data.fingerprint == runs[1].data.fingerprint
