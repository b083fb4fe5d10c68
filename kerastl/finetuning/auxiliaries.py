"""Auxiliary heads: classifiers in the middle of a base that exist in training alone.

GoogLeNet has two. In every stage that trains something below them they are made anew, get
the stage's labels and loss, and are gone at its end: the model never holds them.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from kerastl.bases import get_base
from kerastl.bases.row import AUXILIARY_WEIGHT
from kerastl.models import get_info
from kerastl.networks import add_auxiliary_head
from kerastl.seeds import derive_seed


class AssistedModel(keras.Model):
    """A model with auxiliary heads: in the loss of training, and in nothing else.

    Evaluated, predicted with or saved, by a callback of the user for example, it is the
    model alone; metrics are those of the model's own output.

    Args:
        model: Of one output.
        heads: Tensors of the same shape as that output, from layers in between.
    """

    def __init__(self, model: keras.Model, heads: Sequence[keras.KerasTensor]):
        super().__init__(inputs=model.input, outputs=model.output, name=model.name)
        self.joint = keras.Model(model.input, [model.output, *heads])
        self.kerastl = get_info(model)
        self.save, self.save_weights = model.save, model.save_weights

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor | list[tf.Tensor]:
        """Return the output, in training followed by those of the heads."""
        if training:
            return self.joint(inputs, training=True)
        return super().call(inputs, training=training, mask=mask)

    def compute_loss(
        self,
        x: tf.Tensor | None = None,
        y: tf.Tensor | None = None,
        y_pred: tf.Tensor | list[tf.Tensor] | None = None,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Return the loss of the output, in training with those of the heads."""
        own, *others = _as_list(y_pred)
        loss = super().compute_loss(x, y, own, sample_weight, training)
        for other in others if training else ():
            extra = super().compute_loss(x, y, other, sample_weight, training)
            loss += AUXILIARY_WEIGHT * extra
        return loss

    def compute_metrics(
        self,
        x: tf.Tensor | None,
        y: tf.Tensor,
        y_pred: tf.Tensor | list[tf.Tensor],
        sample_weight: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Update and return the metrics of the output."""
        return super().compute_metrics(x, y, _as_list(y_pred)[0], sample_weight)


def assist_model(model: keras.Model) -> keras.Model:
    """Return what trains the model in its present stage.

    Args:
        model: Made by `build_model`, its `trainable` flags set as the stage's.

    Returns:
        AssistedModel over the same layers where the base has auxiliary heads with something
        below them that trains; else the model itself.
    """
    names = [name for name in _list_places(model) if _trains_below(model, name)]
    heads = [
        add_auxiliary_head(
            model.get_layer(name).output,
            f"auxiliary_{name}",
            model.output_shape[-1],
            "sigmoid" if get_info(model).multi_label else "softmax",
        )
        for name in names
    ]
    return AssistedModel(model, heads) if heads else model


def start_heads(model: keras.Model, seed: int) -> None:
    """Give the heads of `assist_model` the weights they begin a stage with."""
    for position, weight in enumerate(list_head_weights(model)):
        draw = keras.initializers.Zeros()
        if len(weight.shape) > 1:
            part = derive_seed(seed, "auxiliary", position)
            draw = keras.initializers.GlorotUniform(seed=part)
        weight.assign(draw(weight.shape, weight.dtype))


def list_head_weights(model: keras.Model) -> list[keras.Variable]:
    """Return the weights of the heads of `assist_model`; none of any other model."""
    if not isinstance(model, AssistedModel):
        return []
    own = {id(weight) for layer in model.layers for weight in layer.weights}
    return [weight for weight in model.joint.weights if id(weight) not in own]


def list_outputs(model: keras.Model) -> list[keras.KerasTensor]:
    """Return the output of a model, followed by those of its heads in training."""
    return model.joint.outputs if isinstance(model, AssistedModel) else model.outputs


def _list_places(model: keras.Model) -> tuple[str, ...]:
    return get_base(get_info(model).base).auxiliaries


def _trains_below(model: keras.Model, name: str) -> bool:
    below = keras.Model(model.input, model.get_layer(name).output)
    return bool(below.trainable_variables)


def _as_list(outputs: tf.Tensor | list[tf.Tensor]) -> list[tf.Tensor]:
    return outputs if isinstance(outputs, list) else [outputs]
