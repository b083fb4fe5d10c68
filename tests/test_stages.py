import dataclasses

import pytest

from kerastl.errors import UsageError
from kerastl.stages import AUGMENTATIONS, Schedule, Stage, check_number


def test_a_stage_round_trips_through_plain_values():
    schedule = Schedule(
        "mine",
        (
            Stage(name="head", augment=("flip", "crop"), patience=3),
            Stage(name="top", unfreeze=15, optimizer="sgd", class_weight="balanced"),
        ),
    )
    assert Schedule.from_dict(schedule.to_dict()) == schedule


def test_a_stage_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Stage(name="head").epochs = 3


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("epochs", 0, "epochs=0: give a whole number of at least 1"),
        ("epochs", 2.5, "epochs=2.5: give a whole number"),
        ("epochs", True, "epochs=True: give a whole number"),
        ("batch_size", -1, "batch_size=-1"),
        ("learning_rate", 0.0, "learning_rate=0.0: give a number"),
        ("learning_rate", float("nan"), "learning_rate=nan"),
        ("learning_rate", float("inf"), "learning_rate=inf"),
        ("learning_rate", "abc", "learning_rate='abc'"),
        ("momentum", 1.0, "momentum=1.0"),
        ("weight_decay", -0.1, "weight_decay=-0.1"),
        ("label_smoothing", 1.0, "label_smoothing=1.0"),
        ("patience", 0, "patience=0"),
        ("warmup_epochs", 11, "warmup_epochs=11 is more than the stage's 10"),
        ("optimizer", "adma", "optimizer='adma' is not one of.*Did you mean 'adam'"),
        ("lr_schedule", "cosin", "Did you mean 'cosine'"),
        ("augment", ("filp",), "augment='filp' is not one of.*Did you mean 'flip'"),
        ("augment", ("mixup", "cutmix"), "both mixup and cutmix"),
        ("class_weight", "balance", "Did you mean 'balanced'"),
        ("normalize", "dta", "normalize='dta'"),
        ("restore_best", 1, "restore_best=1: give true or false"),
        ("unfreeze", 0, "unfreeze=0"),
        ("unfreeze", True, "unfreeze=True"),
        ("unfreeze", "", "unfreeze=''"),
        ("name", "", "needs a name"),
    ],
)
def test_a_stage_refuses_what_cannot_be_meant(field, value, sentence):
    with pytest.raises(UsageError, match=sentence):
        Stage(**{"name": "head", field: value})


def test_every_augmentation_is_accepted_alone():
    for name in AUGMENTATIONS:
        assert Stage(name="head", augment=[name]).augment == (name,)


def test_an_unknown_key_of_a_stage_names_the_nearest():
    values = {"name": "s", "stages": [{"name": "head", "learning_rat": 0.1}]}
    with pytest.raises(UsageError, match="'learning_rat'.*Did you mean 'learning_rate'"):
        Schedule.from_dict(values)


def test_a_schedule_refuses_no_stage_and_equal_names():
    with pytest.raises(UsageError, match="'empty' has no stage"):
        Schedule("empty", ())
    with pytest.raises(UsageError, match="two stages called 'head'"):
        Schedule("twice", (Stage(name="head"), Stage(name="head")))


def test_a_number_on_its_limits_is_allowed():
    check_number("share", 1.0, 0.0, 1.0)
    check_number("share", 0.0, 0.0, 1.0)
    with pytest.raises(
        UsageError, match="share=1.01: give a number of at least 0 and at most 1"
    ):
        check_number("share", 1.01, 0.0, 1.0)
