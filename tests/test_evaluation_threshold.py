"""When to say "not sure": the promise of a threshold, by simulation."""

import numpy as np
import pytest
from scipy import stats

import kerastl
from kerastl.errors import DataError, UsageError
from kerastl.evaluation import judge_threshold
from kerastl.evaluation.threshold import _GRID, _STARTS


def answer(sure: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of two classes of given confidences, right or not."""
    labels = np.arange(len(sure)) % 2
    said = np.where(right, labels, 1 - labels)
    return labels, np.where(said[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])


def draw(rng, n: int, power: int = 1):
    """Confidences from 0.5 to 1 that are right as often as confidence ** power says."""
    sure = 1 - 0.5 * rng.random(n) ** 2
    return answer(sure, rng.random(n) < sure**power)


def true_accuracy(value: float, power: int) -> float:
    """The mean of confidence ** power above a threshold, integrated by hand."""
    reach = min(1, np.sqrt(2 * (1 - value)))
    if power == 1:
        return 1 - reach**2 / 6
    return 1 - reach**2 / 3 + reach**4 / 20


@pytest.mark.parametrize(
    ("n", "wanted", "power"),
    [(300, 0.95, 1), (1000, 0.9, 1), (1000, 0.9, 2), (200, 0.8, 1)],
)
def test_the_promise_is_kept_in_at_least_95_percent_of_draws(n, wanted, power):
    """Also for a model that is surer than right: the confidences need not be calibrated."""
    rng, broken = np.random.default_rng(0), 0
    for _ in range(2000):
        found = kerastl.find_threshold(*draw(rng, n, power), wanted)
        if found.value is not None:
            broken += true_accuracy(found.value, power) < wanted
    assert broken / 2000 <= 0.05


def test_the_threshold_is_near_the_best_one_with_many_images():
    found = kerastl.find_threshold(*draw(np.random.default_rng(1), 50_000), 0.95)
    best = min(value for value in _GRID if true_accuracy(value, 1) >= 0.95)
    assert best <= found.value <= best + 0.02


def test_the_bound_at_the_threshold_is_that_of_clopper_and_pearson():
    labels, given = draw(np.random.default_rng(2), 500)
    found = kerastl.find_threshold(labels, given, 0.9)
    answered = given.max(axis=1) >= found.value
    right = int((given.argmax(axis=1) == labels)[answered].sum())
    test = stats.binomtest(right, int(answered.sum()), 0.9, alternative="greater")
    low = test.proportion_ci(1 - 0.05 / len(_STARTS), method="exact").low
    assert low >= 0.9 - 1e-9
    assert found.splits[0].accuracy.value == right / answered.sum()
    assert found.splits[0].coverage.value == answered.mean()


def test_a_model_that_is_not_sure_enough_has_a_threshold_too():
    """Its confidences lie between 0.3 and 0.8, and the surer half is always right."""
    sure = np.linspace(0.3, 0.8, 400)
    right = (sure > 0.5) | (np.arange(400) % 2 == 0)
    labels = np.arange(400) % 5
    said = np.where(right, labels, (labels + 1) % 5)
    rest = (1 - sure[:, None]) / 4
    given = np.where(said[:, None] == np.arange(5), sure[:, None], rest)
    assert 0.45 <= kerastl.find_threshold(labels, given, 0.95).value <= 0.55


def test_it_is_judged_on_other_images():
    rng = np.random.default_rng(3)
    found = kerastl.find_threshold(*draw(rng, 2000), 0.9)
    judged = judge_threshold(found, *draw(rng, 5000), "test")
    assert [split.split for split in judged.splits] == ["validation", "test"]
    assert judged.splits[1].accuracy.low <= true_accuracy(found.value, 1)
    assert true_accuracy(found.value, 1) <= judged.splits[1].accuracy.high
    said = str(judged)
    assert f"confidence {found.value:g} and more are right at least 0.9" in said
    assert "On the test split (5,000 images) it answers" in said
    assert judged.to_dict()["splits"][1]["n"] == 5000


def test_where_all_is_right_often_enough_all_is_answered():
    sure = np.full(400, 0.7)
    found = kerastl.find_threshold(*answer(sure, np.ones(400, bool)), 0.95)
    assert found.value == 0
    assert found.splits[0].coverage.value == 1


@pytest.mark.parametrize("n", [20, 99])
def test_where_nothing_can_be_promised_it_says_what_it_would_take(n):
    """0.95 at an eighth of 5 %: 98 right answers are too few, 99 are enough."""
    sure = np.full(n, 0.9)
    found = kerastl.find_threshold(*answer(sure, np.arange(n) > 0), 0.95)
    assert found.value is None
    assert found.splits == ()
    assert "No threshold can promise an accuracy of 0.95" in str(found)
    assert "99 images" in str(found)
    assert judge_threshold(found, *answer(sure, sure > 0), "test") == found
    enough = kerastl.find_threshold(*answer(np.full(99, 0.9), np.ones(99, bool)), 0.95)
    assert enough.value == 0


def test_what_has_no_threshold_is_refused():
    labels, given = draw(np.random.default_rng(4), 50)
    with pytest.raises(UsageError, match="accuracy=95 must be a share"):
        kerastl.find_threshold(labels, given, 95)
    with pytest.raises(UsageError, match="confidence=1"):
        kerastl.find_threshold(labels, given, confidence=1)
    with pytest.raises(UsageError, match="several labels per image"):
        kerastl.find_threshold(np.eye(2)[labels], given)
    with pytest.raises(DataError, match="no image"):
        kerastl.find_threshold(labels[:0], given[:0])
