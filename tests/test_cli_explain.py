"""`kerastl explain`: a line and a picture per image, and mistakes in one sentence."""

import numpy as np
import pytest
from PIL import Image

import kerastl
from kerastl.__main__ import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    names = ["ant", "bee"]
    made = kerastl.build_model(
        "tiny", num_classes=2, weights=None, image_size=16, class_names=names
    )
    return kerastl.save_model(made, tmp_path_factory.mktemp("model") / "model.keras")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a/1.png", "b/1.png"):
        path = folder / name
        path.parent.mkdir(parents=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (24, 24, 3), "uint8")
        Image.fromarray(pixels).save(path)
    return folder


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_line_and_a_picture_per_image(capsys, model, photos, tmp_path):
    out = tmp_path / "heat"
    code, said, _ = call(capsys, "explain", model, photos, "--out", out, "--class", "bee")
    assert code == 0
    lines = said.splitlines()
    assert len(lines) == 2
    for line, folder, name in zip(lines, "ab", ("1.png.png", "1.png-2.png"), strict=True):
        assert line.startswith(f"{photos / folder / '1.png'}: bee 0.")
        assert line.endswith(str(out / name))
        with Image.open(out / name) as picture:
            width, height = picture.size
        assert 2 * height < width < 2.2 * height
    assert sorted(path.name for path in out.iterdir()) == ["1.png-2.png", "1.png.png"]


def test_the_same_command_writes_the_same_bytes(capsys, model, photos, tmp_path):
    for name in ("one", "two"):
        call(capsys, "explain", model, photos, "--out", tmp_path / name)
    one, two = (tmp_path / name / "1.png.png" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_an_unreadable_file_is_a_line_and_exit_code_3(capsys, model, photos, tmp_path):
    (photos / "a" / "2.png").write_bytes(b"no image")
    code, said, told = call(capsys, "explain", model, photos, "--out", tmp_path / "heat")
    assert code == 3
    assert len(said.splitlines()) == 3
    assert f"{photos / 'a' / '2.png'}: " in said
    assert "1 of 3 files could not be read" in told


def test_nothing_but_unreadable_files(capsys, model, tmp_path):
    path = tmp_path / "bad.png"
    path.write_bytes(b"no image")
    code, said, told = call(capsys, "explain", model, path, "--out", tmp_path / "heat")
    assert code == 3
    assert "Traceback" not in told
    assert str(path) in said
    assert not (tmp_path / "heat").exists()


def test_mistakes_are_one_sentence(capsys, model, photos, tmp_path):
    out = tmp_path / "heat"
    code, said, told = call(
        capsys, "explain", model, photos, "--out", out, "--class", "bea"
    )
    assert (code, said) == (2, "")
    assert "'bea'" in told
    assert "Did you mean 'bee'" in told
    code, said, told = call(capsys, "explain", model, "no-such-*.png", "--out", out)
    assert (code, said) == (2, "")
    assert (
        told == "kerastl: 'no-such-*.png' matches no image: give files, folders or globs.\n"
    )
    assert not out.exists()


def test_without_a_run_or_a_folder_it_says_so(capsys, photos, tmp_path, model):
    code, _, told = call(capsys, "explain", tmp_path / "no", photos, "--out", tmp_path)
    assert (code, "There is no run folder" in told) == (2, True)
    file = tmp_path / "file"
    file.touch()
    code, _, told = call(capsys, "explain", model, photos, "--out", file)
    assert (code, "this is a file" in told) == (2, True)
    code, _, told = call(capsys, "explain", model, photos)
    assert (code, "--out" in told) == (2, True)
