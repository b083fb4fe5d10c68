"""Channel statistics: exact against numpy, and against CIFAR-10's published numbers."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sources import CIFAR10, needs_cifar10

from kerastl.data.dataset import Split
from kerastl.data.decoding import decode_image
from kerastl.data.statistics import (
    ChannelStatistics,
    channel_statistics,
    measure_channels,
)
from kerastl.errors import DataError


def split_of(paths) -> Split:
    return Split(
        "train", np.zeros(len(paths), "int32"), tuple(map(str, paths)), tuple(paths)
    )


@pytest.mark.parametrize("count", [1, 5, 3000])
def test_arrays_agree_with_numpy(count):
    shape = (count, 6, 7, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    images[..., 1] //= 3
    statistics = measure_channels(images)
    whole = images.astype("float64") / 255
    assert np.allclose(statistics.mean, whole.mean((0, 1, 2)), rtol=0, atol=1e-12)
    assert np.allclose(statistics.std, whole.std((0, 1, 2)), rtol=0, atol=1e-12)


def test_a_grey_array_has_three_equal_channels():
    grey = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 1), dtype="uint8")
    assert measure_channels(grey) == measure_channels(np.repeat(grey, 3, -1))


def test_a_memory_map_is_measured_alike(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 5, 5, 3), dtype="uint8")
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert measure_channels(mapped) == measure_channels(images)


def test_files_of_one_size_equal_their_array(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 9, 3), dtype="uint8")
    for row, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{row:02}.png")
    split = split_of(sorted(tmp_path.iterdir()))
    assert channel_statistics(split) == measure_channels(images)


def test_each_image_counts_the_same_whatever_its_size(tmp_path):
    random = np.random.default_rng(1)
    for row in range(40):
        shape = (*random.integers(4, 40, 2), 3)
        image = Image.fromarray(random.integers(0, 256, shape, dtype="uint8"))
        image.save(tmp_path / f"{row:02}.{'jpg' if row % 3 else 'png'}")
    paths = sorted(tmp_path.iterdir())
    images = [decode_image(path) / 255 for path in paths]
    mean = np.mean([image.mean((0, 1)) for image in images], axis=0)
    square = np.mean([(image**2).mean((0, 1)) for image in images], axis=0)
    statistics = channel_statistics(split_of(paths))
    assert np.allclose(statistics.mean, mean, rtol=0, atol=1e-13)
    assert np.allclose(statistics.std, np.sqrt(square - mean**2), rtol=0, atol=1e-13)


def test_statistics_survive_json():
    statistics = ChannelStatistics((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert ChannelStatistics(**json.loads(json.dumps(asdict(statistics)))) == statistics


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a.jpg is empty \(0 bytes\)"):
        channel_statistics(split_of([tmp_path / "a.jpg"]))


def test_no_images_cannot_be_measured():
    with pytest.raises(DataError, match="no images"):
        measure_channels(np.zeros((0, 4, 4, 3), "uint8"))


@pytest.mark.data
@needs_cifar10
def test_cifar10_has_its_published_statistics():
    """Images saved as JPEG lose up to 0.002 of their deviation, which is allowed for."""
    paths = sorted(path for path in Path(CIFAR10, "train").rglob("*.*") if path.is_file())
    statistics = channel_statistics(split_of(paths))
    assert np.allclose(statistics.mean, (0.4914, 0.4822, 0.4465), rtol=0, atol=5e-4)
    assert np.allclose(statistics.std, (0.247, 0.243, 0.261), rtol=0, atol=2e-3)
