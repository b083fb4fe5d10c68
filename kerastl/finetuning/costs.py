"""What training the stages of a schedule takes: counted. No Keras.

Which cuts there are and which are kept is decided in `choices.py` and `passes.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kerastl.bases import get_base
from kerastl.bases.operations import Network
from kerastl.finetuning.choices import (
    EXACT,
    FLOAT32,
    VIEWS,
    Choice,
    Cut,
    choose_caching,
    list_splits,
    plan_cut,
)
from kerastl.finetuning.passes import Kept, list_lasting, plan_pass
from kerastl.stages import Stage


@dataclass(frozen=True)
class StageCost:
    """What one training of a stage takes.

    Args:
        stage: Of the schedule, for all its epochs.
        cut: Of the stage in its model.
        choice: Whether what is frozen runs once.
        train: Images to train on.
        validation: Images to validate on after each epoch.
        known: The splits that have been through what is frozen in the pass of an earlier
            stage, which gave this cut as well.
    """

    stage: Stage
    cut: Cut
    choice: Choice
    train: int
    validation: int
    known: frozenset[str] = frozenset()

    @property
    def once(self) -> int:
        """FLOPs of what is frozen, over images that are the same in every epoch."""
        if self.choice.reason == EXACT:
            return (self.cut.below + self.cut.above) * (self.train + self.validation)
        images = {"train": self.train, "validation": self.validation}
        run = set(list_splits(self.choice)) - self.known
        return self.cut.below * sum(images[name] for name in run)

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
    width: int = FLOAT32,
    max_steps: int | None = None,
) -> tuple[StageCost, ...]:
    """Return what each stage takes, as the fast engine would run it.

    Args:
        network: The model.
        stages: Of the schedule.
        images: To train on and to validate on.
        budget: Bytes that activations may take.
        shared: Whether it is a trial of a search.
        width: Bytes of a number as it is kept. Default 4.
        max_steps: Batches per epoch at most. Default: all.

    Example:

    >>> network = Network("tiny", (32, 32), 10)
    >>> head, top = Stage(name="head"), Stage(name="top", unfreeze="block2")
    >>> costs = estimate_stages(network, [head, top], (1000, 250), 10**9)
    >>> [(cost.choice.reason, cost.choice.size) for cost in costs]
    [('fits', 400000), ('fits', 61440000)]
    """
    settings = {"shared": shared, "width": width}
    costs, known = [], {index: set() for index in range(len(stages))}
    for index, stage in enumerate(stages):
        cut = plan_cut(network, stage)
        choice = choose_caching(
            stage, cut.values, images, budget, worthwhile=cut.worthwhile,
            are_vectors=cut.are_vectors, limited=max_steps is not None, **settings,
        )  # fmt: skip
        most = max(images) if max_steps is None else max_steps * stage.batch_size
        seen = (min(n, most) for n in images)
        costs.append(StageCost(stage, cut, choice, *seen, frozenset(known[index])))
        for split in set(list_splits(choice)) - known[index]:
            given = plan_pass(network, stages, index, images, budget, **settings)
            for later in _list_given(network, stages, index, given, split):
                known[later].add(split)
    return tuple(costs)


def _list_given(
    network: Network, stages: Sequence[Stage], index: int, given: Sequence[Kept], split: str
) -> list[int]:
    """Return the later stages that a stage's pass over a split gives their cut."""
    places = {one.cut.places for one in given if split in list_splits(one.choice)}
    lasting = list_lasting(network, stages[index:])[1:]
    return [
        number
        for number, stage in enumerate(stages)
        if number > index
        and stage in lasting
        and stage.normalize == stages[index].normalize
        and plan_cut(network, stage).places in places
    ]


def list_heads(network: Network, cut: Cut) -> list[str]:
    """Return the layers with an auxiliary head that has something below that trains.

    Example:

    >>> network = Network("googlenet", (224, 224), 10)
    >>> list_heads(network, plan_cut(network, Stage(name="all", unfreeze="all")))
    ['inception_4a', 'inception_4d']
    """
    trained, places = set(cut.trained), get_base(network.base).auxiliaries
    return [name for name in places if trained & network.find_below(name)]
