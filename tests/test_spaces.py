"""Search spaces: what may be searched, lists and distributions, text and back."""

import copy
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kerastl.errors import UsageError
from kerastl.options import FIELDS
from kerastl.spaces import (
    SEARCHABLE,
    TUTORIAL,
    TUTORIAL_SETTINGS,
    Space,
    check_point,
    parse_parameter,
    parse_parameters,
    parse_space,
    read_space,
    tutorial_space,
)
from kerastl.stages import STAGE_FIELDS

# every setting that may be searched -> values that are allowed
VALUES = {
    "base": ["vgg16", "resnet50"],
    "weights": ["pretrained", None, "w.weights.h5"],
    "image_size": [32, (48, 64)],
    "pooling": ["average", "flatten"],
    "hidden": [(), (256,), (512, 256)],
    "dropout": [0, 0.5],
    "schedule": ["hybrid", "gradual"],
    "epochs": [3, (3, 5), None],
    "learning_rate": [0.01, (0.01, 0.001)],
    "batch_size": [16, 32],
    "optimizer": ["adam", "sgd"],
    "momentum": [0.8],
    "weight_decay": [0.0, 1e-4],
    "lr_schedule": ["constant", "cosine"],
    "step_epochs": [2],
    "step_factor": [0.5],
    "warmup_epochs": [0, 2],
    "rate_decay": [1.0, 0.4],
    "patience": [None, 3],
    "restore_best": [True, False],
    "augment": [(), ("flip", "crop")],
    "class_weight": [None, "balanced"],
    "train_batchnorm": [True],
    "label_smoothing": [0.1],
    "normalize": ["base", "data"],
    "unfreeze": [4, "block5", "all"],
}


# What may be searched


def test_every_option_of_the_model_and_of_training_may_be_searched():
    assert set(VALUES) == set(SEARCHABLE)
    groups = {name: FIELDS[name].metadata["group"] for name in VALUES if name in FIELDS}
    assert set(groups.values()) == {"model", "training"}


@pytest.mark.parametrize("name", VALUES)
def test_a_setting_takes_its_values_and_survives_json(name):
    space = Space({name: VALUES[name]})
    assert space.parameters == {name: tuple(VALUES[name])}
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


@pytest.mark.parametrize("name", sorted(set(VALUES) & set(STAGE_FIELDS)))
def test_a_stage_takes_its_own_settings(name):
    values = [v for v in VALUES[name] if name == "augment" or not isinstance(v, tuple)]
    values = [v for v in values if v is not None]
    space = Space({f"last-15__{name}": values, f"1__{name}": values})
    assert space.parameters[f"last-15__{name}"] == tuple(values)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("validation", "'validation' cannot be searched: it belongs to the images"),
        ("data", "it belongs to the images"),
        ("multi_label", "it belongs to the images"),
        ("seed", "'seed' cannot be searched: .*repeats=3"),
        ("out", "'out' cannot be searched"),
        ("stages", "'stages' cannot be searched: search `schedule`"),
        ("learnig_rate", "no setting 'learnig_rate'. Did you mean 'learning_rate'"),
        ("head__epoch", "has no setting 'epoch'. Did you mean 'epochs'"),
        ("head__name", "has no setting 'name'"),
        ("head__data", "has no setting 'data'"),
        ("__epochs", "'__epochs' names no stage"),
        ("", "no setting ''"),
        (5, "5 is not the name of a setting"),
    ],
)
def test_other_names_are_refused(name, sentence):
    with pytest.raises(UsageError, match=sentence):
        Space({name: [1]})


