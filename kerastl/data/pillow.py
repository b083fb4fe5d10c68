"""Pillow made strict: which formats, how large, and every way it fails as one reason."""

import contextlib
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile

from kerastl.errors import DataError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 1024**2

# What Pillow's own fuzz test lets pass, plus what broken headers raise before that.
FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    Image.DecompressionBombError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
)


class OversizedError(DataError):
    """An image refused for its size alone, before anything was decoded."""


class _Strict:
    """Pillow without its warnings and leniency while any of our threads decodes.

    Counted, because `warnings.catch_warnings` is not safe when threads enter and leave it
    in turns. The pixel limit is checked here from the header, so Pillow's softer warning
    about it adds nothing.
    """

    def __init__(self):
        self._lock, self._users, self._state = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._state = self._begin()
            self._users += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._state.close()

    @staticmethod
    def _begin() -> contextlib.ExitStack:
        stack = contextlib.ExitStack()
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        lenient = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        stack.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        return stack


strict_pillow = _Strict()


def read_file(path: str | os.PathLike) -> bytes:
    """Return the bytes of a regular file of at most 256 MiB.

    Raises:
        DataError: Anything else, such as a FIFO, which would hang; the text is the reason.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("is not a regular file")
        if status.st_size > MAX_BYTES:
            raise OversizedError(
                f"has {status.st_size / 1e6:,.0f} MB, more than the {MAX_BYTES / 1e6:,.0f}"
                " MB allowed for one image"
            )
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if isinstance(error, DataError):
            raise
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"cannot be read ({cause})") from error


@contextlib.contextmanager
def reasons(data: bytes) -> Iterator[None]:
    """Turn whatever Pillow raises into a DataError whose text is the reason."""
    try:
        yield
    except DataError:
        raise
    except Image.UnidentifiedImageError:
        raise DataError(_describe_foreign(data)) from None
    except Image.DecompressionBombError:
        limit = MAX_PIXELS / 1e6
        raise OversizedError(f"has more than the {limit:.0f} megapixels allowed") from None
    except FAULTS as error:
        cause = str(error) or type(error).__name__
        raise DataError(f"is truncated or damaged ({cause})") from error


def _describe_foreign(data: bytes) -> str:
    if not data:
        return "is empty (0 bytes)"
    return (
        "is not a readable JPEG, PNG, GIF, BMP or WebP image "
        f"(it begins with {data[:12]!r})"
    )
