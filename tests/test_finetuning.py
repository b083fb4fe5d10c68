import keras
import numpy as np
import pytest

import kerastl
from kerastl.errors import NothingSucceededError, UsageError
from kerastl.stages import Schedule, Stage

SIDE = 16


def coloured(count=48, classes=3, seed=0):
    """Images of `classes` colours under noise: learnable in an epoch or two."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = generator.integers(0, 120, (count, SIDE, SIDE, 3))
    images[np.arange(count), :, :, labels] += 100
    return images.astype("uint8"), labels.astype("int32")


@pytest.fixture(scope="module")
def data():
    images, labels = coloured()
    return kerastl.load_images(images, labels=labels, seed=0)


def build(data, **settings):
    settings = {"image_size": SIDE, "weights": None, **settings}
    return kerastl.build_model("tiny", num_classes=data.num_classes, **settings)


def train(model, data, schedule="feature-extraction", **settings):
    settings = {"verbose": 0, "epochs": 1, "batch_size": 16, **settings}
    return kerastl.finetune(model, data, schedule=schedule, **settings)


def equal(before, after):
    pairs = zip(before, after, strict=True)
    return all(np.array_equal(old, new) for old, new in pairs)


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def moved_layers(before, after):
    return {
        name
        for name in before
        if any(
            not np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True)
        )
    }


def test_feature_extraction_moves_the_head_alone_to_the_bit(data):
    model = build(data, hidden=[8])
    before = weights_by_layer(model)
    train(model, data)
    assert moved_layers(before, weights_by_layer(model)) == {"hidden1", "predictions"}


def test_a_block_moves_and_its_statistics_do_not(data):
    model = build(data)
    before = weights_by_layer(model)
    train(model, data, Stage(name="top", unfreeze="block2"))
    assert moved_layers(before, weights_by_layer(model)) == {
        "block2_0_conv",
        "block2_1_conv",
        "block2_2_conv",
        "predictions",
    }


def test_statistics_move_when_asked(data):
    model = build(data)
    before = weights_by_layer(model)
    train(model, data, Stage(name="all", unfreeze="all"), train_batchnorm=True)
    assert moved_layers(before, weights_by_layer(model)) == set(before)


def test_the_last_n_layers_are_those_of_model_layers(data):
    model = build(data)
    before = weights_by_layer(model)
    train(model, data, Stage(name="last", unfreeze=8))
    kinds = {layer.name: layer for layer in model.layers[-8:] if layer.weights}
    fixed = keras.layers.BatchNormalization
    names = {name for name, layer in kinds.items() if not isinstance(layer, fixed)}
    assert moved_layers(before, weights_by_layer(model)) == names | {"predictions"}


@pytest.mark.parametrize("name", ["fine-tune", "hybrid", "gradual", "lp-ft", "full"])
def test_every_named_schedule_runs_and_scores(data, name):
    run = train(build(data), data, name)
    assert len(run.stages) == len(run.schedule)
    assert run.history["is_best"].sum() == 1
    assert np.isfinite(run.history[["loss", "val_loss"]].to_numpy()).all()


def test_each_stage_has_an_optimizer_of_its_own(data):
    seen = []

    class Optimizers(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append(self.model.optimizer)

    train(build(data), data, "hybrid", callbacks=[Optimizers()])
    assert len(seen) == 2
    assert seen[0] is not seen[1]


def test_callbacks_of_the_user_see_epochs_counted_over_the_run(data):
    epochs = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: epochs.append(e))
    train(build(data), data, "hybrid", epochs=2, callbacks=[callback])
    assert epochs == [0, 1, 2, 3]


def test_a_callback_of_the_user_can_stop_a_stage(data):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    run = train(build(data), data, epochs=5, callbacks=[Stop()])
    assert len(run.history) == 1


def test_learning_rates_are_those_of_the_schedule(data):
    run = train(
        build(data), data, epochs=3, lr_schedule="step", step_epochs=1, learning_rate=0.01
    )
    assert list(run.history["learning_rate"]) == pytest.approx([0.01, 0.001, 0.0001])


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw", "rmsprop"])
def test_every_optimizer_trains(data, optimizer):
    run = train(build(data), data, optimizer=optimizer, epochs=2, weight_decay=1e-4)
    assert run.history["loss"].iloc[1] < run.history["loss"].iloc[0]


def test_the_same_seed_gives_the_same_weights_and_another_others(data):
    def weights(seed):
        model = build(data, dropout=0.5, hidden=[8])
        train(model, data, seed=seed, epochs=2, augment=["flip", "crop"])
        return np.concatenate([w.ravel() for w in model.get_weights()])

    first = weights(1)
    assert np.array_equal(first, weights(1))
    assert not np.array_equal(first, weights(2))


def test_a_harmful_stage_is_rolled_back_to_the_best_of_all_stages(data):
    schedule = [
        Stage(name="head", epochs=6, learning_rate=0.01, batch_size=16),
        Stage(name="harm", unfreeze="all", epochs=1, learning_rate=30.0, optimizer="sgd"),
    ]
    model = build(data)
    run = kerastl.finetune(model, data, schedule=schedule, verbose=0)
    best = run.history.query("stage == 'head'")["val_accuracy"].max()
    assert run.history.query("is_best")["stage"].item() == "head"
    assert "rolled back to head" in run.stages[1]["outcome"]
    pixels = data.validation.pixels((SIDE, SIDE)).astype("float32")
    predicted = model.predict(pixels, verbose=0).argmax(axis=1)
    assert (predicted == data.validation.labels).mean() == pytest.approx(best)


def test_the_best_epoch_of_a_stage_is_restored(data):
    model = build(data)
    run = train(model, data, epochs=6, learning_rate=0.3)
    best = run.history.query("is_best").iloc[0]
    pixels = data.validation.pixels((SIDE, SIDE)).astype("float32")
    probabilities = model.predict(pixels, verbose=0)
    accuracy = (probabilities.argmax(axis=1) == data.validation.labels).mean()
    assert accuracy == pytest.approx(best["val_accuracy"])
    chosen = probabilities[np.arange(len(pixels)), data.validation.labels]
    assert -np.log(chosen + 1e-7).mean() == pytest.approx(
        best["val_loss"], rel=1e-3, abs=1e-4
    )


def test_early_stopping_ends_a_stage(data):
    run = train(build(data), data, epochs=30, patience=2, learning_rate=1e-9)
    assert len(run.history) < 30


def test_a_run_without_one_finite_epoch_is_an_error(data):
    with pytest.raises(NothingSucceededError, match="lower learning_rate=1e\\+06"):
        train(build(data), data, "full", learning_rate=1e6, optimizer="sgd", momentum=0.99)


def test_one_hot_losses_equal_sparse_ones(data):
    smoothed = train(build(data), data, label_smoothing=1e-9)
    sparse = train(build(data), data)
    columns = ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert np.allclose(smoothed.history[columns], sparse.history[columns], atol=1e-5)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "randaugment", "erasing"])
def test_every_augmentation_trains(data, name):
    run = train(build(data), data, augment=[name])
    assert np.isfinite(run.history["loss"]).all()


def test_balanced_class_weights_change_what_is_learnt():
    images, labels = coloured(60)
    keep = (labels != 2) | (np.arange(60) < 21)
    skewed = kerastl.load_images(images[keep], labels=labels[keep], seed=0)
    plain = train(build(skewed), skewed).history["loss"].item()
    balanced = train(build(skewed), skewed, class_weight="balanced").history["loss"].item()
    assert plain != pytest.approx(balanced, rel=1e-4)


def test_normalising_with_the_data_is_part_of_the_model(data):
    model = build(data)
    train(model, data, normalize="data")
    statistics = data.channel_statistics()
    assert model.kerastl.normalization["mean"] == pytest.approx(statistics.mean)
    scaled = keras.Model(model.input, model.get_layer("preprocessing").output)
    pixels = data.train.pixels((SIDE, SIDE)).astype("float32")
    values = scaled.predict(pixels, verbose=0)
    assert values.mean(axis=(0, 1, 2)) == pytest.approx([0, 0, 0], abs=1e-3)
    assert values.std(axis=(0, 1, 2)) == pytest.approx([1, 1, 1], abs=1e-3)


def test_several_labels_per_image():
    images, labels = coloured(48)
    several = np.zeros((48, 3), "float32")
    several[np.arange(48), labels] = 1
    several[::4, 0] = 1
    data = kerastl.load_images(images, labels=several, multi_label=True, seed=0)
    model = build(data, multi_label=True)
    run = train(model, data, epochs=3, learning_rate=0.01)
    assert run.history["loss"].iloc[-1] < run.history["loss"].iloc[0]
    with pytest.raises(UsageError, match="'head' has class_weight"):
        train(model, data, class_weight="balanced")


def test_wrong_models_and_options_are_refused_before_training(data):
    model = build(data)
    before = model.get_weights()
    with pytest.raises(UsageError, match="'epoch' is not a setting.*'epochs'"):
        kerastl.finetune(model, data, epoch=3)
    stages = [Stage(name="head"), Stage(name="x", unfreeze="block9")]
    with pytest.raises(UsageError, match="unfreeze='block9'"):
        kerastl.finetune(model, data, schedule=Schedule("bad", stages))
    other = kerastl.build_model("tiny", num_classes=4, weights=None, image_size=SIDE)
    with pytest.raises(UsageError, match="ends in 4 outputs.*the data has 3 classes"):
        kerastl.finetune(other, data)
    with pytest.raises(UsageError, match="engine='fast'"):
        kerastl.finetune(model, data, engine="fast")
    with pytest.raises(UsageError, match="verbose=7"):
        kerastl.finetune(model, data, verbose=7)
    assert all(
        np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)
    )


def test_unreadable_files_of_all_splits_are_named_together_before_training(
    image_folder, tmp_path
):
    counts = {"train": 4, "validation": 2, "test": 2}
    folder = image_folder({f"{s}/{c}": n for s, n in counts.items() for c in "ab"})
    for split in counts:
        (folder / split / "a" / "01.png").write_bytes(b"no image")
    data, out = kerastl.load_images(folder), tmp_path / "run"
    model = kerastl.build_model("tiny", num_classes=2, weights=None, image_size=SIDE)
    before = model.get_weights()
    with pytest.raises(kerastl.DataError) as caught:
        train(model, data, out=out)
    assert str(caught.value).startswith("2 images cannot be used: ")
    assert all(
        f"{split}/a/01.png" in str(caught.value) for split in ("train", "validation")
    )
    with pytest.raises(kerastl.DataError, match=r"^3 images.*test/a/01\.png"):
        train(model, data, out=out, evaluate=True)
    assert equal(before, model.get_weights())
    assert not out.exists()


def test_the_test_split_is_read_by_evaluate_alone(data, monkeypatch):
    read = []
    kind = type(data.test)
    original = kind.pixels

    def spy(self, image_size):
        read.append(self.name)
        return original(self, image_size)

    monkeypatch.setattr(kind, "pixels", spy)
    run = train(build(data), data)
    repr(run)
    assert "test" not in read
    scores = run.evaluate()
    assert run.evaluate() is scores
    assert read.count("test") == 1
    assert 0 <= scores.accuracy.low <= scores.accuracy.value <= scores.accuracy.high <= 1


def test_a_run_shows_itself_and_what_was_selected_on(data):
    run = train(build(data), data, "hybrid")
    text = repr(run)
    assert "last-4" in text
    assert "last-15" in text
    assert "selected on: the epoch kept" in text
    assert "<table" in run._repr_html_()
    assert run.plot().axes


def test_keras_max_epochs_makes_any_run_short(data):
    keras.config.set_max_epochs(1)
    try:
        with pytest.warns(UserWarning, match="Limiting epochs"):
            run = train(build(data), data, "hybrid", epochs=3)
    finally:
        keras.config.set_max_epochs(None)
    assert list(run.history["stage"]) == ["last-4", "last-15"]


def test_without_validation_and_test_nothing_is_selected_or_scored(tmp_path):
    images, labels = coloured(24)
    data = kerastl.load_images(images, labels=labels, validation=0, test=0)
    run = train(build(data), data, "lp-ft", epochs=2)
    assert run.metrics["selected_on"] is None
    assert run.history.query("is_best")["epoch"].item() == len(run.history)
    with pytest.raises(UsageError, match="no test split"):
        run.evaluate()
    assert (run.save(tmp_path / "run") / "report.html").stat().st_size > 1000


def test_a_saved_run_reads_back_with_the_same_scores(tmp_path):
    images, labels = coloured()
    data = kerastl.load_images(images, labels=labels, seed=0)
    run = train(build(data), data, "hybrid", out=tmp_path / "run")
    again = kerastl.load_run(tmp_path / "run", data)
    assert "test" not in again.metrics
    assert again.evaluate().to_dict() == run.evaluate().to_dict()
    assert again.history.drop(columns="seconds").equals(run.history.drop(columns="seconds"))
    saved = again.folder.read_json("metrics.json")
    assert saved["test"]["accuracy"]["low"] <= saved["test"]["accuracy"]["value"]
    with pytest.raises(UsageError, match="was trained on arrays"):
        kerastl.load_run(tmp_path / "run")
    other = kerastl.load_images(images[::-1], labels=labels, seed=0)
    with pytest.raises(kerastl.DataError, match="changed since"):
        kerastl.load_run(tmp_path / "run", other)


def test_a_layer_that_a_gradient_reaches_has_to_move(data):
    model = build(data)
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([kernel + 1, bias + 1])  # none near zero
    with pytest.raises(NothingSucceededError, match="did not move: predictions"):
        train(model, data, learning_rate=1e-12)


def test_layers_behind_dead_units_are_named_and_the_run_is_kept(data):
    model = build(data, hidden=[4])
    kernel, bias = model.get_layer("hidden1").get_weights()
    model.get_layer("hidden1").set_weights([kernel, bias - 1e6])  # never above zero
    run = train(model, data, "full")
    assert "no gradient reached block1_0_conv" in run.stages[0]["outcome"]
    assert "hidden1" in run.stages[0]["outcome"]
    assert "predictions" not in run.stages[0]["outcome"]
