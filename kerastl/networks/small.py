"""Networks for images of 32 to 64 pixels."""

import keras
from keras import layers

TINY_WIDTHS = (32, 48, 80)
TINY_TOP_WIDTH = 104
TINY_OUT, TINY_NORM = "block2_out", "block2_norm"
# block -> channels of its two convolutions
VGG_SMALL = {"block1": (16, 32), "block2": (64, 128), "block3": (128, 256)}
RESNET_SMALL = {"block1": 64, "block2": 128, "block3": 256}


def tiny(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build `tiny`, a residual net of 0.21 M parameters for images of 32 to 64 pixels.

    A stem and two blocks, each a convolution, 2x2 max pooling and one residual pair of 3x3
    convolutions: the residual nets of fast CIFAR-10 training, made narrow and without
    their last block, which is the top that `add_tiny_top` adds for pretraining. A last
    BatchNorm holds the statistics of the finished features: sums of ReLUs have a large
    common mean, on which a new head's hidden units die.

    Args:
        input_tensor: Preprocessed images, `(batch, height, width, 3)`.

    Returns:
        keras.Model from `input_tensor` to `(batch, height // 4, width // 4, 80)`.
    """
    stem, *widths = TINY_WIDTHS
    x = _conv(input_tensor, stem, "stem", pool=False)
    for number, width in enumerate(widths, start=1):
        x = _block(x, width, f"block{number}")
    x = layers.BatchNormalization(momentum=0.9, name=TINY_NORM)(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="tiny")


def add_tiny_top(base: keras.Model) -> keras.KerasTensor:
    """Add the block that only pretraining needs, as other bases have Dense layers on top.

    Trained on ten classes, this block keeps what tells those ten apart and little else:
    a linear head on its frozen output does worse on a new task than on that of random
    weights, one on the block before it does better (`benchmarks/transfer.py`).

    Args:
        base: From `tiny`; its last BatchNorm is left out.

    Returns:
        Tensor `(batch, height // 8, width // 8, 104)`.
    """
    return _block(base.get_layer(TINY_OUT).output, TINY_TOP_WIDTH, "top")


def vgg_small(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build three blocks of two 3x3 convolutions and 2x2 max pooling, in the way of VGG.

    The net of many a course: 3-16-32, 32-64-128 and 128-128-256 channels. At 32x32 it gives
    4,096 values, for `pooling="flatten", hidden=(2048, 256)`.

    Args:
        input_tensor: Preprocessed images, `(batch, height, width, 3)`.

    Returns:
        keras.Model from `input_tensor` to `(batch, height // 8, width // 8, 256)`.
    """
    x = input_tensor
    for name, widths in VGG_SMALL.items():
        for number, width in enumerate(widths, start=1):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"{name}_conv{number}",
            )(x)
        x = layers.MaxPooling2D(name=f"{name}_pool")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="vgg_small")


def resnet_small(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build three residual blocks of 64, 128 and 256 channels, each averaged 2x2.

    The other net of many a course: convolution, BatchNorm, ReLU, convolution, BatchNorm,
    added to a 1x1 convolution of what came in. At 32x32 it gives 4,096 values, for
    `pooling="flatten", hidden=(2048, 512)`.

    Args:
        input_tensor: Preprocessed images, `(batch, height, width, 3)`.

    Returns:
        keras.Model from `input_tensor` to `(batch, height // 8, width // 8, 256)`.
    """
    x = input_tensor
    for name, width in RESNET_SMALL.items():
        x = _average_block(x, width, name)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="resnet_small")


def _average_block(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    start = {"kernel_initializer": "he_normal"}
    shortcut = layers.Conv2D(width, 1, name=f"{name}_shortcut", **start)(x)
    for number in (1, 2):
        part = f"{name}_{number}"
        # a bias would be taken off again with the mean
        convolve = layers.Conv2D(
            width, 3, padding="same", use_bias=False, name=f"{part}_conv", **start
        )
        x = layers.BatchNormalization(momentum=0.9, name=f"{part}_bn")(convolve(x))
        x = layers.ReLU(name=f"{part}_relu")(x) if number == 1 else x
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    x = layers.ReLU(name=f"{name}_out")(x)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def _block(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    x = _conv(x, width, f"{name}_0", pool=True)
    residual = _conv(x, width, f"{name}_1", pool=False)
    residual = _conv(residual, width, f"{name}_2", pool=False)
    return layers.Add(name=f"{name}_out")([x, residual])


def _conv(x: keras.KerasTensor, width: int, name: str, *, pool: bool) -> keras.KerasTensor:
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    if pool:  # before normalisation: a quarter of the values to normalise
        x = layers.MaxPooling2D(name=f"{name}_pool")(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
