"""Folders and rules as sources, and everything wrong with them."""

import os
import socket
import unicodedata
from collections import Counter

import pytest
from data_trees import labels_by_name, write_image, write_tree

from kerastl.data.sources import list_source
from kerastl.errors import DataError, UsageError

MASK_RULE = (
    r"re:(?P<id>\d+)_(?P<gender>male|female)_[^_]+_(?P<age>\d+)/"
    r"(?P<wear>incorrect|mask|normal) -> {gender}-{age:<30,30-59,60+}-{wear}"
)
MASK_FILES = ("incorrect_mask.jpg", "normal.jpeg", *(f"mask{n}.png" for n in range(1, 6)))


def files_on_disk(root):
    return sum(len(files) for _, _, files in os.walk(root)) + sum(
        os.path.islink(os.path.join(at, name))
        for at, names, _ in os.walk(root)
        for name in names
    )


def test_class_folders_give_sorted_names_and_labels(tmp_path):
    listing = list_source(write_tree(tmp_path, {"rose": 2, "daisy": 1}))
    assert labels_by_name(listing) == {
        "daisy/000.png": "daisy",
        "rose/000.png": "rose",
        "rose/001.png": "rose",
    }
    assert [sample.name for sample in listing.samples] == sorted(labels_by_name(listing))


@pytest.mark.parametrize("word", ["val", "valid", "validation", "dev", "VAL"])
def test_split_folders_are_recognised_by_any_of_their_names(tmp_path, word):
    write_tree(
        tmp_path, {"train/a": 2, "train/b": 2, f"{word}/a": 1, f"{word}/b": 1, "test/a": 1}
    )
    listing = list_source(tmp_path)
    assert Counter((sample.split, sample.label) for sample in listing.samples) == {
        ("train", "a"): 2,
        ("train", "b"): 2,
        ("validation", "a"): 1,
        ("validation", "b"): 1,
        ("test", "a"): 1,
    }


def test_a_class_may_be_called_train(tmp_path):
    listing = list_source(write_tree(tmp_path, {"bus": 1, "car": 1, "train": 1}))
    assert {sample.label for sample in listing.samples} == {"bus", "car", "train"}
    assert {sample.split for sample in listing.samples} == {None}


def test_one_folder_around_everything_is_looked_into_and_said(tmp_path):
    listing = list_source(write_tree(tmp_path, {"photos/a": 1, "photos/b": 1}))
    assert {sample.label for sample in listing.samples} == {"a", "b"}
    assert "All images lie in 'photos'" in listing.notes[0]
    wrapped = write_tree(tmp_path / "outer", {"in/train/a": 1, "in/test/a": 1})
    assert {sample.split for sample in list_source(wrapped).samples} == {"train", "test"}


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        ({"train/a": 1, "test/a": 1, "extra/a": 1}, "'extra' is neither train"),
        ({"train/a": 1, "val/a": 1, "dev/a": 1}, "'dev', 'val' all mean validation"),
        ({"val/a": 1, "test/a": 1}, "'test', 'val' but no train folder"),
        ({"train": 2, "test": 2}, "directly in 'test', 'train', without class folders"),
        ({".": 2}, "holds 2 images but no class folders"),
    ],
)
def test_unclear_folders_are_refused(tmp_path, tree, match):
    write_tree(tmp_path, tree)
    with pytest.raises(DataError, match=match):
        list_source(tmp_path)


def test_hidden_and_system_files_are_skipped_listed_and_counted(tmp_path):
    write_tree(tmp_path, {"a": 2, "b": 2})
    for junk in (
        "a/._000.png",
        "a/.DS_Store",
        "a/.ipynb_checkpoints/x.png",
        ".ipynb_checkpoints/x.png",
        "__MACOSX/a/000.png",
        "__pycache__/x.png",
        "lost+found/x.png",
        "b/Thumbs.db",
        "b/desktop.ini",
        "b/readme.txt",
        "loose.png",
    ):
        write_image(tmp_path / "x.png", 9).rename(_parent(tmp_path / junk))
    listing = list_source(tmp_path)
    assert {sample.label for sample in listing.samples} == {"a", "b"}
    assert set(labels_by_name(listing)) == {
        *(f"{folder}/00{number}.png" for folder in "ab" for number in range(2)),
        "b/readme.txt",  # holds an image, whatever it is called
    }
    assert len(listing.samples) + len(listing.skipped) == files_on_disk(tmp_path)
    reasons = dict(listing.skipped)
    assert reasons["a/._000.png"] == "hidden"
    assert reasons["b/Thumbs.db"] == "made by the system"
    assert reasons["__MACOSX/a/000.png"].startswith("inside __MACOSX")
    assert reasons["loose.png"] == "not in a class folder"
    assert any(note.startswith("Skipped 10 files") for note in listing.notes)


