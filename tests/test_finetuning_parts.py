import keras
import numpy as np
import pytest

from kerastl.finetuning.describing import describe_stage, format_seconds
from kerastl.finetuning.rates import compute_rate
from kerastl.finetuning.selecting import find_best, score_row, should_stop
from kerastl.finetuning.verifying import (
    Digests,
    check_moved,
    digest_weights,
    find_moved,
)
from kerastl.stages import Stage


def rates(**settings):
    stage = Stage(name="s", learning_rate=1.0, **settings)
    return [compute_rate(stage, step, 10) for step in range(stage.epochs * 10)]


def test_a_constant_rate_is_the_rate():
    assert set(rates(epochs=2)) == {1.0}


def test_a_step_schedule_falls_by_the_factor_every_n_epochs():
    by_epoch = rates(epochs=5, lr_schedule="step", step_epochs=2, step_factor=0.5)[::10]
    assert by_epoch == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_cosine_starts_at_the_rate_and_ends_near_zero():
    values = rates(epochs=4, lr_schedule="cosine")
    assert values[0] == 1.0
    assert values[20] == pytest.approx(0.5)
    assert values[-1] < 0.005
    assert values == sorted(values, reverse=True)


def test_warmup_rises_to_the_rate_and_then_the_schedule_starts():
    values = rates(epochs=4, warmup_epochs=1, lr_schedule="cosine")
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == 1.0
    assert values[-1] < 0.01


def row(epoch, accuracy, loss=1.0, train_loss=1.0):
    return {"epoch": epoch, "loss": train_loss, "val_accuracy": accuracy, "val_loss": loss}


def test_the_best_row_has_the_highest_accuracy_then_the_lowest_loss_then_comes_first():
    rows = [row(1, 0.8), row(2, 0.9, 0.5), row(3, 0.9, 0.4), row(4, 0.9, 0.4)]
    assert find_best(rows) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), None])
def test_a_row_that_is_not_finite_is_never_best(bad):
    for key in ("loss", "val_loss", "val_accuracy"):
        rows = [row(1, 0.1), {**row(2, 0.9), key: bad}]
        assert find_best(rows) == 0
        assert score_row(rows[1]) is None
    assert find_best([{**row(1, 0.9), "loss": bad}]) is None


def test_without_validation_the_last_row_is_best():
    rows = [{"epoch": e, "loss": loss} for e, loss in enumerate([0.1, 0.5, 0.3], 1)]
    assert find_best(rows) == 2


def test_patience_counts_epochs_without_gain():
    rows = [row(1, 0.5), row(2, 0.6), row(3, 0.6), row(4, 0.5)]
    assert not should_stop(rows[:3], patience=2)
    assert should_stop(rows, patience=2)
    assert not should_stop(rows, patience=None)
    assert not should_stop([], patience=1)


def test_divergence_stops_whatever_the_patience():
    assert should_stop([row(1, 0.5), {**row(2, 0.5), "loss": float("nan")}], patience=None)


def test_a_leak_and_a_layer_that_did_not_move_are_caught():
    plan = {"frozen": False, "trained": True}
    assert check_moved({"trained"}, plan, plan) == []
    with pytest.raises(RuntimeError, match="changed layers it froze: frozen"):
        check_moved({"frozen", "trained"}, plan, plan)
    assert check_moved(set(), plan, plan) == ["trained"]


def test_what_moved_is_told_by_bits():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, name="a"),
            keras.layers.Dense(1, name="b"),
        ]
    )
    nan = np.array([np.nan], "float32")
    model.layers[1].bias.assign(nan)
    start = model.get_weights()
    assert find_moved(model, start) == set()
    model.layers[1].bias.assign(-nan)  # equal to nothing, but other bits
    assert find_moved(model, start) == {"b"}
    kernel = model.layers[0].kernel
    kernel.assign(np.nextafter(kernel.numpy(), 9, dtype="float32"))
    assert find_moved(model, start) == {"a", "b"}


def test_digests_are_computed_once_until_a_layer_trains():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    known = {}
    digests = Digests(model, known)
    first = digests.get("head")
    model.layers[0].bias.assign([1.0])
    assert digests.get("head") == first == known["head"]
    digests.forget(["head"])
    assert digests.get("head") != first
    assert known == {"head": first}  # of the weights it started with
    assert digests.get("no such") is None
    assert digest_weights(digests) == digest_weights(Digests(model))
    assert digest_weights(digests) != digest_weights(Digests(model, known))


def test_words_for_stages_and_times():
    assert describe_stage(Stage(name="s", solver="exact")) == "solves the head exactly"
    assert "conv5 and above for 1 epoch" in describe_stage(
        Stage(name="s", unfreeze="conv5", epochs=1)
    )
    assert format_seconds(3725) == "1:02:05"
    assert format_seconds(5) == "0:05"
    assert np.isfinite(compute_rate(Stage(name="s"), 10**9, 1))
