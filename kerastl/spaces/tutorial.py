"""The search that every tutorial writes by hand, under a name."""

from typing import Any

from kerastl.spaces.space import Space

_BATCH_SIZES = [16, 32, 64]
# kind of search -> its space; uniform's arguments are a start and a width
TUTORIAL: dict[str, dict[str, Any]] = {
    "grid": {"learning_rate": [0.001, 0.01, 0.1], "batch_size": _BATCH_SIZES},
    "random": {"learning_rate": "uniform(0.001, 0.1)", "batch_size": _BATCH_SIZES},
}
# what that search leaves as it is: options by name
TUTORIAL_SETTINGS: dict[str, Any] = {
    "base": "resnet50",
    "image_size": 32,
    "hidden": (1024,),
    "schedule": "feature-extraction",
    "epochs": 10,
}


def tutorial_space(mode: str) -> Space:
    """Return the classic space: the grid's for `grid`, else the one to draw from.

    Example:

    >>> print(tutorial_space("random").describe())
    learning_rate  uniform(0.001, 0.1): 0.001 to 0.101 (scipy's loc and scale)
    batch_size     16, 32, 64
    drawn from a distribution: any number of points
    """
    return Space(TUTORIAL["grid" if mode == "grid" else "random"])
