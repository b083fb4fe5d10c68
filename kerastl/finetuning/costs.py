"""What a stage costs and whether what it freezes runs once: decided and counted. No Keras.

The rules are those of `cuts.py`, on the list of operations that ships with the package.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from kerastl.bases import get_base
from kerastl.bases.operations import Network, Operation
from kerastl.schedules import plan_freeze
from kerastl.stages import Stage

FLOAT32 = 4  # bytes of a number
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
        width: Bytes of a number. Default 4.

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


@dataclass(frozen=True)
class StageCost:
    """What one training of a stage takes.

    Args:
        stage: Of the schedule, for all its epochs.
        cut: Of the stage in its model.
        choice: Whether what is frozen runs once.
        train: Images to train on.
        validation: Images to validate on after each epoch.
    """

    stage: Stage
    cut: Cut
    choice: Choice
    train: int
    validation: int

    @property
    def once(self) -> int:
        """FLOPs of what is frozen, over images that are the same in every epoch."""
        if self.choice.reason == EXACT:
            return (self.cut.below + self.cut.above) * (self.train + self.validation)
        train = 0 if self.choice.reason == VIEWS else self.train
        return self.cut.below * (train + self.validation) if self.choice.cached else 0

    @property
    def view(self) -> int:
        """FLOPs of what is frozen, over the images of one epoch that are kept."""
        return self.cut.below * self.train if self.choice.reason == VIEWS else 0

    def count_epochs(self, epochs: int, *, cached: bool) -> int:
        """Return the FLOPs of some epochs, with what is frozen known or in each."""
        if self.choice.reason == EXACT:
            return 0
        again = 0 if cached else self.cut.below
        step = self.cut.count_step(cached=cached)
        each = self.train * step + self.validation * (self.cut.above + again)
        return epochs * each

    @property
    def total(self) -> int:
        """FLOPs as the stage will run."""
        epochs = self.stage.epochs
        known = self.count_epochs(epochs, cached=self.choice.cached)
        return self.once + epochs * self.view + known

    @property
    def plain(self) -> int:
        """FLOPs with all layers in every epoch."""
        if self.choice.reason == EXACT:
            return self.once
        return self.count_epochs(self.stage.epochs, cached=False)


def estimate_stages(
    network: Network,
    stages: Sequence[Stage],
    images: tuple[int, int],
    budget: int,
    *,
    shared: bool = False,
) -> tuple[StageCost, ...]:
    """Return what each stage takes, as the fast engine would run it.

    Args:
        network: The model.
        stages: Of the schedule.
        images: To train on and to validate on.
        budget: Bytes that activations may take.
        shared: Whether it is a trial of a search.

    Example:

    >>> network = Network("tiny", (32, 32), 10)
    >>> head, top = Stage(name="head"), Stage(name="top", unfreeze="block2")
    >>> costs = estimate_stages(network, [head, top], (1000, 250), 10**9)
    >>> [(cost.choice.reason, cost.choice.size) for cost in costs]
    [('fits', 400000), ('fits', 61440000)]
    """
    costs = []
    for stage in stages:
        cut = plan_cut(network, stage)
        settings = {"worthwhile": cut.worthwhile, "are_vectors": cut.are_vectors}
        choice = choose_caching(
            stage, cut.values, images, budget, shared=shared, **settings
        )
        costs.append(StageCost(stage, cut, choice, *images))
    return tuple(costs)


def list_heads(network: Network, cut: Cut) -> list[str]:
    """Return the layers with an auxiliary head that has something below that trains.

    Example:

    >>> network = Network("googlenet", (224, 224), 10)
    >>> list_heads(network, plan_cut(network, Stage(name="all", unfreeze="all")))
    ['inception_4a', 'inception_4d']
    """
    trained, places = set(cut.trained), get_base(network.base).auxiliaries
    return [name for name in places if trained & network.find_below(name)]
