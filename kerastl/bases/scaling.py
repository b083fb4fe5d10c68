"""The factor and the offset by which 0-255 pixels become a network's input."""

from collections.abc import Sequence

from kerastl.weights.files import Scale

_CAFFE_MEAN = (123.68, 116.779, 103.939)  # of ImageNet, RGB in 0-255
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def scale_like(mode: str) -> tuple[Scale, Scale]:
    """Return factor and offset of a row's `preprocessing`, for all channels or each.

    Those of `"caffe"` are for channels in the order blue, green, red.

    Example:

    >>> scale_like("caffe")
    (1.0, [-103.939, -116.779, -123.68])
    """
    if mode == "none":
        return 1.0, 0.0
    if mode == "caffe":
        return 1.0, [-value for value in reversed(_CAFFE_MEAN)]
    if mode == "tf":
        return 1 / 127.5, -1.0
    return standardise(_TORCH_MEAN, _TORCH_STD)


def standardise(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Return what standardises 0-255 pixels by statistics of pixels in [0, 1]."""
    scale = [1 / (255 * deviation) for deviation in std]
    offset = [-value / deviation for value, deviation in zip(mean, std, strict=True)]
    return scale, offset
