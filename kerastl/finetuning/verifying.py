"""Proof that a stage trained what it declared, and nothing else."""

import hashlib
from collections.abc import Mapping

import keras


def digest_layers(model: keras.Model) -> dict[str, str]:
    """Return layer name -> SHA-256 of its weights, moving statistics included."""
    return {layer.name: _digest(layer) for layer in model.layers if layer.weights}


def _digest(layer: keras.Layer) -> str:
    digest = hashlib.sha256()
    for weight in layer.weights:
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def check_digests(
    before: Mapping[str, str], after: Mapping[str, str], plan: Mapping[str, bool]
) -> None:
    """Compare digests from before and after a stage with its freeze plan.

    Args:
        before: Of `digest_layers`, when the stage began.
        after: Of `digest_layers`, after at least one epoch.
        plan: Layer name -> whether the stage trains it.

    Raises:
        RuntimeError: A frozen layer changed, or one that should train did not move.

    Example:

    >>> check_digests({"conv": "a"}, {"conv": "b"}, {"conv": False})
    Traceback (most recent call last):
    ...
    RuntimeError: The stage changed layers it froze: conv. ...
    """
    changed = {name for name in before if before[name] != after[name]}
    leaked = sorted(name for name in changed if not plan[name])
    still = sorted(name for name in before if plan[name] and name not in changed)
    if leaked:
        raise RuntimeError(
            f"The stage changed layers it froze: {', '.join(leaked)}. Was `trainable` set "
            "by a callback? Leave freezing to the stage's `unfreeze`."
        )
    if still:
        raise RuntimeError(
            f"The stage trained these layers, but they did not move: {', '.join(still)}. "
            "The learning rate may be too small for their weights: raise it or freeze them."
        )
