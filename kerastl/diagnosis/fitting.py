"""Whether the model learned too little of the training images, or them by heart."""

from typing import Any

import numpy as np

from kerastl.diagnosis.facts import Facts
from kerastl.diagnosis.limits import limit
from kerastl.diagnosis.rates import measure_pace
from kerastl.diagnosis.records import NO, OVER, UNDER, UNKNOWN, YES, Verdict
from kerastl.evaluation.intervals import Measure, measure_difference, measure_share
from kerastl.evaluation.pairing import paired_interval

_LONGER, _SEEN = 3, 5  # times the epochs; epochs that show whether a loss still falls
_LAST = 3  # epochs at the end that a loss is averaged over
_Z = 1.96  # standard errors either side in a 95 % interval
# mirrored digits are no digits: "flip" is for the user to know
_MORE_LOOKS = ("crop", "randaugment", "erasing")
_REGULARIZED = {"dropout": 0.5, "patience": 3}


def judge_under(facts: Facts) -> Verdict:
    """Compare the model on images it trained on with a linear head that never saw them.

    A model that is worse there has not learned what even a linear head on frozen features
    finds, so what is missing is not data.
    """
    own = measure_share(int(facts.train.right.sum()), len(facts.train))
    if facts.probed is None:
        few = f"Training accuracy is {own}; a class has too few images to compare it."
        return Verdict(UNDER, UNKNOWN, few, "", {"training accuracy": own})
    kinds, found = facts.probed
    probe = kinds[found.argmax(axis=1)] == facts.train.labels
    ahead, behind = (int((a & ~b).sum()) for a, b in _both_ways(probe, facts.train.right))
    lead = Measure(
        (ahead - behind) / len(probe), *paired_interval(ahead, behind, len(probe))
    )
    evidence = (
        f"On the {len(probe)} training images the model is right in a share of {own}; a "
        f"linear head on frozen features, asked of images it has not seen, by {lead} more."
    )
    measures = {"training accuracy": own, "lead of the linear head": lead}
    if lead.low <= limit("lead"):
        return Verdict(UNDER, NO, evidence, "", measures)
    return Verdict(UNDER, YES, evidence, facts.write(_learn_more(facts)), measures)


def _both_ways(first: np.ndarray, second: np.ndarray) -> tuple[tuple, tuple]:
    return (first, second), (second, first)


def _learn_more(facts: Facts) -> dict[str, Any]:
    """Take trained weights, or train longer, or hold back less where that did not help."""
    if facts.pretrained:
        return dict(facts.pretrained)
    losses = [row["loss"] for row in facts.rows][-_SEEN:]
    falling = len(losses) < _LAST or measure_pace(losses).low > 0
    if not falling and any(stage.augment for stage in facts.stages):
        return {"augment": [], "dropout": 0.0}
    return {"epochs": _LONGER * max(stage.epochs for stage in facts.stages)}


def judge_over(facts: Facts) -> Verdict:
    """Ask whether validation got worse while training got better.

    A gap alone is no fault: every model is better on what it has seen. Over-fitting is a
    gap, and a validation loss that rises from its least by more than the validation images
    leave open, while the training loss falls.
    """
    rows = [row for row in facts.rows if row.get("val_loss") is not None]
    if not rows:
        return Verdict(OVER, UNKNOWN, "No epoch was validated.")
    gap = _measure_gap(facts, rows[-1])
    best = int(np.argmin([row["val_loss"] for row in rows]))
    after = rows[best + 1 :][-_LAST:]
    evidence = f"Training accuracy is {gap} above validation accuracy in the last epoch;"
    measures = {"gap": gap}
    if not after:
        evidence += " the validation loss was least there."
        holds = UNKNOWN if gap.low > 0 and len(rows) < _LAST else NO
        return Verdict(OVER, holds, evidence, "", measures)
    rise = _measure_rise(facts, rows[best], after)
    trained = float(np.mean([row["loss"] for row in after]))
    evidence += (
        f" since epoch {rows[best]['epoch']} of {rows[-1]['epoch']} the validation loss "
        f"rose by {rise} from {rows[best]['val_loss']:.3f}, the training loss went from "
        f"{rows[best]['loss']:.3f} to {trained:.3f}."
    )
    measures["rise"] = rise
    if gap.low > 0 and rise.low > 0 and trained < rows[best]["loss"]:
        again = facts.write({"augment": facts.augment_by(*_MORE_LOOKS), **_REGULARIZED})
        return Verdict(OVER, YES, evidence, again, measures)
    return Verdict(OVER, NO, evidence, "", measures)


def _measure_gap(facts: Facts, row: dict) -> Measure:
    train, validation = len(facts.train), len(facts.validation)
    return measure_difference(
        row["accuracy"] * train, train, row["val_accuracy"] * validation, validation
    )


def _measure_rise(facts: Facts, best: dict, after: list[dict]) -> Measure:
    """Return the rise of the validation loss, as unsure as the mean of the images' losses.

    Both are of the same images, so that it is surer than that.
    """
    losses = facts.validation.losses
    error = _Z * float(losses.std()) / np.sqrt(len(losses))
    rise = float(np.mean([row["val_loss"] for row in after])) - best["val_loss"]
    return Measure(rise, rise - error, rise + error)
