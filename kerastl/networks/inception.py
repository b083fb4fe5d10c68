"""GoogLeNet: nine inception modules, and two heads that only training needs."""

import keras
from keras import layers

from kerastl.networks.responses import normalize_responses

# module -> channels of 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, pooled: table 1
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED_AFTER = ("3b", "4e")
BIAS = 1.0  # of local response normalisation
AUXILIARY_POOL, AUXILIARY_WIDTH, AUXILIARY_UNITS = 5, 128, 1024
AUXILIARY_DROPOUT = 0.7


def googlenet(input_tensor: keras.KerasTensor) -> keras.Model:
    """Build GoogLeNet without its top and its auxiliary heads.

    Szegedy et al., "Going Deeper with Convolutions" (2014), without batch normalisation,
    as published. With 1,000 classes on average pooling it has 6,998,552 weights, and
    13,378,280 with both heads of `add_auxiliary_head`. (That of torchvision is a later
    variant with batch normalisation and 3x3 in place of 5x5, of 6,624,904.)

    Args:
        input_tensor: Preprocessed images, `(batch, height, width, 3)`.

    Returns:
        keras.Model from `input_tensor` to `(batch, height / 32, width / 32, 1024)`.
    """
    x = _convolve(input_tensor, 64, 7, "conv1", strides=2)
    x = normalize_responses(_pool(x, "pool1"), BIAS)
    x = _convolve(x, 64, 1, "conv2_reduce")
    x = normalize_responses(_convolve(x, 192, 3, "conv2"), BIAS)
    x = _pool(x, "pool2")
    for module, widths in MODULES.items():
        x = _add_module(x, widths, f"inception_{module}")
        if module in POOLED_AFTER:
            x = _pool(x, f"pool{module[0]}")
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="googlenet")


def add_auxiliary_head(
    x: keras.KerasTensor, name: str, num_classes: int, activation: str
) -> keras.KerasTensor:
    """Add one of the two classifiers that see an inception module in the middle.

    Average pooling of 5x5 with stride 3 (less where the picture is smaller), a 1x1
    convolution to 128 channels, a hidden layer of 1,024 units, dropout of 0.7.

    Args:
        x: What the module gives.
        name: Begins the names of all layers.
        num_classes: Outputs.
        activation: `"softmax"` or `"sigmoid"`.

    Returns:
        Tensor `(batch, num_classes)` of probabilities.
    """
    size = tuple(min(AUXILIARY_POOL, side) for side in x.shape[1:3])
    x = layers.AveragePooling2D(size, strides=3, name=f"{name}_pool")(x)
    x = _convolve(x, AUXILIARY_WIDTH, 1, f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(AUXILIARY_UNITS, activation="relu", name=f"{name}_hidden")(x)
    x = layers.Dropout(AUXILIARY_DROPOUT, name=f"{name}_dropout")(x)
    return layers.Dense(
        num_classes,
        activation=activation,
        dtype=keras.config.dtype_policy().variable_dtype,  # as the model's own head
        name=f"{name}_predictions",
    )(x)


def _add_module(
    x: keras.KerasTensor, widths: tuple[int, ...], name: str
) -> keras.KerasTensor:
    one, reduced_3, three, reduced_5, five, pooled = widths
    middle = _convolve(x, reduced_3, 1, f"{name}_3x3_reduce")
    wide = _convolve(x, reduced_5, 1, f"{name}_5x5_reduce")
    around = layers.MaxPooling2D(3, strides=1, padding="same", name=f"{name}_pool")(x)
    branches = [
        _convolve(x, one, 1, f"{name}_1x1"),
        _convolve(middle, three, 3, f"{name}_3x3"),
        _convolve(wide, five, 5, f"{name}_5x5"),
        _convolve(around, pooled, 1, f"{name}_pool_1x1"),
    ]
    return layers.Concatenate(name=name)(branches)


def _pool(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)


def _convolve(
    x: keras.KerasTensor, width: int, side: int, name: str, *, strides: int = 1
) -> keras.KerasTensor:
    return layers.Conv2D(
        width, side, strides=strides, padding="same", activation="relu", name=name
    )(x)
