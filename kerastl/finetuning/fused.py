"""Optimizer updates in one TensorFlow kernel per variable instead of a chain of ops."""

import copy
import math
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerastl.finetuning.optimizers import SCALED, BlockRates

# updates one variable by one gradient; the last is the variable's place in the slots
Update = Callable[[keras.Variable, tf.Tensor, int], None]
# set to anything but None or False, they put more into a step than the kernels do
_EXTRAS = (
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "gradient_accumulation_steps",
    "loss_scale_factor",
    "amsgrad",
    "centered",
)
_BETAS = ("beta_1", "beta_2", "rho")
_NUMBERS = ("beta_1", "beta_2", "epsilon", "momentum", "rho")
_DTYPES = ("float32", "float64")
_LARGEST_BETA = 0.9999  # nearer to 1, too little of `1 - beta` is left in float32


def supports_fused(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether `apply_fused` has kernels for all that this optimizer does.

    Use to report or measure which of the two ways a step takes.

    Args:
        optimizer: Built or not.

    Returns:
        True for Adam, AdamW, SGD and RMSprop themselves, and with `BlockRates`, with a
        learning rate that is a number. False for every other subclass; for clipping, moving
        averages, gradient accumulation, loss scaling, `amsgrad` and `centered`; for a rate
        that is a schedule or callable; for betas and rho above 0.9999; and inside a
        distribution strategy.

    Example:

    >>> supports_fused(keras.optimizers.SGD(0.1, momentum=0.9))
    True
    >>> supports_fused(keras.optimizers.SGD(0.1, clipnorm=1.0))
    False
    """
    numbers = [getattr(optimizer, name, 0.0) for name in _NUMBERS]
    return (
        type(optimizer) in _PREPARE
        and isinstance(optimizer._learning_rate, keras.Variable)
        and all(getattr(optimizer, name, None) in (None, False) for name in _EXTRAS)
        and all(isinstance(number, int | float) for number in numbers)
        and max(getattr(optimizer, name, 0.0) for name in _BETAS) <= _LARGEST_BETA
        and not tf.distribute.has_strategy()
    )


def apply_fused(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
) -> None:
    """Do what `optimizer.apply(gradients, variables)` does, in a fraction of the time.

    Call it inside a `tf.function`, with the optimizer built. It writes to the optimizer's
    own slots and step counter and reads its learning rate at run time, so the two ways can
    take turns, and a new rate needs no new trace.

    The numbers are those of Keras up to rounding. One rounding is larger than the others:
    Adam's velocities in float32 are smaller by 1.3e-5 of their size, see `_measure_excess`.

    Args:
        optimizer: Where `supports_fused` is False, its own `apply` is called.
        gradients: One per variable. Where one is None or sparse, or a variable is neither
            float32 nor float64, the optimizer's own `apply` is called.
        variables: Those the optimizer was built with, or some of them.

    Raises:
        ValueError: A variable is none of those the optimizer was built with, or there are
            not as many gradients as variables.

    Example:

    >>> weight = keras.Variable([1.0, 2.0])
    >>> optimizer = keras.optimizers.SGD(0.5)
    >>> optimizer.build([weight])
    >>> step = tf.function(lambda gradient: apply_fused(optimizer, [gradient], [weight]))
    >>> step(tf.constant([1.0, 1.0]))
    >>> weight.numpy(), int(optimizer.iterations)
    (array([0.5, 1.5], dtype=float32), 1)
    """
    pairs = list(zip(gradients, variables, strict=True))
    if not supports_fused(optimizer) or not all(_is_plain(*pair) for pair in pairs):
        optimizer.apply(list(gradients), list(variables))
        return
    if not pairs:  # as in Keras, no step at all
        return
    optimizer._check_variables_are_known(variables)
    prepare = _PREPARE[type(optimizer)]
    dtypes = {variable.dtype for variable in variables}
    updates = {dtype: prepare(optimizer, dtype) for dtype in dtypes}
    for gradient, variable in pairs:
        place = optimizer._get_variable_index(variable)
        _decay(optimizer, variable, place)
        updates[variable.dtype](variable, tf.cast(gradient, variable.dtype), place)
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable))
    optimizer.iterations.assign_add(1)


def _is_plain(gradient: tf.Tensor | None, variable: keras.Variable) -> bool:
    return (
        isinstance(gradient, tf.Tensor)
        and variable.dtype in _DTYPES
        and not variable.overwrite_with_gradient
    )


def _decay(
    optimizer: keras.optimizers.Optimizer,
    variable: keras.Variable,
    place: int,
) -> None:
    """Take the decoupled decay off a variable, before its update as Keras does."""
    if optimizer.weight_decay is None:
        return
    if not optimizer._use_weight_decay(variable.value):
        return
    rate = ops.cast(optimizer.learning_rate, variable.dtype)
    rate = _scale(optimizer, rate, place)
    # rate times decay first: a scalar, and one pass over the variable less
    share = rate * ops.cast(optimizer.weight_decay, variable.dtype)
    variable.value.assign_sub(variable.value * share)


def _scale(optimizer: keras.optimizers.Optimizer, rate: tf.Tensor, place: int) -> tf.Tensor:
    return optimizer.scale(rate, place) if isinstance(optimizer, BlockRates) else rate


# `ops.cast` makes a Python number a float32 tensor on its way to float64: Keras casts the
# bases of Adam's powers and SGD's momentum so, and takes all other numbers as they are.


def _prepare_adam(optimizer: keras.optimizers.Adam, dtype: str) -> Update:
    step = ops.cast(optimizer.iterations + 1, dtype)
    power_1 = ops.power(ops.cast(optimizer.beta_1, dtype), step)
    power_2 = ops.power(ops.cast(optimizer.beta_2, dtype), step)
    excess_1 = _measure_excess(optimizer.beta_1, dtype)
    root_2 = math.sqrt(_measure_excess(optimizer.beta_2, dtype))
    rate = ops.cast(optimizer.learning_rate, dtype) * (root_2 / excess_1)

    def update(variable: keras.Variable, gradient: tf.Tensor, place: int) -> None:
        tf.raw_ops.ResourceApplyAdam(
            var=variable.value.handle,
            m=optimizer._momentums[place].value.handle,
            v=optimizer._velocities[place].value.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=_scale(optimizer, rate, place),
            beta1=tf.constant(optimizer.beta_1, dtype),
            beta2=tf.constant(optimizer.beta_2, dtype),
            epsilon=tf.constant(optimizer.epsilon * root_2, dtype),
            grad=gradient,
        )

    return update


def _measure_excess(beta: float, dtype: str) -> float:
    """Return the kernel's `1 - beta`, which it computes in the dtype, over that of Keras.

    Keras rounds the difference instead of beta, which in float32 makes 0.001 of 0.999 where
    the kernel has 0.99998713e-3. The slots are that many times those of Keras; rate and
    epsilon make up for it, so that the weights are not.
    """
    number = np.dtype(dtype).type
    return float((number(1) - number(beta)) / number(1 - beta))


def _prepare_sgd(optimizer: keras.optimizers.SGD, dtype: str) -> Update:
    rate = ops.cast(optimizer.learning_rate, dtype)
    momentum = ops.cast(optimizer.momentum, dtype)

    def update(variable: keras.Variable, gradient: tf.Tensor, place: int) -> None:
        own = _scale(optimizer, rate, place)
        if optimizer.momentum == 0:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.value.handle, alpha=own, delta=gradient
            )
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.value.handle,
            accum=optimizer.momentums[place].value.handle,
            lr=own,
            grad=gradient,
            momentum=momentum,
            use_nesterov=optimizer.nesterov,
        )

    return update


def _prepare_rmsprop(optimizer: keras.optimizers.RMSprop, dtype: str) -> Update:
    excess = _measure_excess(optimizer.rho, dtype)
    rate = ops.cast(optimizer.learning_rate, dtype) * math.sqrt(excess)

    def update(variable: keras.Variable, gradient: tf.Tensor, place: int) -> None:
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable.value.handle,
            ms=optimizer._velocities[place].value.handle,
            mom=_find_momentum(optimizer, place).handle,
            lr=_scale(optimizer, rate, place),
            rho=tf.constant(optimizer.rho, dtype),
            momentum=tf.constant(optimizer.momentum, dtype),
            epsilon=tf.constant(optimizer.epsilon * excess, dtype),
            grad=gradient,
        )

    return update


# RMSprop's kernel writes each update to a momentum slot, which Keras has no variable for at
# momentum 0: a spare one per variable, outside the optimizer's state, as the kernel
# multiplies what is in it by 0
_SPARE: WeakKeyDictionary[keras.optimizers.RMSprop, dict[int, tf.Variable]]
_SPARE = WeakKeyDictionary()


def _find_momentum(optimizer: keras.optimizers.RMSprop, place: int) -> tf.Variable:
    if optimizer.momentum > 0:
        return optimizer._momentums[place].value
    spare = _SPARE.setdefault(optimizer, {})
    if place not in spare:
        # outside the graph being traced, and by copying: a function that calls tf.Variable
        # in its first trace is traced a second time
        with tf.init_scope():
            spare[place] = copy.deepcopy(optimizer._velocities[place].value)
    return spare[place]


_PREPARE: dict[type, Callable[[keras.optimizers.Optimizer, str], Update]] = {
    keras.optimizers.Adam: _prepare_adam,
    keras.optimizers.AdamW: _prepare_adam,
    keras.optimizers.SGD: _prepare_sgd,
    keras.optimizers.RMSprop: _prepare_rmsprop,
}
_PREPARE |= {SCALED[kind]: prepare for kind, prepare in _PREPARE.items()}
