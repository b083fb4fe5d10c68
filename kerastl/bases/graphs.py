"""Building a base as one flat graph, and where that graph can be split."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kerastl.bases.row import Base, Cuts

if TYPE_CHECKING:  # importing Keras takes seconds, and the table does without
    import keras


def build_base(base: Base, inputs: "keras.KerasTensor") -> "keras.Model":
    """Build the network of a row with random weights on `inputs`, as one flat graph.

    Args:
        base: A row of the table.
        inputs: Preprocessed images, `(batch, height, width, 3)`.

    Returns:
        keras.Model from the input of `inputs` to `(batch, rows, columns, base.features)`.
        Layers that Keras numbers by itself are numbered from zero, however many models
        were built before: names in a table must mean one layer.
    """
    import keras

    from kerastl import networks

    if base.constructor in networks.CONSTRUCTORS:
        network = networks.CONSTRUCTORS[base.constructor](inputs)
    else:
        construct = getattr(keras.applications, base.constructor)
        network = construct(include_top=False, weights=None, input_tensor=inputs)
    _number_from_zero(network)
    return network


def find_cuts(model: "keras.Model") -> list[str]:
    """Find the layers whose output every path from input to output crosses.

    The model can be split after each of them into two that are chained by one tensor.

    Args:
        model: A functional model of one input and one output.

    Returns:
        Names in the order of the graph, the output layer included, the input left out.

    Example:

    >>> from kerastl.models import build_model
    >>> find_cuts(build_model("tiny", weights=None))[-4:]
    ['block2_out', 'block2_norm', 'pooling', 'predictions']
    """
    inputs_of = _trace(model)
    position = {name: index for index, name in enumerate(inputs_of)}
    reach = dict(position)  # the last operation that reads each one's output
    for name, sources in inputs_of.items():
        for source in sources:
            reach[source] = max(reach[source], position[name])
    layers = {layer.name for layer in model.layers if inputs_of[layer.name]}
    return [name for name in _uncrossed(position, reach) if name in layers]


def assign_blocks(model: "keras.Model", cuts: Cuts) -> dict[str, str]:
    """Name the block of each operation of a graph that leads to one of the cuts.

    Args:
        model: A functional model that contains the base.
        cuts: The base's, from the input up.

    Returns:
        dict from operation to block: the first whose last layer depends on it. Operations
        above the last cut are not in it.
    """
    inputs_of = _trace(model)
    blocks: dict[str, str] = {}
    for block, last in cuts:
        waiting = [last]
        while waiting:
            name = waiting.pop()
            if name not in blocks:
                blocks[name] = block
                waiting.extend(inputs_of[name])
    return blocks


def _uncrossed(position: dict[str, int], reach: dict[str, int]) -> Iterator[str]:
    furthest = 0
    for name, index in position.items():
        if furthest <= index:  # no earlier tensor is read after this one
            yield name
        furthest = max(furthest, reach[name])


def _trace(model: "keras.Model") -> dict[str, list[str]]:
    """Map each operation to those it reads, every one after the ones it reads."""
    inputs_of: dict[str, list[str]] = {}
    waiting = [(tensor, False) for tensor in model.outputs]
    while waiting:
        tensor, ready = waiting.pop()
        # Not a public attribute, but what tells this graph's calls of a layer from others.
        operation, node, _ = tensor._keras_history
        if operation.name in inputs_of:
            continue
        sources = operation._inbound_nodes[node].input_tensors
        if ready:
            inputs_of[operation.name] = [s._keras_history[0].name for s in sources]
        else:
            waiting.append((tensor, True))
            waiting.extend((source, False) for source in sources)
    return inputs_of


def _number_from_zero(network: "keras.Model") -> None:
    groups: dict[str, list[tuple[int, keras.Operation]]] = {}
    for operation in network.operations:
        prefix, number = re.fullmatch(r"(.*?)(?:_(\d+))?", operation.name).groups()
        if prefix.replace("_", "") == type(operation).__name__.lower():
            groups.setdefault(prefix, []).append((int(number or 0), operation))
    for prefix, numbered in groups.items():
        numbered.sort(key=lambda pair: pair[0])
        for index, (_, operation) in enumerate(numbered):
            operation.name = f"{prefix}_{index}" if index else prefix
