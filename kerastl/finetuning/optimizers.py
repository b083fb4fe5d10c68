"""Keras' optimizers with a learning rate for each block of a base."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class Blocks:
    """How far down each variable is, and the factor of each depth.

    The factors are a variable, so that graphs serve every decay. An optimizer would track
    one of its own as part of its state, which is saved and has to be that of Keras.

    Args:
        depths: Of the variables an optimizer was built with.
    """

    def __init__(self, depths: Sequence[int]):
        self.depths = tuple(depths)
        ones = np.ones(max(depths, default=0) + 1)
        self.factors = keras.Variable(ones, trainable=False, name="factors")


class BlockRates:
    """What makes an optimizer take a share of its learning rate for some variables.

    A share of the gradient would not do: Adam divides it out again. Keras' own arithmetic
    stays: its update and its decoupled weight decay are given another rate.
    """

    def set_depths(self, depths: Sequence[int]) -> None:
        """Say how far down each variable is, 0 for the head; the optimizer is built.

        Args:
            depths: In the order of the variables it was built with.
        """
        self.blocks = Blocks(depths)

    def set_decay(self, decay: float) -> None:
        """Set what the rate is multiplied with for each block down from the head."""
        factors = self.blocks.factors
        factors.assign(float(decay) ** np.arange(factors.shape[0]))

    def scale(self, rate: tf.Tensor, place: int) -> tf.Tensor:
        """Return the rate of the variable at a place, in the dtype of the given one."""
        factor = self.blocks.factors[self.blocks.depths[place]]
        return rate * ops.cast(factor, rate.dtype)

    def update_step(
        self,
        gradient: tf.Tensor,
        variable: tf.Variable,
        learning_rate: keras.Variable | tf.Tensor,
    ) -> None:
        """Do what Keras does, at the variable's own rate."""
        rate = ops.cast(learning_rate, variable.dtype)
        scaled = self.scale(rate, self._get_variable_index(variable))
        super().update_step(gradient, variable, scaled)

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        if self.weight_decay is None:
            return
        for variable in variables:
            if self._use_weight_decay(variable):
                rate = ops.cast(self.learning_rate, variable.dtype)
                rate = self.scale(rate, self._get_variable_index(variable))
                decay = ops.cast(self.weight_decay, variable.dtype)
                variable.assign_sub(variable * decay * rate)


def _derive(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    # by Keras' own name: what a callback saves in mid-training loads without this package,
    # as the optimizer it is derived from
    return type(kind.__name__, (BlockRates, kind), {"__module__": "keras.optimizers"})


# optimizer -> the same with a rate for each block
SCALED = {
    kind: _derive(kind)
    for kind in (
        keras.optimizers.Adam,
        keras.optimizers.AdamW,
        keras.optimizers.SGD,
        keras.optimizers.RMSprop,
    )
}
