"""Whether validation images are like training images: too much so, or not enough."""

from dataclasses import replace

import numpy as np

from kerastl.diagnosis.facts import Facts, Images, make_folds
from kerastl.diagnosis.limits import limit
from kerastl.diagnosis.records import LEAKAGE, NO, SHIFT, UNKNOWN, YES, Suspect, Verdict
from kerastl.evaluation.intervals import measure_share
from kerastl.evaluation.probes import predict_folds
from kerastl.seeds import derive_seed

_OTHER_LOOKS = ("randaugment", "erasing")


def judge_leakage(facts: Facts) -> Verdict:
    """Count validation images that training has seen: by group, by pixels or nearly.

    A validation image is a near copy where it is closer to a training image than all but
    1 % of training images are to each other, on frozen features; and than all but 1 % of
    validation images are to as many others, where there are more of these.
    """
    shared, close, place = find_copies(facts)
    known = shared | close
    measure = measure_share(int(known.sum()), len(known))
    right = facts.validation.right
    seen, unseen = (measure_share(right[m].sum(), m.sum()) for m in (known, ~known))
    chance = f"{limit('closeness'):.0%} would be as close by chance"
    evidence = (
        f"{known.sum()} of {len(known)} validation images, {measure}, have a copy, a near "
        f"copy or a member of their group among the training images; {chance}."
    )
    measures = {"known": measure}
    if known.any() and not known.all():
        evidence += f" The model is right on {seen} of these, on {unseen} of the others."
        measures |= {"accuracy on known": seen, "accuracy on others": unseen}
    if measure.low <= limit("leak"):
        holds = UNKNOWN if len(known) < limit("fewest images") else NO
        return Verdict(LEAKAGE, holds, evidence, "", measures)
    suspects = _name_copies(facts, known, shared, place)
    return Verdict(LEAKAGE, YES, evidence, facts.check, measures, suspects)


def find_copies(facts: Facts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which validation images share a group with train, which are close, to what."""
    shared = np.isin(facts.validation.groups, facts.train.groups)
    within, across, place = facts.nearest
    samples = [found[np.isfinite(found)] for found in (within, facts.spacings)]
    if len(samples[0]) < limit("fewest images"):
        return shared, np.zeros(len(shared), bool), place
    known = [found for found in samples if len(found) >= limit("fewest images")]
    near = min(np.quantile(found, limit("closeness")) for found in known)
    return shared, across < near, place


def _name_copies(
    facts: Facts, known: np.ndarray, shared: np.ndarray, place: np.ndarray
) -> tuple[Suspect, ...]:
    order = [row for row in np.argsort(facts.nearest[1], kind="stable") if known[row]]
    said = {True: "copy or group member in train, such as", False: "looks like"}
    return tuple(
        Suspect(
            facts.validation.names[row],
            f"{said[bool(shared[row])]} {_find_partner(facts, row, place, shared[row])}",
        )
        for row in order
    )


def _find_partner(facts: Facts, row: int, place: np.ndarray, shared: bool) -> str:
    if shared:
        same = np.flatnonzero(facts.train.groups == facts.validation.groups[row])
        if place[row] not in same:
            return facts.train.names[int(same[0])]
    return facts.train.names[int(place[row])]


def judge_shift(facts: Facts) -> Verdict:
    """Let a classifier tell train from validation, as many of each class on either side.

    Classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017) by a linear probe, cross-
    validated; copies are on one side of each fold, or it would be misled by them.
    """
    first, second = draw_pair(facts)
    sides = np.repeat([0, 1], [len(first), len(second)])
    groups = np.concatenate([first.groups, second.groups])
    enough = len(second) >= limit("fewest images")
    folds = make_folds(sides, groups, facts.seed) if enough else None
    if folds is None:
        few = f"{len(second)} images of either split are too few to tell them apart."
        return Verdict(SHIFT, UNKNOWN, few)
    features = np.concatenate([first.features, second.features])
    found, _ = predict_folds(features, sides, folds)
    right = found.argmax(axis=1) == sides
    measure = measure_share(int(right.sum()), len(right))
    evidence = (
        "A classifier on frozen features tells validation from training images of the same "
        f"classes in a share of {measure} of {len(right)} cases; guessing gives 0.5."
    )
    holds = YES if measure.low > 0.5 and measure.value >= limit("shift") else NO
    again = ""
    if holds == YES:
        again = facts.write({"augment": facts.augment_by(*_OTHER_LOOKS)})
    suspects = _name_strangers(second, found[sides == 1, 1]) if holds == YES else ()
    return Verdict(SHIFT, holds, evidence, again, {"told apart": measure}, suspects)


def draw_pair(facts: Facts) -> tuple[Images, Images]:
    """Draw as many images of each class from train as from validation.

    A near copy gets the group of what it is a copy of.
    """
    generator = np.random.default_rng(derive_seed(facts.seed, "sides"))
    train, validation = facts.train, facts.validation
    rows: tuple[list[int], list[int]] = ([], [])
    for kind in np.intersect1d(train.labels, validation.labels):
        pair = [np.flatnonzero(images.labels == kind) for images in (train, validation)]
        count = min(map(len, pair))
        for side, members in zip(rows, pair, strict=True):
            side.extend(generator.permutation(members)[:count].tolist())
    _, close, place = find_copies(facts)
    groups = np.where(close, train.groups[place], validation.groups)
    second = replace(validation, groups=groups)
    return train.take(np.array(rows[0], int)), second.take(np.array(rows[1], int))


def _name_strangers(images: Images, sure: np.ndarray) -> tuple[Suspect, ...]:
    order = np.argsort(-sure, kind="stable")[: int(limit("strangers"))]
    return tuple(
        Suspect(images.names[row], f"told from training images ({sure[row]:.2f})")
        for row in order
    )
