"""Zips as sources: unpacked once, and hostile ones never."""

import io
import os
import stat
import zipfile

import pytest
from data_trees import labels_by_name, write_tree

from kerastl.data.archives import unpack
from kerastl.data.sources import list_source
from kerastl.errors import DataError


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
