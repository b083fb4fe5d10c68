"""Sources: folders, tables, zips, arrays and built-ins, and everything wrong with them."""

import io
import os
import socket
import stat
import unicodedata
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from data_trees import write_image, write_tree

from kerastl.data.archives import unpack
from kerastl.data.arrays import to_labels, to_pixels
from kerastl.data.sources import list_source
from kerastl.errors import DataError, UsageError

MASK_RULE = (
    r"re:(?P<id>\d+)_(?P<gender>male|female)_[^_]+_(?P<age>\d+)/"
    r"(?P<wear>incorrect|mask|normal) -> {gender}-{age:<30,30-59,60+}-{wear}"
)
MASK_FILES = ("incorrect_mask.jpg", "normal.jpeg", *(f"mask{n}.png" for n in range(1, 6)))


def labels_by_name(listing):
    return {sample.name: sample.label for sample in listing.samples}


def files_on_disk(root):
    return sum(len(files) for _, _, files in os.walk(root)) + sum(
        os.path.islink(os.path.join(at, name))
        for at, names, _ in os.walk(root)
        for name in names
    )


# Folders


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


def test_links_and_special_files_are_not_followed(tmp_path):
    root = write_tree(tmp_path / "root", {"a": 1, "b": 1})
    outside = write_tree(tmp_path / "outside", {"c": 1})
    (root / "c").symlink_to(outside / "c")
    (root / "a/loop").symlink_to(root)
    (root / "a/link.png").symlink_to(root / "b/000.png")
    (root / "a/broken.png").symlink_to(root / "nothing.png")
    os.mkfifo(root / "a/fifo.png")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(root)
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


# Rules


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


# Tables


@pytest.fixture
def images(tmp_path):
    for number in range(3):
        write_image(tmp_path / "img" / f"{number}.png", number)
    return tmp_path


def write_csv(folder, text, encoding="utf-8"):
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_and_encodings_are_recognised(images, delimiter, encoding, newline):
    rows = [["파일명", "라벨"], ["img/0.png", "고양이"], ["img/1.png", '"개, 큰; 것"']]
    text = newline.join(delimiter.join(row) for row in rows) + newline
    listing = list_source(write_csv(images, text, encoding))
    assert labels_by_name(listing) == {"img/0.png": "고양이", "img/1.png": "개, 큰; 것"}
    assert ("labels.csv was read as CP949." in listing.notes) == (encoding == "cp949")
    assert "Columns recognised: paths from '파일명', labels from '라벨'." in listing.notes


def test_columns_are_named_or_recognised(images):
    path = write_csv(images, "when,picture,kind,other\n1,img/0.png,a,x\n2,img/1.png,b,y\n")
    listing = list_source(path, label_column="kind")
    assert labels_by_name(listing) == {"img/0.png": "a", "img/1.png": "b"}
    with pytest.raises(
        DataError, match=r"recognised.*labels.*when, picture, kind, other.*label_column"
    ):
        list_source(path)
    with pytest.raises(
        UsageError, match="label_column='knd'.*when, picture.*Did you mean 'kind'"
    ):
        list_source(path, label_column="knd")
    with pytest.raises(UsageError, match="path_column='pictur'.*Did you mean 'picture'"):
        list_source(path, path_column="pictur", label_column="kind")


def test_split_column_is_read(images):
    path = write_csv(
        images, "path,label,split\nimg/0.png,a,train\nimg/1.png,b,Train\nimg/2.png,a,val\n"
    )
    assert [sample.split for sample in list_source(path).samples] == [
        "train",
        "train",
        "validation",
    ]


def test_backslashes_dots_and_decomposed_names_find_their_file(tmp_path):
    write_image(tmp_path / unicodedata.normalize("NFD", "꽃/장미.png"), 1)
    write_image(tmp_path / "꽃2/b.png", 2)
    listing = list_source(
        write_csv(tmp_path, "path,label\n./꽃/장미.png,a\n꽃2\\b.png,b\n")
    )
    assert labels_by_name(listing) == {"꽃/장미.png": "a", "꽃2/b.png": "b"}


