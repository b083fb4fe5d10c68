import json
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from kerastl.errors import DataError, UsageError
from kerastl.evaluation import Measure, Scores, score, wilson_interval
from kerastl.evaluation.metrics import (
    balanced_accuracy,
    count_confusion,
    macro_f1,
    resample_confusion,
    true_ranks,
)

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")


def draw(n=300, classes=7, right=0.6, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n).astype(np.int32)
    noise = rng.dirichlet(np.ones(classes), n)
    sure = np.eye(classes)[np.where(rng.random(n) < right, labels, (labels + 1) % classes)]
    return labels, ((noise + sure) / 2).astype(np.float32)


# Wilson


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (18, 20, 0.699, 0.972),
        (45, 50, 0.786, 0.957),
        (90, 100, 0.826, 0.945),
        (180, 200, 0.851, 0.934),
        (450, 500, 0.871, 0.923),
        (900, 1000, 0.880, 0.917),
        (20, 20, 0.839, 1.0),
        (0, 20, 0.0, 0.161),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_interval_has_the_published_bounds(successes, total, low, high):
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=5e-4)


def test_wilson_interval_equals_scipy():
    for total in (1, 2, 7, 360):
        for successes in range(total + 1):
            expected = stats.binomtest(successes, total).proportion_ci(0.95, "wilson")
            assert wilson_interval(successes, total) == pytest.approx(expected, abs=1e-12)


def test_wilson_interval_takes_another_confidence():
    expected = stats.binomtest(7, 9).proportion_ci(0.8, "wilson")
    assert wilson_interval(7, 9, 0.8) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("total", [20, 100, 360])
def test_wilson_interval_holds_the_true_share_as_often_as_it_says(share, total):
    drawn = np.random.default_rng(7).binomial(total, share, 4000)
    bounds = np.array([wilson_interval(successes, total) for successes in drawn])
    covered = np.mean((bounds[:, 0] <= share) & (share <= bounds[:, 1]))
    assert 0.92 <= covered <= 0.985


