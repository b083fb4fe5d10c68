"""Comparing models on the same images: test, adjustment, interval and words."""

import numpy as np
import pytest
from scipy import stats

import kerastl
from kerastl.errors import DataError, UsageError
from kerastl.evaluation.comparing import mark_right
from kerastl.evaluation.pairing import adjust_holm, mcnemar_test, paired_interval


def answer(right: np.ndarray) -> np.ndarray:
    """Probabilities of two classes that are right where told, for labels of 0."""
    return np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])


def make_models(total: int, **wrong: range) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels of 0, and models that are wrong on the images named."""
    images = np.arange(total)
    models = {name: answer(~np.isin(images, list(w))) for name, w in wrong.items()}
    return np.zeros(total, int), models


# the test


@pytest.mark.parametrize("counts", [(7, 5), (0, 6), (10, 1), (30, 12), (1, 0)])
def test_p_is_that_of_a_binomial_test(counts):
    expected = stats.binomtest(counts[0], sum(counts)).pvalue
    assert mcnemar_test(*counts) == pytest.approx(expected, abs=1e-12)
    tail = stats.binom.cdf(min(counts), sum(counts), 0.5)
    assert mcnemar_test(*counts) == pytest.approx(min(1, 2 * tail), abs=1e-12)


def test_no_discordant_image_is_no_evidence():
    assert mcnemar_test(0, 0) == 1


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3])
def test_the_test_keeps_its_level(share):
    """Equal models are called different in at most 5 % of 2,000 draws."""
    cells = [share / 2, share / 2, 1 - share]
    drawn = np.random.default_rng(0).multinomial(200, cells, 2000)
    false = np.mean([mcnemar_test(int(a), int(b)) < 0.05 for a, b, _ in drawn])
    assert false <= 0.05


def test_holm_by_hand_and_in_the_same_order():
    given = [0.04, 0.01, 0.03, 0.5]
    assert adjust_holm(given) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert adjust_holm([0.9, 0.8]).max() == 1
    assert adjust_holm([]).tolist() == []


def test_holm_keeps_the_level_over_all_pairs():
    """Five equal models: in at most 5 % of draws is any pair called different."""
    rng, called = np.random.default_rng(1), 0
    for _ in range(400):
        models = {str(i): answer(rng.random(150) < 0.85) for i in range(5)}
        found = kerastl.compare_predictions(np.zeros(150, int), models)
        called += any(pair.distinguishable for pair in found.pairs)
    assert called / 400 <= 0.05


# the interval


def restricted_score(difference: float, more: int, fewer: int, total: int) -> float:
    """The score statistic with its nuisance share found by brute force."""
    shares = np.linspace(max(0, -difference), (1 - difference) / 2, 400_001)[1:-1]
    rest = np.clip(1 - difference - 2 * shares, 1e-300, None)
    likelihood = (
        more * np.log(np.clip(shares + difference, 1e-300, None))
        + fewer * np.log(shares)
        + (total - more - fewer) * np.log(rest)
    )
    share = shares[likelihood.argmax()]
    variance = total * (2 * share + difference - difference**2)
    return (more - fewer - total * difference) / np.sqrt(variance)


@pytest.mark.parametrize("counts", [(7, 5, 200), (12, 2, 50), (3, 0, 40), (30, 10, 100)])
def test_the_bounds_are_where_the_score_is_196(counts):
    low, high = paired_interval(*counts)
    assert restricted_score(low, *counts) == pytest.approx(1.96, abs=2e-3)
    assert restricted_score(high, *counts) == pytest.approx(-1.96, abs=2e-3)


@pytest.mark.parametrize("total", [1, 10, 200])
def test_without_discordant_images_the_bound_is_closed(total):
    z = stats.norm.ppf(0.975)
    bound = z * z / (total + z * z)
    assert paired_interval(0, 0, total) == pytest.approx((-bound, bound), abs=1e-9)


def test_the_interval_turns_round_with_the_models():
    low, high = paired_interval(9, 2, 60)
    assert paired_interval(2, 9, 60) == pytest.approx((-high, -low), abs=1e-9)
    assert paired_interval(5, 0, 5)[1] == 1
    assert paired_interval(0, 0, 0) == (-1, 1)


def test_another_confidence_and_impossible_counts():
    wide, narrow = paired_interval(9, 2, 60, 0.99), paired_interval(9, 2, 60, 0.8)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    with pytest.raises(UsageError, match="first_only=5 and second_only=6 of total=10"):
        paired_interval(5, 6, 10)
    with pytest.raises(UsageError, match="confidence=95"):
        paired_interval(5, 4, 10, 95)
    with pytest.raises(UsageError, match="first_only=-1"):
        mcnemar_test(-1, 2)


# the comparison and what it says


def test_not_distinguishable_is_said_with_the_counts():
    labels, models = make_models(200, resnet50=range(5), vgg16=range(5, 12))
    found = kerastl.compare_predictions(labels, models)
    (pair,) = found.pairs
    assert (pair.first_only, pair.second_only) == (7, 5)
    assert pair.p == pair.p_adjusted == pytest.approx(0.774, abs=1e-3)
    assert pair.difference.value == pytest.approx(0.01)
    said = str(found)
    assert "resnet50 and vgg16 are not distinguishable on 200 images" in said
    assert "12 images tell them apart, 7 for resnet50, p = 0.77." in said
    assert "from 4.9 points for resnet50 to 2.7 points for vgg16" in said
    assert not pair.distinguishable


def test_a_clear_difference_is_said_whichever_comes_first():
    for names in (("good", "bad"), ("bad", "good")):
        labels, models = make_models(200, good=range(5), bad=range(5, 40))
        found = kerastl.compare_predictions(labels, {name: models[name] for name in names})
        assert "good is better than bad on 200 images: 40 images tell" in str(found)
        assert "35 for good, p < 0.0001" in str(found)
        low, high = paired_interval(35, 5, 200)
        said = f"The true difference is likely {100 * low:.1f} to {100 * high:.1f} points"
        assert said in str(found)


def test_too_few_discordant_images_are_said_to_be_too_few():
    labels, models = make_models(50, a=range(0), b=range(5))
    found = kerastl.compare_predictions(labels, models)
    assert "So few could not have told any two models apart." in str(found)
    labels, models = make_models(50, a=range(0), b=range(6))
    found = kerastl.compare_predictions(labels, models)
    assert "a is better than b" in str(found)


def test_models_that_answer_alike_are_said_to():
    labels, models = make_models(20, a=range(3), b=range(3))
    said = str(kerastl.compare_predictions(labels, models))
    assert "right and wrong on the same ones" in said


def test_every_pair_or_those_with_one():
    labels, models = make_models(100, a=range(5), b=range(9), c=range(20, 50))
    found = kerastl.compare_predictions(labels, models)
    table = found.table
    assert table[["first", "second"]].values.tolist() == [
        ["a", "b"],
        ["a", "c"],
        ["b", "c"],
    ]
    assert table["p_adjusted"].tolist() == adjust_holm(table["p"]).tolist()
    assert "adjusted for 3 comparisons (Holm)" in str(found)
    with_one = kerastl.compare_predictions(labels, models, against="c")
    assert [pair.second for pair in with_one.pairs] == ["c", "c"]
    assert found.to_dict()["pairs"][0]["second_only"] == 0
    assert "<table>" in found._repr_html_()


def test_with_several_labels_all_of_them_must_be_right():
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    right = mark_right(labels, np.array([[0.9, 0.1], [0.9, 0.4], [0.6, 0.1]]))
    assert right.tolist() == [True, False, False]


def test_what_cannot_be_compared_is_refused():
    labels, models = make_models(10, a=range(2), b=range(3))
    with pytest.raises(UsageError, match="1 model"):
        kerastl.compare_predictions(labels, {"a": models["a"]})
    with pytest.raises(UsageError, match=r"against='aa'.*Did you mean 'a'"):
        kerastl.compare_predictions(labels, models, against="aa")
    with pytest.raises(UsageError, match=r"shape \(9,\)"):
        kerastl.compare_predictions(labels[:9], models)
    with pytest.raises(DataError, match="NaN"):
        kerastl.compare_predictions(labels, {**models, "c": models["a"] * np.nan})


def test_names_cannot_act_on_a_terminal():
    labels, models = make_models(10, a=range(2), b=range(3))
    named = {"a\x1b[2J": models["a"], "<b>": models["b"]}
    found = kerastl.compare_predictions(labels, named)
    assert "\x1b" not in str(found)
    assert "<b>" not in found._repr_html_()