def _parent(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_unknown_extensions_are_decided_by_content(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a/000.png").rename(tmp_path / "a/scan")
    (tmp_path / "a/BMW.txt").write_text("BM is how this text and every bitmap starts")
    (tmp_path / "a/empty.jpg").touch()
    listing = list_source(tmp_path)
    assert set(labels_by_name(listing)) == {"a/scan", "a/empty.jpg", "b/000.png"}
    assert dict(listing.skipped) == {"a/BMW.txt": "not an image (.txt)"}


def test_links_and_special_files_are_not_followed(tmp_path, monkeypatch):
    root = write_tree(tmp_path / "root", {"a": 1, "b": 1})
    outside = write_tree(tmp_path / "outside", {"c": 1})
    (root / "c").symlink_to(outside / "c")
    (root / "a/loop").symlink_to(root)
    (root / "a/link.png").symlink_to(root / "b/000.png")
    (root / "a/broken.png").symlink_to(root / "nothing.png")
    os.mkfifo(root / "a/fifo.png")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(root)  # socket paths must be short
        server.bind("b/socket.png")
    listing = list_source(root)
    assert set(labels_by_name(listing)) == {"a/000.png", "b/000.png"}
    reasons = dict(listing.skipped)
    assert reasons["a/fifo.png"] == "not a regular file (FIFO)"
    assert reasons["b/socket.png"] == "not a regular file (socket)"
    links = {"c", "a/loop", "a/link.png", "a/broken.png"}
    assert {reasons[name] for name in links} == {"symbolic link (not followed)"}
    assert len(listing.samples) + len(listing.skipped) == files_on_disk(root)


def test_names_are_in_nfc_and_two_forms_of_one_name_clash(tmp_path):
    decomposed = unicodedata.normalize("NFD", "강아지")
    write_tree(tmp_path, {decomposed: 1, "고양이": 1})
    listing = list_source(tmp_path)
    assert {sample.label for sample in listing.samples} == {"강아지", "고양이"}
    assert all(sample.path.exists() for sample in listing.samples)
    write_tree(tmp_path, {"강아지": 1})
    with pytest.raises(
        DataError, match="'강아지/000.png' and differ only in the Unicode form"
    ):
        list_source(tmp_path)


def test_names_that_are_not_utf8_are_skipped_not_fatal(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1})
    write_image(tmp_path / "x.png", 5).rename(
        os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xb0\xad.png")
    )
    listing = list_source(tmp_path)
    assert len(listing.samples) == 2
    ((name, reason),) = listing.skipped
    assert reason == "file name is not UTF-8"
    assert name.encode("utf-8")


@pytest.mark.parametrize(
    "name", ["a b'\"", "line\nbreak", "-lead", "{epoch}%s", "🌸", "끝."]
)
def test_odd_names_are_plain_names(tmp_path, name):
    listing = list_source(write_tree(tmp_path, {name: 1, "b": 1}))
    assert {sample.label for sample in listing.samples} == {name, "b"}


def test_empty_folders_and_classes_are_named(tmp_path):
    with pytest.raises(DataError, match=r"test_empty.*is empty"):
        list_source(tmp_path)
    write_tree(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "rose").mkdir()
    with pytest.raises(DataError, match="class folder 'rose'.*holds nothing"):
        list_source(tmp_path)
    (tmp_path / "rose/x.png").symlink_to(tmp_path / "a/000.png")
    with pytest.raises(DataError, match="class folder 'rose'.*symbolic link"):
        list_source(tmp_path)


def test_folder_with_other_files_only_is_said_not_to_be_a_class(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1})
    _parent(tmp_path / "annotations/a.xml").write_text("<xml/>")
    assert "'annotations' holds no images" in list_source(tmp_path).notes[0]


