"""AlexNet."""

from functools import partial

import keras
from keras import layers

from kerastl.networks.responses import normalize_responses

# number -> output channels, side of the kernel, groups, initial bias: section 3.5 and 5
ALEXNET = {
    1: (96, 11, 1, "zeros"),
    2: (256, 5, 2, "ones"),
    3: (384, 3, 1, "zeros"),
    4: (384, 3, 2, "ones"),
    5: (256, 3, 2, "ones"),
}
DEVIATION = 0.01  # of initial weights
BIAS = 2.0  # of local response normalisation


def alexnet(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build the five convolutions of AlexNet, as published.

    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional
    Neural Networks" (2012): local response normalisation after the first two convolutions,
    overlapping pooling, and the second, fourth and fifth convolution in two halves that do
    not see each other, which were on one GPU each. Its classifier is `pooling="flatten",
    hidden=(4096, 4096), dropout=0.5`; with that and 1,000 classes it has the 60,965,224
    weights of the paper at 227x227. (That of torchvision is the later variant without
    normalisation and halves, of 61,100,840.)

    Args:
        input_tensor: Preprocessed images, `(batch, height, width, 3)`, at least 67 pixels
            each way; 227 in the paper's arithmetic, though it says 224.

    Returns:
        keras.Model from `input_tensor` to `(batch, rows, columns, 256)`.
    """
    x = _convolve(input_tensor, 1, strides=4, padding="valid")
    x = _pool(normalize_responses(x, BIAS), 1)
    x = _pool(normalize_responses(_convolve(x, 2), BIAS), 2)
    for number in (3, 4, 5):
        x = _convolve(x, number)
    x = _pool(x, 5)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="alexnet")


def _pool(x: keras.KerasTensor, number: int) -> keras.KerasTensor:
    return layers.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)


def _convolve(
    x: keras.KerasTensor, number: int, strides: int = 1, padding: str = "same"
) -> keras.KerasTensor:
    width, side, groups, bias = ALEXNET[number]
    build = partial(
        layers.Conv2D,
        width // groups,
        side,
        strides=strides,
        padding=padding,
        activation="relu",
        kernel_initializer=keras.initializers.RandomNormal(stddev=DEVIATION),
        bias_initializer=bias,
    )
    if groups == 1:
        return build(name=f"conv{number}")(x)
    # not Conv2D(groups=2), of which some processors have no gradient
    half = x.shape[-1] // groups
    parts = [
        build(name=f"conv{number}_{part + 1}")(x[..., part * half : (part + 1) * half])
        for part in range(groups)
    ]
    return layers.Concatenate(name=f"conv{number}")(parts)
