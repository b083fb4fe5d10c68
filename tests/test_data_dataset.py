"""`load_images`, `Data` and `Split`: from a source to arrays that training can use."""

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_trees import write_image, write_tree
from PIL import Image

from kerastl.data import Data, Split, load_images
from kerastl.data.loading import parse_budget
from kerastl.errors import DataError, StorageError, UsageError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", {"daisy": 20, "rose": 10})


def test_flat_folder_is_split_by_itself_and_says_so(tree):
    data = load_images(tree)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 18,
        "validation": 6,
        "test": 6,
    }
    assert data.class_names == ("daisy", "rose")
    assert np.bincount(data.test.labels).tolist() == [4, 2]
    assert (
        "Split by itself: train 18, validation 6, test 6 (stratified by class, seed 0)."
        in data.notes
    )


def test_splits_share_no_sample_and_labels_follow_names(tree):
    data = load_images(tree)
    every = [name for split in data.splits.values() for name in split.names]
    assert len(every) == len(set(every)) == 30
    for split in data.splits.values():
        assert list(split.names) == sorted(split.names)
        assert [data.class_names[label] for label in split.labels] == [
            name.split("/")[0] for name in split.names
        ]
        assert split.labels.dtype == np.int32


def test_missing_split_is_taken_from_train_only(tmp_path):
    write_tree(tmp_path, {"train/a": 10, "train/b": 10, "val/a": 3, "val/b": 3})
    data = load_images(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 6, 4)
    assert all(name.startswith("train/") for name in data.test.names)
    assert any(
        "The source has no test split: 4 for test of its 20" in note for note in data.notes
    )
    assert load_images(tmp_path, test=0).test is None


def test_given_splits_stay_as_they_are(tmp_path):
    write_tree(
        tmp_path, {"train/a": 1, "train/b": 2, "valid/b": 1, "test/b": 1, "test/a": 1}
    )
    data = load_images(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 1, 2)
    assert "validation has no image of class 'a'." in data.notes
    assert data.validation.labels.tolist() == [1]


def test_shares_of_zero_give_none(tree):
    data = load_images(tree, validation=0, test=0)
    assert (data.validation, data.test, len(data.train)) == (None, None, 30)


def test_same_seed_same_data_other_seed_other(tree):
    one, two, other = load_images(tree), load_images(tree), load_images(tree, seed=1)
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert one.train.names == two.train.names != other.train.names


def test_classes_of_test_are_mapped_by_name_in_any_unicode_form(tmp_path):
    write_tree(tmp_path, {"train/고양이": 4, "train/강아지": 4, "train/새": 4})
    write_tree(tmp_path, {"test/" + unicodedata.normalize("NFD", "고양이"): 2})
    data = load_images(tmp_path)
    assert {data.class_names[label] for label in data.test.labels} == {"고양이"}
    assert "test has no image of class '강아지', '새'." in data.notes


def test_unknown_class_of_test_is_refused(tmp_path):
    write_tree(tmp_path, {"train/rose": 3, "train/daisy": 3, "test/rosa": 1})
    with pytest.raises(
        DataError,
        match=r"test has the class 'rosa' \(test/rosa/000.png\).*Did you mean 'rose'",
    ):
        load_images(tmp_path)


@pytest.mark.parametrize("folder", ["train/Cat", "test/Cat"])
def test_classes_that_differ_in_case_only_are_refused(tmp_path, folder):
    write_tree(tmp_path, {"train/cat": 3, "train/dog": 3, "test/dog": 1, folder: 1})
    with pytest.raises(DataError, match=r"'Cat' \(.*'cat' \(.*differ in case only"):
        load_images(tmp_path)


def test_one_class_and_small_classes_are_named(tmp_path):
    write_tree(tmp_path, {"a": 5})
    with pytest.raises(DataError, match="only one class, 'a'"):
        load_images(tmp_path)
    write_tree(tmp_path, {"b": 2})
    with pytest.raises(DataError, match="class 'b' has 2 images: too few for 3 splits"):
        load_images(tmp_path)


