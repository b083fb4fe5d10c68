"""Options: every value is checked, survives a TOML file, and differences are named."""

import dataclasses
import math
import tomllib
from pathlib import Path

import pytest

from kerastl.errors import UsageError
from kerastl.options import FIELDS, GROUPS, Options, difference, from_toml, to_toml
from kerastl.stages import STAGE_FIELDS, Schedule, Stage

EXAMPLES = {
    "data": 'photos/개 "와" 고양이\\n\n\x7f',
    "path_column": "path",
    "label_column": "label",
    "label_rule": r"re:(?P<id>\d+)_(?P<wear>mask|normal) -> {wear}",
    "group_rule": "{id}",
    "multi_label": True,
    "validation": 0.1,
    "test": 0,
    "merge_validation": True,
    "on_bad_image": "skip",
    "cache_budget": "1.5GB",
    "activations": "bfloat16",
    "base": "vgg16",
    "weights": None,
    "image_size": (224, 160),
    "pooling": "flatten",
    "hidden": [4096, 4096],
    "dropout": 0.5,
    "schedule": "full",
    "stages": [{"name": "top", "unfreeze": "block5", "augment": ["flip"]}],
    "epochs": [3, 5],
    "learning_rate": 1e-5,
    "batch_size": 8,
    "optimizer": "sgd",
    "momentum": 0.8,
    "weight_decay": 1e-4,
    "lr_schedule": "cosine",
    "step_epochs": 2,
    "step_factor": 0.5,
    "warmup_epochs": 50,
    "rate_decay": 0.4,
    "patience": 3,
    "augment": ["flip", "crop"],
    "class_weight": "balanced",
    "train_batchnorm": False,
    "restore_best": False,
    "label_smoothing": 0.1,
    "normalize": "data",
    "seed": 7,
    "split_seed": 8,
    "out": Path("runs/x"),
}
BAD = {
    "data": ["", 5, None],
    "multi_label": ["yes", 1],
    "validation": [-0.1, 1, math.nan, "0.2", True],
    "merge_validation": ["yes", 1],
    "on_bad_image": ["skipp"],
    "cache_budget": ["2 apples", 0, -1, 2.5],
    "activations": ["float64", "half", 16],
    "image_size": [0, 2.5, (1, 2, 3), "224", True, (224, 0)],
    "pooling": ["averag", 3],
    "hidden": [256, [0], [2.5], ["a"]],
    "dropout": [1, -1],
    "schedule": ["hybird", 3],
    "stages": [[{"unfreeze": "head"}], [{"name": "a", "epoch": 3}], "head"],
    "epochs": [0, 2.5, True, [], [3, 0], "abc"],
    "learning_rate": [0, -1, math.inf, math.nan, "abc", 1e400],
    "batch_size": [0, 2.5, True],
    "optimizer": ["adamm"],
    "momentum": [1.5],
    "patience": [0],
    "augment": [["flop"], "flip", ["mixup", "cutmix"]],
    "class_weight": ["equal"],
    "train_batchnorm": [1],
    "restore_best": [1],
    "label_smoothing": [1],
    "seed": [-1, 2**31, 1.5],
    "split_seed": [-1, 2**31, 1.5],
}


def test_every_option_has_an_example():
    assert EXAMPLES.keys() == FIELDS.keys()


def test_all_options_round_trip_through_toml():
    options = Options(**EXAMPLES)
    assert from_toml(to_toml(options)) == options
    assert from_toml(to_toml(options, comments=True)) == options


def test_defaults_round_trip_and_leave_the_schedule_alone():
    written = tomllib.loads(to_toml(Options()))
    assert from_toml(to_toml(Options())) == Options()
    assert not written.keys() & set(STAGE_FIELDS)
    assert "out" not in written


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_option_alone_round_trips(name):
    options = Options(**{name: EXAMPLES[name]})
    assert from_toml(to_toml(options)) == options
    assert getattr(options, name) != FIELDS[name].default or name == "train_batchnorm"


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_bad_values_are_refused_by_name_and_value(name, value):
    with pytest.raises(UsageError, match=f"{name}|^A stage|mixup") as caught:
        Options(**{name: value})
    assert caught.value.exit_code == 2


def test_all_problems_are_reported_at_once():
    with pytest.raises(UsageError) as caught:
        Options(base="", epochs=0, optimizer="adma")
    lines = str(caught.value).splitlines()
    assert [line.split("=")[0] for line in lines] == ["base", "epochs", "optimizer"]
    assert lines[2].endswith("Did you mean 'adam'?")


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(UsageError, match=r"validation=0\.5 and test=0\.5 leave nothing"):
        Options(validation=0.5, test=0.5)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500 << 20),
        ("2GiB", 2 << 30),
        ("1.5 gb", 3 << 29),
        ("7", 7),
        ("3k", 3072),
        (9, 9),
    ],
)
def test_cache_budget_reads_units(text, size):
    assert Options(cache_budget=text).cache_budget == size


def test_stages_become_stages_and_allow_any_schedule_name():
    options = Options(schedule="mine", stages=[Stage(name="a"), {"name": "b", "epochs": 2}])
    assert [stage["epochs"] for stage in options.stages] == [10, 2]
    assert Schedule.from_dict({"name": "mine", "stages": options.stages})
    with pytest.raises(UsageError, match="schedule='mine' is not one of"):
        Options(schedule="mine")


def test_unknown_keys_name_the_nearest():
    with pytest.raises(
        UsageError, match=r"no option 'batchsize'\. Did you mean 'batch_size'"
    ):
        from_toml("batchsize = 3\nsede = 1")


@pytest.mark.parametrize(
    "text",
    [
        "epochs = ",
        "a" * 2_000_000,
        "x = " + "[" * 100_000,
        "seed = 1\nseed = 2",
        "seed = nan",
    ],
    ids=["broken", "long", "nested", "twice", "nan"],
)
def test_files_that_are_no_configuration_are_refused(text):
    with pytest.raises(UsageError):
        from_toml(text)


def test_commented_file_explains_every_option():
    text = to_toml(Options(), comments=True)
    for name, field in FIELDS.items():
        if name != "stages":
            assert f"{name} =" in text
            assert field.metadata["help"] in text


def test_every_option_is_in_a_group_with_help():
    for field in FIELDS.values():
        assert field.metadata["group"] in GROUPS
        assert 5 < len(field.metadata["help"]) < 70


def test_difference_names_option_before_and_now_but_not_places():
    before = Options(epochs=5, weights=None, out="a")
    now = dataclasses.replace(before, epochs=(3, 5), weights="imagenet", out="b", data="x")
    assert difference(before, now) == [
        "weights: not set in the run, imagenet now",
        "epochs: 5 in the run, (3, 5) now",
    ]
    assert difference(before, before) == []


def test_difference_looks_into_stages():
    head = Stage(name="head")
    before = Options(stages=[head, Stage(name="top", patience=3)])
    now = Options(stages=[head, Stage(name="top", epochs=2)])
    assert difference(before, now) == [
        "stage 'top', epochs: 10 in the run, 2 now",
        "stage 'top', patience: 3 in the run, not set now",
    ]
    assert difference(before, Options(stages=[head])) == [
        "stages: head, top in the run, head now"
    ]
    assert difference(Options(), now) == ["stages: not set in the run, head, top now"]


def test_same_option_given_in_two_forms_is_the_same():
    assert Options(image_size=32, hidden=[8]) == Options(image_size=[32, 32], hidden=(8,))