@pytest.mark.parametrize(("successes", "total"), [(-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(successes, total):
    with pytest.raises(UsageError, match=f"successes={successes} of total={total}"):
        wilson_interval(successes, total)


def test_wilson_interval_refuses_percent():
    with pytest.raises(UsageError, match="confidence=95 must"):
        wilson_interval(1, 2, 95)


# values against scikit-learn


def test_values_equal_scikit_learn():
    labels, probabilities = draw()
    said = probabilities.argmax(axis=1)
    scores = score(labels, probabilities, NAMES)
    assert scores.n == 300
    assert scores.accuracy.value == pytest.approx(oracle.accuracy_score(labels, said))
    assert scores.balanced_accuracy.value == pytest.approx(
        oracle.balanced_accuracy_score(labels, said)
    )
    assert scores.macro_f1.value == pytest.approx(
        oracle.f1_score(labels, said, average="macro")
    )
    assert scores.matthews == pytest.approx(oracle.matthews_corrcoef(labels, said))
    assert scores.log_loss == pytest.approx(
        oracle.log_loss(labels, probabilities, labels=range(7)), rel=1e-5
    )
    assert (scores.confusion == oracle.confusion_matrix(labels, said)).all()
    for k, measure in scores.top_k.items():
        expected = oracle.top_k_accuracy_score(labels, probabilities, k=k)
        assert measure.value == pytest.approx(expected)
    assert list(scores.top_k) == [3, 5]


def test_per_class_table_equals_scikit_learn():
    labels, probabilities = draw()
    table = score(labels, probabilities, NAMES).per_class
    expected = oracle.precision_recall_fscore_support(labels, probabilities.argmax(axis=1))
    for column, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert table[column].to_numpy() == pytest.approx(values)
    assert table["class"].tolist() == list(NAMES)
    bounds = wilson_interval(round(table["recall"][2] * table["n"][2]), table["n"][2])
    assert (table["recall_low"][2], table["recall_high"][2]) == pytest.approx(bounds)


def test_baseline_is_the_commonest_class_of_these_labels():
    labels, probabilities = np.array([1, 1, 1, 0]), np.full((4, 2), 0.5)
    scores = score(labels, probabilities, ["cat", "dog"])
    assert scores.baseline_class == "dog"
    assert scores.baseline.value == 0.75
    assert (scores.baseline.low, scores.baseline.high) == wilson_interval(3, 4)


def test_a_class_without_images_is_left_out_of_the_means():
    labels, probabilities = draw(classes=7)
    kept = labels != 2
    labels, probabilities = labels[kept], probabilities[kept]
    said = probabilities.argmax(axis=1)
    scores = score(labels, probabilities, NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that the class is absent
        balanced = oracle.balanced_accuracy_score(labels, said)
    assert scores.balanced_accuracy.value == pytest.approx(balanced)
    macro = oracle.f1_score(labels, said, average="macro", zero_division=0)
    assert scores.macro_f1.value == pytest.approx(macro)
    row = scores.per_class.iloc[2]
    assert row["n"] == 0
    assert np.isnan(row["recall"])
    assert (row["recall_low"], row["recall_high"]) == (0, 1)
    assert "No image of 'cat' in this split: how well it is found is unknown." in str(
        scores
    )


def test_a_class_never_predicted_has_no_precision():
    scores = score(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ["a", "b"])
    assert np.isnan(scores.per_class["precision"][1])
    assert scores.per_class["f1"][1] == 0
    assert scores.matthews == 0


def test_one_image_is_enough():
    scores = score(np.array([1]), np.array([[0.2, 0.8]]), ["cat", "dog"], split="test")
    assert scores.accuracy == Measure(1.0, *wilson_interval(1, 1))
    assert scores.balanced_accuracy.low < 0.3
    assert "1 image)" in str(scores)
    assert "not distinguishable" in str(scores)


def test_top_k_is_left_out_where_it_is_always_one():
    labels, probabilities = draw(classes=3)
    assert score(labels, probabilities, NAMES[:3]).top_k == {}
    assert list(score(labels, probabilities, NAMES[:3], top_k=[3, 2]).top_k) == [2]


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_top_k_must_be_whole_numbers(k):
    labels, probabilities = draw()
    with pytest.raises(UsageError, match=f"{k!r} is not a whole number"):
        score(labels, probabilities, NAMES, top_k=[k])


def test_ties_go_to_the_first_class_in_accuracy_and_top_k_alike():
    labels, flat = np.arange(4), np.full((4, 4), 0.25)
    scores = score(labels, flat, NAMES[:4], top_k=[1, 2, 3])
    assert scores.accuracy.value == 0.25
    assert [scores.top_k[k].value for k in (1, 2, 3)] == [0.25, 0.5, 0.75]
    assert true_ranks(labels, flat).tolist() == [0, 1, 2, 3]


def test_certain_and_wrong_has_a_finite_loss():
    scores = score(np.array([0]), np.array([[0.0, 1.0]]), ["a", "b"])
    assert 15 < scores.log_loss < 17


# the bootstrap


def test_resampling_the_confusion_matrix_is_resampling_images():
    labels, probabilities = draw(n=120, classes=3)
    said, rng = probabilities.argmax(axis=1), np.random.default_rng(1)
    confusion = count_confusion(labels, said, 3)
    groups = [np.flatnonzero(labels == index) for index in range(3)]
    by_image = []
    for _ in range(3000):
        chosen = np.concatenate([rng.choice(group, len(group)) for group in groups])
        drawn = count_confusion(labels[chosen], said[chosen], 3)
        by_image.append(macro_f1(np.diag(drawn), drawn.sum(axis=0), drawn.sum(axis=1)))
    by_row = macro_f1(*resample_confusion(confusion, 3000, rng), confusion.sum(axis=1))
    points = [0.025, 0.25, 0.5, 0.75, 0.975]
    expected = np.quantile(by_image, points)
    assert np.quantile(by_row, points) == pytest.approx(expected, abs=0.01)


def test_same_seed_same_bounds():
    labels, probabilities = draw()
    first, again, other = (score(labels, probabilities, NAMES, seed=s) for s in (1, 1, 2))
    assert first.to_dict() == again.to_dict()
    assert first.macro_f1 != other.macro_f1
    assert first.macro_f1.value == other.macro_f1.value


@pytest.mark.parametrize("right", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 9, 200])
def test_every_interval_holds_its_value(n, right):
    labels, probabilities = draw(n=n, right=right)
    scores = score(labels, probabilities, NAMES)
    measures = (scores.accuracy, scores.balanced_accuracy, scores.macro_f1)
    for measure in (*measures, scores.baseline, *scores.top_k.values()):
        assert 0 <= measure.low <= measure.value <= measure.high <= 1


def test_no_mistake_in_few_images_is_no_proof():
    labels = np.arange(20) % 2
    scores = score(labels, np.eye(2)[labels], ["a", "b"])
    for measure in (scores.accuracy, scores.balanced_accuracy, scores.macro_f1):
        assert (measure.value, measure.high) == (1, 1)
        assert measure.low == pytest.approx(0.839, abs=5e-4)


def test_one_image_of_a_class_leaves_balanced_accuracy_wide_open():
    labels = np.array([0] * 99 + [1])
    scores = score(labels, np.eye(2)[labels], ["a", "b"])
    assert scores.accuracy.low > 0.95
    assert scores.balanced_accuracy.low < 0.6


@pytest.mark.parametrize("counts", [[3] * 10, [10] * 5, [5, 50]])
def test_balanced_accuracy_interval_holds_the_truth_in_small_splits(counts):
    counts, rng, true = np.array(counts), np.random.default_rng(3), 0.9
    labels = np.repeat(np.arange(len(counts)), counts)
    names, held = [str(i) for i in range(len(counts))], []
    for _ in range(100):
        wrong = (labels + 1) % len(counts)
        said = np.where(rng.random(len(labels)) < true, labels, wrong)
        measure = score(labels, np.eye(len(counts))[said], names).balanced_accuracy
        held.append(measure.low <= true <= measure.high)
    assert np.mean(held) >= 0.92


# refusals


def test_nan_is_refused_with_the_image_and_a_way_out():
    labels, probabilities = draw()
    probabilities[[12, 40]] = np.nan
    with pytest.raises(DataError, match=r"for 2 of 300 images \(first: image 12\).*lower"):
        score(labels, probabilities, NAMES)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_is_refused(value):
    labels, probabilities = draw()
    probabilities[3, 1] = value
    with pytest.raises(DataError, match="first: image 3"):
        score(labels, probabilities, NAMES)


def test_logits_are_refused():
    labels, probabilities = draw()
    with pytest.raises(DataError, match=r"range from -3 .* may be logits"):
        score(labels, np.where(probabilities > 0.5, 7.5, -3.0), NAMES)


def test_sigmoids_for_one_label_are_refused():
    with pytest.raises(DataError, match=r"image 1 sum to 1\.600"):
        score(np.array([0, 1]), np.array([[0.5, 0.5], [0.8, 0.8]]), ["a", "b"])


def test_float16_softmax_is_accepted():
    labels, probabilities = draw()
    scores = score(labels, probabilities.astype(np.float16), NAMES)
    assert scores.accuracy == score(labels, probabilities, NAMES).accuracy


def test_no_image_is_refused():
    with pytest.raises(DataError, match="no image in this split"):
        score(np.zeros(0, np.int32), np.zeros((0, 7), np.float32), NAMES)


@pytest.mark.parametrize(("label", "said"), [(7, "label 7 of image 4"), (-1, "label -1")])
def test_labels_outside_the_classes_are_refused(label, said):
    labels, probabilities = draw()
    labels[4] = label
    with pytest.raises(UsageError, match=said):
        score(labels, probabilities, NAMES)


def test_float_labels_are_refused():
    labels, probabilities = draw()
    with pytest.raises(UsageError, match="labels of dtype float64"):
        score(labels.astype(float), probabilities, NAMES)


def test_shapes_that_do_not_fit_are_refused():
    labels, probabilities = draw()
    with pytest.raises(UsageError, match=r"\(299,\) do not fit .*\(300, 7\)"):
        score(labels[1:], probabilities, NAMES)
    with pytest.raises(UsageError, match=r"shape \(300,\): give"):
        score(labels, probabilities[:, 0], NAMES)
    with pytest.raises(UsageError, match=r"\(300, 3\) do not fit"):
        score(np.zeros((300, 3)), probabilities, NAMES)


def test_names_that_do_not_fit_are_refused():
    labels, probabilities = draw()
    with pytest.raises(UsageError, match="6 class names for probabilities of 7"):
        score(labels, probabilities, NAMES[1:])
    with pytest.raises(UsageError, match="holds 'ant' twice"):
        score(labels, probabilities, (*NAMES[:6], "ant"))
    with pytest.raises(UsageError, match=r"\['only'\].*at least two"):
        score(np.zeros(2, int), np.ones((2, 1)), ["only"])


# several labels per image


def draw_sets(n=200):
    rng = np.random.default_rng(5)
    truth = (rng.random((n, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    return truth, np.clip(truth * 0.5 + rng.random((n, 3)) * 0.6, 0, 1)


def test_label_sets_equal_scikit_learn():
    truth, probabilities = draw_sets()
    said = probabilities >= 0.5
    scores = score(truth, probabilities, ["sky", "sea", "sun"])
    assert scores.multi_label
    assert scores.accuracy.value == pytest.approx(oracle.accuracy_score(truth, said))
    for average, measure in (("micro", scores.micro_f1), ("macro", scores.macro_f1)):
        expected = oracle.f1_score(truth, said, average=average)
        assert measure.value == pytest.approx(expected)
        assert measure.low < expected < measure.high
    assert (scores.confusion == oracle.multilabel_confusion_matrix(truth, said)).all()
    expected = oracle.precision_recall_fscore_support(truth, said)
    for column, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert scores.per_class[column].to_numpy() == pytest.approx(values)
    losses = [oracle.log_loss(truth[:, i], probabilities[:, i]) for i in range(3)]
    assert scores.log_loss == pytest.approx(np.mean(losses), rel=1e-6)


def test_label_sets_say_their_baseline():
    truth, probabilities = draw_sets()
    said = str(score(truth, probabilities, ["sky", "sea", "sun"], split="test"))
    sets, counts = np.unique(truth, axis=0, return_counts=True)
    share = counts.max() / len(truth)
    assert sets[counts.argmax()].tolist() == [1, 0, 0]
    assert said.startswith("test accuracy (every label of an image right) ")
    assert f"always answering 'sky' would score {share:.3f}." in said


def test_label_sets_without_any_label():
    scores = score(np.zeros((4, 2)), np.full((4, 2), 0.1), ["a", "b"])
    assert scores.baseline_class == "no label"
    assert scores.accuracy.value == 1
    assert scores.micro_f1.value == 1


def test_label_sets_hold_only_zero_and_one():
    with pytest.raises(UsageError, match=r"image 1 are \[2\.0, 0\.0\]"):
        score(np.array([[1, 0], [2.0, 0]]), np.full((2, 2), 0.5), ["a", "b"])


# sentences


def scored(right, n=360, classes=4, **more):
    labels = np.arange(n) % classes
    labels[labels == 1] = 0  # half of the images are of one class
    said = np.where(np.arange(n) < right, labels, (labels + 1) % classes)
    return score(labels, np.eye(classes)[said], NAMES[:classes], **more)


def test_headline_has_value_interval_images_and_baseline():
    low, high = wilson_interval(339, 360)
    assert str(scored(339, split="test")).splitlines()[0] == (
        f"test accuracy 0.942 (95 % interval {low:.3f} to {high:.3f}, 360 images); "
        "always answering 'ant' would score 0.500."
    )


def test_a_clear_score_says_what_to_expect():
    said = str(scored(339))
    assert "expect between 912 and 962 right of 1,000" in said
    assert "baseline" not in said


def test_a_score_at_the_baseline_is_called_so():
    said = str(scored(190))
    assert "not distinguishable from always answering the commonest class" in said
    assert "expect between" not in said


def test_a_score_below_the_baseline_is_called_so():
    assert "worse than always answering the commonest class" in str(scored(100))


def test_validation_scores_are_called_optimistic():
    assert "optimistic" in str(scored(339, split="validation"))
    assert "optimistic" not in str(scored(339, split="test"))


def test_the_weakest_class_is_named_with_its_counts():
    labels = np.array([0] * 10 + [1] * 10)
    said = np.array([0] * 10 + [1] * 4 + [0] * 6)
    text = str(score(labels, np.eye(2)[said], ["cat", "dog"]))
    assert "Weakest class: 'dog', 4 of 10 images found (recall 0.400, 0.168 to" in text


def test_hostile_names_are_shown_as_escapes():
    names = ["cat\x1b[31m", "dog\u202egnp", "eel"]
    said = str(score(np.array([0, 0, 1]), np.eye(3)[[0, 0, 0]], names))
    assert "'cat\\x1b[31m'" in said
    assert "'dog\\u202egnp'" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


# storing and showing


@pytest.mark.parametrize("make", [lambda: scored(300), lambda: score(*draw_sets(), "abc")])
def test_scores_survive_json(make):
    scores = make()
    stored = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    again = Scores.from_dict(stored)
    assert again.to_dict() == scores.to_dict()
    assert str(again) == str(scores)
    assert again.accuracy == scores.accuracy
    assert again.per_class.equals(scores.per_class)
    assert (again.confusion == scores.confusion).all()


def test_json_has_value_low_and_high_per_measure():
    stored = scored(300).to_dict()
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "baseline"):
        assert sorted(stored[name]) == ["high", "low", "value"]
    assert sorted(stored["top_k"]["3"]) == ["high", "low", "value"]


@pytest.mark.parametrize("name", ["accuracy", "per_class", "confusion", "class_names"])
def test_damaged_scores_are_refused(name):
    stored = scored(300).to_dict()
    del stored[name]
    with pytest.raises(DataError, match=f"damaged.*{name}"):
        Scores.from_dict(stored)


def test_notebook_table_escapes_names():
    labels, probabilities = draw(classes=3)
    shown = score(labels, probabilities, ["<script>", "b", "c"])._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_scores_can_be_renamed_to_another_split():
    scores = replace(scored(300), split="test")
    assert str(scores).startswith("test accuracy")
    assert repr(scores).startswith("Scores(split='test', n=360")


def test_balanced_accuracy_of_resamples_keeps_their_axis():
    hits = np.array([[2, 1], [1, 1]])
    assert balanced_accuracy(hits, np.array([2, 1])).tolist() == [1, 0.75]


def test_neither_package_loads_keras_or_tensorflow():
    code = (
        "import sys, kerastl.evaluation.scoring, kerastl.reporting.report; "
        "unwanted = ('keras', 'tensorflow', 'matplotlib.pyplot'); "
        "print([name for name in unwanted if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