def test_copies_never_span_two_splits(tmp_path):
    write_tree(tmp_path, {"a": 12, "b": 12})
    for number in range(6):
        source = tmp_path / "a" / f"{number:03}.png"
        shutil.copy(source, tmp_path / "a" / f"copy{number}.png")
        Image.open(source).save(tmp_path / "a" / f"again{number}.bmp")
    for seed in range(5):
        data = load_images(tmp_path, seed=seed)
        where = {name: split.name for split in data.splits.values() for name in split.names}
        for number in range(6):
            same = (f"a/{number:03}.png", f"a/copy{number}.png", f"a/again{number}.bmp")
            assert len({where[name] for name in same}) == 1
    assert any(
        "18 images are copies of one another (6 groups)" in note for note in data.notes
    )


def test_equal_rows_of_an_array_never_span_two_splits():
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype="uint8")
    images[20:] = images[:20]
    data = load_images(images, labels=np.arange(40) % 2)
    where = {name: split.name for split in data.splits.values() for name in split.names}
    assert all(where[f"images[{row}]"] == where[f"images[{row + 20}]"] for row in range(20))


def test_group_rule_keeps_people_together(tmp_path):
    for person in range(12):
        for place, wear in enumerate(("mask", "normal")):
            write_image(tmp_path / f"p{person}" / f"{wear}.png", 2 * person + place)
    data = load_images(tmp_path, label_rule="{stem}", group_rule="{parent}")
    people = [
        {name.split("/")[0] for name in split.names} for split in data.splits.values()
    ]
    assert sum(map(len, people)) == len(set.union(*people)) == 12


