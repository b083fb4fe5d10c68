"""Copies are found by bytes, pixels and looks; different images are left apart."""

import io
import shutil

import imagehash
import numpy as np
import pytest
from PIL import Image

from kerastl.data.duplicates import (
    duplicate_groups,
    duplicate_groups_of_arrays,
    pairs_within,
)
from kerastl.data.inspection import hash_grey, inspect_files, shrink_grey


def photo(seed: int, side: int = 96) -> Image.Image:
    """A picture with structure at several scales, unlike any other seed's."""
    random = np.random.default_rng(seed)
    layers = []
    for cells in (3, 6, 12):
        grid = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype="uint8"))
        layers.append(np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)))
    return Image.fromarray(np.mean(layers, axis=0).astype("uint8"))


@pytest.mark.parametrize("shape", [(32, 32), (50, 37), (240, 320)])
def test_hashes_are_those_of_imagehash(shape):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (40, *shape, 3), dtype="uint8")
    images = [*map(Image.fromarray, noise), *map(photo, range(40))]
    images += [Image.new("RGB", (40, 40), (level,) * 3) for level in (0, 127, 255)]
    ours = hash_grey(np.stack([shrink_grey(image) for image in images]))
    theirs = [int(str(imagehash.phash(image)), 16) for image in images]
    assert ours.tolist() == theirs


def test_hashes_of_files_are_those_of_single_images(tmp_path):
    for seed in range(70):
        photo(seed, 40).save(tmp_path / f"{seed:02}.png")
    inspection = inspect_files(sorted(tmp_path.iterdir()))
    expected = [int(str(imagehash.phash(photo(seed, 40))), 16) for seed in range(70)]
    assert inspection.hashes.tolist() == expected


def test_same_bytes_and_same_pixels_are_one_group(tmp_path):
    photo(0).save(tmp_path / "a.png")
    photo(1).save(tmp_path / "b.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "c.png")
    photo(0).save(tmp_path / "d.bmp")
    photo(0).save(tmp_path / "e.webp", lossless=True)
    groups = duplicate_groups(sorted(tmp_path.iterdir()))
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("side", [32, 96, 300])
@pytest.mark.parametrize("change", ["jpeg", "gif", "webp", "half", "double", "brighter"])
def test_near_copies_are_one_group(tmp_path, side, change):
    for seed in range(12):
        original = photo(seed, side)
        original.save(tmp_path / f"{seed:02}-a.png")
        altered(original, change).save(tmp_path / f"{seed:02}-b.png")
    groups = duplicate_groups(sorted(tmp_path.iterdir()))
    assert groups.tolist() == np.repeat(np.arange(0, 24, 2), 2).tolist()


def altered(image: Image.Image, change: str) -> Image.Image:
    if change in ("jpeg", "gif", "webp"):
        file = io.BytesIO()
        image.save(file, change, **({} if change == "gif" else {"quality": 60}))
        return Image.open(file).convert("RGB")
    if change == "brighter":
        return image.point(lambda level: min(level + 4, 255))
    factor = 0.5 if change == "half" else 2
    size = (int(image.width * factor), int(image.height * factor))
    return image.resize(size, Image.Resampling.BICUBIC)


def test_different_images_stay_apart(tmp_path, image_folder):
    for seed in range(60):
        photo(seed).save(tmp_path / f"{seed:02}.png")
    assert len(set(duplicate_groups(sorted(tmp_path.glob("*.png"))))) == 60
    noise = sorted(image_folder({"cat": 40, "dog": 40}).rglob("*.png"))
    assert len(set(duplicate_groups(noise))) == 80


def test_same_shapes_in_other_colours_stay_apart(tmp_path):
    """The hash sees grey only; the thumbnails see the colours."""
    red, green, blue = photo(0).split()
    Image.merge("RGB", (red, green, blue)).save(tmp_path / "a.png")
    grey = Image.merge("RGB", (photo(0).convert("L"),) * 3)
    grey.save(tmp_path / "b.png")
    hashes = inspect_files(sorted(tmp_path.iterdir())).hashes
    assert hashes[0] == hashes[1]
    assert duplicate_groups(sorted(tmp_path.iterdir())).tolist() == [0, 1]


def test_unreadable_files_are_alone_unless_their_bytes_are_equal(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"broken")
    (tmp_path / "b.jpg").write_bytes(b"broken too")
    (tmp_path / "c.jpg").write_bytes(b"broken")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "none.jpg", tmp_path / "no.jpg"]
    assert duplicate_groups(paths).tolist() == [0, 1, 0, 3, 4]


def test_no_files_are_no_groups():
    assert duplicate_groups([]).tolist() == []
    assert duplicate_groups_of_arrays(np.zeros((0, 8, 8, 3), "uint8")).tolist() == []


def test_chains_are_one_group(tmp_path):
    """a is near b and b equals c: all three belong together."""
    photo(3, 200).save(tmp_path / "a.png")
    photo(3, 200).save(tmp_path / "b.jpg", quality=70)
    shutil.copy(tmp_path / "b.jpg", tmp_path / "c.jpg")
    assert duplicate_groups(sorted(tmp_path.iterdir())).tolist() == [0, 0, 0]


def test_arrays_are_grouped_by_equal_values():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype="uint8")
    images[3] = images[1]
    images[4] = images[0]
    images[4, 0, 0, 0] ^= 1
    assert duplicate_groups_of_arrays(images).tolist() == [0, 1, 2, 1, 4]


@pytest.mark.parametrize("bits", [0, 1, 4, 7])
def test_bands_find_every_pair_that_comparing_all_finds(bits):
    random = np.random.default_rng(bits)
    centres = random.integers(0, 2**63, 60, dtype="uint64")
    flips = [
        sum(1 << int(bit) for bit in random.choice(63, count, replace=False))
        for count in random.integers(0, 5, 600)
    ]
    hashes = np.repeat(centres, 10) ^ np.array(flips, "uint64")
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = np.argwhere(np.triu(apart <= bits, 1))
    assert len(expected) > 50
    assert np.array_equal(pairs_within(hashes, bits), expected)
