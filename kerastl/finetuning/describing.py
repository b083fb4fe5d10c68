"""Stages, epochs and times in words, for the terminal. No Keras."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kerastl.bases.row import AUXILIARY_WEIGHT
from kerastl.finetuning.choices import (
    AUGMENTED,
    EXACT,
    FITS,
    LIMITED,
    NOTHING,
    OVER,
    VIEWS,
    Choice,
    list_splits,
)
from kerastl.finetuning.costs import StageCost
from kerastl.stages import HEAD, Stage

GIGA, TERA = 1e9, 1e12
SMALLEST = 1e-3  # what is less is not worth its digits


def say(text: str, verbose: str | int) -> None:
    """Print a line to stderr unless silent."""
    if text and verbose != 0:
        print(text, file=sys.stderr, flush=True)


def describe_stage(stage: Stage) -> str:
    """Say in half a line what a stage does.

    Example:

    >>> describe_stage(Stage(name="top", unfreeze=15, epochs=3))
    'trains the last 15 layers for 3 epochs at 0.001'
    >>> describe_stage(Stage(name="all", unfreeze="all", rate_decay=0.5))
    'trains everything for 10 epochs at 0.001, times 0.5 for each block down'
    """
    if stage.solver == "exact":
        return "solves the head exactly"
    what = f"the last {stage.unfreeze} layers"
    if not isinstance(stage.unfreeze, int):
        named = {"head": "the head", "all": "everything"}
        what = named.get(stage.unfreeze, f"{stage.unfreeze} and above")
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    down = f", times {stage.rate_decay:g} for each block down"
    rate = f"{stage.learning_rate:g}{'' if stage.rate_decay == 1 else down}"
    return f"trains {what} for {epochs} at {rate}"


def describe_cost(cost: StageCost, limit: str) -> list[str]:
    """Say in lines whether frozen layers run once, why, and what the stage costs.

    Args:
        cost: Of the stage.
        limit: What set the budget of activations.

    Example:

    >>> from kerastl.bases.operations import Network
    >>> from kerastl.finetuning.costs import estimate_stages
    >>> network = Network("vgg16", (224, 224), 10)
    >>> costs = estimate_stages(network, [Stage(name="head")], (800, 200), 4 * 10**9)
    >>> print(*describe_cost(costs[0], "cache_budget"), sep="\\n")
    frozen layers run once: their output takes 2.0 MB, at most 4.0 GB (cache_budget)
    30.7 GFLOP forward per image up to there, under 0.001 above, so that steps are
    1,500,000 times cheaper
    about 30.7 TFLOP, 307 with all layers in every epoch
    """
    cut, choice = cost.cut, cost.choice
    above, total = show_number(cut.above / GIGA), show_number(cost.total / TERA)
    known = bool(cost.known) and cost.known >= set(list_splits(choice))
    lines = [describe_choice(choice, limit, known=known)]
    if choice.reason in (EXACT, NOTHING):
        forward = show_number((cut.below + cut.above) / GIGA)
        return [*lines, f"{forward} GFLOP forward per image; about {total} TFLOP"]
    below = show_number(cut.below / GIGA)
    work = f"{below} GFLOP forward per image up to there, {above} above"
    gain = describe_gain(cut.gain)
    if choice.reason == OVER:
        work += f"; run once, steps would be {gain}"
    if choice.reason == FITS:
        work += f", so that steps are {gain}"
    rest = f", {show_number(cost.plain / TERA)} with all layers in every epoch"
    return [*lines, work, f"about {total} TFLOP{rest if choice.cached else ''}"]


def describe_heads(places: Sequence[str]) -> list[str]:
    """Say in a line which auxiliary heads train with a stage; no line where none does.

    Example:

    >>> describe_heads(["inception_4d"])
    ['with an auxiliary head on inception_4d in training, loss times 0.3, work not counted']
    """
    if not places:
        return []
    heads = "an auxiliary head" if len(places) == 1 else "auxiliary heads"
    share = f"loss times {AUXILIARY_WEIGHT:g}, work not counted"
    return [f"with {heads} on {' and '.join(places)} in training, {share}"]


def describe_rates(rates: Mapping[str, float]) -> list[str]:
    """Say in a line which rate each block trains at; no line where all have the same.

    Args:
        rates: Of `list_rates`.

    Example:

    >>> describe_rates({"head": 0.01, "block3": 0.005, "block2": 0.0025})
    ['at most 0.01 for the head, 0.005 for block3, 0.0025 for block2']
    """
    if len(set(rates.values())) < 2:
        return []
    named = {"the head" if name == HEAD else name: rate for name, rate in rates.items()}
    parts = [f"{rate:.3g} for {name}" for name, rate in named.items()]
    return [f"at most {', '.join(parts)}"]


def describe_gain(gain: float) -> str:
    """Say how many times cheaper something is.

    Example:

    >>> describe_gain(2.345), describe_gain(1.0)
    ('2.3 times cheaper', 'no cheaper')
    """
    shown = show_number(gain, digits=2)
    return "no cheaper" if shown == "1" else f"{shown} times cheaper"


def describe_choice(choice: Choice, limit: str, *, known: bool = False) -> str:
    """Say whether frozen layers run once, and why.

    Args:
        choice: Of the stage.
        limit: What set the budget of activations.
        known: Whether an earlier stage's pass has given them.
    """
    size, budget = format_bytes(choice.size), format_bytes(choice.budget)
    again, most = "frozen layers run in every epoch", f"at most {budget} ({limit})"
    pass_of = ", in the pass of an earlier stage" if known else ""
    return {
        EXACT: "all layers run once: the head is solved on their output",
        FITS: f"frozen layers run once{pass_of}: their output takes {size}, {most}",
        NOTHING: "all layers run in every epoch: none is frozen below those that train",
        AUGMENTED: f"{again}: augmentation shows other images in each",
        VIEWS: f"{again}, over other images in each; kept, their output takes {size}, "
        f"{most}",
        LIMITED: f"{again}: epochs are cut short",
        OVER: f"{again}: their output would take {size}, {most}",
    }[choice.reason]


def format_bytes(size: int) -> str:
    """Return a number of bytes in a unit that suits it.

    Example:

    >>> format_bytes(2_500_000), format_bytes(64_000_000_000)
    ('2.5 MB', '64.0 GB')
    """
    unit, name = (GIGA, "GB") if size >= GIGA else (1e6, "MB")
    return f"{size / unit:,.1f} {name}"


def show_number(number: float, digits: int = 3) -> str:
    """Return a number that is known roughly.

    Args:
        number: 0 or above.
        digits: How many of its digits mean something. Default 3.

    Example:

    >>> show_number(0.01234), show_number(12345.6), show_number(1e-6)
    ('0.0123', '12,300', 'under 0.001')
    """
    if 0 < number < SMALLEST:
        return f"under {SMALLEST:g}"
    rounded = float(f"{number:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 10**digits else f"{rounded:g}"


def describe_row(row: dict[str, Any]) -> str:
    """Return an epoch's losses and accuracies as text.

    Example:

    >>> describe_row({"loss": 0.5, "accuracy": 0.75})
    'loss 0.5000  accuracy 0.7500'
    """
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return "  ".join(f"{name} {row[name]:.4f}" for name in names if name in row)


def format_seconds(seconds: float) -> str:
    """Return seconds as `m:ss`, or `h:mm:ss` from an hour on.

    Example:

    >>> format_seconds(75)
    '1:15'
    """
    text = time.strftime("%H:%M:%S", time.gmtime(round(seconds)))
    return text.removeprefix("00:").removeprefix("0")
