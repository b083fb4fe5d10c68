"""The rules behind `kerastl advise`, as tables: data alone, no computation.

`kerastl advise --rules` prints them, and a test holds each cell.
"""

from dataclasses import dataclass

FEW, ENOUGH, MANY = "few", "enough", "many"
SIMILAR, RELATED, DIFFERENT = "similar", "related", "different"

KORNBLITH = "Kornblith et al., Do Better ImageNet Models Transfer Better?, CVPR 2019"
KUMAR = "Kumar et al., Fine-Tuning can Distort Pretrained Features, ICLR 2022"
HE = "He et al., Rethinking ImageNet Pre-training, ICCV 2019"
LI = "Li et al., Revisiting Batch Normalization, ICLR workshop 2017"
GUIDE = "Keras guide: Transfer learning & fine-tuning"
COURSE = "the rule of thumb by amount and similarity, recipe R12"
PRACTICE = "this package's own line, drawn where the figures of docs/advice.md lie"


@dataclass(frozen=True)
class Amount:
    """How many images there are, in a word.

    Args:
        name: `"few"`, `"enough"` or `"many"`.
        images: To train on, at least.
        per_class: Of the class in the middle, at least.
        source: Where the line comes from.
    """

    name: str
    images: int
    per_class: int
    source: str


# the first that fits
AMOUNTS = (
    Amount(MANY, 10_000, 1_000, f"{HE}: from scratch catches up with 10,000 images"),
    Amount(ENOUGH, 801, 20, f"{KORNBLITH}, 4.7: sparse are 47 to 800 images in all"),
    Amount(FEW, 0, 0, f"{KORNBLITH}, 4.7: a linear head is as good there"),
)


@dataclass(frozen=True)
class Level:
    """How much of what the base learned from its source is of use here, in a word.

    All that is given must hold. Gain is the share of the mistakes of random features that
    pretrained ones avoid; distance is that of their statistics to those of the source.

    Args:
        name: `"similar"`, `"related"` or `"different"`.
        gain: At least, and with an interval above 0; None for whatever.
        accuracy: Of a linear head on frozen features, its lower bound at least.
        distance: At most.
        why: What the row means.
        source: Where the line comes from.
    """

    name: str
    gain: float | None
    accuracy: float | None
    distance: float | None
    why: str
    source: str


