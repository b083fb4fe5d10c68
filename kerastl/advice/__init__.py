"""What to do with these images: which base, which strategy, measured on frozen features."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerastl.advice.advising import Advice as Advice
    from kerastl.advice.advising import advise as advise
    from kerastl.advice.ranking import Ranking as Ranking
    from kerastl.advice.ranking import rank_bases as rank_bases
    from kerastl.advice.transferability import h_score as h_score
    from kerastl.advice.transferability import leep as leep
    from kerastl.advice.transferability import log_me as log_me
    from kerastl.advice.transferability import nce as nce

_HOMES = {
    "Advice": "advising",
    "Ranking": "ranking",
    "advise": "advising",
    "h_score": "transferability",
    "leep": "transferability",
    "log_me": "transferability",
    "nce": "transferability",
    "rank_bases": "ranking",
}
__all__ = [
    "Advice",
    "Ranking",
    "advise",
    "h_score",
    "leep",
    "log_me",
    "nce",
    "rank_bases",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
