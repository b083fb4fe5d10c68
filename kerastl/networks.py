"""Networks of this project's own, built like those of `keras.applications`."""

import keras
from keras import layers

TINY_WIDTHS = (32, 48, 80)
TINY_TOP_WIDTH = 104
TINY_OUT, TINY_NORM = "block2_out", "block2_norm"


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
