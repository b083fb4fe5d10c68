"""Which points are tried: scikit-learn's grid and draws, and successive halving."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, ParameterGrid, ParameterSampler

from kerastl.errors import UsageError
from kerastl.search.sampling import (
    Rung,
    estimate_size,
    halving_rungs,
    sample_grid,
    sample_random,
    survivors,
)
from kerastl.spaces import Space

LISTS = {
    "momentum": [0.8, 0.9],
    "hidden": [(), (256,), (512, 256)],
    "batch_size": [16, 32, 64],
    "class_weight": [None, "balanced"],
}
MIXED = {
    "learning_rate": stats.loguniform(1e-5, 1e-2),
    "batch_size": [16, 32, 64],
    "warmup_epochs": stats.randint(0, 5),
    "dropout": stats.uniform(0, 0.9),
    "augment": [(), ("flip", "crop")],
}


# As scikit-learn draws


def test_the_grid_is_scikit_learns():
    points = sample_grid(Space(LISTS))
    assert points == list(ParameterGrid(LISTS))
    assert [list(point) for point in points] == [sorted(LISTS)] * 36


@pytest.mark.parametrize("space", [LISTS, MIXED], ids=["lists", "mixed"])
@pytest.mark.parametrize("random_state", range(25))
@pytest.mark.parametrize("n_iter", [1, 7, 36])
def test_draws_are_scikit_learns(space, random_state, n_iter):
    drawn = sample_random(Space(space), n_iter, random_state)
    expected = list(ParameterSampler(space, n_iter, random_state=random_state))
    assert drawn == expected
    assert [list(point) for point in drawn] == [list(point) for point in expected]


def test_the_space_out_of_json_draws_the_same():
    again = Space.from_dict(Space(MIXED).to_dict())
    assert sample_random(again, 20, 3) == sample_random(Space(MIXED), 20, 3)


def test_drawn_numbers_are_plain():
    kinds = {"batch_size": int, "learning_rate": float, "warmup_epochs": int}
    for point in sample_random(Space(MIXED), 10, 0):
        assert {name: type(point[name]) for name in kinds} == kinds


def test_another_random_state_draws_others():
    assert sample_random(Space(MIXED), 5, 0) != sample_random(Space(MIXED), 5, 1)


def test_more_draws_than_points_gives_all_points_once():
    space = Space({"batch_size": [16, 32, 64]})
    points = sample_random(space, 10, 0)
    assert sorted(point["batch_size"] for point in points) == [16, 32, 64]
    assert estimate_size(space, 10) == (
        3,
        "The space has 3 points, fewer than n_iter=10: all of them are tried.",
    )
    assert estimate_size(space, 3) == (3, "")
    assert estimate_size(space) == (3, "")
    assert estimate_size(Space(MIXED), 10) == (10, "")


def test_a_value_that_is_not_allowed_is_told_when_drawn():
    space = Space({"batch_size": stats.poisson(6)})  # zero: one draw in 400
    with pytest.raises(UsageError, match=r"Draw \d+ is not allowed: batch_size=0: .*Nar"):
        sample_random(space, 5000, 0)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: sample_grid(Space(MIXED)),
            "learning_rate, warmup_epochs, dropout is drawn",
        ),
        (
            lambda: sample_grid(
                Space({"epochs": range(1, 401), "batch_size": range(1, 401)})
            ),
            "points of the grid=160000: .* at most 100000",
        ),
        (lambda: sample_random(Space(LISTS), 0, 0), "n_iter=0: give a whole number"),
        (lambda: sample_random(Space(LISTS), 2.5, 0), "n_iter=2.5: give a whole number"),
        (lambda: sample_random(Space(LISTS), 2, -1), "random_state=-1"),
        (lambda: sample_random(Space(MIXED), 10**6, 0), "n_iter=1000000: .* at most"),
        (lambda: estimate_size(Space(MIXED)), "say how many points to draw"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(call, sentence):
    with pytest.raises(UsageError, match=sentence):
        call()


# Successive halving


class Scored(ClassifierMixin, BaseEstimator):
    """Scores what it is told to."""

    def __init__(self, quality=0, epochs=1):
        self.quality, self.epochs = quality, epochs

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def score(self, X, y):
        return self.quality


def search_halving(count, longest, least, factor):
    search = HalvingGridSearchCV(
        Scored(),
        {"quality": list(range(count))},
        resource="epochs",
        max_resources=longest,
        min_resources=least,
        factor=factor,
        cv=2,
        refit=False,
    )
    search.fit(np.zeros((4, 1)), [0, 1, 0, 1])
    return search


@pytest.mark.parametrize("least", [1, 2, "exhaust"])
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize(("count", "longest"), [(9, 20), (12, 10), (5, 3), (2, 27), (1, 8)])
def test_halving_is_scikit_learns(count, longest, least, factor):
    search = search_halving(count, longest, least, factor)
    minimum = None if least == "exhaust" else least
    rungs = halving_rungs(count, longest, minimum, factor)
    assert [rung.count for rung in rungs] == search.n_candidates_
    assert [rung.epochs for rung in rungs] == search.n_resources_


def test_survivors_are_scikit_learns():
    search = search_halving(9, 9, 1, 3)
    for step in (0, 1):
        rows = search.cv_results_["iter"] == step
        scores = search.cv_results_["mean_test_score"][rows]
        qualities = [params["quality"] for params in search.cv_results_["params"]]
        numbers = [q for q, row in zip(qualities, rows, strict=True) if row]
        nexts = search.cv_results_["iter"] == step + 1
        went_on = {q for q, row in zip(qualities, nexts, strict=True) if row}
        assert set(survivors(numbers, scores, len(went_on))) == went_on


@pytest.mark.parametrize("factor", [2, 3, 5, 10])
@pytest.mark.parametrize("power", range(1, 6))
def test_a_power_of_the_factor_ends_with_one_trial(factor, power):
    rungs = halving_rungs(factor**power, factor**power, 1, factor)
    assert rungs[-1] == Rung(1, factor**power)
    assert len(rungs) == power + 1


def test_rungs_shrink_and_never_pass_the_longest():
    for count, longest, factor in itertools.product(range(1, 40), range(1, 30), (2, 3, 4)):
        rungs = halving_rungs(count, longest, None, factor)
        assert rungs[0].count == count
        assert rungs[-1].epochs <= longest
        for before, after in itertools.pairwise(rungs):
            assert after.epochs == before.epochs * factor
            assert after.count == math.ceil(before.count / factor)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ((0, 10), "n_candidates=0"),
        ((9, 0), "max_epochs=0"),
        ((9, 10, 11), "min_epochs=11: .* at most 10"),
        ((9, 10, 0), "min_epochs=0"),
        ((9, 10, 1, 1), "factor=1: give a whole number of at least 2"),
        ((9, 10, 1, 1.5), "factor=1.5: give a whole number"),
    ],
)
def test_halving_that_cannot_be_is_refused(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        halving_rungs(*settings)


@pytest.mark.parametrize(
    ("scores", "count", "expected"),
    [
        ([0.1, 0.3, 0.2], 2, [12, 13]),
        ([0.5, 0.5, 0.5], 2, [11, 12]),
        ([math.nan, 0.1, None], 2, [12]),
        ([math.inf, 0.1, -math.inf], 3, [12]),
        ([None, None, None], 1, []),
        ([-1.0, -2.0, -0.5], 1, [13]),
    ],
)
def test_the_best_go_on_and_failures_never_do(scores, count, expected):
    assert survivors([11, 12, 13], scores, count) == expected


def test_equal_scores_do_not_depend_on_the_order():
    for numbers in itertools.permutations([3, 7, 5]):
        assert survivors(numbers, [0.5, 0.5, 0.5], 2) == [3, 5]
