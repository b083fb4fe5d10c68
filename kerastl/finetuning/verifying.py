"""Proof that a stage trained what it declared, and nothing else."""

import hashlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastl.errors import NothingSucceededError


def digest_layers(model: keras.Model) -> dict[str, str]:
    """Return layer name -> SHA-256 of its weights, moving statistics included."""
    return {layer.name: _digest(layer) for layer in model.layers if layer.weights}


def _digest(layer: keras.Layer) -> str:
    digest = hashlib.sha256()
    for weight in layer.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return digest.hexdigest()


def check_digests(
    before: Mapping[str, str], after: Mapping[str, str], plan: Mapping[str, bool]
) -> list[str]:
    """Compare digests from before and after a stage with its freeze plan.

    Args:
        before: Of `digest_layers`, when the stage began.
        after: Of `digest_layers`, after at least one epoch.
        plan: Layer name -> whether the stage trains it.

    Returns:
        Names of layers that should train and did not move.

    Raises:
        RuntimeError: A frozen layer changed.

    Example:

    >>> check_digests({"conv": "a"}, {"conv": "b"}, {"conv": False})
    Traceback (most recent call last):
    ...
    RuntimeError: The stage changed layers it froze: conv. ...
    """
    changed = {name for name in before if before[name] != after[name]}
    leaked = sorted(name for name in changed if not plan[name])
    if leaked:
        raise RuntimeError(
            f"The stage changed layers it froze: {', '.join(leaked)}. Was `trainable` set "
            "by a callback? Leave freezing to the stage's `unfreeze`."
        )
    return sorted(name for name in before if plan[name] and name not in changed)


def check_dead(model: keras.Model, still: Sequence[str], batch: tuple) -> None:
    """Accept that layers did not move where no gradient reaches them.

    Behind units that are always zero the gradient is zero, and nothing can move. Anything
    else that should have moved and did not is an error.

    Args:
        model: As the stage left it, still compiled.
        still: Names of `check_digests`.
        batch: Images and labels as the stage trained on them.

    Raises:
        NothingSucceededError: A gradient reaches one of the layers.
    """
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch[0], batch[1], model(batch[0], training=True))
    weights = [w for name in still for w in model.get_layer(name).trainable_weights]
    gradients = tape.gradient(loss, [w.value for w in weights])
    reached = {
        weight.path.split("/")[0]
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None and np.any(gradient.numpy())
    }
    if reached:
        raise NothingSucceededError(
            f"The stage trained these layers, but they did not move: "
            f"{', '.join(sorted(reached))}. The learning rate may be too small for their "
            "weights: raise it or freeze them."
        )
