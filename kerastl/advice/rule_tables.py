"""The rules of `kerastl advise` as text."""

from collections.abc import Sequence

from kerastl.advice.guidance import ROWS
from kerastl.advice.rules import (
    AMOUNTS,
    CHEAPER,
    LEVELS,
    MIN_STEPS,
    RULES,
    SCRATCH_SETTINGS,
    SCRATCH_SOURCE,
    SPREAD,
    TIMES,
    Level,
)
from kerastl.evaluation.layout import text_table


def describe_rules() -> str:
    """Return every rule as it stands in `kerastl.advice.rules` and `guidance`.

    Example:

    >>> print(describe_rules()[:49])
    1. How many images: the first row that fits
    <BLANKLINE>
    name
    """
    return "\n\n".join(
        f"{number}. {title}\n\n{text}"
        for number, (title, text) in enumerate(_list_parts(), start=1)
    )


def _list_parts() -> Sequence[tuple[str, str]]:
    return (
        ("How many images: the first row that fits", _show_amounts()),
        ("How similar to the source: the first row that fits", _show_levels()),
        ("What to do", _show_rules()),
        ("How many trials and which batch sizes", _show_guidance()),
        ("What the time allows", _show_times()),
    )


def _show_amounts() -> str:
    rows = [[r.name, f"{r.images:,}", f"{r.per_class:,}", r.source] for r in AMOUNTS]
    return text_table(["name", "images", "per class", "source"], rows, right={1, 2})


def _show_levels() -> str:
    rows = [[row.name, _show_conditions(row), row.why, row.source] for row in LEVELS]
    return text_table(["name", "where", "meaning", "source"], rows)


def _show_conditions(row: Level) -> str:
    given = (
        (row.accuracy, "accuracy's lower bound at least {:.2f}"),
        (row.gain, "gain at least {:.2f} and its interval above 0"),
        (row.distance, "distance at most {:.2f}"),
    )
    found = [text.format(value) for value, text in given if value is not None]
    return " and ".join(found) or "all others"


def _show_rules() -> str:
    header = ["images", "similarity", "strategy", "schedule", "because", "source"]
    rows = [
        [r.amount, r.similarity, r.strategy, r.schedule, r.why, r.source] for r in RULES
    ]
    settings = ", ".join(f"{name}={value}" for name, value in SCRATCH_SETTINGS.items())
    note = f"from scratch: weights=None, {settings} ({SCRATCH_SOURCE})"
    return f"{text_table(header, rows)}\n\n{note}"


def _show_guidance() -> str:
    rows = [
        [f"{least:,}", f"{low} to {high}", " or ".join(map(str, sizes)), why]
        for least, (low, high), sizes, why in ROWS
    ]
    table = text_table(["images from", "trials", "batch sizes", "because"], rows, {0})
    return (
        f"{table}\n\nThe low end is taken, and no batch size that leaves under {MIN_STEPS} "
        f"steps per epoch. Learning rates are searched from a third of the schedule's to "
        f"{SPREAD} times it. (recipe R5)"
    )


def _show_times() -> str:
    order = ", ".join(CHEAPER)
    return f"{text_table(['fits', 'then'], TIMES)}\n\nFrom dear to cheap: {order}."
