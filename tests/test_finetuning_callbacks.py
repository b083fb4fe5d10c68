"""Callbacks, optimizers and policies that could tell the engines apart, and do not."""

import keras
import numpy as np
import pytest
from contracts import make_data
from engines import compare

import kerastl
from kerastl.errors import UsageError
from kerastl.finetuning import compiling
from kerastl.finetuning.fused import supports_fused


def train(engine, *, make_callbacks=list, **settings):
    data = make_data([], 8)
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=8)
    given = {"schedule": "feature-extraction", "epochs": 2, "batch_size": 9, **settings}
    return kerastl.finetune(
        model, data, engine=engine, verbose=0, callbacks=make_callbacks(), **given
    )


def agree(**settings):
    """Train with both engines, compare, and return the history."""
    plain, auto = train("plain", **settings), train("auto", **settings)
    found = compare(plain, auto)
    assert found["history"] < 1e-4
    assert found["weights"] < 1e-3
    assert found["kept"]
    return auto.history


def on(hook, do, times=None):
    """Return a maker of a callback that does something to the model at one of its hooks."""

    def make():
        class Doer(keras.callbacks.Callback):
            called = 0

        def call(self, *_, logs=None):
            self.called += 1
            if times is None or self.called in times:
                do(self.model, self.called)

        setattr(Doer, hook, call)
        return [Doer()]

    return make


# Learning rates

# Keras 3.15 turns its rate into an array in a way that numpy 2 warns of
reads_rates = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


def fall(epoch, rate):
    return 0.0 if epoch % 3 else 1e-2  # in the first of three epochs it trains


@reads_rates
@pytest.mark.parametrize("schedule", ["feature-extraction", "full"])
def test_a_rate_by_epoch_is_heeded(schedule):
    history = agree(
        schedule=schedule,
        epochs=3,
        make_callbacks=lambda: [keras.callbacks.LearningRateScheduler(fall)],
    )
    assert list(history["learning_rate"]) == pytest.approx([1e-2, 0, 0])
    losses = list(history["val_loss"])
    assert losses[0] == losses[1] == losses[2]  # nothing moves at a rate of zero


@reads_rates
def test_a_rate_that_falls_on_a_plateau_is_heeded_and_logged_as_it_was():
    history = agree(
        epochs=4,
        make_callbacks=lambda: [
            keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=1, min_delta=9.0)
        ],
    )
    rates = list(history["learning_rate"])
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-4])


def test_each_stage_starts_at_its_own_rate_again():
    def drop(model, _):
        model.optimizer.learning_rate = 1e-5

    dropping = on("on_epoch_begin", drop, times=(2,))
    history = agree(make_callbacks=dropping, schedule="fine-tune", epochs=(2, 1))
    assert list(history["learning_rate"]) == pytest.approx([1e-2, 1e-5, 1e-3])


@pytest.mark.slow
def test_an_interrupted_run_goes_on_at_the_rate_a_callback_had_set(tmp_path):
    def drop(model, called):
        model.optimizer.learning_rate = 1e-2 / 10**called

    def interrupt(model, _):
        raise KeyboardInterrupt

    dropping = on("on_epoch_end", drop, times=(1,))
    whole = train("auto", make_callbacks=dropping, epochs=3)
    stopping = on("on_epoch_begin", interrupt, times=(3,))
    with pytest.raises(KeyboardInterrupt):
        train(
            "auto",
            make_callbacks=lambda: dropping() + stopping(),
            out=tmp_path / "cut",
            epochs=3,
        )
    again = train("auto", out=tmp_path / "cut", resume=True, epochs=3)
    pairs = zip(whole.model.get_weights(), again.model.get_weights(), strict=True)
    assert all((first == second).all() for first, second in pairs)


@pytest.mark.parametrize("change", [{"lr_schedule": "cosine"}, {"warmup_epochs": 1}])
@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(fall),
        keras.callbacks.ReduceLROnPlateau(),
    ],
)
def test_two_that_set_the_rate_are_refused(callback, change):
    (value,) = change.values()
    with pytest.raises(UsageError, match=f"{value!r}.*{type(callback).__name__}"):
        train("auto", make_callbacks=lambda: [callback], **change)


