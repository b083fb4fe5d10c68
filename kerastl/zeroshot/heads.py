"""The classifier as a plain Keras model: the last Dense holds all that was found."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np

from kerastl.models import get_info
from kerastl.models.information import check_class_names

LAST = "predictions"


@dataclass(frozen=True, eq=False)
class Head:
    """Weights of a Dense layer with softmax, the seen classes first.

    Args:
        kernel: Float `(d, classes)`.
        bias: Float `(classes,)`.
        classes: Names.
        seen: How many were trained on.
    """

    kernel: np.ndarray
    bias: np.ndarray
    classes: tuple[str, ...]
    seen: int

    def calibrate(self, constant: float, scale: float) -> "Head":
        """Take a constant off the scores of seen classes, then multiply all of them."""
        bias = self.bias - constant * (np.arange(len(self.classes)) < self.seen)
        return dataclasses.replace(self, kernel=self.kernel * scale, bias=bias * scale)

    @property
    def unseen(self) -> "Head":
        """The same for the unseen classes alone."""
        kernel, bias = self.kernel[:, self.seen :], self.bias[self.seen :]
        return Head(kernel, bias, self.classes[self.seen :], 0)

    def score(self, features: np.ndarray) -> np.ndarray:
        """Return what the Dense gives before its softmax, float64 `(n, classes)`."""
        return features @ self.kernel + self.bias


def attach_head(model: keras.Model, head: Head) -> keras.Model:
    """Return a model with the layers of another up to its last, and this head.

    Args:
        model: From `build_model`.
        head: Weights and names.
    """
    old = model.get_layer(LAST)
    dense = keras.layers.Dense(
        len(head.classes), activation="softmax", dtype=old.dtype_policy, name=LAST
    )
    built = keras.Model(model.inputs[0], dense(old.input), name=model.name)
    dense.set_weights([head.kernel, head.bias])
    names = check_class_names(head.classes, len(head.classes))
    built.kerastl = dataclasses.replace(get_info(model), class_names=names)
    return built
