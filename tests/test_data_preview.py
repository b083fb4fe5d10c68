"""The preview draws training images under their classes, the same for the same seed."""

import numpy as np
import pytest
from PIL import Image

from kerastl.data.loading import load_images
from kerastl.data.preview import draw_preview
from kerastl.errors import DataError, UsageError


@pytest.fixture
def data(image_folder):
    return load_images(image_folder({"개미": 12, "벌": 12}, side=24))


def drawn(figure) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def titles(figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes if ax.images]


def test_without_augmentation_the_images_are_those_of_train(data):
    figure = draw_preview(data, 6, augment=())
    train = {image.tobytes() for image in data.train.pixels(24)}
    assert len(drawn(figure)) == 6
    assert all(image.astype("uint8").tobytes() in train for image in drawn(figure))


def test_each_image_is_under_its_class(data):
    """Each class of the fixture has its own colour, so the nearest mean tells the class."""
    pixels, labels = data.train.pixels(24), data.train.labels
    means = np.stack([pixels[labels == label].mean((0, 1, 2)) for label in (0, 1)])
    figure = draw_preview(data, 10, augment=())
    for image, title in zip(drawn(figure), titles(figure), strict=True):
        nearest = np.abs(means - image.mean((0, 1))).sum(1).argmin()
        assert data.class_names[nearest] in title or str(nearest + 1) in title


def test_augmented_images_follow_the_seed(data):
    first, again, other = (
        drawn(draw_preview(data, 4, ("flip", "crop"), seed=seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    plain = drawn(draw_preview(data, 4, (), seed=1))
    assert not np.array_equal(first, plain)


def test_more_than_there_are_draws_all(data):
    assert len(drawn(draw_preview(data, 500, ()))) == len(data.train)


def test_the_size_asked_for_is_drawn(data):
    assert drawn(draw_preview(data, 2, (), image_size=(10, 14)))[0].shape[:2] == (10, 14)


def test_large_images_are_drawn_smaller(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            noise = np.random.default_rng([ord(name), number]).integers(0, 256, (60, 40, 3))
            image = Image.fromarray(noise.astype("uint8")).resize((400, 600))
            image.save(tmp_path / name / f"{number}.png")
    data = load_images(tmp_path)
    assert drawn(draw_preview(data, 2, ()))[0].shape[:2] == (224, 149)


def test_arrays_and_several_labels():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype="uint8")
    labels = np.tile([[1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]], (5, 1))
    data = load_images(images, labels=labels, multi_label=True)
    figure = draw_preview(data, 3, ())
    assert drawn(figure)[0].shape[:2] == (8, 8)
    assert all(len(title) > 0 for title in titles(figure))


@pytest.mark.parametrize("n", [0, -3, 1.5, True])
def test_a_number_that_is_none_is_refused(data, n):
    with pytest.raises(UsageError, match=f"n={n}"):
        draw_preview(data, n)


def test_an_unknown_augmentation_is_refused_with_the_nearest(data):
    with pytest.raises(UsageError, match=r"'flop'.*Did you mean 'flip'"):
        draw_preview(data, 2, ("flop",))
    with pytest.raises(UsageError, match="augment='flip'"):
        draw_preview(data, 2, "flip")


def test_a_damaged_file_is_named(data):
    for path in data.train.paths:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"\.png is empty"):
        draw_preview(data, 2, ())
