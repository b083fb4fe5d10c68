"""Where a model can be split for a stage: what training cannot change, and the rest."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import keras

Boundary = tuple[keras.KerasTensor, ...]  # between what is frozen and the rest
RANDOM_STATE = "seed_generator_state"  # variables of Dropout and other random layers


@dataclass(frozen=True, eq=False)
class Split:
    """A model in two: a frozen prefix and the tail that a stage trains.

    The two share layers and weights with the model. `boundary` are the tensors between
    them; `prefix` is None where nothing is frozen that is worth keeping.
    """

    model: keras.Model
    boundary: tuple[keras.KerasTensor, ...]
    prefix: keras.Model | None
    tail: keras.Model


def split_model(
    model: keras.Model, outputs: Sequence[keras.KerasTensor] | None = None
) -> Split:
    """Split a model after the last tensors that no step of training changes.

    A layer belongs to the prefix when neither it nor anything it depends on trains, is
    random in training, or updates statistics. BatchNorm that is frozen runs in inference
    mode and belongs to it; Dropout never does. The boundary may be several tensors: inside
    a residual block it is the branch and the shortcut.

    Args:
        model: A functional model of one input, its `trainable` flags set as the stage's.
        outputs: Those of the tail, where it has more than the model has.

    Returns:
        Split; its tail is the model itself where nothing but preprocessing is frozen.
    """
    boundary = find_boundary(model)
    if not is_worth_keeping(model):
        return whole_model(model)
    inputs = boundary[0] if len(boundary) == 1 else list(boundary)
    prefix = build_prefix_model(model, boundary)
    ends = model.outputs if outputs is None else outputs
    ends = ends[0] if len(ends) == 1 else list(ends)
    tail = keras.Model(inputs, ends, name=f"{model.name}_tail")
    return Split(model, boundary, prefix, tail)


def whole_model(model: keras.Model) -> Split:
    """Return the split that splits nothing off."""
    return Split(model, (model.inputs[0],), None, model)


def is_worth_keeping(model: keras.Model) -> bool:
    """Tell whether more is frozen than what comes before the first convolution."""
    operations, _ = _find_fixed(model)
    return any(
        len(weight.shape) > 1
        for operation in operations
        if isinstance(operation, keras.Layer)
        for weight in operation.weights
    )


def find_boundary(
    model: keras.Model, plan: Mapping[str, bool] | None = None
) -> tuple[keras.KerasTensor, ...]:
    """Return the tensors through which frozen layers reach those that are not.

    Args:
        model: As for `split_model`.
        plan: Layer name -> whether it trains; by default its `trainable` flag.

    Raises:
        ValueError: Nothing trains.
    """
    _, boundary = _find_fixed(model, plan)
    if not boundary:
        raise ValueError("No layer of the model trains, so there is nothing to split.")
    return boundary


def build_prefix_model(
    model: keras.Model, boundary: Sequence[keras.KerasTensor]
) -> keras.Model:
    """Return the part of a model up to some of its tensors, over the same layers."""
    outputs = boundary[0] if len(boundary) == 1 else list(boundary)
    return keras.Model(model.inputs[0], outputs, name=f"{model.name}_prefix")


def _find_fixed(
    model: keras.Model, plan: Mapping[str, bool] | None = None
) -> tuple[list[keras.Operation], tuple[keras.KerasTensor, ...]]:
    """Return the operations that no training changes, and the tensors they end in."""
    fixed, operations = {id(model.inputs[0])}, []
    boundary: dict[int, keras.KerasTensor] = {}
    for operation, inputs, outputs in _walk(model):
        if not changes(operation, plan) and all(id(tensor) in fixed for tensor in inputs):
            fixed |= {id(tensor) for tensor in outputs}
            operations.append(operation)
        else:
            boundary |= {id(t): t for t in inputs if id(t) in fixed}
    return operations, tuple(boundary.values())


def changes(operation: keras.Operation, plan: Mapping[str, bool] | None = None) -> bool:
    """Whether an operation gives another result from step to step for the same input.

    A layer trains, or draws random numbers, or moves its statistics; a frozen layer does
    neither of the first and third.
    """
    if not isinstance(operation, keras.Layer):
        return False
    trains = operation.trainable if plan is None else plan.get(operation.name, False)
    if trains and operation.weights:
        return True
    return any(variable.name == RANDOM_STATE for variable in operation.variables)


def _walk(
    model: keras.Model,
) -> Iterator[tuple[keras.Operation, Sequence, Sequence]]:
    """Yield each call of an operation with its tensors, after what it depends on."""
    # Not public, but the only record of which call of a layer belongs to this model.
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                yield node.operation, node.input_tensors, node.outputs


def count_values(boundary: Sequence[keras.KerasTensor]) -> int:
    """Return how many numbers the tensors have for one image."""
    return sum(math.prod(tensor.shape[1:]) for tensor in boundary)
