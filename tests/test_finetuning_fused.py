"""The fused updates give what Keras' own give."""

import gc
import weakref
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerastl.finetuning.compiling import build_optimizer
from kerastl.finetuning.fused import apply_fused, supports_fused
from kerastl.stages import Stage

Optimizer = keras.optimizers.Optimizer
SHAPES = ((7, 5), (5,), (3, 3, 2, 4), (1,), ())
STEPS = 30
RATES = [1e-2] * 12 + [3e-3] * 9 + [0.0] * 2 + [5e-2] * 7
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "adam": lambda: keras.optimizers.Adam(),
    "adam, decay": lambda: keras.optimizers.Adam(weight_decay=0.05),
    "adam, other betas": lambda: keras.optimizers.Adam(
        beta_1=0.8, beta_2=0.95, epsilon=1e-3
    ),
    "adam, no first moment": lambda: keras.optimizers.Adam(beta_1=0.0),
    "adamw": lambda: keras.optimizers.AdamW(weight_decay=0.3),
    "sgd": lambda: keras.optimizers.SGD(),
    "sgd, decay": lambda: keras.optimizers.SGD(weight_decay=0.05),
    "sgd, momentum": lambda: keras.optimizers.SGD(momentum=0.9),
    "sgd, momentum, decay": lambda: keras.optimizers.SGD(momentum=0.9, weight_decay=0.05),
    "sgd, nesterov": lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(),
    "rmsprop, decay": lambda: keras.optimizers.RMSprop(weight_decay=0.05),
    "rmsprop, momentum": lambda: keras.optimizers.RMSprop(momentum=0.9),
    "rmsprop, other rho": lambda: keras.optimizers.RMSprop(rho=0.99, epsilon=1e-3),
}
# the furthest apart two ways may come, relative to the largest number of the variable
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}


class Training:
    """Variables and an optimizer that take steps of random gradients, either way."""

    def __init__(self, build: Callable[[], Optimizer], dtype: str, trained=None):
        draw = np.random.default_rng(0)
        self.variables = [
            keras.Variable(draw.uniform(1, 3, shape), dtype=dtype, name=f"v{number}")
            for number, shape in enumerate(SHAPES)
        ]
        self.trained = self.variables if trained is None else trained(self.variables)
        self.dtype, self.count = dtype, 0
        self.optimizer = build()
        self.optimizer.build(self.trained)
        self.traces = {"fused": 0, "keras": 0}
        self.ways = {
            "fused": tf.function(self._step_fused, autograph=False),
            "keras": tf.function(self._step_keras, autograph=False),
        }

    def _step_fused(self, gradients: list[tf.Tensor]) -> None:
        self.traces["fused"] += 1
        apply_fused(self.optimizer, gradients, self.trained)

    def _step_keras(self, gradients: list[tf.Tensor]) -> None:
        self.traces["keras"] += 1
        self.optimizer.apply(gradients, self.trained)

    def run(self, way: str, steps: int = STEPS) -> "Training":
        for _ in range(steps):
            draw = np.random.default_rng(100 + self.count)
            self.optimizer.learning_rate = RATES[self.count]
            sizes = 10.0 ** draw.integers(-3, 2, len(self.trained))  # some tiny, some large
            self.ways[way](
                [
                    tf.constant(size * draw.normal(size=v.shape), self.dtype)
                    for v, size in zip(self.trained, sizes, strict=True)
                ]
            )
            self.count += 1
        return self


def measure_gap(variable: keras.Variable, other: keras.Variable) -> float:
    """Return the largest difference relative to the largest number."""
    first, second = variable.numpy(), other.numpy()
    assert first.dtype == second.dtype
    assert np.isfinite(first).all()
    return float(np.abs(first - second).max() / max(np.abs(second).max(), 1e-300))


def measure_rounding(optimizer: Optimizer, dtype: str) -> float:
    """Return how far the kernels' `1 - beta` is from Keras', relative: 1.3e-5 in Adam."""
    beta = getattr(optimizer, "beta_2", getattr(optimizer, "rho", 0.0))
    number = np.dtype(dtype).type
    return abs(float((number(1) - number(beta)) / number(1 - beta)) - 1)


def assert_same(first: Training, second: Training) -> None:
    tolerance = TOLERANCE[first.dtype]
    for one, other in zip(first.variables, second.variables, strict=True):
        assert measure_gap(one, other) <= tolerance, one.name
    rounding = measure_rounding(first.optimizer, first.dtype)
    states = first.optimizer.variables, second.optimizer.variables
    for one, other in zip(*states, strict=True):
        limit = tolerance + rounding * one.name.endswith("velocity")
        assert measure_gap(one, other) <= limit, one.name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_thirty_steps_end_where_keras_ends(name, dtype):
    build = OPTIMIZERS[name]
    fused, reference = Training(build, dtype), Training(build, dtype)
    before = [variable.numpy() for variable in fused.variables]
    assert supports_fused(fused.optimizer)
    assert_same(fused.run("fused"), reference.run("keras"))
    for variable, old in zip(fused.variables, before, strict=True):
        assert (variable.numpy() != old).any()
    assert int(fused.optimizer.iterations) == STEPS