def test_unreadable_files_raise_at_pixels_or_are_left_out(tree):
    (tree / "rose/broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    data = load_images(tree)
    holder = next(s for s in data.splits.values() if "rose/broken.jpg" in s.names)
    with pytest.raises(DataError, match=r"rose/broken\.jpg"):
        holder.pixels(8)
    data = load_images(tree, on_bad_image="skip")
    assert "rose/broken.jpg" in dict(data.listing.skipped)
    assert any(
        "Left out 1 unreadable images: rose/broken.jpg (" in note for note in data.notes
    )
    assert sum(len(split.pixels(8)) for split in data.splits.values()) == 30


def test_nothing_readable_is_an_error(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(DataError, match="None of the 6 images can be decoded"):
        load_images(tmp_path, on_bad_image="skip")


def test_pixels_are_decoded_once_in_the_order_of_labels(tree):
    split = load_images(tree).train
    pixels = split.pixels((6, 10))
    assert pixels.shape == (len(split), 6, 10, 3)
    assert pixels.dtype == np.uint8
    assert split.pixels((6, 10)) is pixels
    native = split.pixels(12)
    for row, name in enumerate(split.names):
        assert np.array_equal(native[row], np.asarray(Image.open(tree / name)))


def test_arrays_keep_their_pixels_and_classes():
    images = np.random.default_rng(0).random((30, 5, 5))
    data = load_images(images, labels=np.arange(30) % 3)
    assert data.class_names == ("0", "1", "2")
    row = int(data.test.names[0][7:-1])
    expected = np.floor(images[row] * 255 + 0.5)
    assert np.array_equal(data.test.pixels(5)[0], np.repeat(expected[..., None], 3, -1))
    assert any("taken as 0-1" in note for note in data.notes)


def test_number_classes_are_in_the_order_of_numbers(tmp_path):
    write_tree(tmp_path, {"10": 3, "9": 3, "1": 3})
    assert load_images(tmp_path).class_names == ("1", "9", "10")


def test_multi_label_gives_rows_of_zero_and_one(tmp_path):
    rows = ["path,label"]
    for number in range(30):
        write_image(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{('cat', 'dog', 'cat|dog')[number % 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = load_images(tmp_path / "labels.csv", multi_label=True)
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.dtype == np.float32
    assert data.train.labels.shape == (len(data.train), 2)
    assert data.counts().sum(axis=1).tolist() == [20, 20]


def test_settings_are_json_and_load_the_same_again(tree):
    data = load_images(str(tree), validation=0.3, on_bad_image="skip", cache_budget="1GB")
    settings = json.loads(json.dumps(data.settings))
    again = load_images(settings.pop("data"), **settings, seed=data.seed)
    assert again.fingerprint == data.fingerprint
    assert again.settings == data.settings


def test_settings_of_arrays_and_frames_say_that_they_were_arrays(tree):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype="uint8")
    assert load_images(images, labels=np.arange(20) % 2).settings["data"] == "<arrays>"
    paths = sorted(tree.rglob("*.png"))
    frame = pd.DataFrame({"path": paths, "label": [path.parent.name for path in paths]})
    assert load_images(frame).settings["data"] == "<arrays>"


def test_fingerprint_sees_contents_names_labels_and_splits(tree, tmp_path):
    before = load_images(tree, test=0).fingerprint
    moved = shutil.copytree(tree, tmp_path / "elsewhere")
    assert load_images(moved, test=0).fingerprint == before
    write_image(moved / "rose/000.png", 999)
    assert load_images(moved, test=0).fingerprint != before
    shutil.copy(tree / "rose/000.png", moved / "rose/000.png")
    (moved / "rose/000.png").rename(moved / "rose/0000.png")
    assert load_images(moved, test=0).fingerprint != before
    (moved / "rose/0000.png").rename(moved / "rose/000.png")
    (moved / "rose").rename(moved / "tulip")
    assert load_images(moved, test=0).fingerprint != before


def test_file_that_vanishes_is_named(tree):
    data = load_images(tree)
    (tree / data.train.names[0]).unlink()
    with pytest.raises(StorageError, match=data.train.names[0]):
        _ = data.fingerprint


def test_data_shows_itself_without_running_class_names(tmp_path):
    write_tree(tmp_path, {"<script>x": 3, "b": 3})
    data = load_images(tmp_path)
    assert repr(data) == "Data(6 images of 2 classes: train 2, validation 2, test 2)"
    assert "<script>" not in data._repr_html_()
    assert "&lt;script&gt;x" in data._repr_html_()
    assert repr(data.train) == "Split('train', 2 images)"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"on_bad_image": "skp"}, "on_bad_image='skp'.*Did you mean 'skip'"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"cache_budget": "lots"}, "cache_budget='lots'"),
        ({"cache_budget": 0}, "cache_budget=0"),
        ({"validation": 1.5}, "validation=1.5"),
        ({"label_rule": 7}, "label_rule=7"),
    ],
)
def test_arguments_are_checked_before_anything_is_read(arguments, match):
    with pytest.raises(UsageError, match=match):
        load_images("no/such/folder", **arguments)


@pytest.mark.parametrize(
    ("budget", "size"),
    [
        (None, None),
        (5000, 5000),
        ("500", 500),
        ("2GB", 2**31),
        ("1.5 MiB", 1572864),
        ("1k", 1024),
    ],
)
def test_budgets_are_bytes_or_text(budget, size):
    assert parse_budget(budget) == size


def test_importing_data_and_listing_needs_no_tensorflow(tree):
    code = (
        "import sys, kerastl.data as data; loaded = data.load_images(sys.argv[1], test=0);"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'imported'"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tree)], check=True, timeout=60, cwd=ROOT
    )


def test_public_names_are_what_they_are_called():
    import kerastl.data

    assert dir(kerastl.data) == sorted(dir(kerastl.data)) == kerastl.data.__all__
    assert isinstance(load_images("digits"), Data)
    assert isinstance(load_images("digits").train, Split)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kerastl.data.nothing


def test_preview_and_statistics_are_of_the_training_images(tree):
    data = load_images(tree)
    pixels = data.train.pixels(12) / 255
    statistics = data.channel_statistics()
    assert statistics.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-6)
    assert data.channel_statistics() is statistics
    assert len(data.preview(4, augment=()).axes) == 4


def test_check_reports_on_every_file_of_the_source(tree):
    data = load_images(tree)
    assert data.check().ok
    (tree / data.test.names[0]).write_bytes(b"broken")
    report = data.check()
    assert not report.ok
    assert data.test.names[0] in str(report)
