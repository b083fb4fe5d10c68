"""Frozen BatchNorm folded into the convolution before it: one kernel instead of several."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)  # not what extends them


def run_folded(model: keras.Model, images: tf.Tensor) -> list[tf.Tensor]:
    """Return what a frozen model gives: `model(images, training=False)`, but for rounding.

    A convolution followed by BatchNorm, `(W x - mean) / std * gamma + beta`, is one with
    other weights and a bias (Jacob et al., CVPR 2018, section 3.2), which TensorFlow runs
    as one kernel with the activation after it. Weights are folded in float32 whenever the
    graph runs, so it follows weights that are assigned anew.

    Args:
        model: Functional.
        images: That it takes.

    Example:

    >>> pixels, conv = keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3)
    >>> model = keras.Model(pixels, keras.layers.BatchNormalization()(conv(pixels)))
    >>> images = tf.random.uniform((1, 4, 4, 3))
    >>> bool(tf.experimental.numpy.allclose(run_folded(model, images)[0], model(images)))
    True
    """
    folds, taken = find_folds(model), {}

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        # should nothing else read what the convolution gives, TensorFlow leaves it out
        taken[id(operation)] = args
        if id(operation) in folds:
            convolution = folds[id(operation)]
            return _convolve(*taken[id(convolution)], convolution, operation)
        if isinstance(operation, keras.Layer) and operation._call_has_training_arg:
            kwargs["training"] = False
        return operation(*args, **kwargs)

    return tf.nest.flatten(model._run_through_graph(images, call_fn=call))


def find_folds(model: keras.Model) -> Mapping[int, keras.Layer]:
    """Return the convolution before each BatchNorm that can be folded, by the latter's id.

    What else reads the convolution makes no difference: a boundary that is computed along
    must not change the digits of another.
    """
    nodes = [one for level in model._nodes_by_depth.values() for one in level]
    nodes = [node for node in nodes if not node.is_input]
    times = Counter(id(node.operation) for node in nodes)
    sources = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
    pairs = [(sources.get(id(node.input_tensors[0])), node.operation) for node in nodes]
    return {
        id(norm): source
        for source, norm in pairs
        if _is_plain(source) and _is_scaling(norm)
        if times[id(source)] == times[id(norm)] == 1
    }


def _is_plain(operation: Any) -> bool:
    if type(operation) not in CONVOLUTIONS:
        return False
    return operation.activation is keras.activations.linear


def _is_scaling(operation: Any) -> bool:
    return type(operation) is keras.layers.BatchNormalization and operation.axis in (-1, 3)


def _convolve(
    images: tf.Tensor, convolution: keras.Layer, norm: keras.layers.BatchNormalization
) -> tf.Tensor:
    kernel, bias = _fold(convolution, norm)
    dtype = convolution.compute_dtype
    images, kernel, bias = (ops.cast(one, dtype) for one in (images, kernel, bias))
    if isinstance(convolution, keras.layers.DepthwiseConv2D):
        names = ("strides", "padding", "dilation_rate", "data_format")
        settings = {name: getattr(convolution, name) for name in names}
        return tf.nn.bias_add(ops.depthwise_conv(images, kernel, **settings), bias)
    return tf.nn.bias_add(convolution.convolution_op(images, kernel), bias)


def _fold(
    convolution: keras.Layer, norm: keras.layers.BatchNormalization
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return kernel and bias of the convolution that is both."""
    scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
    scale = scale * norm.gamma if norm.scale else scale
    bias = (convolution.bias if convolution.use_bias else 0.0) - norm.moving_mean
    bias = bias * scale + (norm.beta if norm.center else 0.0)
    # the last axis of a kernel are the channels it gives; of a depthwise one the last two
    is_depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    channels = convolution.kernel.shape[2 if is_depthwise else 3 :]
    return convolution.kernel * ops.reshape(scale, channels), bias
