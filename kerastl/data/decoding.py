"""The one decoder: bytes of a JPEG, PNG, GIF, BMP or WebP file to RGB pixels 0-255.

Training, checking and predicting all read images through here, so what `check` accepts
is exactly what training reads. The result is what Pillow gives for "first frame, EXIF
orientation applied, alpha laid on white, `convert('RGB')`, `resize(..., BILINEAR)`".
"""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kerastl.data.pillow import (
    FAULTS,
    FORMATS,
    MAX_PIXELS,
    OversizedError,
    read_file,
    reasons,
    strict_pillow,
)
from kerastl.errors import DataError, UsageError

FILES_PER_TASK = (
    32  # fewer, and small images spend more time changing threads than decoding
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Header:
    """What the file says of itself: format by content, size as stored, EXIF orientation."""

    format: str
    width: int
    height: int
    orientation: int = 1


def check_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Return `(height, width)` from an int side or a pair.

    Raises:
        UsageError: It is neither, or a side is under 1.

    Example:

    >>> check_image_size(224)
    (224, 224)
    """
    sides = (image_size, image_size) if _is_int(image_size) else image_size
    pair = isinstance(sides, tuple | list) and len(sides) == 2
    if not pair or not all(_is_int(side) and side >= 1 for side in sides):
        raise UsageError(
            f"image_size={image_size!r} is not a size: "
            "give a side in pixels such as 224, or (height, width)."
        )
    return int(sides[0]), int(sides[1])


def _is_int(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def decode_bytes(data: bytes) -> tuple[Header, Image.Image]:
    """Decode one image fully to RGB at its own size; call inside `strict_pillow`.

    Raises:
        DataError: It cannot be; the text is the reason, to be put after the file's name.
    """
    with reasons(data), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _refuse_oversized(image)
        image.load()
        orientation = _read_orientation(image)
        name = "JPEG" if image.format == "MPO" else image.format
        header = Header(name, *image.size, orientation)
        turn = _TURNS.get(orientation)
        rgb = _to_rgb(image)
        return header, rgb if turn is None else rgb.transpose(turn)


def _refuse_oversized(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise OversizedError(
            f"is {width} x {height} pixels, {width * height / 1e6:,.0f} megapixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} are allowed"
        )


def _read_orientation(image: Image.Image) -> int:
    # Unreadable EXIF counts as none, as in every viewer: the pixels are whole all the same.
    try:
        orientation = image.getexif().get(0x0112)
    except FAULTS:
        return 1
    return orientation if orientation in _TURNS else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    # Pillow clips 16-bit grey at 255, which turns it white; of 16-bit colour it keeps the
    # high byte, so grey does too.
    if image.mode.startswith("I"):
        return _grey_from_16_bits(image)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", layers.size, "white")
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")


def _grey_from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = np.clip(values >> 8, 0, 255).astype("uint8")
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def resize_image(image: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """Stretch to `(height, width)`, bilinear with antialiasing; None keeps the size.

    JPEG draft mode and `reducing_gap` would be faster on large photos and off by a few
    levels; exactness is kept, so anyone can repeat the pixels with Pillow alone.
    """
    if size is None or image.size == size[::-1]:
        return image
    return image.resize(size[::-1], Image.Resampling.BILINEAR)


def decode_image(
    source: str | os.PathLike | bytes,
    image_size: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Decode one image file to the pixels a model of this package is trained on.

    Use it wherever single images are read; `decode_paths` is for many.

    Args:
        source: A path, or the bytes of a file. The format is told by content: JPEG, PNG,
            GIF (first frame), BMP or WebP (first frame), of any colour mode.
        image_size: Side in pixels or `(height, width)` to stretch to (bilinear,
            antialiased); None, the default, keeps the image's own size.

    Returns:
        uint8 array `(height, width, 3)`, RGB, EXIF orientation applied, transparent
        parts white.

    Raises:
        DataError: The file cannot be read, is no such image, is damaged, or has more than
            50 megapixels (told from the header, before decoding).
        UsageError: `image_size` is not a size.

    Example:

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (40, 30), 128).save(file, "PNG")
    >>> decode_image(file.getvalue(), image_size=(16, 24)).shape
    (16, 24, 3)
    """
    size = None if image_size is None else check_image_size(image_size)
    try:
        data = source if isinstance(source, bytes) else read_file(source)
        with strict_pillow:
            return np.asarray(resize_image(decode_bytes(data)[1], size)).copy()
    except DataError as error:
        name = "the image" if isinstance(source, bytes) else os.fspath(source)
        raise type(error)(f"{name} {error}.") from error


def map_files(work: Callable[[range], None], count: int) -> None:
    """Call `work(rows)` for pieces of `range(count)`, in threads: Pillow frees the GIL."""
    starts = range(0, count, FILES_PER_TASK)
    pieces = [range(start, min(start + FILES_PER_TASK, count)) for start in starts]
    with strict_pillow, ThreadPoolExecutor(_count_cpus()) as pool:
        for _ in pool.map(work, pieces):
            pass


def _count_cpus() -> int:
    # Those this process may use: a container often has fewer than the machine.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decode_into(
    paths: Sequence[str | os.PathLike], pixels: np.ndarray
) -> list[tuple[str, str]]:
    """Decode files in threads into the rows of `pixels` `(n, height, width, 3)` uint8.

    Returns:
        A list of `(path, reason)` of the files that could not be decoded, in order; their
        rows are left as they were.
    """
    size, failures = pixels.shape[1:3], {}

    def work(rows: range) -> None:
        for row in rows:
            try:
                _, image = decode_bytes(read_file(paths[row]))
                pixels[row] = np.asarray(resize_image(image, size))
            except DataError as error:
                failures[row] = (os.fspath(paths[row]), str(error))

    map_files(work, len(paths))
    return [failures[row] for row in sorted(failures)]


def decode_paths(
    paths: Sequence[str | os.PathLike], image_size: int | Sequence[int]
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Decode many files at one size, in threads; unreadable ones are told, not raised.

    Args:
        paths: Files to decode.
        image_size: Side in pixels or `(height, width)`.

    Returns:
        `(pixels, readable, failures)`: uint8 `(n, height, width, 3)` with black rows for
        unreadable files, bool `(n,)`, and a list of `(path, reason)`.

    Raises:
        UsageError: `image_size` is not a size.

    Example:

    >>> pixels, readable, failures = decode_paths(["no-such.png"], 8)
    >>> pixels.shape, readable.tolist(), failures
    ((1, 8, 8, 3), [False], [('no-such.png', 'cannot be read (No such file or directory)')])
    """
    pixels = np.zeros((len(paths), *check_image_size(image_size), 3), "uint8")
    failures = decode_into(paths, pixels)
    failed = {path for path, _ in failures}
    readable = np.array([os.fspath(path) not in failed for path in paths], bool)
    return pixels, readable, failures