@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
@pytest.mark.parametrize("kind", ["Adam", "RMSprop"])
def test_updates_in_float32_do_not_carry_the_rounding_of_the_kernels(kind, epsilon):
    decay = {"Adam": {"beta_2": 0.999}, "RMSprop": {"rho": 0.999}}[kind]
    gradient = tf.constant(np.random.default_rng(0).normal(size=20), "float32")
    ends = []
    for apply in (apply_fused, lambda optimizer, *pairs: optimizer.apply(*pairs)):
        weight = keras.Variable(np.zeros(20), dtype="float32")  # ends as its updates' sum
        optimizer = getattr(keras.optimizers, kind)(0.01, epsilon=epsilon, **decay)
        optimizer.build([weight])
        step = tf.function(partial(apply, optimizer, [gradient], [weight]))
        for _ in range(5):
            step()
        ends.append(weight)
    assert measure_rounding(optimizer, "float32") > 1e-5
    assert measure_gap(*ends) < 1e-6


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_two_ways_take_turns(name):
    mixed = Training(OPTIMIZERS[name], "float64")
    mixed.run("fused", 10).run("keras", 10).run("fused", 10)
    assert_same(mixed, Training(OPTIMIZERS[name], "float64").run("keras"))


@pytest.mark.parametrize("name", ["adamw", "sgd", "sgd, nesterov", "rmsprop, decay"])
def test_a_new_rate_or_restored_state_needs_no_new_trace(name):
    training = Training(OPTIMIZERS[name], "float64").run("fused")
    end = [variable.numpy() for variable in training.variables]
    fresh = Training(OPTIMIZERS[name], "float64")
    pairs = (
        (training.variables, fresh.variables),
        (training.optimizer.variables, fresh.optimizer.variables),
    )
    for used, new in pairs:
        for variable, start in zip(used, new, strict=True):
            variable.assign(start)
    training.count = 0
    training.run("fused")
    assert training.traces == {"fused": 1, "keras": 0}
    for variable, old in zip(training.variables, end, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


@pytest.mark.parametrize("name", ["adamw", "sgd, momentum, decay", "rmsprop, decay"])
def test_what_is_not_trained_stays(name):
    def every_other(variables):
        return [v for v, keep in zip(variables, (True, False) * 3, strict=False) if keep]

    fused = Training(OPTIMIZERS[name], "float64", every_other).run("fused")
    reference = Training(OPTIMIZERS[name], "float64", every_other).run("keras")
    assert_same(fused, reference)
    untouched = Training(OPTIMIZERS[name], "float64")
    for place in (1, 3):
        gap = measure_gap(fused.variables[place], untouched.variables[place])
        assert gap == 0


@pytest.mark.parametrize("name", ["adam", "sgd, momentum", "rmsprop"])
def test_some_of_the_variables_find_their_own_slots(name):
    trainings = Training(OPTIMIZERS[name], "float64"), Training(OPTIMIZERS[name], "float64")
    for training, way in zip(trainings, ("fused", "keras"), strict=True):
        training.trained = training.variables[:1:-1]
        training.run(way)
    assert_same(*trainings)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_optimizers_of_stages_are_covered(kind, decay):
    stage = Stage(name="top", optimizer=kind, weight_decay=decay)
    assert supports_fused(build_optimizer(stage))

    def build() -> Optimizer:
        return build_optimizer(stage)

    fused = Training(build, "float64").run("fused", 5)
    assert_same(fused, Training(build, "float64").run("keras", 5))


def test_excluded_variables_do_not_decay():
    def build() -> Optimizer:
        optimizer = keras.optimizers.AdamW(weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["v1", "v3"])
        return optimizer

    fused = Training(build, "float64").run("fused")
    assert_same(fused, Training(build, "float64").run("keras"))
    decayed = Training(OPTIMIZERS["adamw"], "float64").run("fused")
    assert measure_gap(fused.variables[1], decayed.variables[1]) > 1e-6


def test_constraints_hold():
    ends = []
    for way in ("fused", "keras"):
        training = Training(OPTIMIZERS["sgd, momentum"], "float64")
        training.variables[0].constraint = keras.constraints.NonNeg()
        ends.append(training.run(way))
    assert_same(*ends)
    assert ends[0].variables[0].numpy().min() == 0


def test_dtypes_mix():
    def train(apply: Callable) -> list[np.ndarray]:
        variables = [keras.Variable([1.0, 2.0], dtype=d) for d in ("float32", "float64")]
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(variables)
        gradients = [tf.constant([0.5, -1.0], d) for d in ("float64", "float32")]
        step = tf.function(lambda: apply(optimizer, gradients, variables))
        for _ in range(5):
            step()
        return [variable.numpy() for variable in variables]

    fused = train(apply_fused)
    reference = train(lambda optimizer, *pairs: optimizer.apply(*pairs))
    assert [array.dtype for array in fused] == ["float32", "float64"]
    np.testing.assert_allclose(fused[0], reference[0], rtol=1e-5)
    np.testing.assert_allclose(fused[1], reference[1], rtol=1e-12)


class OwnAdam(keras.optimizers.Adam):
    """A subclass, which may have changed anything."""


UNSUPPORTED: dict[str, Callable[[], Optimizer]] = {
    "another class": lambda: keras.optimizers.Adagrad(0.1),
    "a subclass": lambda: OwnAdam(0.1),
    "clipnorm": lambda: keras.optimizers.Adam(0.1, clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.1, clipvalue=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    "use_ema": lambda: keras.optimizers.AdamW(0.1, use_ema=True),
    "accumulation": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "centered": lambda: keras.optimizers.RMSprop(0.1, centered=True),
    "loss scale": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=8.0),
    "dynamic loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1)
    ),
    "schedule": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    ),
    "callable rate": lambda: keras.optimizers.SGD(lambda: 0.1),
    "a beta that leaves nothing": lambda: keras.optimizers.Adam(0.1, beta_2=1 - 1e-8),
    "a rho that leaves nothing": lambda: keras.optimizers.RMSprop(0.1, rho=1 - 1e-8),
    "callable beta": lambda: keras.optimizers.Adam(0.1, beta_1=lambda: 0.9),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_has_no_kernel_is_said(name):
    assert not supports_fused(UNSUPPORTED[name]())


