"""Both engines are one algorithm: the same weights, epochs and classes in every case."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contracts import CASES, FACTORS, IMPOSSIBLE

from kerastl.schedules import SCHEDULES
from kerastl.stages import OPTIMIZERS

ROOT = Path(__file__).parents[1]
# these six have every schedule, every optimizer and every factor
FEW = (
    "feature-extraction adam", "fine-tune sgd", "hybrid adamw", "gradual rmsprop",
    "lp-ft adam", "full rmsprop",
)  # fmt: skip
BASES = ("vgg16", "resnet50", "mobilenetv2")
MOST = {  # "ends" are the weights at the end of each stage, kept or not
    "float64": {"weights": 1e-10, "ends": 1e-10, "history": 1e-10},
    "float32": {"history": 1e-3},
}
# what every stage moves weights by: a hundred times what they may differ by, and little for
# the deep layers of a base that is not pretrained, at the last of six falling rates
LEAST = 1e-8


def contrast(base: str, precision: str, *cases: str) -> dict:
    """Train with both engines in a process of its own, where all is of that precision."""
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests/contracts.py"), base, precision, *cases],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)


def check(found: dict, precision: str) -> None:
    for what, most in MOST[precision].items():
        apart = {case: values[what] for case, values in found.items()}
        assert {case: far for case, far in apart.items() if not far <= most} == {}, what
    assert {case: v["moved"] for case, v in found.items() if not v["moved"] >= LEAST} == {}
    for what in ("kept", "classes"):
        assert [case for case, values in found.items() if not values[what]] == []


# The table


def has(case: str) -> set[str]:
    return {*case.split(), *CASES[case].split()}


def test_every_schedule_meets_every_optimizer():
    crossed = itertools.product(SCHEDULES, OPTIMIZERS)
    assert [tuple(case.split()) for case in CASES] == list(crossed)
    assert set().union(*map(has, CASES)) == {*SCHEDULES, *OPTIMIZERS, *FACTORS}


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", [*SCHEDULES, *OPTIMIZERS])
def test_every_schedule_and_optimizer_is_met_with_and_without(name, factor):
    met = {factor in has(case) for case in CASES if name in has(case)}
    assert met == ({False} if (name, factor) in IMPOSSIBLE else {False, True})


def test_the_few_have_one_of_each():
    assert set().union(*map(has, FEW)) == set().union(*map(has, CASES))


# Training


def test_in_float64_the_weights_are_the_same():
    check(contrast("tiny", "float64", *FEW), "float64")


@pytest.mark.slow
def test_in_float32_history_and_classes_are_the_same():
    check(contrast("tiny", "float32", "hybrid sgd", "full adam"), "float32")


@pytest.mark.slow
@pytest.mark.parametrize("precision", MOST)
def test_in_both_precisions_every_case_of_tiny_is_the_same(precision):
    found = contrast("tiny", precision)
    check(found, precision)
    assert any(case["epochs"] < case["planned"] for case in found.values())  # early stops


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)  # one process each, for its memory's sake
@pytest.mark.parametrize("base", BASES)
def test_in_float64_the_weights_of_large_bases_are_the_same(base, schedule):
    cases = [case for case in CASES if case.split()[0] == schedule]
    check(contrast(base, "float64", *cases), "float64")


@pytest.mark.slow
def test_in_float64_the_weights_with_stochastic_depth_are_the_same():
    check(contrast("efficientnetb0", "float64", "hybrid sgd", "full adamw"), "float64")


@pytest.mark.slow
@pytest.mark.parametrize("base", BASES)
def test_in_float32_history_and_classes_of_large_bases_are_the_same(base):
    check(contrast(base, "float32"), "float32")
