"""Classes never trained, recognised by their attributes or by their names."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerastl.zeroshot.attributes import Attributes as Attributes
    from kerastl.zeroshot.attributes import read_attributes as read_attributes
    from kerastl.zeroshot.dap import fit_dap as fit_dap
    from kerastl.zeroshot.eszsl import solve_eszsl as solve_eszsl
    from kerastl.zeroshot.learning import zero_shot as zero_shot
    from kerastl.zeroshot.measures import ZeroShotScores as ZeroShotScores
    from kerastl.zeroshot.naming import ZeroShotByNames as ZeroShotByNames
    from kerastl.zeroshot.naming import zero_shot_by_names as zero_shot_by_names
    from kerastl.zeroshot.results import ZeroShot as ZeroShot

_HOMES = {
    "Attributes": "attributes",
    "ZeroShot": "results",
    "ZeroShotByNames": "naming",
    "ZeroShotScores": "measures",
    "fit_dap": "dap",
    "read_attributes": "attributes",
    "solve_eszsl": "eszsl",
    "zero_shot": "learning",
    "zero_shot_by_names": "naming",
}
__all__ = [
    "Attributes",
    "ZeroShot",
    "ZeroShotByNames",
    "ZeroShotScores",
    "fit_dap",
    "read_attributes",
    "solve_eszsl",
    "zero_shot",
    "zero_shot_by_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
