"""The graph of a model as plain data: what takes from what, how large, how much work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from kerastl.bases.layers import lay_out_head, list_head, list_layers, read_rows
from kerastl.stages import LayerInfo

Shape = tuple[int, ...]
PICTURE = 3  # rows, columns and channels


@dataclass(frozen=True)
class Operation:
    """One operation of a model, for one image.

    Args:
        name: Of the layer, or of what is none, such as an addition.
        sources: Places, in the list it is in, of those it takes from.
        shape: Of what it gives.
        kernel: Numbers it multiplies with at each position.
        is_random: Whether it draws random numbers in training.
    """

    name: str
    sources: tuple[int, ...]
    shape: Shape
    kernel: int = 0
    is_random: bool = False

    @property
    def values(self) -> int:
        """How many numbers it gives."""
        return math.prod(self.shape)

    @property
    def flops(self) -> int:
        """What it multiplies and adds; biases and normalization count nothing."""
        return 2 * self.kernel * math.prod(self.shape[:-1])


@dataclass(frozen=True)
class Network:
    """A model as `build_model` would build it, without Keras.

    Args:
        base: A name of `BASES`.
        image_size: Height and width in pixels.
        num_classes: As in `build_model`, like those that follow.
        pooling: See there.
        hidden: See there.
        dropout: See there.

    Example:

    >>> network = Network("vgg16", (224, 224), 10)
    >>> f"{sum(one.flops for one in network.operations) / 1e9:.1f} GFLOP"
    '30.7 GFLOP'
    """

    base: str
    image_size: tuple[int, int]
    num_classes: int
    pooling: str = "average"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """All layers in `model.layers` order."""
        features = self._pool(self.operations[len(read_rows(self.base)) - 1].shape)
        head = list_head(math.prod(features), self.num_classes, self.hidden, self.dropout)
        return (*list_layers(self.base), *head)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All operations, each after those it takes from."""
        found = list_operations(self.base, self.image_size)
        for name, units in lay_out_head(self.num_classes, self.hidden, self.dropout):
            width = found[-1].shape if name != "pooling" else self._pool(found[-1].shape)
            found.append(
                Operation(
                    name,
                    sources=(len(found) - 1,),
                    shape=(units,) if units else width,
                    kernel=width[0] * units,
                    is_random=name.startswith("dropout"),
                )
            )
        return tuple(found)

    def find_below(self, name: str) -> frozenset[str]:
        """Return the operations that one depends on, itself included.

        Example:

        >>> sorted(Network("vgg16", (224, 224), 10).find_below("block1_conv1"))
        ['block1_conv1', 'get_item', 'pixels', 'preprocessing']
        """
        places = {one.name: place for place, one in enumerate(self.operations)}
        found, waiting = set(), [places[name]]
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting.extend(self.operations[place].sources)
        return frozenset(self.operations[place].name for place in found)

    def _pool(self, shape: Shape) -> Shape:
        return (math.prod(shape),) if self.pooling == "flatten" else shape[-1:]


def list_operations(base: str, image_size: tuple[int, int]) -> list[Operation]:
    """Return the operations of a base, pixels and preprocessing included.

    Args:
        base: A name of `BASES`.
        image_size: Height and width in pixels. Where a base pads images of even and odd
            sides differently, shapes are those of sides like its default.

    Raises:
        UsageError: The base is not in the file.

    Example:

    >>> list_operations("resnet50", (64, 64))[-1].shape
    (2, 2, 2048)
    """
    found: list[Operation] = []
    for place, row in enumerate(read_rows(base)):
        name, *_, steps, shape, window, kernel, is_random = row
        sources = tuple(place - step for step in steps)
        shapes = [found[source].shape for source in sources] or [(*image_size, 3)]
        sized = _size(tuple(shape), shapes, window)
        found.append(Operation(name, sources, sized, kernel, bool(is_random)))
    return found


def _size(shape: Shape, inputs: Sequence[Shape], window: list[int] | None) -> Shape:
    """Return an output's shape, given what it is at the default size."""
    pictures = [given for given in inputs if len(given) == PICTURE]
    if len(shape) != PICTURE or shape[:2] == (1, 1) or not pictures:
        return shape
    # what has one position, such as the weights of channels, is spread over all
    sides = [max(given[axis] for given in pictures) for axis in (0, 1)]
    if window is not None:
        strides, offsets = window[::2], window[1::2]
        triples = zip(sides, offsets, strides, strict=True)
        sides = [(side + offset) // stride for side, offset, stride in triples]
    return (*sides, shape[-1])
