"""Batches as `fit` reads them: the same arrays, each epoch anew, and no generator."""

import numpy as np
import pytest
import tensorflow as tf

import kerastl
from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.data.feeding import feed
from kerastl.schedules import Schedule
from kerastl.stages import Stage


def make_arrays(count=11, *, weighted=False):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 8, 8, 3), dtype="uint8")
    weights = rng.random(count).astype("float32") if weighted else None
    return Arrays(pixels, np.arange(count, dtype="int32") % 3, weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_it_gives_the_batches_of_each_epoch(weighted):
    batches = TrainingBatches(make_arrays(weighted=weighted), batch_size=4, seed=3)
    pipeline = feed(batches)
    assert len(pipeline) == 3
    for epoch in range(2):
        batches.set_epoch(epoch)
        expected = [batches[index] for index in range(3)]
        found = list(pipeline.as_numpy_iterator())
        assert len(found) == 3
        for mine, theirs in zip(found, expected, strict=True):
            assert len(mine) == len(theirs) == (3 if weighted else 2)
            for one, other in zip(mine, theirs, strict=True):
                assert one.dtype == other.dtype
                assert np.array_equal(one, other)


def test_several_tensors_stay_a_tuple():
    parts = [((np.zeros((2, 3)), np.ones((2, 4))), np.zeros(2, "int32"))]
    (first, second), labels = next(iter(feed(parts)))
    assert (first.shape, second.shape, labels.shape) == ((2, 3), (2, 4), (2,))


def test_what_goes_wrong_in_a_batch_is_told():
    class Broken(EvaluationBatches):
        def __getitem__(self, index):
            if index:
                raise ValueError("the disk is gone")
            return super().__getitem__(index)

    pipeline = feed(Broken(make_arrays(), batch_size=4))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the disk is gone"):
        list(pipeline)


@pytest.mark.parametrize("engine", ["auto", "plain"])
def test_no_training_makes_a_pipeline_of_a_generator(engine, monkeypatch):
    """On Python 3.11 the first has blocks given back, and steps take twice as long."""

    def refuse(*given, **named):
        raise AssertionError("from_generator")

    monkeypatch.setattr(tf.data.Dataset, "from_generator", refuse)
    arrays = make_arrays(40)
    data = kerastl.load_images(arrays.pixels, labels=arrays.labels, validation=0.25)
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=8)
    stages = (
        Stage(name="probe", solver="exact"),
        Stage(name="head", epochs=1),
        Stage(name="augmented", epochs=1, augment=("flip",)),
        Stage(name="all", epochs=1, unfreeze="all", learning_rate=1e-4),
    )
    run = kerastl.finetune(
        model, data, schedule=Schedule("each", stages), engine=engine, verbose=0
    )
    assert len(run.history) == 4