def test_all_problems_are_told_at_once():
    parameters = {
        "batch_size": [16, 0, -1],
        "optimizr": ["adam"],
        "dropout": [],
        "head__epochs": [0],
        "optimizer": stats.uniform(0, 1),
    }
    with pytest.raises(UsageError) as caught:
        Space(parameters)
    text = str(caught.value)
    assert len(text.splitlines()) == 6
    for part in (
        "batch_size=0: give a whole number of at least 1",
        "batch_size=-1",
        "Did you mean 'optimizer'",
        "dropout has no values",
        "head__epochs: epochs=0",
        "optimizer=uniform(0, 1) draws values such as 0.01",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "is empty"),
        ([{"batch_size": [16]}], "a dict of setting to values, .* got list"),
        (None, "got NoneType"),
        ("tutorial", "got str"),
        ({"batch_size": []}, "batch_size has no values"),
        ({"batch_size": np.array([])}, "batch_size has no values"),
        ({"batch_size": [16, 32, 16]}, "batch_size=16 is given twice"),
        ({"image_size": [32, (32, 32)]}, r"image_size=\[32,32\] is given twice"),
        ({"hidden": [[256], (256,)]}, r"hidden=\[256\] is given twice"),
        ({"dropout": [0, 0.0]}, "dropout=0.0 is given twice"),
        ({"weights": [None, "none"]}, "weights=none is given twice"),
        ({"learning_rate": [math.nan]}, "learning_rate=nan: give a number"),
        ({"learning_rate": [math.inf]}, "learning_rate=inf: give a number"),
        ({"learning_rate": [True]}, "learning_rate=True: give a number"),
        ({"batch_size": [16.0]}, "batch_size=16.0: give a whole number"),
        ({"batch_size": {16, 32}}, "batch_size: give a list .* got set"),
        ({"batch_size": {"a": 16}}, "got dict"),
        ({"batch_size": (n for n in (16, 32))}, "got generator"),
        ({"batch_size": [object()]}, "batch_size=<object"),
        ({"optimizer": ["adam", "adm"]}, "'adm' is not one of: .* Did you mean 'adam'"),
        ({"schedule": ["hybird"]}, "'hybird' is not one of.* Did you mean 'hybrid'"),
        ({"base": ["auto"]}, "base='auto' is a choice of its own: name the bases"),
        ({"hidden": [256, 128]}, r"hidden=256: give a list. .* itself: \[\[256\]\]"),
        ({"augment": ["flip"]}, r"augment='flip': .* itself: \[\[flip\]\]"),
        ({"1__augment": ["flip"]}, "1__augment: augment='flip': give a list"),
        ({"1__augment": [5]}, "1__augment: augment=5: give a list"),
        ({"augment": [["mixup", "cutmix"]]}, "both mixup and cutmix"),
    ],
)
def test_what_is_no_list_of_allowed_values_is_refused(parameters, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_space(parameters)


# Lists


@pytest.mark.parametrize(
    "given",
    [
        [16, 32],
        (16, 32),
        np.array([16, 32]),
        np.array([16, 32], "int16"),
        [np.int64(16), np.int32(32)],
        pd.Series([16, 32]),
        range(16, 33, 16),
    ],
)
def test_lists_of_any_kind_become_plain_values(given):
    values = read_space({"batch_size": given}).parameters["batch_size"]
    assert values == (16, 32)
    assert [type(value) for value in values] == [int, int]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("batch_size", 16, 16),
        ("batch_size", np.int64(16), 16),
        ("learning_rate", np.float64(0.5), 0.5),
        ("base", "vgg16", "vgg16"),
        ("weights", Path("a") / "b.h5", str(Path("a") / "b.h5")),
        ("patience", None, None),
    ],
)
def test_one_value_is_a_list_of_one(name, given, expected):
    (value,) = Space({name: given}).parameters[name]
    assert value == expected
    assert type(value) is type(expected)


def test_a_list_as_value_becomes_a_tuple():
    space = Space({"hidden": [[], [256]], "learning_rate": np.array([[0.1, 0.01]])})
    assert space.parameters == {"hidden": ((), (256,)), "learning_rate": ((0.1, 0.01),)}


def test_a_space_is_itself_a_space():
    space = Space({"batch_size": [16]})
    assert read_space(space) is space