# the first that fits
LEVELS = (
    Level(
        SIMILAR, None, 0.95, None,
        "a linear head on frozen features is right almost always", PRACTICE,
    ),
    Level(
        SIMILAR, 1 / 3, None, None,
        "frozen features avoid at least a third of the mistakes of random ones", PRACTICE,
    ),
    Level(
        RELATED, 0.0, None, None,
        "frozen features avoid some mistakes of random ones, beyond chance", PRACTICE,
    ),
    Level(
        RELATED, None, None, 0.25,
        "too few images to tell by mistakes, but features spread as on the source", LI,
    ),
    Level(
        DIFFERENT, None, None, None,
        "frozen features do no better than random ones, as far as these images tell",
        PRACTICE,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """What to do with so many images this similar.

    Args:
        amount: Of `AMOUNTS`.
        similarity: Of `LEVELS`.
        strategy: `"feature extraction"`, `"fine-tune"`, `"hybrid"`, `"from scratch"` or
            `"not advised"`.
        schedule: A name of `kerastl.SCHEDULES`.
        why: The reason, after "because".
        source: Where it comes from.
    """

    amount: str
    similarity: str
    strategy: str
    schedule: str
    why: str
    source: str

    @property
    def from_scratch(self) -> bool:
        """Whether to start from random weights."""
        return self.strategy == SCRATCH

    @property
    def is_advised(self) -> bool:
        """Whether this is advice, not the least bad."""
        return self.strategy != NOT_ADVISED


EXTRACT, TUNE, HYBRID = "feature extraction", "fine-tune", "hybrid"
SCRATCH, NOT_ADVISED = "from scratch", "not advised"
# what a schedule is called that is taken for want of time
STRATEGIES = {
    "full": TUNE,
    "lp-ft": TUNE,
    "hybrid": HYBRID,
    "fine-tune": TUNE,
    "feature-extraction": EXTRACT,
}
RULES = (
    Rule(
        FEW, SIMILAR, EXTRACT, "feature-extraction",
        "frozen features serve, and what would be adapted to few images fits their noise",
        f"{COURSE}; {KORNBLITH}, 4.7",
    ),
    Rule(
        FEW, RELATED, EXTRACT, "feature-extraction",
        "frozen features help, and few images are too few to better them",
        f"{KORNBLITH}, 4.7",
    ),
    Rule(
        FEW, DIFFERENT, NOT_ADVISED, "feature-extraction",
        "nothing shows that this base helps, and few images cannot change it: get more of "
        "them or rank other bases; a frozen base does the least harm",
        COURSE,
    ),
    Rule(
        ENOUGH, SIMILAR, TUNE, "fine-tune",
        "there are images enough to adapt the top block after the head; its first stage is "
        "feature extraction, and it is what remains where the second makes things worse",
        f"{GUIDE}; {COURSE}",
    ),
    Rule(
        ENOUGH, RELATED, HYBRID, "hybrid",
        "the top is to be replaced, not only adapted: the head settles first, then more "
        "layers at a tenth of its rate",
        GUIDE,
    ),
    Rule(
        ENOUGH, DIFFERENT, TUNE, "full",
        "frozen features are of no use, so all of the base has to move, and there are "
        "images enough to move it",
        COURSE,
    ),
    Rule(
        MANY, SIMILAR, TUNE, "lp-ft",
        "many images bear training everything, and a head solved first keeps it from "
        "distorting features that serve",
        KUMAR,
    ),
    Rule(
        MANY, RELATED, TUNE, "full",
        "many images bear training everything, and pretrained weights shorten it",
        f"{COURSE}; {HE}",
    ),
    Rule(
        MANY, DIFFERENT, SCRATCH, "full",
        "features of the source are of no use, and with this many images random weights "
        "reach what pretrained ones do",
        f"{HE}; {KORNBLITH}, 4.7",
    ),
)  # fmt: skip

# stage settings that go with random weights: their statistics are nobody's, and all has
# to be learned
SCRATCH_SETTINGS = {"train_batchnorm": True, "epochs": 30, "learning_rate": 1e-3}
SCRATCH_SOURCE = "recipes R15 and R17: Adam and 30 epochs or more; BatchNorm has to train"

# where a strategy takes too long: the first after it that does not
CHEAPER = ("full", "lp-ft", "hybrid", "fine-tune", "feature-extraction")

ALL_TRIALS, FEWER_TRIALS, ONE_RUN = "all trials", "fewer trials", "one run"
CHEAPER_RUN, TOO_LONG = "a cheaper run", "too long"
# what the minutes allow, from most to least, and what follows
TIMES = (
    (ALL_TRIALS, "search as many settings as the number of images bears"),
    (FEWER_TRIALS, "search as many as fit, two at least"),
    (ONE_RUN, "train once, at the schedule's own rates, which need no search"),
    (CHEAPER_RUN, "train once by the next schedule that trains less and fits"),
    (TOO_LONG, "extract features once; take a smaller base or image size, or more time"),
)
SPREAD = 3  # a learning rate is searched from a third of the schedule's own to thrice it
MIN_STEPS = 10  # per epoch: under that a smaller batch is taken
STEPS_SOURCE = "this package's own line; recipe R5 for the sizes"


def find_rule(amount: str, similarity: str) -> Rule:
    """Return the cell of the table.

    Example:

    >>> find_rule("few", "similar").strategy
    'feature extraction'
    """
    return next(
        rule for rule in RULES if (rule.amount, rule.similarity) == (amount, similarity)
    )


def find_amount(images: int, per_class: int) -> Amount:
    """Return the first amount that fits.

    Example:

    >>> find_amount(1079, 108).name
    'enough'
    """
    return next(
        row for row in AMOUNTS if images >= row.images and per_class >= row.per_class
    )


def find_level(gain: tuple[float, float], accuracy: float, distance: float | None) -> Level:
    """Return the first level that fits.

    Args:
        gain: Its value and lower bound.
        accuracy: Lower bound of a linear head's on frozen features.
        distance: To the statistics of the source; None where the base has none.

    Example:

    >>> find_level((0.2, 0.1), 0.6, None).name
    'related'
    """
    return next(row for row in LEVELS if _fits(row, gain, accuracy, distance))


def _fits(
    row: Level, gain: tuple[float, float], accuracy: float, distance: float | None
) -> bool:
    value, low = gain
    conditions = (
        row.gain is None or (value >= row.gain and low > 0),
        row.accuracy is None or accuracy >= row.accuracy,
        row.distance is None or (distance is not None and distance <= row.distance),
    )
    return all(conditions)


def choose_time(
    minutes: float | None, one: float, trial: float, wanted: int, cheaper: str
) -> tuple[str, int]:
    """Return what the time allows and how many trials.

    Args:
        minutes: There are; None for as many as it takes.
        one: Seconds until one run is over.
        trial: Seconds of each further trial.
        wanted: Trials that the number of images bears.
        cheaper: A cheaper schedule that fits; empty where none does.

    Example:

    >>> choose_time(10, one=100, trial=100, wanted=20, cheaper='')
    ('fewer trials', 6)
    """
    if minutes is None:
        return (ALL_TRIALS if wanted > 1 else ONE_RUN), wanted
    left = minutes * 60 - one
    if left < 0:
        return (CHEAPER_RUN if cheaper else TOO_LONG), 1
    fitting = min(wanted, 1 + int(left / max(trial, 1e-9)))
    if fitting == 1:
        return ONE_RUN, 1
    return (ALL_TRIALS if fitting == wanted else FEWER_TRIALS), fitting
