"""Proof that a stage trained what it declared, and nothing else."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastl.errors import NothingSucceededError


class Digests:
    """SHA-256 of each layer's weights, moving statistics included; computed when asked for.

    Reading all weights of a large base takes longer than training a small head, so what is
    known stays known until a stage trains the layer.

    Args:
        model: Its weights are those of `start`, except layers that are told to `forget`.
        start: Digests known of these weights; what is computed of them is added.
    """

    def __init__(self, model: keras.Model, start: dict[str, str] | None = None):
        self.layers = {layer.name: layer for layer in model.layers if layer.weights}
        self._start = {} if start is None else start
        self._trained: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        """Return the digest of a layer; None for one without weights."""
        if name not in self.layers:
            return None
        known = self._trained if name in self._trained else self._start
        if known.get(name) is None:
            known[name] = _digest(self.layers[name])
        return known[name]

    def forget(self, names: Iterable[str]) -> None:
        """Take note that the weights of these layers may have changed."""
        self._trained |= dict.fromkeys(names)

    def to_dict(self) -> dict[str, str]:
        """Return the digests of all layers with weights, by name."""
        return {name: self.get(name) for name in self.layers}


def digest_weights(digests: Digests) -> str:
    """Return one digest of all weights: equal for equal models, to the bit."""
    lines = [f"{name} {digest}" for name, digest in digests.to_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _digest(layer: keras.Layer) -> str:
    digest = hashlib.sha256()
    for weight in layer.weights:
        digest.update(np.ascontiguousarray(weight.numpy()))
    return digest.hexdigest()


def find_moved(model: keras.Model, start: Sequence[np.ndarray]) -> set[str]:
    """Return the layers of which a weight or statistic is not what it was, to the bit.

    Args:
        model: As a stage left it.
        start: Its weights from before, as `get_weights` returns them.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    >>> start = model.get_weights()
    >>> find_moved(model, start)
    set()
    >>> _ = model.layers[0].bias.assign([1.0])
    >>> find_moved(model, start)
    {'head'}
    """
    before = {id(w): array for w, array in zip(model.weights, start, strict=True)}
    return {
        layer.name
        for layer in model.layers
        if any(not _are_same(w.numpy(), before[id(w)]) for w in layer.weights)
    }


def _are_same(first: np.ndarray, second: np.ndarray) -> bool:
    # by bits: a number that is none differs from itself
    views = (array.reshape(-1).view(f"u{array.itemsize}") for array in (first, second))
    return np.array_equal(*views)


def check_moved(
    moved: Collection[str], layers: Iterable[str], plan: Mapping[str, bool]
) -> list[str]:
    """Compare what moved in a stage with its freeze plan.

    Args:
        moved: Of `find_moved`, after at least one epoch.
        layers: Names of those with weights.
        plan: Layer name -> whether the stage trains it.

    Returns:
        Names of layers that should train and did not move.

    Raises:
        RuntimeError: A frozen layer changed.

    Example:

    >>> check_moved({"conv"}, ["conv"], {"conv": False})
    Traceback (most recent call last):
    ...
    RuntimeError: The stage changed layers it froze: conv. ...
    """
    leaked = sorted(name for name in moved if not plan[name])
    if leaked:
        raise RuntimeError(
            f"The stage changed layers it froze: {', '.join(leaked)}. Was `trainable` set "
            "by a callback? Leave freezing to the stage's `unfreeze`."
        )
    return sorted(name for name in layers if plan[name] and name not in moved)


def check_dead(model: keras.Model, still: Sequence[str], batch: tuple) -> None:
    """Accept that layers did not move where no gradient reaches them.

    Behind units that are always zero the gradient is zero, and nothing can move. Anything
    else that should have moved and did not is an error.

    Args:
        model: As the stage left it, still compiled.
        still: Names of `check_moved`.
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
