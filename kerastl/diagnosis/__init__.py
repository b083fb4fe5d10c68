"""Why validation is below training: verdicts with evidence and the next command to try.

Functions of rows, labels, probabilities and features; nothing here loads a model or an
image.
"""

import importlib

_HOMES = {
    "Diagnosis": "records",
    "Facts": "facts",
    "Images": "facts",
    "Suspect": "records",
    "Verdict": "records",
    "judge": "judging",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
