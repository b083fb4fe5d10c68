"""Whether the learning rate or batch size suits, by the pace of the training loss."""

import math
from collections.abc import Sequence

import numpy as np

from kerastl.diagnosis.facts import Facts
from kerastl.diagnosis.limits import limit
from kerastl.diagnosis.records import NO, RATE, UNKNOWN, YES, Verdict
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.probes import LEAST

_FACTOR = 10  # the usual step between rates that are tried
_USUAL = 32  # images in a batch


def judge_rate(facts: Facts) -> Verdict:
    """Tell a rate that is too high, too low or neither from the loss of each epoch."""
    fitted = [n for n, stage in enumerate(facts.stages) if stage.solver == "fit"]
    curves = {n: _list_losses(facts, n) for n in fitted}
    if not any(curves.values()):
        return Verdict(RATE, NO, "The head was solved exactly, without steps or a rate.")
    for number, losses in curves.items():
        if (why := _find_unstable(losses, facts, number)) is not None:
            return _slow_down(facts, number, *why)
    return _judge_pace(facts, [loss for losses in curves.values() for loss in losses])


def _list_losses(facts: Facts, stage: int) -> list[float]:
    found = (row["loss"] for row in facts.rows if row["stage_index"] == stage)
    return [math.nan if loss is None else float(loss) for loss in found]


def _find_unstable(
    losses: Sequence[float], facts: Facts, number: int
) -> tuple[str, dict[str, Measure]] | None:
    """Return what shows that a stage diverged or oscillated."""
    name = facts.stages[number].name
    if not np.isfinite(losses).all() or facts.outcomes[number].startswith("diverged"):
        return f"In stage {name} the loss is no finite number any more.", {}
    if len(losses) < 3:
        return None
    rises = np.diff(losses)
    jumps = int((rises > limit("jump") * facts.guessing).sum())
    later = Measure(*np.quantile(losses[len(losses) // 2 :], [0.5, 0.0, 1.0]))
    measures = {"later loss": later, "guessing": Measure(*[facts.guessing] * 3)}
    told = (
        f"In stage {name} the training loss rises by more than "
        f"{limit('jump'):.0%} of guessing's {facts.guessing:.3f} after {jumps} of "
        f"{len(rises)} epochs; over the second half it is {later} (median, range)."
    )
    often = jumps >= max(2, limit("jumps") * len(rises))
    lost = later.low > facts.guessing and (
        losses[-1] >= losses[0] or _is_mostly_right(facts, number)
    )
    return (told, measures) if often or lost else None


def _is_mostly_right(facts: Facts, number: int) -> bool:
    """Return whether a stage's last training accuracy is nearer to all than to guessing."""
    last = [row["accuracy"] for row in facts.rows if row["stage_index"] == number][-1]
    commonest = np.bincount(facts.train.labels).max() / len(facts.train)
    return last > commonest + limit("mostly right") * (1 - commonest)


def _slow_down(
    facts: Facts, number: int, evidence: str, measures: dict[str, Measure]
) -> Verdict:
    stage = facts.stages[number]
    first = facts.stages[0].learning_rate
    changes: dict[str, float] = {"learning_rate": first / _FACTOR}
    if stage.batch_size < limit("few images"):
        changes["batch_size"] = _USUAL
    evidence += f" Its rate was {stage.learning_rate:g}: too high."
    return Verdict(RATE, YES, evidence, facts.write(changes), measures)


def _judge_pace(facts: Facts, losses: Sequence[float]) -> Verdict:
    if len(losses) < limit("epochs"):
        few = f"{len(losses)} epochs are too few to see a pace; nothing diverged."
        return Verdict(RATE, UNKNOWN, few)
    goal = 0.0 if facts.probed is None else find_goal(facts)
    start = max(facts.guessing, losses[0])
    done = (start - losses[-1]) / max(start - goal, LEAST)
    half = max(3, len(losses) // 2)
    early, late = measure_pace(losses[:half]), measure_pace(losses[-half:])
    missing = (losses[-1] - goal) / late.value if late.value > 0 else math.inf
    evidence = (
        f"The training loss went from {losses[0]:.3f} to {losses[-1]:.3f}, "
        f"{max(done, 0):.0%} of the way from guessing to the {goal:.3f} that a linear head "
        f"reaches on images it has not seen; per epoch it falls by {late} at the end."
    )
    measures = {"fall per epoch, early": early, "fall per epoch, late": late}
    steady = late.value >= limit("pace") * early.value
    far = missing > limit("more epochs") * len(losses)
    if done < limit("progress") and steady and far:
        if facts.pretrained:  # whose head is on other features
            evidence += " That head is on features of another base, so it is no measure."
            return Verdict(RATE, UNKNOWN, evidence, "", measures)
        said, changes = _speed_up(facts)
        return Verdict(RATE, YES, evidence + said, facts.write(changes), measures)
    return Verdict(RATE, NO, evidence, "", measures)


def _speed_up(facts: Facts) -> tuple[str, dict[str, float]]:
    """Return what is too slow, and what to change: more steps, or larger ones."""
    stage = facts.stages[0]
    steps = math.ceil((facts.drawn_from or len(facts.train)) / stage.batch_size)
    if steps < limit("few steps"):
        said = f" An epoch had {steps} steps of {stage.batch_size} images: too few."
        return said, {"batch_size": _USUAL}
    said = f" Its rate was {stage.learning_rate:g}: too low."
    return said, {"learning_rate": stage.learning_rate * _FACTOR}


def find_goal(facts: Facts) -> float:
    """Return the loss of a linear head on frozen features of images it has not seen."""
    kinds, found = facts.probed
    own = found[np.arange(len(found)), np.searchsorted(kinds, facts.train.labels)]
    return float(-np.log(np.maximum(own, LEAST)).mean())


def measure_pace(losses: Sequence[float]) -> Measure:
    """Measure by how much a loss falls per epoch: least squares, Student's interval.

    Example:

    >>> print(measure_pace([3.0, 2.0, 1.0]))
    1.000 (1.000 to 1.000)
    """
    from scipy.stats import linregress, t

    fit = linregress(np.arange(len(losses)), losses)
    margin = float(t.ppf(0.975, len(losses) - 2) * fit.stderr)
    fall = -float(fit.slope)
    return Measure(fall, fall - margin, fall + margin)
