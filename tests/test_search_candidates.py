"""What one point of a space trains: options with every stage written out."""

import subprocess
import sys

import pytest

from kerastl.bases import BaseChoice, get_base
from kerastl.errors import UsageError
from kerastl.finetuning.planning import read_schedule
from kerastl.options import Options
from kerastl.search.candidates import apply_parameters
from kerastl.stages import Stage


def list_stages(options, **params):
    return [Stage(**table) for table in apply_parameters(options, params).stages]


VGG = Options(base="vgg16")


def test_no_parameters_write_out_the_schedule():
    options = apply_parameters(Options(base="VGG16", batch_size=8), {})
    assert (options.base, options.schedule, options.batch_size) == ("vgg16", "hybrid", None)
    assert [(s["name"], s["batch_size"]) for s in options.stages] == [
        ("last-4", 8),
        ("last-15", 8),
    ]
    base = get_base("vgg16")
    schedule = read_schedule(Options(base="vgg16", batch_size=8), base)
    assert read_schedule(options, base) == schedule


def test_applying_twice_changes_nothing():
    once = apply_parameters(VGG, {"schedule": "gradual", "head__epochs": 2})
    assert apply_parameters(once, {}) == once


def test_settings_of_the_model_and_of_all_stages_are_laid_over():
    params = {"hidden": (64, 32), "dropout": 0.5, "image_size": 48, "learning_rate": 0.1}
    options = apply_parameters(Options(base="vgg16", epochs=(2, 3), dropout=0.2), params)
    assert (options.hidden, options.dropout, options.image_size) == (
        (64, 32),
        0.5,
        (48, 48),
    )
    assert [s["epochs"] for s in options.stages] == [2, 3]
    rates = [s["learning_rate"] for s in options.stages]
    assert rates == pytest.approx([0.1, 0.01])
    assert (options.learning_rate, options.epochs) == (None, None)


def test_one_rate_per_stage():
    stages = list_stages(VGG, learning_rate=(0.5, 0.25))
    assert [stage.learning_rate for stage in stages] == [0.5, 0.25]


@pytest.mark.parametrize("stage", ["last-15", "2"])
def test_a_setting_of_one_stage_by_name_or_number(stage):
    params = {f"{stage}__epochs": 3, f"{stage}__augment": ("flip",), "epochs": 7}
    first, last = list_stages(VGG, **params)
    assert (first.epochs, last.epochs) == (7, 3)
    assert (first.augment, last.augment) == ((), ("flip",))


def test_unfreeze_is_the_last_stages():
    first, last = list_stages(VGG, unfreeze="block3")
    assert (first.unfreeze, last.unfreeze) == (4, "block3")


def test_settings_of_a_stage_apply_together():
    (head,) = list_stages(
        Options(base="vgg16", schedule="feature-extraction"),
        head__warmup_epochs=20,
        head__epochs=30,
    )
    assert (head.warmup_epochs, head.epochs) == (20, 30)


def test_none_leaves_a_setting_to_the_schedule():
    options = Options(base="vgg16", epochs=3, class_weight="balanced")
    stages = list_stages(options, epochs=None, class_weight=None)
    assert [(stage.epochs, stage.class_weight) for stage in stages] == [(10, None)] * 2


def test_the_schedule_follows_the_base():
    names = [stage.name for stage in list_stages(VGG, base="resnet50", schedule="gradual")]
    assert names == ["head", *reversed(get_base("resnet50").blocks)]
    (head, *_) = list_stages(VGG, base="tiny", schedule="fine-tune")
    assert head.learning_rate == get_base("tiny").head_rate


def test_another_schedule_replaces_stages_of_ones_own():
    own = Options(base="vgg16", stages=[{"name": "mine", "epochs": 2}], schedule="custom")
    assert [stage.name for stage in list_stages(own, mine__epochs=5)] == ["mine"]
    assert [stage.epochs for stage in list_stages(own, mine__epochs=5)] == [5]
    assert [stage.name for stage in list_stages(own, schedule="full")] == ["all"]


def test_a_stages_own_setting_may_mend_the_schedule():
    options = Options(base="vgg16", schedule="lp-ft", hidden=(8,))
    with pytest.raises(UsageError, match="solves its head exactly"):
        apply_parameters(options, {})
    probe, _ = list_stages(options, probe__solver="fit")
    assert probe.solver == "fit"


def test_auto_becomes_a_base(monkeypatch):
    choice = BaseChoice("tiny", "pretrained", "why")
    monkeypatch.setattr("kerastl.finetuning.planning.choose_base", lambda: choice)
    assert apply_parameters(Options(), {"epochs": 3}).base == "tiny"
    assert apply_parameters(Options(), {"base": "vgg16"}).base == "vgg16"


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"base": "vgg61"}, "base='vgg61' is none of the .* Did you mean 'vgg1"),
        (
            {"schedule": "gradual", "last-4__epochs": 3},
            "'gradual' has no stage 'last-4'; its",
        ),
        (
            {"last-5__epochs": 3},
            "stages are last-4, last-15, or 1 to 2. Did you mean 'last-",
        ),
        ({"0__epochs": 3}, "has no stage '0'"),
        ({"3__epochs": 3}, "has no stage '3'"),
        ({"-1__epochs": 3}, "has no stage '-1'"),
        ({"2__epochs": 3, "last-15__epochs": 4}, "another setting sets, epochs of stage"),
        ({"unfreeze": 3, "2__unfreeze": 4}, "another setting sets, unfreeze of stage"),
        ({"unfreeze": "conv5"}, "'conv5' is not one of: head, block1"),
        ({"last-4__unfreeze": 4000}, "unfreeze=4000, but the model has"),
        ({"1__warmup_epochs": 20}, "Stage 'last-4': warmup_epochs=20 is more than"),
        ({"epochs": (1, 2, 3)}, "epochs has 3 values, but schedule 'hybrid' has 2"),
        ({"image_size": 8}, "too small for vgg16"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"validation": 0.3}, "'validation' cannot be searched"),
        ({"nothing": 1}, "no setting 'nothing'"),
    ],
)
def test_a_point_that_cannot_be_trained_is_refused(params, sentence):
    with pytest.raises(UsageError, match=sentence):
        apply_parameters(VGG, params)


# What is imported when


def test_planning_needs_no_tensorflow():
    code = (
        "import sys\n"
        "from kerastl.options import Options\n"
        "from kerastl.search.candidates import apply_parameters\n"
        "from kerastl.search.sampling import sample_random\n"
        "from kerastl.advice.guidance import default_space\n"
        "space = default_space('random', 100)\n"
        "for point in sample_random(space, 3, 0):\n"
        "    apply_parameters(Options(base='tiny'), point)\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
    )
    assert result.stdout.strip() == "set()", result.stderr
