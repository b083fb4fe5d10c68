"""Zero-shot by names, as far as it goes without keras-hub: prompts, names and refusals."""

import dataclasses
import json
import subprocess
import sys

import pytest

import kerastl
from kerastl.__main__ import main
from kerastl.errors import DataError, StorageError, UsageError
from kerastl.models import Recipe, check_preset
from kerastl.models.recipes import read_recipe
from kerastl.predicting import find_model
from kerastl.zeroshot.naming import plan_texts
from kerastl.zeroshot.prompts import check_prompts, fill_prompts, read_words

NAMES = ("ant", "honey_bee")
RECIPE = Recipe("clip_vit_base_patch32", (224, 224), NAMES, (("an ant",), ("a bee",)))


@pytest.fixture(scope="module")
def data():
    return kerastl.load_images("digits")


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)


@pytest.fixture
def hub(monkeypatch):
    """A module of that name, for checks that end before it is used."""
    module = type(sys)("keras_hub")
    module.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "keras_hub", module)


# Prompts and names


def test_underscores_are_spaces_in_prompts():
    texts = fill_prompts(("a {}.", "the {}"), read_words(None, NAMES), NAMES)
    assert texts == (("a ant.", "the ant"), ("a honey bee.", "the honey bee"))


def test_only_the_place_for_the_name_is_filled():
    assert fill_prompts(["{} {0} {name}"], ["a{}b"], ["x"]) == (("a{}b {0} {name}",),)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("a photo", r"prompt 'a photo' must have \{\} once"),
        ("a {} and a {}", r"'a \{\} and a \{\}' must have \{\} once"),
        (["a {}", 3], "prompt 3 must have"),
        ([], "There is no prompt"),
        (["a {}", "a {}"], "given twice"),
    ],
)
def test_prompts_that_cannot_be_meant(prompts, message):
    with pytest.raises(UsageError, match=message):
        check_prompts(prompts)


def test_names_come_from_a_file_or_a_mapping(tmp_path):
    table = tmp_path / "names.csv"
    table.write_text("class,words\nhoney_bee,western honey bee\n")
    expected = ("ant", "western honey bee")
    assert read_words(table, NAMES) == expected
    assert read_words({"honey_bee": "western honey bee "}, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("class,words\nhoney_be,bee\n", UsageError, "Did you mean 'honey_bee'"),
        ("class,words\nant,\n", DataError, "'ant' is called '', no words"),
        ("class,words\nant,a\nant,b\n", DataError, "row 2: 'ant' comes twice"),
        ("class,words,more\nant,a,b\n", DataError, "3 columns: it must have two"),
    ],
)
def test_tables_of_names_that_are_refused(tmp_path, text, kind, message):
    path = tmp_path / "names.csv"
    path.write_text(text)
    with pytest.raises(kind, match=message):
        read_words(path, NAMES)
    with pytest.raises(UsageError, match="Did you mean 'names.csv'"):
        read_words(tmp_path / "nams.csv", NAMES)


@pytest.mark.parametrize("other", ["Honey  Bee", "honey bee"])
def test_two_classes_with_the_same_prompt_are_named(other):
    words = read_words({"ant": other}, NAMES)
    with pytest.raises(DataError, match="'ant' and 'honey_bee' have the same prompt 'the "):
        fill_prompts(["the {}"], words, NAMES)


# Presets


def test_without_keras_hub_it_says_how_to_get_it(data, no_hub):
    with pytest.raises(UsageError, match=r"not installed: pip install 'kerastl\[zoo\]'"):
        kerastl.zero_shot_by_names(data)


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ("hf://openai/clip", "is an address: give a name such as 'clip_vit_base_patch32'"),
        ("presets/clip", "there is no such folder"),
        ("empty", "the folder has no config.json"),
    ],
)
def test_presets_that_cannot_be_meant(hub, tmp_path, monkeypatch, preset, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        check_preset(preset)


def test_a_folder_becomes_a_whole_path(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("{}")
    assert check_preset("mine") == str(tmp_path / "mine")
    assert check_preset("clip_vit_base_patch16") == "clip_vit_base_patch16"


# Data


def test_data_that_cannot_be_scored_is_refused(data):
    with pytest.raises(UsageError, match="no test split"):
        plan_texts(data.without_test())
    with pytest.raises(UsageError, match="has several"):
        plan_texts(dataclasses.replace(data, multi_label=True))


# Recipes


def test_a_recipe_is_found_read_and_says_what_its_model_is(hub, tmp_path):
    path = tmp_path / "clip.json"
    path.write_text(json.dumps(RECIPE.to_dict()))
    assert find_model(tmp_path) == path
    assert read_recipe(path) == RECIPE
    info = kerastl.models.read_info(path)
    assert (info.base, info.class_names, info.image_size) == ("clip", NAMES, (224, 224))


@pytest.mark.parametrize(
    "change",
    [
        {"texts": [["an ant"]]},
        {"texts": [["an ant"], []]},
        {"preset": 3},
        {"image_size": [224]},
        {"image_size": None},
        {"class_names": ["ant", "ant"]},
    ],
)
def test_recipes_that_are_not_ours_are_refused(tmp_path, change):
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({**RECIPE.to_dict(), **change}))
    with pytest.raises((DataError, UsageError)):
        read_recipe(path)
    path.write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        read_recipe(path)


def test_predicting_without_keras_hub_says_so(no_hub, tmp_path, capsys):
    (tmp_path / "clip.json").write_text(json.dumps(RECIPE.to_dict()))
    (tmp_path / "new.png").touch()
    code = main(["predict", str(tmp_path), str(tmp_path / "new.png")])
    assert code == UsageError.exit_code
    assert "pip install 'kerastl[zoo]'" in capsys.readouterr().err


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--method", "clip", "--attributes", "a.csv"],
            "--attributes goes with",
        ),
        (["--method", "clip", "--base", "vgg16"], "--base goes with --method eszsl or dap"),
        (["--method", "clip", "--image-size", "64"], "--image-size goes with"),
        (["--attributes", "a.csv", "--prompt", "{}"], "--prompt goes with --method clip"),
        ([], "--method eszsl needs --attributes FILE"),
        (["--method", "clipp"], "Did you mean 'clip'"),
        (["--method", "clip", "--preset", "no/such"], "preset='no/such': there is no such"),
    ],
)
def test_flags_that_do_not_go_together(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["zero-shot", *arguments]) == UsageError.exit_code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_found_before_tensorflow_and_keras_hub_are_imported(tmp_path):
    script = (
        "import sys\nfrom kerastl.__main__ import main\n"
        "code = main(['zero-shot', '--method', 'clip', '--prompt', 'a photo'])\n"
        "heavy = {'tensorflow', 'keras', 'keras_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == UsageError.exit_code, done.stderr
    assert not any(tmp_path.iterdir())
