"""Probabilities for many images, a batch at a time."""

from collections.abc import Sequence

import keras
import numpy as np

from kerastl.errors import UsageError
from kerastl.models.views import check_views, make_views


def predict_probabilities(
    model: keras.Model,
    pixels: np.ndarray,
    batch_size: int = 32,
    *,
    views: str | Sequence[str] = (),
) -> np.ndarray:
    """Predict the probabilities of the classes for images, in inference mode.

    Only one batch at a time is copied, so `pixels` may be a memory map larger than memory.

    Args:
        model: From `(batch, height, width, 3)` pixels to `(batch, classes)`.
        pixels: `(n, height, width, 3)` uint8, RGB.
        batch_size: Images per step; the last step may have fewer.
        views: Look at each image several times and return the mean of the probabilities
            (test-time augmentation): `"flip"`, its mirror image too; `"crops"`, its
            corners and middle instead of the whole; both, all ten of them. Default: once.

    Returns:
        `(n, classes)` float32.

    Raises:
        UsageError: The images are not of the model's size, or a view is unknown.

    Example:

    >>> from kerastl.models import build_model
    >>> model = build_model("tiny", num_classes=2, weights=None)
    >>> predict_probabilities(model, np.zeros((3, 32, 32, 3), np.uint8)).shape
    (3, 2)
    """
    views = check_views(views)
    expected = (*pixels.shape[:1], *model.input_shape[1:])
    if pixels.shape != expected:
        raise UsageError(
            f"pixels of shape {pixels.shape} do not fit: it must be {expected}."
        )
    out = np.empty((len(pixels), model.output_shape[-1]), np.float32)
    for start in range(0, len(pixels), batch_size):
        batch = np.ascontiguousarray(pixels[start : start + batch_size])
        looks = [model.predict_on_batch(view) for view in make_views(batch, views)]
        out[start : start + batch_size] = looks[0] if not views else np.mean(looks, axis=0)
    return out
