"""Scores of frozen features, beside their definitions and scikit-learn called directly."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kerastl.advice import h_score, leep, log_me, nce
from kerastl.advice.similarity import measure_gain
from kerastl.advice.transferability import fit_precisions
from kerastl.errors import UsageError
from kerastl.evaluation.probes import PENALTIES, Probe, probe_features, solve_path

SHAPES = [(30, 5), (60, 20), (24, 24), (20, 50)]


def draw(n, d, spread=1.0, classes=3, seed=0):
    """Return features with class means this far apart, and labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    means = spread * generator.normal(size=(classes, d))
    return generator.normal(size=(n, d)) + means[labels] + 0.5, labels


def compute_evidence(features, target, alpha, beta):
    """The density of the target itself, its weights integrated out."""
    n = len(target)
    covariance = np.eye(n) / beta + features @ features.T / alpha
    return multivariate_normal(np.zeros(n), covariance).logpdf(target)


def list_targets(features, labels):
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    for kind in np.unique(labels):
        target = (labels == kind).astype(float)
        yield target, *fit_precisions(singular**2, left, target)


# LogME


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_logme_is_the_evidence_computed_densely(n, d):
    features, labels = draw(n, d, spread=0.3)
    dense = [
        compute_evidence(features, target, alpha, beta) / n
        for target, alpha, beta in list_targets(features, labels)
    ]
    assert log_me(features, labels) == pytest.approx(np.mean(dense), abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(30, 5), (60, 20)])
def test_the_fixed_point_is_where_the_evidence_is_highest(n, d):
    features, labels = draw(n, d)
    for target, alpha, beta in list_targets(features, labels):
        best = minimize(
            lambda logs, target=target: -compute_evidence(features, target, *np.exp(logs)),
            [0, 0],
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-11, "maxiter": 4000},
        )
        found = compute_evidence(features, target, alpha, beta)
        assert found == pytest.approx(-best.fun, abs=1e-8)


def test_logme_does_not_change_when_features_are_turned():
    features, labels = draw(40, 12)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    turned = log_me(features @ turn, labels)
    assert turned == pytest.approx(log_me(features, labels), abs=1e-9)


@pytest.mark.parametrize("score", [log_me, h_score])
def test_scores_grow_with_what_tells_classes_apart(score):
    found = [score(*draw(200, 8, spread)) for spread in (0.0, 0.3, 1.0, 3.0)]
    assert found == sorted(found)
    assert found[-1] > found[0]


@pytest.mark.parametrize("score", [log_me, h_score])
def test_features_that_are_all_the_same_have_a_finite_score(score):
    labels = np.arange(20) % 2
    assert np.isfinite(score(np.ones((20, 6)), labels))
    assert np.isfinite(score(np.zeros((20, 6)), labels))


# H-score


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_the_h_score_is_the_trace_of_its_definition(n, d):
    features, labels = draw(n, d)
    centred = features - features.mean(axis=0)
    means = np.stack([centred[labels == k].mean(axis=0) for k in range(3)])[labels]
    between = means.T @ means / n
    inverse = np.linalg.pinv(centred.T @ centred / n, rcond=1e-10)
    plain = h_score(features, labels, shrink=False)
    assert plain == pytest.approx(np.trace(inverse @ between), rel=1e-6)
    covariance, amount = ledoit_wolf(features)
    shrunk = (1 - amount) * np.trace(np.linalg.inv(covariance) @ between)
    assert h_score(features, labels) == pytest.approx(shrunk, rel=1e-9)


def test_without_shrinkage_more_features_than_images_look_perfect():
    features, labels = draw(20, 50, spread=0.0)
    assert h_score(features, labels, shrink=False) == pytest.approx(2, abs=1e-6)
    assert h_score(features, labels) < 1


# LEEP and NCE


def compute_leep(probabilities, labels):
    """Loops, as the paper has it."""
    n, sources = probabilities.shape
    joint = np.zeros((labels.max() + 1, sources))
    for row, label in zip(probabilities, labels, strict=True):
        joint[label] += row / n
    given = joint / joint.sum(axis=0)
    total = 0.0
    for row, label in zip(probabilities, labels, strict=True):
        total += np.log(sum(given[label, z] * row[z] for z in range(sources)))
    return total / n


def compute_entropy(counts):
    shares = counts[counts > 0] / counts.sum()
    return -np.sum(shares * np.log(shares))


@pytest.fixture
def source():
    """Probabilities of five classes from a head trained on them, and three labels."""
    features, labels = draw(150, 6, classes=5)
    head = LogisticRegression(max_iter=500).fit(features[:75], labels[:75])
    return head.predict_proba(features), labels


def test_leep_is_what_its_formula_gives(source):
    probabilities, labels = source
    target = labels // 2
    expected = compute_leep(probabilities, target)
    assert leep(probabilities, target) == pytest.approx(expected, rel=1e-10)


