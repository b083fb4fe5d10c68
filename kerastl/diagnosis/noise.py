"""Whether labels are wrong, and which: confident answers that contradict them."""

import numpy as np

from kerastl.diagnosis.facts import Facts
from kerastl.diagnosis.limits import limit
from kerastl.diagnosis.records import NO, NOISE, UNKNOWN, YES, Suspect, Verdict
from kerastl.evaluation.intervals import measure_share


def judge_noise(facts: Facts) -> Verdict:
    """Ask probes that never saw an image whether they contradict its label.

    The model itself may have learned wrong labels by heart; a linear head solved on other
    images has not. Hard images are those it is unsure of. Wrong labels are found among
    those it is sure of as well, and there the share is measured.
    """
    if facts.probed is None:
        few = "A class has too few training images to judge its labels by the others."
        return Verdict(NOISE, UNKNOWN, few)
    kinds, found = facts.probed
    wrong = kinds[found.argmax(axis=1)] != facts.train.labels
    order = np.argsort(-found.max(axis=1), kind="stable")
    surest, sure = order[: len(order) // 4], order[: len(order) // 2]
    measure = measure_share(int(wrong[surest].sum()), len(surest))
    halves = measure_share(int(wrong[sure].sum()), len(sure))
    rows = find_wrong(kinds, found, facts.train.labels)
    evidence = (
        f"Where a linear head solved on the other images is surest, on {len(surest)} "
        f"training images, it contradicts a share of {measure} of the labels, of the surer "
        f"half {halves}."
    )
    holds = _decide(measure, halves, len(surest))
    agreed = measure_share(int((~wrong).sum()), len(wrong))
    measures = {"contradicted": measure, "contradicted of half": halves, "agreed": agreed}
    if holds == YES and not _knows(agreed.value, facts):
        evidence += f" It agrees with {agreed} of all labels: too few to be a judge of any."
        holds = UNKNOWN
    if holds != YES:
        return Verdict(NOISE, holds, evidence, "", measures)
    evidence += f" {len(rows)} images are listed; correct them or take them out."
    suspects = tuple(_name_wrong(facts, kinds, found, row) for row in rows)
    return Verdict(NOISE, YES, evidence, facts.review, measures, suspects)


def _decide(measure: object, halves: object, count: int) -> str:
    if measure.low <= limit("noise"):
        enough = count >= limit("fewest images") or measure.high <= limit("noise")
        return NO if enough else UNKNOWN
    return YES if measure.value >= limit("noise fades") * halves.value else UNKNOWN


def _knows(agreed: float, facts: Facts) -> bool:
    """Whether a head is nearer to agreeing with all labels than to knowing nothing."""
    commonest = np.bincount(facts.train.labels).max() / len(facts.train)
    return agreed > commonest + limit("a judge") * (1 - commonest)


def find_wrong(kinds: np.ndarray, found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the images whose label is confidently contradicted, the surest first.

    Confident learning (Northcutt, Jiang and Chuang, JAIR 2021): an answer is confident
    where its probability reaches the mean that images labelled so get.

    Args:
        kinds: Labels there are, in ascending order.
        found: `(n, kinds)` probabilities by heads that did not see the image.
        labels: `(n,)` labels as given.

    Returns:
        int rows.

    Example:

    >>> found = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
    >>> find_wrong(np.arange(2), found, np.array([0, 0, 1, 1])).tolist()
    [3]
    """
    own = np.searchsorted(kinds, labels)
    means = np.array([found[own == place, place].mean() for place in range(len(kinds))])
    confident = np.where(found >= means, found, -1.0)
    best, rows = confident.argmax(axis=1), np.arange(len(labels))
    rows = rows[(confident.max(axis=1) >= 0) & (best != own)]
    margin = found[rows, best[rows]] - found[rows, own[rows]]
    kept = margin > 0
    return rows[kept][np.argsort(-margin[kept], kind="stable")]


def _name_wrong(facts: Facts, kinds: np.ndarray, found: np.ndarray, row: int) -> Suspect:
    label = facts.class_names[facts.train.labels[row]]
    place = found[row].argmax()
    said = facts.class_names[kinds[place]]
    reason = f"labelled {label!r}, looks like {said!r} ({found[row, place]:.2f})"
    return Suspect(facts.train.names[row], reason)
