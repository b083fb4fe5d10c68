"""What the fast engine does not do twice, and what it leaves to Keras."""

import keras
import numpy as np
import pytest
from engines import make_data, train

import kerastl
from kerastl.finetuning import fast
from kerastl.finetuning.cuts import find_boundary, split_model
from kerastl.finetuning.programs import Program

# What is not done twice


def test_a_frozen_base_runs_once_and_a_graph_is_traced_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    extracted, graphs = [], []
    graph, trace = Program.graph, Program.trace_prefixes

    def keep_graph(self, *arguments, **options):
        graphs.append(graph(self, *arguments, **options))
        return graphs[-1]

    def count_images(self, *arguments, **options):
        run = trace(self, *arguments, **options)
        graphs.append(run)
        return lambda images: extracted.append(len(images)) or run(images)

    monkeypatch.setattr(Program, "graph", keep_graph)
    monkeypatch.setattr(Program, "trace_prefixes", count_images)
    run = train("auto", "tiny", "hybrid", epochs=4, batch_size=16)
    # once for both stages, not per stage or epoch
    assert sum(extracted) == len(run.data.train) + len(run.data.validation)
    counts = {graph.experimental_get_tracing_count() for graph in graphs}
    assert counts == {1}  # though the last batch is smaller
    assert len(set(map(id, graphs))) == 5  # frozen layers; two stages' steps


def freeze(model: keras.Model, trained: set[str]) -> None:
    model.trainable = True
    for layer in model.layers:
        layer.trainable = layer.name in trained


@pytest.mark.parametrize(
    ("trained", "boundary"),
    [
        ({"predictions"}, ["pooling"]),
        # inside a residual block: branch and shortcut
        ({"block2_2_conv"}, ["block2_0_relu", "block2_1_relu"]),
        ({"stem_conv"}, ["preprocessing"]),
    ],
)
def test_the_boundary_is_what_no_training_changes(trained, boundary):
    model = kerastl.build_model("tiny", num_classes=3, weights=None)
    names = {layer.name for layer in model.layers}
    assert trained < names
    freeze(model, trained | {"predictions"})
    found = [tensor._keras_history[0].name for tensor in find_boundary(model)]
    assert sorted(found) == boundary
    split = split_model(model)
    if boundary == ["preprocessing"]:  # not worth keeping
        assert split.prefix is None
        return
    pixels = make_data().train.pixels(32)[:5].astype("float32")
    np.testing.assert_array_equal(
        split.tail(split.prefix(pixels, training=False), training=False),
        model(pixels, training=False),
    )


def test_padded_pixels_are_not_worth_keeping():
    model = kerastl.build_model("resnet50", num_classes=3, weights=None, image_size=32)
    freeze(model, {layer.name for layer in model.layers})
    assert split_model(model).prefix is None
    freeze(model, {"conv2_block1_1_conv", "predictions"})
    assert split_model(model).prefix is not None


def test_random_layers_are_never_cached():
    model = kerastl.build_model(
        "efficientnetb0", num_classes=3, weights=None, image_size=32
    )
    freeze(model, {"predictions"})
    prefix = split_model(model).prefix
    assert not any("dropout" in type(layer).__name__.lower() for layer in prefix.layers)
    assert prefix.count_params() < model.count_params() / 2  # stochastic depth comes early


def test_activations_that_do_not_fit_are_not_kept(monkeypatch):
    monkeypatch.setattr(fast, "free_memory", lambda: 1000)
    monkeypatch.setattr(fast, "extract", lambda *a: pytest.fail("nothing is extracted"))
    train("auto", "tiny", "hybrid", epochs=1)


# Keras' own loop stays


class Looker(keras.callbacks.Callback):
    def __init__(self, data):
        super().__init__()
        self.data, self.logs, self.evaluated = data, [], []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(sorted(logs))
        pixels = self.data.validation.pixels(32).astype("float32")
        self.evaluated.append(
            self.model.evaluate(pixels, self.data.validation.labels, verbose=0)[1]
        )


def test_callbacks_see_the_whole_model_and_may_evaluate_it():
    data = make_data()
    looker = Looker(data)
    model = kerastl.build_model("tiny", num_classes=3, weights=None)
    run = kerastl.finetune(
        model,
        data,
        schedule="hybrid",
        epochs=2,
        callbacks=[looker],
        engine="auto",
        verbose=0,
    )
    assert looker.logs == [["accuracy", "loss", "val_accuracy", "val_loss"]] * 4
    assert looker.evaluated == pytest.approx(list(run.history["val_accuracy"]))
    assert model.train_function is None  # whoever trains next gets Keras' own


class Counter(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.called = 0

    def on_train_batch_end(self, batch, logs=None):
        self.called += 1


class OldCounter(Counter):
    on_train_batch_end = keras.callbacks.Callback.on_train_batch_end

    def on_batch_end(self, batch, logs=None):
        self.called += 1


def count_with_lambda():
    counter = Counter()
    called = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: counter.on_train_batch_end(batch)
    )
    return counter, called


@pytest.mark.parametrize("kind", ["method", "old method", "lambda"])
def test_who_asks_for_batches_gets_them(kind):
    counter = OldCounter() if kind == "old method" else Counter()
    callback = counter
    if kind == "lambda":
        counter, callback = count_with_lambda()
    run = train(
        "auto", "tiny", "no validation", epochs=2, batch_size=16, callbacks=[callback]
    )
    assert counter.called == 2 * -(-len(run.data.train) // 16)


def test_a_head_s_epoch_is_one_batch_to_fit_where_nobody_looks():
    seen = []
    looker = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(looker.params["steps"])
    )
    train("auto", "tiny", "no validation", epochs=2, batch_size=16, callbacks=[looker])
    assert seen == [1, 1]


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    whole = train("auto", "tiny", "dropout and sgd", epochs=3, out=tmp_path / "whole")
    settings = {"epochs": 3, "out": tmp_path / "cut"}
    with pytest.raises(KeyboardInterrupt):
        train("auto", "tiny", "dropout and sgd", callbacks=[Interrupt()], **settings)
    again = train("auto", "tiny", "dropout and sgd", resume=True, **settings)
    for first, second in zip(
        whole.model.get_weights(), again.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(first, second)