@pytest.mark.parametrize("name", sorted(UNSUPPORTED.keys() - {"callable beta"}))
def test_what_has_no_kernel_goes_the_way_of_keras(name):
    ends = []
    for apply in (apply_fused, lambda optimizer, *pairs: optimizer.apply(*pairs)):
        variable = keras.Variable(np.ones(3), dtype="float32")
        optimizer = UNSUPPORTED[name]()
        optimizer.build([variable])
        gradients = [tf.constant([1.0, -2.0, 3.0])]
        step = tf.function(partial(apply, optimizer, gradients, [variable]))
        for _ in range(3):
            step()
        ends.append([variable.numpy(), *[v.numpy() for v in optimizer.variables]])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def build_pair(dtype: str = "float32") -> tuple[Optimizer, list[keras.Variable]]:
    variables = [keras.Variable(np.ones((3, 2)), dtype=dtype) for _ in range(2)]
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(variables)
    return optimizer, variables


def test_sparse_gradients_are_taken():
    optimizer, variables = build_pair()
    rows = tf.IndexedSlices(tf.ones((1, 2)), tf.constant([1]), tf.constant([3, 2]))
    tf.function(lambda: apply_fused(optimizer, [rows, tf.ones((3, 2))], variables))()
    np.testing.assert_array_equal(variables[0].numpy(), [[1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(variables[1].numpy(), np.zeros((3, 2)))
    assert int(optimizer.iterations) == 1


def test_a_missing_gradient_warns_as_in_keras():
    optimizer, variables = build_pair()
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        apply_fused(optimizer, [None, tf.ones((3, 2))], variables)
    np.testing.assert_array_equal(variables[0].numpy(), np.ones((3, 2)))
    np.testing.assert_array_equal(variables[1].numpy(), np.zeros((3, 2)))


def test_half_precision_variables_are_taken():
    optimizer, variables = build_pair("bfloat16")
    apply_fused(optimizer, [tf.ones((3, 2), "bfloat16")] * 2, variables)
    np.testing.assert_array_equal(variables[0].numpy().astype(float), np.zeros((3, 2)))


def test_no_gradients_are_no_step():
    optimizer, _ = build_pair()
    apply_fused(optimizer, [], [])
    assert int(optimizer.iterations) == 0


def test_foreign_variables_are_refused():
    optimizer, variables = build_pair()
    foreign = keras.Variable(np.ones((3, 2)), name="foreign")
    with pytest.raises(ValueError, match="foreign"):
        apply_fused(optimizer, [tf.ones((3, 2))], [foreign])
    with pytest.raises(ValueError, match="argument"):
        apply_fused(optimizer, [tf.ones((3, 2))], variables)
    np.testing.assert_array_equal(variables[0].numpy(), np.ones((3, 2)))


def test_optimizers_are_not_kept_alive():
    training = Training(OPTIMIZERS["rmsprop"], "float32").run("fused", 2)
    reference = weakref.ref(training.optimizer)
    del training
    gc.collect()
    assert reference() is None
