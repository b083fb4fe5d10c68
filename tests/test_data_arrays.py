"""Arrays and the built-in sets as sources."""

import numpy as np
import pytest

from kerastl.data import load_images
from kerastl.data.arrays import to_labels, to_pixels
from kerastl.data.sources import list_source
from kerastl.errors import DataError, UsageError


def test_pixel_scales_are_decided_by_rule_and_said():
    whole = np.array([[[0, 128, 255]]], "uint8").reshape(1, 1, 1, 3)
    for images, said in (
        (whole, ()),
        (whole.astype("int64"), ()),
        (whole / 255, ("multiplied",)),
        (whole.astype("float32"), ("rounded",)),
    ):
        pixels, notes = to_pixels(images)
        assert pixels.dtype == np.uint8
        assert pixels.tolist() == whole.tolist()
        assert [word in note for word, note in zip(said, notes, strict=True)] == [
            True
        ] * len(said)


def test_grey_arrays_become_three_channels():
    for shape in ((2, 4, 5), (2, 4, 5, 1)):
        assert to_pixels(np.zeros(shape, "uint8"))[0].shape == (2, 4, 5, 3)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (np.full((2, 4, 4, 3), np.nan), r"images\[0\] holds NaN"),
        (np.full((2, 4, 4, 3), 256), "go from 256 to 256"),
        (np.full((2, 4, 4, 3), -0.5), "go from -0.5 to -0.5"),
        (np.zeros((2, 4, 4, 3), bool), "type bool"),
        (np.zeros((2, 4, 4, 4), "uint8"), r"shape \(2, 4, 4, 4\)"),
        (np.zeros((4, 4), "uint8"), r"shape \(4, 4\)"),
        (np.zeros((0, 4, 4, 3), "uint8"), "images is empty"),
    ],
)
def test_arrays_that_are_no_pixels_are_refused(images, match):
    with pytest.raises(DataError, match=match):
        to_pixels(images)


def test_integer_one_hot_and_text_labels_agree():
    integers = np.array([2, 0, 1])
    expected = ["2", "0", "1"]
    assert to_labels(integers, multi_label=False)[0] == expected
    assert to_labels(integers.reshape(-1, 1), multi_label=False)[0] == expected
    assert to_labels(integers.astype("float64"), multi_label=False)[0] == expected
    assert to_labels(np.eye(3)[integers], multi_label=False) == (expected, ("0", "1", "2"))
    assert to_labels(np.array(["개", "b"]), multi_label=False)[0] == ["개", "b"]


def test_several_labels_per_row():
    labels = np.array([[1, 1], [0, 0]])
    assert to_labels(labels, multi_label=True) == ([("0", "1"), ()], ("0", "1"))
    with pytest.raises(DataError, match=r"labels\[0\] marks 2 classes"):
        to_labels(labels, multi_label=False)


@pytest.mark.parametrize(
    ("labels", "multi_label", "match"),
    [
        ([0.5, 1], False, r"labels\[0\] is 0.5"),
        ([np.nan, 1], False, r"labels\[0\] is nan"),
        ([[0.5, 0.5]], False, "soft labels"),
        ([0, 1], True, r"not \(2,\)"),
        ([[[0]]], False, r"shape \(1, 1, 1\)"),
        (["a", ""], False, r"labels\[1\] is ''"),
    ],
)
def test_label_arrays_that_cannot_be_read_are_refused(labels, multi_label, match):
    with pytest.raises(DataError, match=match):
        to_labels(np.array(labels), multi_label=multi_label)


def test_arrays_need_one_label_each():
    images = np.zeros((2, 4, 4, 3), "uint8")
    with pytest.raises(UsageError, match="images without labels"):
        list_source(images)
    with pytest.raises(DataError, match="2 images but 3 labels"):
        list_source(images, labels=[0, 1, 2])
    assert [sample.name for sample in list_source(images, labels=[0, 1]).samples] == [
        "images[0]",
        "images[1]",
    ]


def make_pairs(train=6, test=4, scale=1):
    generator = np.random.default_rng(0)
    return tuple(
        (generator.integers(0, 256, (n, 8, 8, 3)) * scale, np.arange(n)[:, None] % 2)
        for n in (train, test)
    )


def test_the_form_of_keras_data_sets_is_train_and_test():
    (_, y_train), (x_test, y_test) = pairs = make_pairs()
    data = load_images(pairs, validation=0)
    assert data.validation is None
    assert data.train.names == tuple(f"train[{row}]" for row in range(6))
    assert data.test.names == tuple(f"test[{row}]" for row in range(4))
    assert np.array_equal(data.test.pixels(8), x_test)
    assert np.array_equal(data.train.labels, y_train[:, 0])
    assert np.array_equal(data.test.labels, y_test[:, 0])
    assert load_images(make_pairs(train=20)).notes[0].startswith("The source has no valid")


def test_one_pair_is_images_with_labels():
    images, labels = make_pairs()[0]
    one, two = load_images((images, labels)), load_images(images, labels=labels)
    assert one.fingerprint == two.fingerprint


def test_both_parts_decide_the_scale_of_pixels():
    (x_train, y_train), (x_test, y_test) = make_pairs(scale=1 / 255)
    dark = (x_test * 0.1, y_test)
    data = load_images(((x_train, y_train), dark), validation=0)
    assert data.test.pixels(8).max() == 26


@pytest.mark.parametrize(
    ("source", "error", "match"),
    [
        ((), UsageError, "must be .images, labels., or"),
        (("a.jpg", "b.jpg"), UsageError, "must be .images, labels., or"),
        (make_pairs() + make_pairs(), UsageError, "must be .images, labels., or"),
        (
            (make_pairs()[0], (np.zeros((4, 9, 9, 3)), np.zeros(4))),
            DataError,
            r"train have the shape \(6, 8, 8, 3\) and those of test \(4, 9, 9, 3\)",
        ),
        (
            (make_pairs()[0], (np.zeros((4, 8, 8, 3)), np.zeros(3))),
            DataError,
            "test: 4 images but 3 labels",
        ),
    ],
)
def test_tuples_that_are_no_data_sets_are_refused(source, error, match):
    with pytest.raises(error, match=match):
        load_images(source)


def test_digits_are_the_scans_scaled_to_bytes():
    from sklearn.datasets import load_digits

    listing, digits = list_source("digits"), load_digits()
    assert listing.images.shape == (1797, 8, 8, 3)
    assert np.abs(listing.images[..., 1] * (16 / 255) - digits.images).max() < 0.04
    assert [sample.label for sample in listing.samples] == [str(t) for t in digits.target]


def test_random_is_always_the_same_noise_and_says_so():
    one, two = list_source("random"), list_source("random")
    assert one.images.shape == (1000, 32, 32, 3)
    assert np.array_equal(one.images, two.images)
    assert [s.label for s in one.samples] == [s.label for s in two.samples]
    assert abs(one.images.mean() - 127.5) < 1
    assert "Nothing can be learnt" in one.notes[0]
