"""Messages through a pipe: a length, JSON, then the bytes of each array. No pickle."""

import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

# raw bytes say all there is to know of these: booleans, numbers, times and fixed-width text
KINDS = set("biufcmMSU")
_LENGTH = 8


def write_frame(
    stream: BinaryIO, message: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write one message and its arrays.

    Nothing is written where any of it cannot be, so the stream stays readable.

    Args:
        stream: A binary stream, such as a pipe.
        message: Anything JSON can hold; non-finite numbers too.
        arrays: Arrays of numbers, booleans, times or fixed-width text.

    Raises:
        TypeError: The message is no JSON, or an array holds Python objects.

    Example:

    >>> import io
    >>> pipe = io.BytesIO()
    >>> write_frame(pipe, {"epochs": 2}, {"labels": np.array([0, 1])})
    >>> _ = pipe.seek(0)
    >>> read_frame(pipe)
    ({'epochs': 2}, {'labels': array([0, 1])})
    """
    columns = [(name, np.asarray(array)) for name, array in arrays.items()]
    table = [_describe(name, array) for name, array in columns]
    head = json.dumps({"message": message, "arrays": table}).encode("ascii")
    stream.write(len(head).to_bytes(_LENGTH, "big"))
    stream.write(head)
    for _, array in columns:
        if array.size:
            flat = np.ascontiguousarray(array).reshape(-1)
            stream.write(memoryview(flat.view(np.uint8)))
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `write_frame` wrote.

    Returns:
        The message and its arrays, of the dtypes and shapes they had.

    Raises:
        EOFError: The other side closed the pipe, before or in the middle of a message.
    """
    head = bytearray(int.from_bytes(_fill(stream, bytearray(_LENGTH)), "big"))
    frame = json.loads(_fill(stream, head))
    arrays = {}
    for name, dtype, shape in frame["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        if array.size:
            _fill(stream, array.reshape(-1).view(np.uint8))
        arrays[name] = array
    return frame["message"], arrays


def _describe(name: str, array: np.ndarray) -> list[Any]:
    if array.dtype.kind not in KINDS:
        raise TypeError(
            f"array {name!r} of dtype {array.dtype} cannot be sent: numbers, booleans and "
            "fixed-width text can."
        )
    return [name, array.dtype.str, list(array.shape)]


def _fill(stream: BinaryIO, target: Any) -> Any:
    view = memoryview(target)
    done, size = 0, math.prod(view.shape)
    while done < size:
        count = stream.readinto(view[done:])
        if not count:
            raise EOFError(f"the pipe was closed after {done} of {size} bytes")
        done += count
    return target
