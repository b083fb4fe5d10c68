"""ResNet18 and ResNet34, the two whose blocks have no bottleneck."""

import keras
from keras import layers

WIDTHS = (64, 128, 256, 512)


def resnet18(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build ResNet18 without its top.

    He et al., "Deep Residual Learning for Image Recognition" (2015), with projections
    where the size changes (option B), the strides and paddings of torchvision's.

    Args:
        input_tensor: Preprocessed images, `(batch, height, width, 3)`.

    Returns:
        keras.Model from `input_tensor` to `(batch, height / 32, width / 32, 512)`.
    """
    return _build(input_tensor, (2, 2, 2, 2), "resnet18")


def resnet34(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build ResNet34 without its top, as `resnet18` does ResNet18."""
    return _build(input_tensor, (3, 4, 6, 3), "resnet34")


def _build(
    input_tensor: keras.KerasTensor, depths: tuple[int, ...], name: str
) -> keras.Model:
    x = layers.ZeroPadding2D(3, name="conv1_pad")(input_tensor)
    x = _convolve(x, WIDTHS[0], 7, "conv1", strides=2, padding="valid")
    x = layers.ReLU(name="conv1_relu")(x)
    # zeros are no more than what a ReLU gives, so none is the maximum
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for level, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True), start=2):
        for block in range(1, depth + 1):
            strides = 2 if block == 1 and level > 2 else 1
            x = _add_block(x, width, strides, f"conv{level}_block{block}")
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name=name)


def _add_block(
    x: keras.KerasTensor, width: int, strides: int, name: str
) -> keras.KerasTensor:
    shortcut = x
    if strides > 1:
        shortcut = _convolve(x, width, 1, f"{name}_0", strides=strides, padding="valid")
        x = layers.ZeroPadding2D(1, name=f"{name}_1_pad")(x)
    padding = "valid" if strides > 1 else "same"
    x = _convolve(x, width, 3, f"{name}_1", strides=strides, padding=padding)
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = _convolve(x, width, 3, f"{name}_2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def _convolve(
    x: keras.KerasTensor,
    width: int,
    side: int,
    name: str,
    *,
    strides: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width,
        side,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)
