"""CSV and TSV files and DataFrames as sources, checked row by row."""

import unicodedata

import pandas as pd
import pytest
from data_trees import labels_by_name, write_image

from kerastl.data.sources import list_source
from kerastl.errors import DataError, UsageError


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