# Distributions


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("learning_rate", stats.loguniform(1e-5, 1e-2), "loguniform(1e-05, 0.01)"),
        ("learning_rate", stats.uniform(0, 0.1), "uniform(0, 0.1)"),
        ("dropout", stats.uniform(loc=0.1, scale=0.2), "uniform(loc=0.1, scale=0.2)"),
        ("learning_rate", stats.expon(scale=0.01), "expon(scale=0.01)"),
        ("batch_size", stats.randint(8, np.int64(65)), "randint(8, 65)"),
        ("image_size", stats.randint(32, 65), "randint(32, 65)"),
        ("weight_decay", stats.reciprocal(1e-6, 1e-3), "reciprocal(1e-06, 0.001)"),
        ("head__learning_rate", stats.uniform(np.float32(0.5), 1), "uniform(0.5, 1)"),
    ],
)
def test_a_distribution_is_kept_and_written_as_text(name, given, text):
    space = Space({name: given})
    assert space.parameters[name] is given
    assert space.to_dict() == {name: text}
    again = Space.from_dict(space.to_dict())
    assert again == space
    assert again.parameters[name].rvs(9, random_state=3).tolist() == (
        given.rvs(9, random_state=3).tolist()
    )


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("dropout", stats.uniform, "scipy.stats.uniform has no arguments: give them"),
        ("dropout", stats.uniform(np.nan, 1), "finite numbers; got nan"),
        ("dropout", stats.uniform(0, math.inf), "finite numbers; got inf"),
        ("dropout", stats.uniform([0, 0.1], 0.1), r"finite numbers; got \[0, 0.1\]"),
        ("dropout", stats.uniform(0, -1), "is no distribution: check its arguments"),
        ("learning_rate", stats.loguniform(1e-2, 1e-5), "is no distribution"),
        ("optimizer", stats.randint(0, 3), "optimizer=randint.* draws values such as 0"),
        ("base", stats.uniform(0, 1), "draws values such as 0.01. base=0.01: give text"),
        ("hidden", stats.randint(8, 64), "hidden=8: give a list"),
        ("train_batchnorm", stats.randint(0, 2), "give true or false"),
        ("batch_size", stats.uniform(16, 64), "give a whole number of at least 1"),
        ("batch_size", stats.randint(-5, 5), "batch_size=-5"),
        ("learning_rate", stats.norm(0, 1), "draws values such as -2.326"),
        ("dropout", stats.uniform(0, 2), "draws values such as 1. dropout=1.0"),
        ("dropout", stats.rv_discrete(values=([0, 1], [0.5, 0.5])), "by name"),
        ("dropout", stats.rv_histogram(np.histogram([0.1, 0.2])), "by name"),
        ("dropout", stats.rv_histogram(np.histogram([0.1, 0.2]))(), "by name"),
    ],
)
def test_a_distribution_that_cannot_be_meant_is_refused(name, given, sentence):
    with pytest.raises(UsageError, match=sentence):
        Space({name: given})


def test_something_of_ones_own_that_draws_is_refused():
    class Draws:
        def rvs(self, random_state=None):
            return 0.1

    with pytest.raises(UsageError, match="Draws is none of scipy.stats' distributions"):
        Space({"dropout": Draws()})


# Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch_size=16,32, 64", (16, 32, 64)),
        ("learning_rate=1e-3,0.1,1", (0.001, 0.1, 1)),
        ("learning_rate=[0.01,0.001],[1,.1]", ((0.01, 0.001), (1, 0.1))),
        ("hidden=[],[256],[512,256]", ((), (256,), (512, 256))),
        ("hidden=none,[8]", ((), (8,))),
        ("augment=[],[flip,crop]", ((), ("flip", "crop"))),
        ("augment=none", ((),)),
        ("head__augment=none,[ flip , crop ]", ((), ("flip", "crop"))),
        ("train_batchnorm=true,false", (True, False)),
        ("class_weight=none,balanced", (None, "balanced")),
        ("head__class_weight=none,balanced", (None, "balanced")),
        ("patience=none,3", (None, 3)),
        ("weights=none,imagenet", (None, "imagenet")),
        ("weights=123,true,a=b.h5", ("123", "true", "a=b.h5")),
        ("weights=a(1).h5,b(2).h5", ("a(1).h5", "b(2).h5")),
        ("unfreeze=4,15,block5,all", (4, 15, "block5", "all")),
        ("last-15__unfreeze=4,conv5", (4, "conv5")),
        ("image_size=32,48x64", (32, (48, 64))),
        ("epochs=3,[3,5]", (3, (3, 5))),
        ("schedule=hybrid,gradual", ("hybrid", "gradual")),
        (" batch_size = 16 ", (16,)),
    ],
)
def test_a_parameter_is_read_from_text(text, expected):
    name, values = parse_parameter(text)
    assert values == expected
    assert list(map(type, values)) == list(map(type, expected))
    assert Space({name: values}).parameters == {name: expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=loguniform(1e-5,1e-2)", "loguniform(1e-05, 0.01)"),
        (
            "learning_rate = scipy.stats.loguniform( 1e-5 , 1e-2 )",
            "loguniform(1e-05, 0.01)",
        ),
        ("dropout=stats.uniform(loc=0.1,scale=+0.2)", "uniform(loc=0.1, scale=0.2)"),
        ("batch_size=randint(8, 65)", "randint(8, 65)"),
        ("dropout=truncnorm(-1, 1, .3, scale=.1)", "truncnorm(-1, 1, 0.3, scale=0.1)"),
    ],
)
def test_a_distribution_is_read_from_text(text, expected):
    name, frozen = parse_parameter(text)
    assert Space({name: frozen}).to_dict() == {name: expected}
    assert Space({name: text.partition("=")[2]}).to_dict() == {name: expected}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("batch_size", "'batch_size' names no setting: write learning_rate="),
        ("=16", "names no setting"),
        ("batch_size=", "a value is missing"),
        ("batch_size=16,,32", "a value is missing"),
        ("hidden=[256,],[8]", "a value is missing"),
        ("hidden=[256", "a bracket is not closed"),
        ("hidden=256]", "the brackets do not match"),
        ("hidden=[[256]]", "the brackets do not match"),
        ("dropout=unifrom(0,1)", "no distribution 'unifrom'. Did you mean 'uniform'"),
        ("dropout=uniform()", "give its arguments as numbers"),
        ("dropout=uniform(0,1,2)", r"uniform takes \(loc, scale\)"),
        ("dropout=loguniform(1)", r"loguniform takes \(a, b, loc, scale\)"),
        ("dropout=uniform(low=0)", r"uniform takes \(loc, scale\)"),
        ("dropout=uniform(0,x)", "give numbers"),
        ("dropout=uniform(True,1)", "give numbers"),
        ("dropout=uniform(0,'1')", "give numbers"),
        ("dropout=uniform(0,1,", None),
        ("dropout=uniform(*a)", "give numbers"),
        ("dropout=uniform(**a)", "give numbers"),
        ("dropout=uniform(2**9,1)", "give numbers"),
        ("dropout=uniform(0;1)", "give numbers"),
        ("dropout=uniform(" + "1" * 300 + ")", "is no distribution"),
        ("dropout=print(1)", "scipy.stats has no distribution 'print'"),
        ("dropout=rv_continuous(1)", "no distribution 'rv_continuous'"),
        ("dropout=entropy(1)", "scipy.stats has no distribution 'entropy'"),
    ],
)
def test_text_that_is_no_parameter_is_refused(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        Space(parse_parameters([text]))


def test_nothing_in_a_text_is_executed(tmp_path):
    mark = tmp_path / "executed"
    for call in (f"open('{mark}','w')", f"__import__('pathlib').Path('{mark}').touch()"):
        with pytest.raises(UsageError):
            Space(parse_parameters([f"dropout={call}"]))
        with pytest.raises(UsageError):
            Space(parse_parameters([f"dropout=uniform({call},1)"]))
    assert not mark.exists()


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(UsageError, match="batch_size is given twice"):
        parse_parameters(["batch_size=16", "epochs=3", "batch_size=32"])


def test_a_space_is_read_from_toml():
    space = parse_space(
        """
        learning_rate = "loguniform(1e-5, 1e-2)"
        batch_size = [16, 32]
        base = "vgg16"
        hidden = [[], [256]]
        augment = ["none", ["flip"]]
        class_weight = ["none", "balanced"]
        last-15__unfreeze = [4, "conv5"]
        1__epochs = 3
        """
    )
    assert space.to_dict() == {
        "learning_rate": "loguniform(1e-05, 0.01)",
        "batch_size": [16, 32],
        "base": ["vgg16"],
        "hidden": [[], [256]],
        "augment": [[], ["flip"]],
        "class_weight": [None, "balanced"],
        "last-15__unfreeze": [4, "conv5"],
        "1__epochs": [3],
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("batch_size = [16", "not valid TOML"),
        ("", "is empty"),
        ("[head]\nepochs = [3]", "no setting 'head'"),
        ("batch_size = [nan]", "batch_size=nan"),
        ("epochs = 2024-01-01", "got date"),
        ("a = " + "[" * 20_000, "not valid TOML"),
        ("# " + "x" * (1 << 20), "1048578 characters"),
    ],
)
def test_toml_that_is_no_space_is_refused(text, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse_space(text)


# What a space knows of itself


def test_the_size_is_the_number_of_points():
    assert Space({"batch_size": [16, 32], "epochs": [1, 2, 3]}).size == 6
    assert Space({"batch_size": [16], "epochs": stats.randint(1, 5)}).size is None


def test_a_space_describes_itself():
    space = Space(
        {
            "learning_rate": stats.uniform(0.001, 0.1),
            "weight_decay": stats.loguniform(1e-6, 1e-3),
            "batch_size": stats.randint(8, 65),
            "momentum": stats.norm(0.5, 0.01),
            "hidden": [(), (512, 256)],
            "epochs": range(1, 21),
        }
    )
    assert space.describe().splitlines() == [
        "learning_rate  uniform(0.001, 0.1): 0.001 to 0.101 (scipy's loc and scale)",
        "weight_decay   loguniform(1e-06, 0.001): 1e-06 to 0.001",
        "batch_size     randint(8, 65): 8 to 64 (the upper end is left out)",
        "momentum       norm(0.5, 0.01): mostly 0.4767 to 0.5233",
        "hidden         [], [512,256]",
        "epochs         1, 2, 3, 4, 5, 6, 7, 8, ... (20 values)",
        "drawn from a distribution: any number of points",
    ]


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ({"batch_size": [16, 32], "epochs": [1, 2, 3]}, "2 x 3 = 6 points"),
        ({"batch_size": [16, 32]}, "2 points"),
        ({"batch_size": [16]}, "1 point"),
    ],
)
def test_a_space_of_lists_tells_its_number_of_points(parameters, line):
    assert Space(parameters).describe().splitlines()[-1] == line