def test_folder_without_images_points_to_the_table_in_it(tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(DataError, match=r"holds no images \(1 not an image.*labels.csv'"):
        list_source(tmp_path)


def test_path_that_does_not_exist_gets_the_nearest_name(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match=r"phtos' does not exist. Did you mean 'photos'"):
        list_source(tmp_path / "phtos")


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("https://example.com/photos.zip", "https://example.com/photos.zip' is a URL"),
        ("", "data='' is none of"),
        ("a\0b", "is none of"),
        (7, "data of type int is none of"),
        ("<arrays>", "were arrays"),
    ],
)
def test_what_is_no_source_is_refused(source, match):
    with pytest.raises(UsageError, match=match):
        list_source(source)


@pytest.fixture
def mask_tree(tmp_path):
    people = [(g, a) for g in ("male", "female") for a in (18, 29, 30, 59, 60, 75)]
    for number, (gender, age) in enumerate(people):
        for file in MASK_FILES:
            write_image(tmp_path / f"{number:06}_{gender}_Asian_{age}" / file, number)
        (tmp_path / f"{number:06}_{gender}_Asian_{age}" / "._mask1.png").touch()
    return tmp_path


def test_mask_folders_become_18_classes_and_people(mask_tree):
    listing = list_source(mask_tree, label_rule=MASK_RULE, group_rule="{parent}")
    counts = Counter(sample.label for sample in listing.samples)
    assert len(counts) == 18
    assert counts["male-<30-mask"] == 10
    assert counts["female-60+-incorrect"] == 2
    assert len({sample.group for sample in listing.samples}) == 12
    assert len(listing.skipped) == 12


def test_mask_table_becomes_the_same_18_classes(mask_tree):
    rows = ["id,gender,age,path,wear"]
    for path in sorted(mask_tree.glob("*/[a-z]*")):
        number, gender, _, age = path.parent.name.split("_")
        wear = next(
            word for word in ("incorrect", "mask", "normal") if path.name.startswith(word)
        )
        rows.append(f"{number},{gender},{age},{path.parent.name}/{path.name},{wear}")
    (mask_tree / "train.csv").write_text("\n".join(rows))
    by_table = list_source(
        mask_tree / "train.csv",
        label_rule="{gender}-{age:<30,30-59,60+}-{wear}",
        group_rule="{id}",
    )
    by_folder = list_source(
        mask_tree, label_rule=MASK_RULE, group_rule=r"re:(\d+)".replace("(", "(?P<id>")
    )
    assert labels_by_name(by_table) == labels_by_name(by_folder)
    assert {s.name: s.group for s in by_table.samples} == {
        s.name: s.group for s in by_folder.samples
    }


def test_rules_keep_split_folders_and_functions_may_skip(tmp_path):
    write_tree(tmp_path, {"train/a": 2, "test/b": 2})
    listing = list_source(
        tmp_path, label_rule=lambda name: None if "001" in name else name[-7:-4]
    )
    assert [(s.name, s.split, s.label) for s in listing.samples] == [
        ("test/b/000.png", "test", "000"),
        ("train/a/000.png", "train", "000"),
    ]
    assert dict(listing.skipped)["train/a/001.png"] == "left out by label_rule"


def test_rule_that_matches_nothing_or_skips_everything_is_refused(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match="label_rule cannot be used on 'a/000.png'"):
        list_source(tmp_path, label_rule=MASK_RULE)
    with pytest.raises(DataError, match="label_rule skips every one"):
        list_source(tmp_path, label_rule=lambda name: None)


def test_arguments_that_mean_nothing_for_a_source_are_refused(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(UsageError, match="path_column='file' cannot be used with a folder"):
        list_source(tmp_path, path_column="file")
    with pytest.raises(UsageError, match="multi_label=True cannot be used with a folder"):
        list_source(tmp_path, multi_label=True)
    with pytest.raises(
        UsageError, match=r"label_rule='\{a\}' cannot be used with.*'digits'"
    ):
        list_source("digits", label_rule="{a}")
    with pytest.raises(UsageError, match="labels= belongs to an image array"):
        list_source(tmp_path, labels=[0, 1])
    with pytest.raises(UsageError, match="label_column='x' and label_rule"):
        list_source("x.csv", label_column="x", label_rule="{x}")