def test_nce_is_minus_the_conditional_entropy(source):
    probabilities, labels = source
    target, likeliest = labels // 2, probabilities.argmax(axis=1)
    expected = 0.0
    for kind in np.unique(likeliest):
        counts = np.bincount(target[likeliest == kind])
        expected -= (likeliest == kind).mean() * compute_entropy(counts)
    assert nce(probabilities, target) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("score", [leep, nce])
def test_labels_that_follow_the_source_score_higher_than_shuffled_ones(source, score):
    probabilities, labels = source
    shuffled = np.random.default_rng(0).permutation(labels)
    assert score(probabilities, shuffled) < score(probabilities, labels) <= 0


@pytest.mark.parametrize("score", [leep, nce])
def test_what_is_no_probability_is_refused(score):
    with pytest.raises(UsageError, match=r"probabilities=-1 to 2 must be 0 or more"):
        score(np.array([[2.0, -1.0], [0.5, 0.5]]), np.array([0, 1]))


@pytest.mark.parametrize("score", [log_me, h_score, leep, nce])
def test_shapes_and_single_classes_are_refused(score):
    with pytest.raises(UsageError, match=r"shape \(4, 2\) and labels of shape \(3,\)"):
        score(np.ones((4, 2)) / 2, np.zeros(3, int))
    with pytest.raises(UsageError, match="labels hold one class"):
        score(np.ones((4, 2)) / 2, np.zeros(4, int))


# The probe


def split_folds(labels, k=4):
    return list(StratifiedKFold(k, shuffle=True, random_state=0).split(labels, labels))


@pytest.mark.parametrize("d", [6, 120])
def test_the_probe_is_scikit_learns_regression(d):
    features, labels = draw(60, d, spread=0.5)
    rest, judged = split_folds(labels)[0]
    found = solve_path(features[rest], labels[rest], features[judged], 3)
    for penalty, probabilities in zip(PENALTIES, found, strict=True):
        solver = LogisticRegression(C=penalty, max_iter=5000, tol=1e-8)
        direct = make_pipeline(StandardScaler(), solver).fit(features[rest], labels[rest])
        expected = direct.predict_proba(features[judged])
        np.testing.assert_allclose(probabilities, expected, atol=2e-3)


def test_the_probe_judges_each_image_by_folds_without_it():
    features, labels = draw(90, 10, spread=0.6)
    folds = split_folds(labels)
    found = probe_features(features, labels, folds)
    for (rest, judged), penalty in zip(folds, found.penalties, strict=True):
        solver = LogisticRegression(C=penalty, max_iter=5000, tol=1e-8)
        direct = make_pipeline(StandardScaler(), solver).fit(features[rest], labels[rest])
        right = direct.predict(features[judged]) == labels[judged]
        assert (found.right[judged] == right).all()
    assert found.accuracy.value == pytest.approx(found.right.mean())


def test_noise_is_probed_at_chance_even_with_more_features_than_images():
    shares = []
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(size=(100, 120))
        labels = np.arange(100) % 2
        shares.append(probe_features(noise, labels, split_folds(labels)).accuracy.value)
    assert abs(np.mean(shares) - 0.5) < 0.07


def test_labels_need_not_be_counted_from_zero():
    features, labels = draw(60, 5)
    folds = split_folds(labels)
    plain, shifted = (probe_features(features, y, folds) for y in (labels, 3 * labels + 2))
    assert (plain.right == shifted.right).all()


def test_constant_features_do_not_disturb_the_probe():
    features, labels = draw(60, 5)
    folds = split_folds(labels)
    wider = np.hstack([features, np.full((60, 3), 7.3)])
    plain, more = (probe_features(f, labels, folds) for f in (features, wider))
    assert (plain.right == more.right).all()


# The gain


def test_the_gain_is_the_share_of_mistakes_that_are_avoided():
    random = Probe(np.repeat([True, False], [60, 40]), ())
    frozen = Probe(np.repeat([True, False], [90, 10]), ())
    gain = measure_gain(frozen, random, seed=0)
    assert gain.value == pytest.approx(0.75)
    assert 0.5 < gain.low < 0.75 < gain.high < 1
    assert measure_gain(random, random, seed=0).value == 0
    assert measure_gain(random, frozen, seed=0).value == -3


def test_no_mistakes_leave_nothing_to_gain():
    perfect = Probe(np.ones(50, bool), ())
    assert measure_gain(perfect, perfect, seed=0).value == 0


def test_equal_features_are_called_better_about_once_in_forty():
    generator = np.random.default_rng(0)
    above = 0
    for seed in range(400):
        ours, theirs = generator.random((2, 200)) < 0.7
        above += measure_gain(Probe(ours, ()), Probe(theirs, ()), seed).low > 0
    assert above / 400 < 0.05
