"""What a model's layers below the head give for images: computed once, kept on disk."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastl.data import Split as Images
from kerastl.data.batches import Arrays
from kerastl.finetuning.activations import build_prefix, extract
from kerastl.finetuning.cuts import Split
from kerastl.finetuning.storing import ActivationStore
from kerastl.finetuning.verifying import Digests
from kerastl.models import get_info

POOLING = "pooling"  # the layer that `build_model` puts between base and head


def extract_features(
    model: keras.Model, images: Images | np.ndarray, *, cache: bool | Path = True
) -> np.ndarray:
    """Return the features that a model's head gets for each image.

    Use it for whatever asks what a base knows of images without training it: rankings,
    maps, a classifier of one's own. The same images and weights are not run twice, by this
    process or a later one.

    Args:
        model: From `build_model` or `load_model`.
        images: A split of `load_images`, or uint8 pixels `(n, height, width, 3)` of the
            model's image size.
        cache: Whether to keep the features under `$XDG_CACHE_HOME/kerastl/activations`, or
            another folder to keep them in.

    Returns:
        Array `(n, d)` of the dtype the layers compute in, float32 by default; read-only and
        memory-mapped where it is kept on disk. Rows are in the order of the images.

    Raises:
        UsageError: The model is none of this package, or pixels are of another form.

    Example:

    >>> import kerastl
    >>> model = kerastl.build_model("tiny", num_classes=2)
    >>> extract_features(model, np.zeros((3, 32, 32, 3), "uint8"), cache=False).shape
    (3, 80)
    """
    info = get_info(model)
    pixels = images.pixels(info.image_size) if isinstance(images, Images) else images
    info.check_pixels(pixels, "a split of load_images")
    split = split_at_head(model)
    spec = (tf.TensorSpec((None, *model.input_shape[1:]), "float32"),)
    arrays = Arrays(pixels, np.zeros(len(pixels), "int32"))
    store = None
    if cache:
        store = ActivationStore(cache if isinstance(cache, Path) else None)

    def trace(_: object) -> Callable:
        return build_prefix(split.prefix, spec)

    return extract(split, trace, arrays, store, Digests(model)).tensors[0]


def split_at_head(model: keras.Model) -> Split:
    """Return the model in two: up to the pooling layer, and the head."""
    pooled = model.get_layer(POOLING).output
    prefix = keras.Model(model.inputs[0], pooled, name=f"{model.name}_features")
    tail = keras.Model(pooled, model.outputs[0], name=f"{model.name}_head")
    return Split(model, (pooled,), prefix, tail)
