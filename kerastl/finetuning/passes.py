"""Which cuts one pass over the images gives: also those wanted later. No Keras."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kerastl.bases.operations import Network, Operation
from kerastl.finetuning.choices import (
    FLOAT32,
    Choice,
    Cut,
    choose_caching,
    fit_together,
    plan_cut,
)
from kerastl.stages import Stage


def list_lasting(network: Network, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages whose frozen layers no stage before them trains.

    What these layers give can be computed before the first of the stages.

    Args:
        network: The model.
        stages: Of a schedule, or the rest of one.

    Example:

    >>> network = Network("tiny", (32, 32), 10)
    >>> head, top = Stage(name="head"), Stage(name="top", unfreeze="block2")
    >>> [[one.name for one in list_lasting(network, s)] for s in ([head, top], [top, head])]
    [['head', 'top'], ['top']]
    """
    found, trained = [], set()
    for stage in stages:
        cut = plan_cut(network, stage)
        if not trained & cut.frozen:
            found.append(stage)
        trained |= set(cut.trained)
    return tuple(found)


def list_wanted(
    network: Network, stages: Sequence[Stage], index: int, others: Sequence[Stage] = ()
) -> tuple[Stage, ...]:
    """Return the stages whose cuts one pass gives along with that of the stage at hand.

    Args:
        network: The model.
        stages: Of the schedule.
        index: Of the stage at hand.
        others: Of other trials with the same base, weights and images: those that
            `list_lasting` gives.

    Returns:
        tuple of Stage, by when they are wanted: those of the schedule first. Each has
        another cut, below which no layer has been or will be trained before it, under the
        same normalization; and none is where TensorFlow would compute other cuts with
        other roundings for its sake.
    """
    own = stages[index]
    before = {name for s in stages[:index] for name in plan_cut(network, s).trained}
    fresh = [s for s in others if not before & plan_cut(network, s).frozen]
    wanted = [*list_lasting(network, stages[index:])[1:], *fresh]
    wanted = [s for s in wanted if s.solver == "fit" and s.normalize == own.normalize]
    return _drop_unsafe(network, own, _drop_repeated(network, own, wanted))


def _drop_repeated(
    network: Network, own: Stage, stages: Sequence[Stage]
) -> tuple[Stage, ...]:
    # with augmentation fewer images are computed ahead, so that makes another one
    found = {(plan_cut(network, own).places, bool(own.augment)): own}
    for stage in stages:
        cut = plan_cut(network, stage)
        if cut.worthwhile:
            found.setdefault((cut.places, bool(stage.augment)), stage)
    return tuple(found.values())[1:]


def _drop_unsafe(
    network: Network, own: Stage, stages: Sequence[Stage]
) -> tuple[Stage, ...]:
    """Leave out what would change the last digits of another cut."""
    inside = frozenset().union(*(plan_cut(network, s).frozen for s in (own, *stages)))
    operations = [one for one in network.operations if one.name in inside]

    def is_safe(stage: Stage) -> bool:
        return all(_is_seam(operations, p) for p in plan_cut(network, stage).places)

    return tuple(filter(is_safe, stages)) if is_safe(own) else ()


def _is_seam(operations: Sequence[Operation], place: int) -> bool:
    # TensorFlow sums a chain of additions in another order where each is used once only:
    # a frozen BatchNorm before an addition. What is an output is used once more.
    takers = [one for one in operations if place in one.sources]
    return len(takers) != 1 or takers[0].kernel > 0


@dataclass(frozen=True)
class Kept:
    """A cut that is kept.

    Args:
        stage: That it is for.
        cut: Of the stage.
        choice: Why it is kept.
    """

    stage: Stage
    cut: Cut
    choice: Choice


def plan_pass(
    network: Network,
    stages: Sequence[Stage],
    index: int,
    images: tuple[int, int],
    budget: int,
    others: Sequence[Stage] = (),
    *,
    shared: bool = False,
    width: int = FLOAT32,
) -> tuple[Kept, ...]:
    """Return what a pass for a stage gives: its own cut and those wanted later.

    Args:
        network: The model.
        stages: Of the schedule.
        index: Of the stage at hand.
        images: To train on and to validate on.
        budget: Bytes that all of it may take together.
        others: As for `list_wanted`.
        shared: Whether it is a trial of a search.
        width: Bytes of a number as it is kept.

    Example:

    >>> network = Network("tiny", (32, 32), 10)
    >>> stages = [Stage(name="head"), Stage(name="top", unfreeze="block2")]
    >>> found = plan_pass(network, stages, 0, (800, 200), 10**9)
    >>> [(one.stage.name, one.cut.values) for one in found]
    [('head', 80), ('top', 12288)]
    """
    found = []
    for stage in (stages[index], *list_wanted(network, stages, index, others)):
        cut = plan_cut(network, stage)
        choice = choose_caching(
            stage, cut.values, images, budget, worthwhile=cut.worthwhile,
            are_vectors=cut.are_vectors, shared=shared, width=width,
        )  # fmt: skip
        found.append(Kept(stage, cut, choice))
    fits = fit_together([one.choice for one in found])
    return tuple(one for one, fit in zip(found, fits, strict=True) if fit)


def shorten_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return what of some stages decides where their cuts are and what is kept of them.

    Stages that are alike in it are one; the same cuts of thousands of trials are few.

    Example:

    >>> slow, fast = Stage(name="slow", epochs=9), Stage(name="fast", learning_rate=1.0)
    >>> len(shorten_stages([slow, fast]))
    1
    """
    default = Stage(name="cut", epochs=1)
    names = ("unfreeze", "train_batchnorm", "normalize")
    short = []
    for stage in stages:
        if stage.solver == "exact":  # takes the images themselves
            continue
        one = replace(default, **{name: getattr(stage, name) for name in names})
        if stage.augment:  # each epoch is kept
            one = replace(one, augment=stage.augment[:1], epochs=stage.epochs)
        short.append(one)
    return tuple(dict.fromkeys(short))
