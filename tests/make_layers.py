"""Writes kerastl/assets/layers.json.gz: python -m tests.make_layers"""

import gzip
import json
import math

import keras

from kerastl.bases import BASES
from kerastl.bases.layers import FILE
from kerastl.finetuning.cuts import RANDOM_STATE
from kerastl.models import build_model, layer_table
from kerastl.stages import HEAD

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def describe_layers(name: str) -> list[list]:
    """Return a row per operation below the head, as `kerastl.bases.layers` reads them."""
    model = build_model(name, weights=None)
    table = {layer.name: layer for layer in layer_table(model)}
    places = {op.name: place for place, op in enumerate(model.operations)}
    rows = []
    for place, operation in enumerate(model.operations):
        layer = table.get(operation.name)
        if layer is not None and layer.block == HEAD:
            break
        sources = [places[name] for name in list_sources(operation)]
        rows.append(
            [
                operation.name,
                layer and layer.block,
                layer and int(layer.is_batchnorm),
                layer and layer.parameters,
                [place - source for source in sources],
                list(operation.output.shape[1:]),
                find_window(operation),
                count_kernel(operation),
                int(is_random(operation)),
            ]
        )
    return rows


def list_sources(operation: keras.Operation) -> list[str]:
    (node,) = operation._inbound_nodes  # a layer called twice would be two rows
    return [tensor._keras_history.operation.name for tensor in node.input_tensors]


def list_parts(operation: keras.Operation) -> list[keras.Operation]:
    nested = isinstance(operation, keras.Sequential)  # of ConvNeXt: its one convolution
    return operation.layers if nested else [operation]


def count_kernel(operation: keras.Operation) -> int:
    kernels = [getattr(p, name, None) for p in list_parts(operation) for name in KERNELS]
    return sum(math.prod(kernel.shape) for kernel in kernels if kernel is not None)


def is_random(operation: keras.Operation) -> bool:
    return any(v.name == RANDOM_STATE for v in getattr(operation, "variables", ()))


def find_window(operation: keras.Operation) -> list[int] | None:
    windows = [window for part in list_parts(operation) if (window := read_window(part))]
    if len(windows) > 1:
        raise ValueError(f"{operation.name} holds several convolutions.")
    return windows[0] if windows else None


def read_window(operation: keras.Operation) -> list[int] | None:
    """Return what makes n rows of an input `(n + offset) // stride`, then of columns."""
    padding = getattr(operation, "padding", None)
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return [part for pair in padding for part in (1, sum(pair))]
    if isinstance(operation, keras.layers.Cropping2D):
        return [part for pair in operation.cropping for part in (1, -sum(pair))]
    sides = getattr(operation, "kernel_size", getattr(operation, "pool_size", None))
    if sides is None:
        return None
    holes = getattr(operation, "dilation_rate", (1, 1))
    window = []
    for stride, side, hole in zip(operation.strides, sides, holes, strict=True):
        reach = 1 if padding == "same" else (side - 1) * hole + 1
        window += [stride, stride - reach]
    return None if window == [1, 0, 1, 0] else window


def main() -> None:
    found = {}
    for name in BASES:
        found[name] = describe_layers(name)
        print(name, len(found[name]), flush=True)
        keras.backend.clear_session()
    packed = json.dumps(found, separators=(",", ":")).encode()
    FILE.write_bytes(gzip.compress(packed, mtime=0))


if __name__ == "__main__":
    main()
