"""Every number that a verdict turns on, with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A number and why it is this one."""

    value: float
    reason: str


LIMITS = {
    "fewest images": Limit(
        20,
        "per split or group judged; the 95 % interval of a share of 20 images is up to 0.4 "
        "wide, and of fewer it says nothing",
    ),
    "folds": Limit(5, "the usual compromise; fewer where a class has fewer images"),
    "most images": Limit(
        4000,
        "training images that probes see, drawn at random beyond; an interval of 4,000 is "
        "0.03 wide at most, and linear heads take seconds",
    ),
    "shift": Limit(
        0.6,
        "accuracy a of telling two sets of images apart means that they differ in a share "
        "of at least 2a - 1; below a fifth other causes come first. Beside that the lower "
        "bound must be above 0.5, which is guessing",
    ),
    "strangers": Limit(10, "images to look at; more of a kind show the same"),
    "noise": Limit(
        0.03,
        "share of labels contradicted by the quarter of answers that the probe is surest "
        "of; curated sets have up to 0.03 to 0.06 wrong labels (Northcutt, Athalye and "
        "Mueller 2021), so the lower bound must be above that",
    ),
    "noise fades": Limit(
        0.5,
        "hard images are those a probe is unsure of, wrong labels are anywhere: where the "
        "surest quarter is contradicted less than half as often as the surest half, "
        "difficulty explains it as well",
    ),
    "a judge": Limit(
        0.6,
        "share of the way from always answering the commonest class to agreeing with all "
        "labels; a head that knows less contradicts right labels, too, where it is surest",
    ),
    "closeness": Limit(
        0.01,
        "quantile of the distances of training images to their nearest other; by chance "
        "that share of validation images is as close to a training image",
    ),
    "leak": Limit(
        0.02,
        "lower bound of the share of validation images with a copy or a member of their "
        "group in train; twice what chance alone gives",
    ),
    "epochs": Limit(5, "fewer rows show no pace: a line through 2 of them always fits"),
    "jump": Limit(
        0.1,
        "rise of the training loss from one epoch to the next, as a share of the loss of "
        "guessing; orders of batches alone move it by a tenth of that",
    ),
    "jumps": Limit(0.2, "share of epochs that jump, and at least 2; one may be bad luck"),
    "progress": Limit(
        0.5,
        "share of the way from guessing to what a linear head reaches; beyond it the rate "
        "was high enough to learn most",
    ),
    "pace": Limit(
        0.5,
        "pace of the second half of the epochs by that of the first; training that ends "
        "slows down, training at too low a rate does not",
    ),
    "more epochs": Limit(
        3,
        "times the epochs run that would be missing at the pace seen; up to that longer "
        "training is the remedy, beyond it a higher rate",
    ),
    "mostly right": Limit(
        0.5,
        "share of the way from always answering the commonest class to every answer right; "
        "there a loss above that of guessing means that a few answers are wrong with a "
        "certainty which only steps too large give",
    ),
    "lead": Limit(
        0.02,
        "lower bound of a linear head's lead on training images; which epoch is kept, by "
        "luck on validation, moves the training accuracy by about that",
    ),
    "few images": Limit(
        16, "batch size below which the batch, too, makes the loss jump (32 is usual)"
    ),
    "few steps": Limit(
        5, "steps per epoch; with fewer, smaller batches give more at no cost in time"
    ),
}


def limit(name: str) -> float:
    """Return the number of this name.

    Example:

    >>> limit("leak")
    0.02
    """
    return LIMITS[name].value
