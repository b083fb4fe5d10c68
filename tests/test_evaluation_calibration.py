"""Temperature and calibration error, on predictions whose truth is known."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

import kerastl
from kerastl.errors import DataError, UsageError
from kerastl.evaluation import Calibration
from kerastl.evaluation.reliability import (
    assign_bins,
    calibration_error,
    expected_by_luck,
    list_answers,
    list_bins,
    measure_error,
)
from kerastl.evaluation.temperature import (
    apply_temperature,
    fit_temperature,
    recover_logits,
    soften_logits,
)
from kerastl.reporting import plot_reliability


def draw(rng, n=1000, classes=5, spread=2.5, factor=1.0):
    """Labels drawn by a softmax, and the softmax of logits `factor` times as large."""
    logits = rng.normal(0, spread, (n, classes))
    cumulated = soften_logits(logits).cumsum(axis=1)
    labels = (rng.random((n, 1)) > cumulated[:, :-1]).sum(axis=1)
    return labels, soften_logits(factor * logits).astype("float32")


def draw_sets(rng, n=400, classes=3, factor=1.0):
    logits = rng.normal(-1, 2, (n, classes))
    labels = (rng.random((n, classes)) < 1 / (1 + np.exp(-logits))).astype("float32")
    return labels, (1 / (1 + np.exp(-factor * logits))).astype("float32")


# the temperature


def test_the_temperature_has_the_least_log_loss():
    labels, given = draw(np.random.default_rng(0), factor=1.7)
    logits = np.log(given.astype(float))

    def loss(temperature: float) -> float:
        return log_loss(labels, soften_logits(logits / temperature))

    expected = minimize_scalar(loss, bounds=(0.2, 5), method="bounded").x
    assert fit_temperature(labels, given).value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("n", "classes", "factor"), [(200, 3, 2.5), (300, 10, 0.6)])
def test_temperature_is_recovered_and_its_interval_covers(n, classes, factor):
    """Over 2,000 draws the interval holds the truth in 93 to 97 %."""
    rng, held, found = np.random.default_rng(1), [], []
    for _ in range(2000):
        measure = fit_temperature(*draw(rng, n, classes, 2, factor))
        held.append(measure.low <= factor <= measure.high)
        found.append(measure.value)
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.median(found) == pytest.approx(factor, rel=0.02)


def test_temperature_of_sigmoids_is_recovered():
    rng = np.random.default_rng(2)
    fitted = [fit_temperature(*draw_sets(rng, factor=2.0)) for _ in range(300)]
    held = [each.low <= 2 <= each.high for each in fitted]
    assert np.median([each.value for each in fitted]) == pytest.approx(2, rel=0.03)
    # the labels of one image are independent here; 300 draws: within 3 deviations of 95 %
    assert 0.91 <= np.mean(held) <= 0.99


def test_a_temperature_is_a_division_of_logits():
    logits = np.random.default_rng(3).normal(0, 4, (50, 6))
    expected = soften_logits(logits / 1.8)
    assert apply_temperature(soften_logits(logits), 1.8) == pytest.approx(
        expected, abs=1e-6
    )
    yes = 1 / (1 + np.exp(-logits))
    expected = 1 / (1 + np.exp(-logits / 1.8))
    found = apply_temperature(yes, 1.8, multi_label=True)
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(recover_logits(np.array([[1.0, 0.0]], "float32"))).all()
    assert np.isfinite(recover_logits(np.array([[1.0, 0.0]]), multi_label=True)).all()


def test_the_class_answered_stays_the_same():
    _, given = draw(np.random.default_rng(4), n=5000)
    for temperature in (0.3, 3.0):
        again = apply_temperature(given, temperature)
        assert (again.argmax(axis=1) == given.argmax(axis=1)).all()


def test_no_temperature_fits_best_without_mistakes_or_below_guessing():
    labels = np.arange(60) % 2
    with pytest.raises(DataError, match="All 60 images are answered right"):
        fit_temperature(labels, np.eye(2)[labels] * 0.8 + 0.1)
    with pytest.raises(DataError, match="no better than guessing"):
        fit_temperature(labels, np.eye(2)[1 - labels] * 0.8 + 0.1)
    sets = np.eye(2)[labels]
    with pytest.raises(DataError, match="All 60 images"):
        fit_temperature(sets, sets * 0.8 + 0.1)
    # one mistake is enough
    said = np.where(np.arange(60) == 0, 1 - labels, labels)
    assert fit_temperature(labels, np.eye(2)[said] * 0.8 + 0.1).value > 0


# the error


def test_the_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.65, 0.65])
    right = np.array([True, False, True, True])
    # bins of a fifteenth: 0.95 alone in the last but one... |0.5 - 0.95| and |1 - 0.65|
    assert calibration_error(confidence, right) == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)
    assert calibration_error(confidence, right, 1) == pytest.approx(abs(0.75 - 0.8))


def test_bins_partition_and_adaptive_ones_are_equal():
    confidence = np.random.default_rng(5).random(300) ** 0.2
    for adaptive in (False, True):
        bins = list_bins(confidence, confidence > 0.5, adaptive=adaptive)
        assert sum(each.n for each in bins) == 300
        for each in bins:
            assert each.n == 0 or each.low <= each.confidence <= each.high
    counts = np.bincount(assign_bins(confidence, adaptive=True)[0])
    assert counts.tolist() == [20] * 15
    with pytest.raises(UsageError, match="bins=0"):
        assign_bins(confidence, 0)


def test_answers_of_label_sets_are_sure_of_no_as_well():
    sure, right = list_answers(np.array([[1, 0]]), np.array([[0.3, 0.2]]))
    assert sure.tolist() == [0.7, 0.8]
    assert right.tolist() == [False, True]


def test_luck_explains_the_error_of_a_calibrated_model():
    """A perfect model shows errors within the bounds of luck in about 95 % of draws."""
    rng, inside = np.random.default_rng(6), []
    for _ in range(200):
        sure, right = list_answers(*draw(rng, 300, 4))
        luck = expected_by_luck(sure, rng)
        inside.append(luck.low <= calibration_error(sure, right) <= luck.high)
    assert 0.90 <= np.mean(inside) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 1.5, 2.5])
def test_the_interval_of_the_error_holds_the_truth(factor):
    """In the 89 to 98 % that the docstring says; binned errors are no plain means."""
    rng = np.random.default_rng(7)
    sure, right = list_answers(*draw(rng, 400_000, 5, factor=factor))
    true, held = calibration_error(sure, right), []
    for _ in range(200):
        chosen = rng.integers(0, len(sure), 400)
        measure, _ = measure_error(sure[chosen], right[chosen], rng)
        held.append(measure.low - 0.003 <= true <= measure.high)
        assert measure.low <= measure.value <= measure.high
    assert 0.88 <= np.mean(held) <= 1.0


# both together


def test_calibrating_lowers_the_error_on_images_it_was_not_fitted_on():
    rng = np.random.default_rng(8)
    validation, test = draw(rng, 800, factor=3.0), draw(rng, 2000, factor=3.0)
    found = kerastl.calibrate_predictions({"test": test, "validation": validation})
    assert [split.split for split in found.splits] == ["validation", "test"]
    split = found.splits[1]
    assert split.before.error.low > split.after.error.high
    assert split.after.error.value <= split.after.luck.high
    assert split.after.log_loss < split.before.log_loss
    again = found.transform(test[1])[np.arange(2000), test[0]]
    assert split.after.log_loss == pytest.approx(-np.log(again).mean(), abs=1e-6)
    assert "the model was too sure" in str(found)
    assert "optimistic since it was fitted here" in str(found)


def test_verdicts():
    rng = np.random.default_rng(9)
    for factor, verdict in ((0.4, "was not sure enough"), (1.0, "not distinguishable")):
        found = kerastl.calibrate_predictions({"validation": draw(rng, factor=factor)})
        assert verdict in str(found)


def test_sets_of_labels_are_calibrated_too():
    given = draw_sets(np.random.default_rng(10), 600, factor=3.0)
    found = kerastl.calibrate_predictions({"validation": given})
    assert found.multi_label
    assert found.temperature.value == pytest.approx(3, rel=0.15)
    assert found.splits[0].after.log_loss < found.splits[0].before.log_loss


def test_a_calibration_survives_json_and_damage_is_refused():
    found = kerastl.calibrate_predictions({"validation": draw(np.random.default_rng(11))})
    text = json.dumps(found.to_dict(), allow_nan=False)
    again = Calibration.from_dict(json.loads(text))
    assert again.to_dict() == found.to_dict()
    assert str(again) == str(found)
    with pytest.raises(DataError, match="damaged"):
        Calibration.from_dict({"temperature": 2})


def test_same_seed_same_bounds():
    given = {"validation": draw(np.random.default_rng(12))}
    first, again = (kerastl.calibrate_predictions(given, seed=1) for _ in range(2))
    assert first.to_dict() == again.to_dict()


def test_validation_predictions_are_needed():
    with pytest.raises(UsageError, match="fitted on validation images"):
        kerastl.calibrate_predictions({"test": draw(np.random.default_rng(13))})


def test_the_diagram_has_a_point_for_each_bin_that_is_not_empty():
    found = kerastl.calibrate_predictions({"validation": draw(np.random.default_rng(14))})
    split = found.splits[0]
    figure = plot_reliability(split)
    for panel, side in zip(figure.axes, (split.before, split.after), strict=True):
        (points,) = panel.containers
        xs = points.lines[0].get_xdata()
        assert list(xs) == [each.confidence for each in side.bins if each.n]
        assert f"{side.error.value:.3f}" in panel.get_title(loc="left")