def stop(model, _):
    model.optimizer.learning_rate = 0.0


def test_a_stage_that_sets_rates_has_the_last_word_on_epochs():
    history = agree(
        make_callbacks=on("on_epoch_begin", stop),
        lr_schedule="step",
        step_epochs=1,
    )
    assert list(history["learning_rate"]) == pytest.approx([1e-2, 1e-3])


def test_a_callback_that_asks_for_batches_has_the_last_word_on_steps():
    history = agree(
        make_callbacks=on("on_train_batch_begin", stop, times=(2, 3, 4, 5, 6, 7, 8)),
        lr_schedule="cosine",
    )
    assert list(history["learning_rate"]) == [0, 0]
    assert history["val_loss"][0] == history["val_loss"][1]


# Ends, and weights that change in between


def end(model, _):
    model.stop_training = True


def test_a_stop_after_an_epoch_ends_the_stage():
    history = agree(make_callbacks=on("on_epoch_end", end, times=(2,)), epochs=3)
    assert list(history["stage_epoch"]) == [1, 2]


def test_a_stop_after_a_batch_ends_the_stage():
    history = agree(make_callbacks=on("on_train_batch_end", end, times=(2,)), epochs=3)
    assert list(history["stage_epoch"]) == [1]


def shift(model, _):
    head = model.layers[-1]
    head.set_weights([weight * 3 for weight in head.get_weights()])


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_end"])
def test_weights_may_change_in_between(hook):
    changed = agree(make_callbacks=on(hook, shift, times=(2,)))
    left = train("auto").history
    assert np.abs(changed["loss"] - left["loss"]).max() > 1e-3


@pytest.mark.parametrize("engine", ["plain", "auto"])
def test_no_frozen_weights_may_change(engine):
    def damage(model, _):
        layer = model.get_layer("stem_conv")
        layer.set_weights([weight * 2 for weight in layer.get_weights()])

    with pytest.raises(RuntimeError, match="changed layers it froze: stem_conv"):
        train(engine, make_callbacks=on("on_epoch_end", damage, times=(1,)))


# Optimizers and policies


OTHERS = {
    "nadam": lambda: keras.optimizers.Nadam(1e-3),
    "amsgrad": lambda: keras.optimizers.Adam(1e-3, amsgrad=True),
    "clipping": lambda: keras.optimizers.SGD(1e-2, global_clipnorm=0.1),
    "averaging": lambda: keras.optimizers.SGD(
        1e-2, use_ema=True, ema_overwrite_frequency=2
    ),
    "accumulating": lambda: keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2),
    "scaling": lambda: keras.optimizers.SGD(1e-2, loss_scale_factor=64.0),
}
FEW = ("clipping", "scaling")


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_some_optimizers_keep_their_own_update(name, monkeypatch):
    check_own_update(name, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*OTHERS} - {*FEW}))
def test_other_optimizers_keep_their_own_update(name, monkeypatch):
    check_own_update(name, monkeypatch)


def check_own_update(name, monkeypatch):
    assert not supports_fused(OTHERS[name]())
    monkeypatch.setattr(compiling, "build_optimizer", lambda stage: OTHERS[name]())
    agree(schedule="fine-tune", epochs=1)  # a head's epoch, and a block step by step


def test_clipping_that_a_callback_asks_for_is_heeded():
    def clip(model, _):
        model.optimizer.clipnorm = 1e-3

    clipped = agree(
        make_callbacks=on("on_train_begin", clip), optimizer="sgd", learning_rate=1.0
    )
    free = train("auto", optimizer="sgd", learning_rate=1.0).history
    assert np.abs(clipped["val_loss"] - free["val_loss"]).max() > 1e-3


@pytest.fixture
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_half_precision_of_a_policy_is_not_kept_but_computed(policy, monkeypatch):
    from kerastl.finetuning import fast

    monkeypatch.setattr(fast, "extract", lambda *a: pytest.fail("nothing is extracted"))
    history = agree(lr_schedule="step", step_epochs=1)
    assert list(history["learning_rate"]) == pytest.approx([1e-2, 1e-3])


def test_epochs_cut_short_are_the_same():
    history = agree(max_steps=2)
    assert len(history) == 2