@pytest.mark.parametrize(
    ("cell", "match"),
    [
        ("../img/0.png", r"'\.\./img/0.png' has '\.\.'"),
        ("img/../../x.png", "has '..'"),
        ("/etc/passwd", "'/etc/passwd' is absolute"),
        ("C:\\x.png", "is absolute"),
        ("\\\\server\\x.png", "is absolute"),
        ("~/x.png", "is absolute"),
        ("https://x.org/a.png", "'https://x.org/a.png' is a URL"),
        ("img/\0.png", "NUL"),
        ("img/9.png", "'img/9.png' does not exist"),
        ("img", "is a folder"),
        ("", "path is empty"),
        ("link.png", "is a symbolic link"),
        ("door/secret.png", "leads outside"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused_with_their_row(
    images, tmp_path_factory, cell, match
):
    outside = tmp_path_factory.mktemp("outside")
    write_image(outside / "secret.png", 1)
    (images / "link.png").symlink_to(outside / "secret.png")
    (images / "door").symlink_to(outside)
    path = write_csv(images, f"path,label\nimg/0.png,a\n\n{cell},b\n")
    with pytest.raises(DataError, match=r"labels\.csv row 4: .*" + match):
        list_source(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("path,label\n", "has a header but no rows"),
        ("img/0.png,a\nimg/1.png,b\n", "has no header: its first row holds 'img/0.png'"),
        ("path\nimg/0.png\n", "has one column only, 'path'"),
        ("path,label\nimg/0.png,a,b\n", "row 2 has 3 cells, the header 2"),
        ("path,label\nimg/0.png\n", "row 2 has 1 cells, the header 2"),
        ("path,label,label\nimg/0.png,a,b\n", "two columns called 'label'"),
        ("path,label\nimg/0.png,\n", "row 2: 'img/0.png' has no label"),
        ('path,label\nimg/0.png,"a\n', "cannot be read near line"),
        ("path,label,split\nimg/0.png,a,fold1\n", "row 2: the split 'fold1'"),
        ("path,label,split\nimg/0.png,a,test\n", "no row with split 'train'"),
        (
            "path,label\nimg/0.png,a\nimg/0.png,b\n",
            "row 3: 'img/0.png' has the label 'b', but row 2 says 'a'",
        ),
        (
            "path,label,split\nimg/0.png,a,train\n./img/0.png,a,test\n",
            "row 3: 'img/0.png' has the split 'test', but row 2 says 'train'",
        ),
    ],
)
def test_broken_tables_are_refused(images, text, match):
    with pytest.raises(DataError, match=match):
        list_source(write_csv(images, text))


def test_bytes_in_no_alphabet_are_refused(images):
    (images / "labels.csv").write_bytes(b"path,label\nimg/0.png,\xff\xfe\xff\n")
    with pytest.raises(DataError, match="'labels.csv' is neither UTF-8 nor CP949"):
        list_source(images / "labels.csv")


def test_repeated_rows_count_once_and_are_said(images):
    listing = list_source(
        write_csv(images, "path,label\nimg/0.png,a\nimg/0.png,a\nimg/1.png,b\n")
    )
    assert len(listing.samples) == 2
    assert "1 rows of labels.csv repeat an earlier row and count once." in listing.notes


def test_several_labels_in_one_column(images):
    path = write_csv(images, "path,label\nimg/0.png,cat|dog\nimg/1.png,dog\n")
    listing = list_source(path, multi_label=True)
    assert labels_by_name(listing) == {"img/0.png": ("cat", "dog"), "img/1.png": ("dog",)}
    with pytest.raises(DataError, match=r"row 2: The labels 'cat\|'"):
        list_source(write_csv(images, "path,label\nimg/0.png,cat|\n"), multi_label=True)


def test_several_columns_of_zero_and_one(images):
    path = write_csv(images, "path,b,a\nimg/0.png,1,1\nimg/1.png,0,0\n")
    listing = list_source(path, label_column="b,a", multi_label=True)
    assert labels_by_name(listing) == {"img/0.png": ("b", "a"), "img/1.png": ()}
    assert listing.class_names == ("b", "a")
    with pytest.raises(
        DataError, match=r"row 2: 2 of b, a are 1, not exactly one.*multi_label=True"
    ):
        list_source(path, label_column="b,a")
    with pytest.raises(DataError, match="row 2: 'b' is 'x', not 0 or 1"):
        list_source(write_csv(images, "path,b,a\nimg/0.png,x,1\n"), label_column="b,a")
    one_hot = write_csv(images, "path,b,a\nimg/0.png,0,1\nimg/1.png,1,0\n")
    assert labels_by_name(list_source(one_hot, label_column="b, a")) == {
        "img/0.png": "a",
        "img/1.png": "b",
    }


def test_frames_take_absolute_and_relative_paths(images, monkeypatch):
    frame = pd.DataFrame(
        {"path": sorted((images / "img").glob("*.png")), "label": [1.0, 2, 1]}
    )
    listing = list_source(frame)
    assert labels_by_name(listing) == {"0.png": "1", "1.png": "2", "2.png": "1"}
    monkeypatch.chdir(images)
    relative = pd.DataFrame({"path": ["img/0.png", "img/1.png"], "label": ["a", "b"]})
    assert [sample.path.exists() for sample in list_source(relative).samples] == [
        True,
        True,
    ]


def test_frames_with_gaps_are_refused_with_their_row(images, monkeypatch):
    monkeypatch.chdir(images)
    frame = pd.DataFrame({"path": ["img/0.png", "img/1.png"], "label": ["a", None]})
    with pytest.raises(
        DataError, match="The DataFrame row 1: 'img/1.png' has no label|row 1: '1.png'"
    ):
        list_source(frame)
    frame = pd.DataFrame({"path": ["img/0.png", None], "label": ["a", "b"]})
    with pytest.raises(DataError, match="The DataFrame row 1: the path is empty"):
        list_source(frame)


# Zips


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def zip_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_zip_equals_its_folder(tmp_path):
    tree = write_tree(tmp_path / "tree", {"꽃/a": 2, "꽃/b": 1, "__MACOSX/a": 1})
    members = {
        str(p.relative_to(tree)): p.read_bytes() for p in tree.rglob("*") if p.is_file()
    }
    archive = zip_of(tmp_path / "tree.zip", members)
    assert labels_by_name(list_source(archive)) == labels_by_name(list_source(tree))


def test_zip_is_unpacked_once_and_again_when_damaged(tmp_path):
    archive = zip_of(tmp_path / "x.zip", {"a/1.png": b"1", "b/2.png": b"2"})
    folder = unpack(archive)
    os.utime(folder / "a/1.png", (1, 1))
    assert (unpack(archive) / "a/1.png").stat().st_mtime == 1
    (folder / "b/2.png").unlink()
    assert (unpack(archive) / "b/2.png").read_bytes() == b"2"
    assert not list(folder.parent.glob(".unpacking-*"))


def test_zip_from_korean_windows_keeps_its_names(tmp_path):
    path = tmp_path / "korean.zip"
    raw = "꽃.png".encode("cp949")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x" * len(raw), b"1")
    path.write_bytes(buffer.getvalue().replace(b"x" * len(raw), raw))
    assert (unpack(path) / "꽃.png").exists()


def link_member():
    info = zipfile.ZipInfo("a/link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../evil.png", r"\.\./evil.png' leaves"),
        ("/evil.png", "'/evil.png' leaves"),
        ("a/../../evil.png", "leaves"),
        ("C:/evil.png", "leaves"),
        (link_member(), "'a/link.png' is a symbolic link"),
    ],
)
def test_hostile_members_refuse_the_whole_zip(tmp_path, name, match):
    archive = zip_of(tmp_path / "evil.zip", {"a/1.png": b"1", name: b"2"})
    with pytest.raises(DataError, match=r"'evil\.zip' member .*" + match):
        unpack(archive, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_bombs_damage_and_passwords_are_refused(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.bmp", bytes(2**22))
    monkeypatch.setattr("kerastl.data.archives.RATIO_FREE_BYTES", 2**20)
    with pytest.raises(DataError, match=r"'bomb.zip' would grow \d+ times"):
        unpack(bomb)
    monkeypatch.setattr("kerastl.data.archives.MAX_BYTES", 2**20)
    with pytest.raises(DataError, match="'bomb.zip' holds 1 files"):
        unpack(bomb)
    (tmp_path / "no.zip").write_text("no zip")
    with pytest.raises(DataError, match="'no.zip' is not a zip file"):
        unpack(tmp_path / "no.zip")
    good = zip_of(tmp_path / "good.zip", {"a/1.png": b"abcdefgh"})
    flipped = good.read_bytes().replace(b"abcdefgh", b"abcdefgX")
    (tmp_path / "flipped.zip").write_bytes(flipped)
    with pytest.raises(DataError, match="'flipped.zip' is not a zip file that can be read"):
        unpack(tmp_path / "flipped.zip", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


# Arrays and built-ins


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
