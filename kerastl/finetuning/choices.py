"""Where a stage's cut is, and whether what is below it runs once. No Keras.

The rules are those of `cuts.py`, on the list of operations that ships with the package.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from kerastl.bases.operations import Network, Operation
from kerastl.schedules import plan_freeze
from kerastl.stages import Stage

FLOAT32 = 4  # bytes of a number
AS_COMPUTED = "float32"
MIXED = "mixed_bfloat16"  # the name of a Keras policy: computed in bfloat16, too
# of a number that is kept
WIDTHS = {AS_COMPUTED: FLOAT32, "float16": 2, "bfloat16": 2, MIXED: 2}
# why what is frozen runs once or does not
EXACT, FITS, VIEWS = "exact", "fits", "views"
AUGMENTED, LIMITED, NOTHING, OVER = "augmented", "limited", "nothing", "over"


@dataclass(frozen=True)
class Choice:
    """Whether what a stage freezes runs once over the images.

    Args:
        cached: Whether it does.
        reason: `"exact"` (the head is solved on features), `"fits"`, `"views"` (of
            augmented images, once each), `"augmented"`, `"limited"` (to few steps),
            `"nothing"` (is frozen but preprocessing) or `"over"` (the budget).
        size: Bytes that its output takes for all images.
        budget: Bytes that it may take.
    """

    cached: bool
    reason: str
    size: int
    budget: int


def choose_caching(
    stage: Stage,
    values_per_image: int,
    images: tuple[int, int],
    budget: int,
    *,
    worthwhile: bool = True,
    are_vectors: bool = True,
    shared: bool = False,
    limited: bool = False,
    width: int = FLOAT32,
) -> Choice:
    """Decide whether what a stage freezes runs once, before its first epoch.

    Args:
        stage: Augmentation shows another view of each image in every epoch.
        values_per_image: Numbers of the tensors between what is frozen and the rest.
        images: To train on and to validate on.
        budget: Bytes that these tensors may take for all images.
        worthwhile: Whether more is frozen than what comes before the first convolution.
        are_vectors: Whether these tensors are vectors, little enough to keep each view.
        shared: Whether other trials may read what is kept, so that views are worth it.
        limited: Whether epochs are cut short, to try things out.
        width: Bytes of a number as it is kept. Default 4.

    Returns:
        Choice with its reason.

    Example:

    >>> choose_caching(Stage(name="head"), 2048, (800, 200), budget=10**9).cached
    True
    >>> choose_caching(Stage(name="head"), 2048, (800, 200), budget=10**6).reason
    'over'
    """
    augmented = bool(stage.augment)
    train, validation = images
    views = train * stage.epochs if augmented else train
    size = values_per_image * (views + validation) * width
    if stage.solver == "exact":
        return Choice(True, EXACT, size, budget)
    obstacles = {
        NOTHING: not worthwhile,
        LIMITED: limited,
        AUGMENTED: augmented and not shared and not are_vectors,
        OVER: size > budget,
    }
    found = next((reason for reason, holds in obstacles.items() if holds), None)
    return Choice(found is None, found or (VIEWS if augmented else FITS), size, budget)


def measure_width(kept: str, computed: int = FLOAT32) -> int:
    """Return the bytes of a number as activations are kept.

    Args:
        kept: A name of `WIDTHS`; `"float32"` keeps what is computed as it is.
        computed: Bytes of a number as layers compute it.

    Example:

    >>> measure_width("float32", computed=8), measure_width("float16")
    (8, 2)
    """
    return computed if kept == AS_COMPUTED else min(computed, WIDTHS[kept])


def list_splits(choice: Choice) -> tuple[str, ...]:
    """Return the splits whose images are the same in every epoch and run once.

    Example:

    >>> list_splits(choose_caching(Stage(name="head"), 10, (80, 20), budget=10**6))
    ('train', 'validation')
    """
    return {FITS: ("train", "validation"), VIEWS: ("validation",)}.get(choice.reason, ())


def fit_together(choices: Sequence[Choice]) -> list[bool]:
    """Tell which of some cuts can be kept together under the budget of the first.

    Args:
        choices: By when they are wanted; what does not fit beside those before it waits
            for a pass of its own.

    Example:

    >>> sizes = (60, 50, 30)
    >>> fit_together([Choice(True, FITS, size, budget=100) for size in sizes])
    [True, False, True]
    """
    left, found = choices[0].budget, []
    for choice in choices:
        fits = choice.cached and (choice.size <= left or not found)
        left -= choice.size if fits else 0
        found.append(fits)
    return found


@dataclass(frozen=True)
class Cut:
    """Where what no step of training changes ends, and the work on both sides of it.

    Args:
        places: Of the operations whose output the rest takes.
        frozen: Names of what is below.
        trained: Names of what trains.
        values: Numbers that cross the cut for one image.
        worthwhile: Whether a convolution is below.
        are_vectors: Whether only vectors cross it.
        below: FLOPs of one image forward through what is below.
        above: The same through the rest.
        backward: FLOPs of the gradients of one image: of what trains, and of the inputs of
            what comes after something that trains.
    """

    places: tuple[int, ...]
    frozen: frozenset[str]
    trained: tuple[str, ...]
    values: int
    worthwhile: bool
    are_vectors: bool
    below: int
    above: int
    backward: int

    def count_step(self, *, cached: bool) -> int:
        """Return the FLOPs of one image in a training step."""
        return (0 if cached else self.below) + self.above + self.backward

    @property
    def gain(self) -> float:
        """How many times cheaper a training step is when what is below is known."""
        return self.count_step(cached=False) / self.count_step(cached=True)


def find_cut(operations: Sequence[Operation], trained: Collection[str]) -> Cut:
    """Find the cut of a stage by the rule of `cuts.find_boundary`.

    Args:
        operations: Of the whole model, each after those it takes from.
        trained: Names of those that have weights and train.

    Example:

    >>> network = Network("vgg16", (224, 224), 10)
    >>> cut = find_cut(network.operations, {"predictions"})
    >>> cut.values, cut.above, cut.backward
    (512, 10240, 10240)
    """
    fixed: list[bool] = []
    follows: list[bool] = []  # something that trains
    for one in operations:
        changes = one.is_random or one.name in trained
        fixed.append(not changes and all(fixed[source] for source in one.sources))
        before = [follows[s] or operations[s].name in trained for s in one.sources]
        follows.append(any(before))
    crossing = [
        source
        for one, is_fixed in zip(operations, fixed, strict=True)
        for source in one.sources
        if fixed[source] and not is_fixed
    ]
    places = tuple(sorted(set(crossing)))
    return Cut(
        places=places,
        frozen=frozenset(o.name for o, f in zip(operations, fixed, strict=True) if f),
        trained=tuple(one.name for one in operations if one.name in trained),
        values=sum(operations[place].values for place in places),
        worthwhile=any(o.flops for o, f in zip(operations, fixed, strict=True) if f),
        are_vectors=all(len(operations[p].shape) == 1 for p in places),
        below=sum(o.flops for o, f in zip(operations, fixed, strict=True) if f),
        above=sum(o.flops for o, f in zip(operations, fixed, strict=True) if not f),
        backward=sum(
            one.flops * ((one.name in trained) + after)
            for one, after in zip(operations, follows, strict=True)
        ),
    )


def plan_cut(network: Network, stage: Stage) -> Cut:
    """Return the cut of a stage of a model, found once for all stages that train alike."""
    return _plan_cut(network, stage.unfreeze, stage.train_batchnorm)


@cache
def _plan_cut(network: Network, unfreeze: str | int, train_batchnorm: bool) -> Cut:
    stage = Stage(name="cut", unfreeze=unfreeze, train_batchnorm=train_batchnorm)
    plan = plan_freeze(network.layers, stage)
    names = {layer.name for layer in network.layers if layer.parameters}
    return find_cut(network.operations, {name for name in names if plan[name]})
