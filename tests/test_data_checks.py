"""`check_images` names what is wrong, counts every file, and agrees with the decoder."""

import io
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from broken_images import corrupted_images, picture, save, valid_images
from PIL import Image

from kerastl.data import load_images
from kerastl.data.checks import check_images
from kerastl.data.decoding import decode_image, decode_paths
from kerastl.errors import DataError, UsageError


@pytest.fixture
def photos(tmp_path):
    """A folder with three splits of two classes, every image another one."""
    seeds = iter(range(1000))
    for split, count in (("train", 8), ("validation", 5), ("test", 5)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture(next(seeds)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def found(report, kind: str) -> dict[str, str]:
    """Return `{path: detail}` of the findings of a kind."""
    return {each.path: each.detail for each in report.select(kind)}


# ---- nothing wrong


def test_a_clean_folder_has_counts_and_no_findings(photos):
    report = check_images(photos)
    assert report.ok
    assert report.findings == ()
    assert report.images == {"train": 16, "validation": 10, "test": 10}
    assert report.counts["train"] == {"cat": 8, "dog": 8}
    assert report.imbalance == 1
    lines = str(report).splitlines()
    assert lines[0] == "36 images"
    assert lines[1] == "train: 16 images in 2 classes: cat 8, dog 8"
    assert lines[-1] == "No errors, 0 warnings, 0 remarks."


def test_splits_still_to_be_taken_are_counted_as_one(image_folder):
    report = check_images(image_folder({"cat": 6, "dog": 7}))
    assert report.ok
    assert report.images == {"all": 13}
    assert report.counts == {"all": {"cat": 6, "dog": 7}}


# ---- single files


def test_unreadable_files_are_named_with_the_reason(photos):
    (photos / "train/cat/3.png").write_bytes(b"")
    (photos / "test/dog/1.png").write_bytes(b"<html>404</html>")
    whole = (photos / "validation/dog/2.png").read_bytes()
    (photos / "validation/dog/2.png").write_bytes(whole[: len(whole) // 2])
    report = check_images(photos)
    assert not report.ok
    unreadable = found(report, "unreadable")
    assert list(unreadable) == ["test/dog/1.png", "train/cat/3.png", "validation/dog/2.png"]
    assert unreadable["train/cat/3.png"] == "is empty (0 bytes)"
    assert "b'<html>404</h'" in unreadable["test/dog/1.png"]
    assert "truncated" in unreadable["validation/dog/2.png"]
    assert report.unusable == 3
    assert report.counts["train"] == {"cat": 7, "dog": 8}


def test_skipping_bad_images_makes_them_warnings(photos):
    (photos / "train/cat/3.png").write_bytes(b"")
    report = check_images(photos, on_bad_image="skip")
    assert report.ok
    assert [each.severity for each in report.select("unreadable")] == ["warning"]


def test_oversized_images_are_a_kind_of_their_own(photos):
    Image.new("1", (8000, 8000)).save(photos / "train/cat/3.png")
    report = check_images(photos)
    assert not report.ok
    assert (
        "8000 x 8000 pixels, 64 megapixels" in found(report, "oversized")["train/cat/3.png"]
    )
    assert report.select("unreadable") == ()


def test_misnamed_files_are_told_by_content(photos):
    (photos / "train/cat/a.jpg").write_bytes(save(picture(2001), "PNG"))
    (photos / "train/cat/b.PNG").write_bytes(save(picture(2002), "WEBP"))
    (photos / "train/cat/c.JPEG").write_bytes(save(picture(2003), "JPEG"))
    (photos / "train/cat/d.jfif").write_bytes(save(picture(2004), "JPEG"))
    report = check_images(photos)
    assert report.ok
    assert found(report, "misnamed") == {
        "train/cat/a.jpg": "is a PNG file by content",
        "train/cat/b.PNG": "is a WEBP file by content",
    }


def test_rotated_grey_and_tiny_images_are_remarks(photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(2001).save(photos / "train/cat/turned.jpg", exif=exif)
    picture(2002).convert("L").save(photos / "train/cat/grey.png")
    picture(2003, side=31).save(photos / "train/cat/tiny.png")
    report = check_images(photos)
    assert report.ok
    assert found(report, "rotated") == {
        "train/cat/turned.jpg": "EXIF orientation 6, applied when decoding"
    }
    assert list(found(report, "greyscale")) == ["train/cat/grey.png"]
    assert found(report, "tiny") == {"train/cat/tiny.png": "31 x 31 pixels"}
    assert {each.severity for each in report.findings} == {"info"}


def test_every_file_on_disk_is_counted(photos):
    (photos / "train/cat/3.png").write_bytes(b"")
    (photos / "train/cat/notes.txt").write_text("hello")
    (photos / "train/cat/.DS_Store").write_bytes(b"x")
    (photos / "train/dog/._0.png").write_bytes(b"x")
    shutil.copytree(photos / "test/cat", photos / "train/cat/.ipynb_checkpoints")
    on_disk = sum(len(files) for _, _, files in os.walk(photos))
    report = check_images(photos)
    assert report.files == on_disk
    assert sum(report.images.values()) + report.unusable + report.skipped == on_disk
    assert "train/cat/notes.txt" in found(report, "skipped")
    head = f"{on_disk} files: 35 images, 1 unusable, {report.skipped} skipped"
    assert str(report).splitlines()[0] == head


# ---- copies


def copy(photos, start: str, end: str) -> None:
    shutil.copy(photos / start, photos / end)


def test_the_same_bytes_in_two_splits_are_an_error(photos):
    copy(photos, "test/cat/0.png", "train/cat/copy.png")
    report = check_images(photos)
    assert not report.ok
    detail = "the same bytes as test/cat/0.png; one is in train, the other in test"
    assert found(report, "leak") == {"train/cat/copy.png": detail}
    assert {each.kind for each in report.findings} == {"leak"}


def test_the_same_pixels_in_two_splits_are_an_error(photos):
    Image.open(photos / "test/cat/0.png").save(photos / "train/cat/copy.bmp")
    details = found(check_images(photos), "leak")
    assert "the same pixels as test/cat/0.png" in details["train/cat/copy.bmp"]


def test_the_same_image_under_two_classes_is_an_error(photos):
    copy(photos, "train/cat/0.png", "train/dog/copy.png")
    report = check_images(photos)
    assert not report.ok
    assert found(report, "conflict") == {
        "train/dog/copy.png": "the same bytes as train/cat/0.png; one is 'dog', the other "
        "'cat'"
    }


def test_a_copy_may_leak_and_conflict_at_once(photos):
    copy(photos, "test/cat/0.png", "train/dog/copy.png")
    report = check_images(photos)
    assert list(found(report, "leak")) == ["train/dog/copy.png"]
    assert list(found(report, "conflict")) == ["train/dog/copy.png"]


def test_extra_copies_within_a_class_are_warnings(photos):
    for name in ("a", "b"):
        copy(photos, "train/cat/0.png", f"train/cat/{name}.png")
    report = check_images(photos)
    assert report.ok
    assert found(report, "duplicate") == {
        f"train/cat/{name}.png": "the same bytes as train/cat/0.png" for name in ("a", "b")
    }


def test_near_copies_are_warnings_with_the_pair(photos):
    for end in ("train/cat/x.jpg", "train/dog/y.jpg"):
        start = "test/cat/0.png" if "cat" in end else "train/dog/0.png"
        Image.open(photos / start).save(photos / end, quality=80)
    Image.open(photos / "train/cat/1.png").resize((80, 80)).save(photos / "train/dog/z.png")
    report = check_images(photos)
    assert report.ok
    assert "looks like test/cat/0.png" in found(report, "near-leak")["train/cat/x.jpg"]
    assert found(report, "near-duplicate") == {
        "train/dog/y.jpg": "looks like train/dog/0.png"
    }
    assert (
        "one is 'dog', the other 'cat'" in found(report, "near-conflict")["train/dog/z.png"]
    )


def test_without_given_splits_copies_cannot_leak(image_folder):
    folder = image_folder({"cat": 6, "dog": 6})
    shutil.copy(folder / "cat/00.png", folder / "cat/copy.png")
    report = check_images(folder)
    assert report.ok
    assert list(found(report, "duplicate")) == ["cat/copy.png"]


# ---- classes


def test_small_classes_are_errors_as_loading_says(image_folder):
    folder = image_folder({"cat": 8, "dog": 2, "emu": 4})
    report = check_images(folder)
    small = {
        each.path: (each.severity, each.detail) for each in report.select("small-class")
    }
    assert small == {
        "dog": ("error", "has 2 good images, too few for 3 splits"),
        "emu": ("warning", "has only 4 good images"),
    }
    with pytest.raises(DataError, match="'dog' has 2 images: too few for 3 splits"):
        load_images(folder)
    assert check_images(folder, test=0).ok
    load_images(folder, test=0)


def test_copies_do_not_make_a_class_large_enough(image_folder):
    folder = image_folder({"cat": 8, "dog": 1})
    for name in ("a", "b", "c"):
        shutil.copy(folder / "dog/00.png", folder / f"dog/{name}.png")
    detail = found(check_images(folder), "small-class")["dog"]
    assert detail == (
        "has 4 good images in 1 group that must stay together, too few for 3 splits"
    )
    with pytest.raises(DataError, match="too few"):
        load_images(folder)


def test_unreadable_images_do_not_count_for_their_class(image_folder):
    folder = image_folder({"cat": 8, "dog": 3})
    (folder / "dog/00.png").write_bytes(b"")
    assert "has 2 good images" in found(check_images(folder), "small-class")["dog"]


def test_one_class_and_unknown_classes_are_reported_not_raised(photos, image_folder):
    report = check_images(image_folder({"cat": 8}, root="one"))
    assert not report.ok
    assert "one class" in found(report, "classes")[""]
    (photos / "test/emu").mkdir()
    picture(2001).save(photos / "test/emu/0.png")
    report = check_images(photos)
    assert not report.ok
    assert "'emu'" in found(report, "classes")[""]
    assert report.counts["test"] == {"cat": 5, "dog": 5, "emu": 1}


def test_a_class_missing_from_a_split_is_a_warning(photos):
    shutil.rmtree(photos / "test/dog")
    report = check_images(photos)
    assert report.ok
    assert "no image of class 'dog'" in found(report, "missing-class")["test"]


def test_imbalance_is_said_from_three_to_one(image_folder):
    assert not check_images(image_folder({"cat": 15, "dog": 5}, root="a")).findings
    report = check_images(image_folder({"cat": 16, "dog": 5}, root="b"))
    assert report.ok
    assert report.imbalance == 3.2
    assert (
        "16 images, 3.2 times as many as 'dog' with 5" in found(report, "imbalance")["cat"]
    )


# ---- the report


def test_the_screen_groups_and_cuts_long_lists(photos):
    for number in range(14):
        (photos / f"train/cat/bad{number:02}.png").write_bytes(b"")
    text = str(check_images(photos))
    assert "error: unreadable (14): cannot be decoded" in text
    assert "train/cat/bad09.png" in text
    assert "train/cat/bad10.png" not in text
    assert "  and 4 more" in text
    assert text.endswith("\n14 errors, 0 warnings, 0 remarks.")


def test_errors_come_before_warnings_and_remarks(photos):
    (photos / "train/cat/bad.png").write_bytes(b"")
    (photos / "train/cat/notes.txt").write_text("hello")
    copy(photos, "train/cat/0.png", "train/cat/copy.png")
    kinds = [each.kind for each in check_images(photos).findings]
    assert kinds == ["unreadable", "duplicate", "skipped"]


def test_the_table_has_a_row_per_finding(photos):
    (photos / "train/cat/bad.png").write_bytes(b"")
    frame = check_images(photos).to_frame()
    assert list(frame.columns) == ["kind", "severity", "path", "detail"]
    assert frame.to_numpy().tolist() == [
        ["unreadable", "error", "train/cat/bad.png", "is empty (0 bytes)"]
    ]
    shutil.rmtree(photos / "train/cat/bad.png", ignore_errors=True)
    (photos / "train/cat/bad.png").unlink()
    assert list(check_images(photos).to_frame().columns) == list(frame.columns)


def test_what_every_image_has_is_said_once():
    report = check_images("digits")
    assert report.ok
    assert "info: tiny (1,797): smaller than 32 pixels\n  every image\n" in str(report)
    assert str(report).endswith("No errors, 0 warnings, 2 remarks.")
    assert len(report.select("info")) == 2 * 1797


def test_names_are_shown_without_control_characters_and_escaped(photos):
    name = "\x1b[31m\u202egpj<b>.png"
    (photos / "train/cat" / name).write_bytes(b"")
    report = check_images(photos)
    assert f"train/cat/{name}" in found(report, "unreadable")
    assert "\\x1b[31m\\u202egpj<b>.png" in str(report)
    assert "\x1b" not in str(report)
    assert "<b>" not in report._repr_html_()


# ---- the clean table


def clean_rows(report, folder=None) -> list[dict]:
    table = pd.read_csv(io.StringIO(report.clean_csv(folder)), dtype=str)
    return table.fillna("").to_dict("records")


def test_the_clean_table_drops_what_is_bad_and_deletes_nothing(photos):
    (photos / "train/cat/bad.png").write_bytes(b"")
    copy(photos, "test/cat/0.png", "train/cat/leak.png")
    copy(photos, "train/dog/0.png", "train/dog/extra.png")
    copy(photos, "train/cat/1.png", "train/dog/conflict.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    rows = clean_rows(check_images(photos))
    kept = {row["path"] for row in rows}
    names = {path.relative_to(photos).as_posix() for path in before}
    assert names - kept == {
        "train/cat/bad.png",
        "train/cat/leak.png",
        "train/dog/extra.png",
        "train/cat/1.png",
        "train/dog/conflict.png",
    }
    assert {"path": "test/cat/0.png", "label": "cat", "split": "test"} in rows
    assert before == {path: path.read_bytes() for path in photos.rglob("*.png")}


def test_the_clean_table_loads_and_checks_without_errors(photos):
    (photos / "train/cat/bad.png").write_bytes(b"")
    copy(photos, "test/cat/0.png", "train/dog/leak.png")
    report = check_images(photos)
    (photos / "clean.csv").write_text(report.clean_csv(), encoding="utf-8")
    assert check_images(photos / "clean.csv").ok
    data = load_images(photos / "clean.csv")
    assert len(data.train) == 16
    assert len(data.test) == 9


def test_the_clean_table_can_stand_above_the_images(photos):
    report = check_images(photos)
    rows = clean_rows(report, photos.parent)
    assert rows[0] == {"path": "photos/test/cat/0.png", "label": "cat", "split": "test"}
    with pytest.raises(UsageError, match=r"is not inside .*/train"):
        report.clean_csv(photos / "train")


def test_without_splits_the_clean_table_has_no_split_column(image_folder):
    folder = image_folder({"개": 5, 'say "hi", dog': 5})
    report = check_images(folder)
    assert report.clean_csv().startswith("path,label\n")
    assert {row["label"] for row in clean_rows(report)} == {"개", 'say "hi", dog'}
    (folder / "clean.csv").write_text(report.clean_csv(), encoding="utf-8")
    assert len(load_images(folder / "clean.csv").train) == 6


def test_arrays_have_no_clean_table():
    with pytest.raises(UsageError, match="not a file inside a folder"):
        check_images("digits").clean_csv()


# ---- other sources


def test_tables_are_checked(photos):
    lines = ["path,label,split"]
    for path in sorted(photos.rglob("*.png")):
        split, label, _ = path.relative_to(photos).parts
        lines.append(f"{path.relative_to(photos).as_posix()},{label},{split}")
    (photos / "labels.csv").write_text("\n".join(lines))
    (photos / "train/cat/0.png").write_bytes(b"")
    report = check_images(photos / "labels.csv")
    assert report.images == {"train": 15, "validation": 10, "test": 10}
    assert list(found(report, "unreadable")) == ["train/cat/0.png"]


def test_several_labels_are_counted_each(photos):
    names = [f"train/cat/{number}.png" for number in range(8)]
    rows = [f"{name},{'a|b' if number % 2 else 'a'}" for number, name in enumerate(names)]
    (photos / "labels.csv").write_text("\n".join(["path,label", *rows]))
    report = check_images(photos / "labels.csv", multi_label=True)
    assert report.images == {"all": 8}
    assert report.counts == {"all": {"a": 8, "b": 4}}
    assert clean_rows(report)[1]["label"] == "a|b"


def test_arrays_are_checked_for_equal_rows():
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype="uint8")
    images[7] = images[2]
    report = check_images(images, labels=[0] * 6 + [1] * 6)
    assert "the same pixels as" in report.findings[0].detail
    assert [each.kind for each in report.findings] == ["conflict"]
    assert report.counts == {"all": {"0": 6, "1": 6}}


def test_data_checks_itself(image_folder):
    data = load_images(image_folder({"cat": 6, "dog": 6}))
    assert data.check().images == {"all": 12}


def test_data_checks_itself_with_the_arguments_it_was_loaded_with(image_folder):
    folder = image_folder({"cat": 3, "dog": 2})
    assert load_images(folder, test=0).check().ok
    assert "too few for 3 splits" in str(check_images(folder))
    (folder / "cat" / "bad.png").write_bytes(b"bad")
    skipping = load_images(folder, test=0, on_bad_image="skip").check()
    assert skipping.ok
    assert not load_images(folder, test=0).check().ok


@pytest.mark.parametrize(
    "bad", [{"validation": 1.5}, {"on_bad_image": "ignore"}, {"cache_budget": "much"}]
)
def test_arguments_are_checked_as_loading_does(photos, bad):
    with pytest.raises(UsageError, match=f"{next(iter(bad))}="):
        check_images(photos, **bad)


def test_a_check_never_imports_tensorflow_or_keras(photos):
    program = (
        "import sys; from kerastl.data import check_images; check_images(sys.argv[1]);"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(photos)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- damaged files by the hundred


def decodes(path) -> bool:
    try:
        decode_image(path)
    except DataError:
        return False
    return True


def check_against_decoder(folder, files: dict[str, bytes]) -> int:
    """Write files, check them, decode each; return how many are unusable."""
    target = folder / "fuzz/cat"
    target.mkdir(parents=True)
    for name, data in files.items():
        (target / name).write_bytes(data)
    report = check_images(folder / "fuzz")
    listed_bad = {f"cat/{name}" for name in files} & {
        each.path for each in report.select("unreadable", "oversized", "skipped")
    }
    paths = [target / name for name in files]
    _, readable, _ = decode_paths(paths, 16)
    for name, path, good in zip(files, paths, readable, strict=True):
        started = time.monotonic()
        assert decodes(path) == good == (f"cat/{name}" not in listed_bad), name
        assert time.monotonic() - started < 2, name
    assert report.files == len(files)
    return len(listed_bad)


def test_valid_files_of_every_kind_pass(tmp_path):
    assert check_against_decoder(tmp_path, valid_images()) == 0


def test_check_and_decoder_agree_on_every_corruption(tmp_path):
    files = corrupted_images(per_kind=36)
    bad = check_against_decoder(tmp_path, files)
    assert len(files) == 504
    assert 150 < bad < 450


@pytest.mark.slow
def test_check_and_decoder_agree_on_many_more_corruptions(tmp_path):
    assert check_against_decoder(tmp_path, corrupted_images(per_kind=1000)) > 4000
