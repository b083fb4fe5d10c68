"""Local response normalisation, out of operations that any Keras loads."""

import operator
from functools import reduce

import keras

WINDOW = 5  # neighbouring channels, the one in the middle included
ALPHA, BETA = 1e-4, 0.75


def normalize_responses(x: keras.KerasTensor, bias: float) -> keras.KerasTensor:
    """Divide each value by a power of what its neighbouring channels sum up to.

    `x / (bias + alpha * sum(x ** 2)) ** beta` over five channels, with the alpha of 1e-4
    and beta of 0.75 of Krizhevsky et al. (2012). It is the same as
    `tf.nn.local_response_normalization(x, 2, bias, 1e-4, 0.75)`, which is no operation that
    Keras saves.

    Args:
        x: `(batch, height, width, channels)`.
        bias: Added to the sum: 2 in AlexNet, 1 in GoogLeNet.

    Returns:
        Tensor of the same shape.
    """
    channels, reach = x.shape[-1], WINDOW // 2
    small = x * ALPHA**0.5  # before it is squared: float16 ends at 65,504
    squares = keras.ops.pad(small * small, [[0, 0], [0, 0], [0, 0], [reach, reach]])
    shifted = (squares[..., start : start + channels] for start in range(WINDOW))
    return x * (reduce(operator.add, shifted) + bias) ** -BETA
