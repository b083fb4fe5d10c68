"""The size images are brought to for a base."""

from collections.abc import Sequence

from kerastl.bases.row import Base
from kerastl.errors import UsageError


def check_image_size(base: Base, image_size: int | Sequence[int] | None) -> tuple[int, int]:
    """Return height and width, those of the base when None is given.

    Raises:
        UsageError: It is no size, or smaller than the base can take.

    Example:

    >>> from kerastl.bases import get_base
    >>> from kerastl.bases import get_base
    >>> check_image_size(get_base("vgg16"), 64)
    (64, 64)
    """
    given = base.image_size if image_size is None else image_size
    size = as_tuple(given, repeat=2)
    if len(size) != 2 or not all(is_count(side) for side in size):
        raise UsageError(
            f"image_size={image_size!r} is neither a side nor (height, width) in pixels."
        )
    if min(size) < base.min_size:
        raise UsageError(
            f"image_size={image_size!r} is too small for {base.name}: it needs at least "
            f"{base.min_size} pixels each way."
        )
    return size


def is_count(value: object) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def as_tuple(value: object, *, repeat: int = 1) -> tuple:
    """Return a list as a tuple, and anything else as often as `repeat` says."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) * repeat
