"""Models of several seeds each on the same images: the tests, and how often they err."""

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from kerastl.errors import UsageError
from kerastl.evaluation import Comparison, RepeatedComparison, compare_repeats
from kerastl.evaluation.repeats import compare_pair, flip_signs


def draw(generator, accuracy, *, seeds=3, images=150, spread=0.0, hardness=None):
    """Draw which images the runs of a model get right; runs differ by a spread."""
    hard = np.zeros(images) if hardness is None else hardness
    means = accuracy + spread * generator.standard_normal((seeds, 1)) + hard
    return generator.random((seeds, images)) < means.clip(0, 1)


@pytest.mark.parametrize(("first", "second"), [(7, 5), (0, 6), (12, 1), (0, 0), (1, 0)])
def test_flipping_signs_is_mcnemars_test_with_one_run(first, second):
    differences = np.array([1] * first + [-1] * second + [0] * 30)
    total = first + second
    expected = binomtest(first, total).pvalue if total else 1.0
    assert flip_signs(differences) == pytest.approx(expected, rel=1e-9)


def test_flipping_signs_is_the_exact_permutation_test():
    differences = np.array([3, 2, 2, -1, 1, 1, -2, 3, 0, 1])
    expected = permutation_test(
        (differences, np.zeros(10, int)),
        lambda a, b: a.sum() - b.sum(),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert flip_signs(differences) == pytest.approx(expected, rel=1e-9)


def test_equal_models_are_told_apart_in_at_most_one_draw_of_twenty():
    generator = np.random.default_rng(0)
    hardness = 0.15 * generator.standard_normal(150)
    for spread in (0.0, 0.03):
        alarms = sum(
            compare_pair(
                draw(generator, 0.75, spread=spread, hardness=hardness),
                draw(generator, 0.75, spread=spread, hardness=hardness),
            )[0]
            < 0.05
            for _ in range(600)
        )
        assert alarms / 600 <= 0.05


def test_the_images_alone_would_raise_too_many_alarms_where_seeds_differ():
    generator = np.random.default_rng(1)
    pairs = [
        (draw(generator, 0.75, spread=0.05), draw(generator, 0.75, spread=0.05))
        for _ in range(400)
    ]
    alone = [flip_signs(a.sum(0) - b.sum(0)) < 0.05 for a, b in pairs]
    both = [compare_pair(a, b)[0] < 0.05 for a, b in pairs]
    assert np.mean(alone) > 0.1
    assert np.mean(both) <= 0.05


def test_ranges_hold_the_true_difference():
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        pair = [draw(generator, accuracy, spread=0.02) for accuracy in (0.8, 0.7)]
        difference = compare_pair(*pair)[1]
        held += difference.low <= 0.1 <= difference.high
    assert held / 400 >= 0.94


def test_a_clear_difference_is_said_with_its_range():
    generator = np.random.default_rng(3)
    right = {"small": draw(generator, 0.6), "large": draw(generator, 0.9)}
    found = compare_repeats(right)
    assert isinstance(found, RepeatedComparison)
    said = found.say(found.pairs[0])
    assert said.startswith("large is better than small on 150 images and 3 seeds: mean ")
    assert "p < 0.0001" in said
    assert found.pairs[0].difference.high < 0
    assert "over its seeds" in str(found)
    assert found.to_dict()["runs"]["large"] == right["large"].mean(1).tolist()


def test_one_seed_is_the_comparison_of_predictions():
    right = {"a": np.ones((1, 20), bool), "b": np.arange(20)[None] > 4}
    found = compare_repeats(right)
    assert type(found) is Comparison
    assert found.pairs[0].p == pytest.approx(2 * 0.5**5)


def test_models_that_agree_everywhere_are_not_told_apart():
    right = np.tile(np.arange(40) > 3, (3, 1))
    p, difference = compare_pair(right, right.copy())
    assert p == 1.0
    assert difference.low < 0 < difference.high


def test_shapes_that_differ_are_refused():
    with pytest.raises(UsageError, match=r"\(2, 5\)"):
        compare_repeats({"a": np.ones((2, 5), bool), "b": np.ones((3, 5), bool)})
