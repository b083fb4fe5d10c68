"""The layers of every base as plain data, so that a plan needs neither Keras nor time.

`python -m tests.make_layers` writes the file again after a change to the table; a test
compares it with the models.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from kerastl.errors import UsageError
from kerastl.stages import HEAD, LayerInfo

FILE = Path(__file__).parents[1] / "assets" / "layers.json.gz"


@cache
def _read() -> dict[str, list]:
    return json.loads(gzip.decompress(FILE.read_bytes()))


def read_rows(base: str) -> list[list[Any]]:
    """Return the row of each operation of a base: what `tests/make_layers.py` writes.

    Raises:
        UsageError: The base is not in the file.
    """
    if base not in _read():
        raise UsageError(f"There is no list of the layers of base={base!r}.")
    return _read()[base]


def list_layers(base: str) -> tuple[LayerInfo, ...]:
    """Return the layers of a model on a base, up to where the head begins.

    Args:
        base: A name of `BASES`.

    Returns:
        LayerInfo per layer in `model.layers` order, pixels and preprocessing included.

    Raises:
        UsageError: The base is not in the file.

    Example:

    >>> [layer.name for layer in list_layers("vgg16")][:3]
    ['pixels', 'preprocessing', 'block1_conv1']
    """
    return tuple(
        LayerInfo(name, block, bool(is_batchnorm), parameters)
        for name, block, is_batchnorm, parameters, *_ in read_rows(base)
        if block is not None  # else an operation that is no layer
    )


def list_head(
    features: int, num_classes: int, hidden: tuple[int, ...] = (), dropout: float = 0.0
) -> tuple[LayerInfo, ...]:
    """Return the layers of a head on pooled features, as `build_model` makes it.

    Example:

    >>> [(layer.name, layer.parameters) for layer in list_head(512, 10, (256,))]
    [('pooling', 0), ('hidden1', 131328), ('predictions', 2570)]
    """
    layers, width = [], features
    for name, units in lay_out_head(num_classes, hidden, dropout):
        layers.append(LayerInfo(name, HEAD, False, (width + 1) * units))
        width = units or width
    return tuple(layers)


def lay_out_head(
    num_classes: int, hidden: tuple[int, ...] = (), dropout: float = 0.0
) -> list[tuple[str, int]]:
    """Return name and units of each layer of a head, no units for what is no Dense.

    Example:

    >>> lay_out_head(3, dropout=0.5)
    [('pooling', 0), ('dropout1', 0), ('predictions', 3)]
    """
    layers = [("pooling", 0)]
    for number, units in enumerate(hidden, start=1):
        layers.append((f"hidden{number}", units))
        layers += [(f"dropout{number}", 0)] if dropout else []
    layers += [("dropout1", 0)] if dropout and not hidden else []
    return [*layers, ("predictions", num_classes)]
