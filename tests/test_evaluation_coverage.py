"""How often the 95 % intervals hold the truth, over 2,000 draws with known truths.

Right answers are counts. At one share of right answers the coverage of any interval lies
above or below 95 %, depending on where the counts fall; that is arithmetic, not chance. So
each draw has a share of its own, and what is asked is the mean over a range of shares.
"""

import numpy as np
import pytest

from kerastl import wilson_interval
from kerastl.evaluation import metrics, scoring
from kerastl.evaluation.pairing import paired_interval

DRAWS = 2000
LEAST, MOST = 0.93, 0.97


def covers(bounds: tuple[float, float], truth: float) -> bool:
    return bounds[0] <= truth <= bounds[1]


@pytest.mark.parametrize("total", [10, 20, 50, 100, 360, 1000])
@pytest.mark.parametrize("shares", [(0.5, 0.8), (0.8, 0.95), (0.9, 0.99)])
def test_wilson(total, shares):
    rng = np.random.default_rng(total)
    truths = rng.uniform(*shares, DRAWS)
    drawn = rng.binomial(total, truths)
    pairs = zip(drawn.tolist(), truths, strict=True)
    held = np.mean([covers(wilson_interval(right, total), p) for right, p in pairs])
    assert LEAST <= held <= MOST


@pytest.mark.parametrize("total", [50, 200, 1000])
@pytest.mark.parametrize("shares", [(0.02, 0.1), (0.1, 0.3)])
def test_difference_of_two_models(total, shares):
    rng = np.random.default_rng(total)
    first, second = rng.uniform(*shares, (2, DRAWS))
    held = []
    for a, b in zip(first, second, strict=True):
        more, fewer, _ = rng.multinomial(total, [a, b, 1 - a - b]).tolist()
        held.append(covers(paired_interval(more, fewer, total), a - b))
    assert LEAST <= np.mean(held) <= MOST


def confuse(recalls: list[float]) -> np.ndarray:
    """Chances of each answer; mistakes go to the other classes alike."""
    size = len(recalls)
    chances = np.repeat((1 - np.array(recalls))[:, None] / (size - 1), size, axis=1)
    np.fill_diagonal(chances, recalls)
    return chances


# images per class as in a stratified split, and how many of each class are found
SPLITS = {
    "three even classes": ([50] * 3, [0.9] * 3),
    "a weak class": ([50] * 3, [0.95, 0.9, 0.6]),
    "ten classes": ([36] * 10, np.linspace(0.8, 0.99, 10).tolist()),
    "ten small classes, few mistakes": ([20] * 10, [0.95] * 10),
    "two classes, few mistakes": ([100, 100], [0.97, 0.95]),
    "an uneven split": ([30, 170], [0.8, 0.95]),
    "many images": ([500, 500], [0.9, 0.85]),
}


@pytest.mark.parametrize("name", SPLITS)
def test_balanced_accuracy_and_macro_f1(name, monkeypatch):
    # fewer resamples, for speed: their variance is a little less sure than in use
    monkeypatch.setattr(scoring, "RESAMPLES", 200)
    counts, recalls = (np.array(each) for each in SPLITS[name])
    rng, held = np.random.default_rng(2), []
    for shift in rng.uniform(-0.03, 0.03, DRAWS):
        moved = (recalls + shift).clip(0, 0.995)
        chances = confuse(moved.tolist())
        mean, drawn = counts[:, None] * chances, rng.multinomial(counts, chances)
        macro = metrics.macro_f1(np.diag(mean), mean.sum(0), mean.sum(1))
        first, second = measure(drawn, rng)
        held.append([covers(first, moved.mean()), covers(second, macro)])
    balanced, macro = np.mean(held, axis=0)
    assert LEAST <= balanced <= MOST
    assert LEAST <= macro <= MOST


def measure(drawn: np.ndarray, rng) -> list[tuple[float, float]]:
    """The bounds of balanced accuracy and of macro F1."""
    found = scoring._measure_balanced(drawn), scoring._measure_macro(drawn, rng)
    for each in found:
        assert 0 <= each.low <= each.value <= each.high <= 1
    return [(each.low, each.high) for each in found]


@pytest.mark.parametrize("counts", [[3] * 10, [5, 50], [1, 99], [1, 1]])
def test_a_handful_of_images_leaves_more_open_rather_than_less(counts):
    """Counts of so few images jump too much for 93 to 97 %, but never far below 95 %."""
    counts, rng = np.array(counts), np.random.default_rng(3)
    held = []
    for truth in rng.uniform(0.7, 0.95, DRAWS):
        found = scoring._measure_balanced(
            rng.multinomial(counts, confuse([truth] * len(counts)))
        )
        held.append(covers((found.low, found.high), truth))
    assert np.mean(held) >= 0.92


def test_bounds_widen_with_fewer_images():
    rng, widths = np.random.default_rng(4), []
    for size in (10, 40, 160):
        low, high = measure(rng.multinomial([size] * 3, confuse([0.9] * 3)), rng)[1]
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
