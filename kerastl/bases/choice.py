"""Finding a row by name, and the one for `base="auto"`."""

import re
from typing import NamedTuple

from kerastl.bases.row import Base
from kerastl.bases.table import BASES
from kerastl.errors import UsageError, suggest
from kerastl.weights import PRETRAINED, cached_path, find_obstacle

AUTO = "auto"


class BaseChoice(NamedTuple):
    """What `base="auto"` stands for here and now, and why."""

    name: str
    weights: str
    reason: str


def _simplify(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_ROWS = {_simplify(name): base for name, base in BASES.items()}


def get_base(name: str) -> Base:
    """Return the row of a base; upper case, hyphens and underscores do not matter.

    Raises:
        UsageError: There is no such base; names the nearest one.

    Example:

    >>> get_base("ResNet-50").cuts[-1]
    ('conv5', 'conv5_block3_out')
    """
    key = _simplify(name) if isinstance(name, str) else name
    if key not in _ROWS:
        raise UsageError(
            f"base={name!r} is none of the {len(BASES)} bases that `kerastl bases` lists."
            f"{suggest(name, BASES)}"
        )
    return _ROWS[key]


def base_names() -> tuple[str, ...]:
    """Return the names of all bases, in the order of the table.

    Example:

    >>> base_names()[:3]
    ('tiny', 'vgg16', 'vgg19')
    """
    return tuple(BASES)


def choose_base() -> BaseChoice:
    """Choose the base for `"auto"`: ResNet50 where its weights can be had, else `tiny`.

    Returns:
        BaseChoice, a tuple of the base's name, its weights and the reason.
    """
    resnet = BASES["resnet50"]
    obstacle = find_obstacle(resnet)
    if obstacle:
        reason = f"tiny with its own CIFAR-10 weights, since for resnet50 {obstacle}"
        return BaseChoice("tiny", PRETRAINED, reason)
    path = cached_path(resnet)
    where = f"from {path}" if path.is_file() else f"to be downloaded to {path}"
    return BaseChoice("resnet50", PRETRAINED, f"resnet50 with ImageNet weights {where}")