def test_equal_spaces_are_equal_and_others_are_not():
    one = Space({"batch_size": [16], "dropout": stats.uniform(0, 0.5)})
    same = Space({"dropout": "uniform(0, 0.5)", "batch_size": 16})
    assert one == same
    assert hash(one) == hash(same)
    assert one != Space({"batch_size": [16], "dropout": stats.uniform(0, 0.4)})
    assert one != one.to_dict()
    assert eval(repr(one)) == one


@pytest.mark.parametrize("again", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_space_can_be_copied(again):
    space = Space({"batch_size": [16], "dropout": stats.uniform(0, 0.5)})
    assert again(space) == space


def test_a_point_is_checked_by_name_and_value():
    check_point({"head__epochs": 3, "unfreeze": "conv5"})
    with pytest.raises(UsageError, match="dropout=2: .*\n.*'nothing'"):
        check_point({"dropout": 2, "nothing": 1})


# The tutorial's


def test_the_tutorial_spaces_are_the_classic_ones():
    assert tutorial_space("grid").size == 9
    assert tutorial_space("grid").to_dict() == TUTORIAL["grid"]
    low, high = tutorial_space("random").parameters["learning_rate"].support()
    assert (low, high) == (0.001, 0.101)
    assert tutorial_space("halving") == tutorial_space("random")
    assert TUTORIAL_SETTINGS["hidden"] == (1024,)


# What is imported when


@pytest.mark.parametrize("values", ["[16, 32]", "16"])
def test_lists_need_nothing_heavy(values):
    code = (
        f"import sys; from kerastl.spaces import Space; Space({{'batch_size': {values}}})\n"
        "print({'scipy', 'sklearn', 'numpy', 'tensorflow'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == "set()", result.stderr
