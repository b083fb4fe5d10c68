"""The named schedules, changes to them, and the plan of what each stage trains."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from kerastl.errors import UsageError, check_choice, suggest
from kerastl.stages import (
    ALL,
    HEAD,
    PREPROCESSING,
    STAGE_FIELDS,
    LayerInfo,
    Schedule,
    Stage,
)

HEAD_RATE = 1e-3
TOP_SHARE = 0.1  # of the head's rate: pretrained layers move a tenth as fast
BLOCK_DECAY = 2.6  # each block further down moves that much slower (ULMFiT, ACL 2018)

# name -> what it trains, in one line: the table of the README
SCHEDULES = {
    "feature-extraction": "the head alone; the base stays as it was pretrained",
    "fine-tune": "the head, then the head and the top block",
    "hybrid": "the last 4 layers of the model, then the last 15",
    "gradual": "the head, then block after block from the top",
    "lp-ft": "a linear head solved exactly, then everything at a low rate",
    "full": "everything at once",
}


def named_schedule(
    name: str, blocks: Sequence[str], *, head_rate: float = HEAD_RATE
) -> Schedule:
    """Return one of the schedules of `SCHEDULES` for a base with these blocks.

    Args:
        name: A key of `SCHEDULES`.
        blocks: The base's block names from the image upwards.
        head_rate: Learning rate of a new head; pretrained layers get a tenth. Default 1e-3;
            a base's own is its `head_rate`.

    Returns:
        Schedule with this package's recommended epochs and learning rates.

    Raises:
        UsageError: The name is unknown.

    Example:

    >>> [stage.name for stage in named_schedule("gradual", ["block1", "block2"])]
    ['head', 'block2', 'block1']
    """
    check_choice("schedule", name, SCHEDULES)
    top_rate = head_rate * TOP_SHARE
    head = Stage(name=HEAD, epochs=10, learning_rate=head_rate)
    stages = {
        "feature-extraction": lambda: [head],
        "fine-tune": lambda: [head, _block_stage(blocks[-1], top_rate, epochs=10)],
        "hybrid": lambda: _hybrid_stages(head_rate),
        "gradual": lambda: _gradual_stages(blocks, head_rate),
        "lp-ft": lambda: _probe_stages(top_rate),
        "full": lambda: [_block_stage(ALL, top_rate, epochs=20)],
    }[name]
    return Schedule(name, tuple(stages()))


def _block_stage(block: str, learning_rate: float, *, epochs: int) -> Stage:
    return Stage(name=block, unfreeze=block, epochs=epochs, learning_rate=learning_rate)


def _hybrid_stages(head_rate: float) -> list[Stage]:
    return [
        Stage(name="last-4", unfreeze=4, learning_rate=head_rate),
        Stage(name="last-15", unfreeze=15, learning_rate=head_rate * TOP_SHARE),
    ]


def _gradual_stages(blocks: Sequence[str], head_rate: float) -> list[Stage]:
    top_rate = head_rate * TOP_SHARE
    rates = [_round(top_rate / BLOCK_DECAY**depth) for depth in range(len(blocks))]
    head = Stage(name=HEAD, epochs=5, learning_rate=head_rate)
    downwards = zip(reversed(blocks), rates, strict=True)
    return [head, *(_block_stage(block, rate, epochs=3) for block, rate in downwards)]


def _round(rate: float) -> float:
    return float(f"{rate:.2g}")  # two digits are all a rate of thumb has


def _probe_stages(top_rate: float) -> list[Stage]:
    probe = Stage(name="probe", epochs=1, solver="exact")
    return [probe, _block_stage(ALL, _round(top_rate / 3), epochs=10)]


def resolve_schedule(
    schedule: str | Schedule | Stage | Sequence[Stage],
    blocks: Sequence[str],
    changes: Mapping[str, Any] | None = None,
    *,
    head_rate: float = HEAD_RATE,
) -> Schedule:
    """Turn whatever a user calls a schedule into one, with their changes applied.

    Args:
        schedule: A name, a Schedule, one Stage or a list of them.
        blocks: The base's block names from the image upwards.
        changes: Stage fields to change in every stage; a tuple or list gives one value per
            stage. A single `learning_rate` sets the first stage's; later stages keep their
            ratio to it. A single `rate_decay` leaves out stages of the head alone, where
            it has no effect. None changes nothing.
        head_rate: Of a named schedule, as in `named_schedule`.

    Returns:
        Schedule, every stage of it valid.

    Raises:
        UsageError: A name, field or value is not allowed, or the counts differ.

    Example:

    >>> schedule = resolve_schedule("hybrid", [], {"epochs": (2, 3), "learning_rate": 0.01})
    >>> [(stage.epochs, stage.learning_rate) for stage in schedule]
    [(2, 0.01), (3, 0.001)]
    """
    if isinstance(schedule, str):
        schedule = named_schedule(schedule, blocks, head_rate=head_rate)
    elif isinstance(schedule, Stage):
        schedule = Schedule("custom", (schedule,))
    elif not isinstance(schedule, Schedule):
        schedule = Schedule("custom", tuple(schedule))
    for field, value in (changes or {}).items():
        if value is not None:
            schedule = _change(schedule, field, value)
    return schedule


def _change(schedule: Schedule, field: str, value: Any) -> Schedule:
    if field not in STAGE_FIELDS or field in ("name", "unfreeze"):
        raise UsageError(
            f"{field!r} is not a setting of a stage that can be changed for all."
            f"{suggest(field, STAGE_FIELDS)}"
        )
    values = _values_per_stage(schedule, field, value)
    pairs = zip(schedule, values, strict=True)
    stages = [dataclasses.replace(stage, **{field: new}) for stage, new in pairs]
    return Schedule(schedule.name, tuple(stages))


def _values_per_stage(schedule: Schedule, field: str, value: Any) -> list[Any]:
    if field == "augment":  # itself a tuple: the same for every stage
        return [tuple(value)] * len(schedule)
    if isinstance(value, tuple | list):
        if len(value) == len(schedule):
            return list(value)
        raise UsageError(
            f"{field} has {len(value)} values, but schedule {schedule.name!r} has "
            f"{len(schedule)} stages: give one value, or one per stage."
        )
    if field == "learning_rate" and isinstance(value, int | float):
        # multiplied in this order, a change to the value it has is exactly that value
        first = schedule.stages[0].learning_rate
        return [value * (stage.learning_rate / first) for stage in schedule]
    if field == "rate_decay":  # a head's stage stays the one that trials have in common
        heads = [stage.unfreeze == HEAD for stage in schedule]
        kept = [stage.rate_decay for stage in schedule]
        check = dataclasses.replace(schedule.stages[0], rate_decay=value)
        pairs = zip(heads, kept, strict=True)
        return [one if head else check.rate_decay for head, one in pairs]
    return [value] * len(schedule)


def plan_freeze(layers: Sequence[LayerInfo], stage: Stage) -> dict[str, bool]:
    """Decide for every layer whether the stage trains it: a pure, total function.

    Args:
        layers: All layers of the model, in `model.layers` order.
        stage: Says what is unfrozen.

    Returns:
        Layer name -> True where it trains. BatchNorm layers stay frozen unless the stage
        has `train_batchnorm=True`; preprocessing never trains; the head always does.

    Raises:
        UsageError: `unfreeze` names no block, or counts more layers than there are.

    Example:

    >>> layers = [LayerInfo("conv", "block1", False, 9), LayerInfo("bn", "block1", True, 4),
    ...           LayerInfo("predictions", "head", False, 5)]
    >>> plan_freeze(layers, Stage(name="all", unfreeze="all"))
    {'conv': True, 'bn': False, 'predictions': True}
    """
    unfrozen = _unfrozen_names(layers, stage.unfreeze)
    return {layer.name: _trains(layer, layer.name in unfrozen, stage) for layer in layers}


def measure_depths(layers: Sequence[LayerInfo]) -> dict[str, int]:
    """Count for every layer how many blocks down from the head it is.

    Args:
        layers: All layers of the model, in `model.layers` order.

    Returns:
        Layer name -> 0 for the head, 1 for the base's top block, 2 for the next one.

    Example:

    >>> layers = [LayerInfo("conv", "block1", False, 9), LayerInfo("bn", "block2", True, 4),
    ...           LayerInfo("predictions", "head", False, 5)]
    >>> measure_depths(layers)
    {'conv': 2, 'bn': 1, 'predictions': 0}
    """
    downwards = [HEAD, *reversed(_list_blocks(layers)), PREPROCESSING]
    return {layer.name: downwards.index(layer.block) for layer in layers}


def list_rates(layers: Sequence[LayerInfo], stage: Stage) -> dict[str, float]:
    """Return the learning rate of the head and of each block that a stage trains.

    Args:
        layers: As for `plan_freeze`.
        stage: Says what is unfrozen, at what rate and with what decay of it.

    Returns:
        Block -> highest rate, from the head down; blocks without weights that train are
        left out.

    Example:

    >>> layers = [LayerInfo("conv", "block1", False, 9),
    ...           LayerInfo("predictions", "head", False, 5)]
    >>> list_rates(layers, Stage(name="all", unfreeze="all", rate_decay=0.25))
    {'head': 0.001, 'block1': 0.00025}
    """
    plan, depths = plan_freeze(layers, stage), measure_depths(layers)
    trained = [one for one in layers if plan[one.name] and one.parameters]
    found = {depths[one.name]: one.block for one in trained}
    rate, decay = stage.learning_rate, stage.rate_decay
    return {found[depth]: rate * decay**depth for depth in sorted(found)}


def _list_blocks(layers: Sequence[LayerInfo]) -> list[str]:
    blocks = dict.fromkeys(layer.block for layer in layers)
    return [block for block in blocks if block not in (HEAD, PREPROCESSING)]


def _trains(layer: LayerInfo, unfrozen: bool, stage: Stage) -> bool:
    if layer.block in (HEAD, PREPROCESSING):
        return layer.block == HEAD
    # Calling a base with training=False does not hold once it is unfrozen: up to Keras
    # 3.15.1 `fit` overrides it and every moving mean drifts. A frozen BatchNorm layer runs
    # in inference mode, so `trainable = False` on the layer itself is what works.
    return unfrozen and (stage.train_batchnorm or not layer.is_batchnorm)


def _unfrozen_names(layers: Sequence[LayerInfo], unfreeze: str | int) -> set[str]:
    if isinstance(unfreeze, int):
        return _last_names(layers, unfreeze)
    blocks = _list_blocks(layers)
    if unfreeze == HEAD:
        return set()
    if unfreeze == ALL:
        return {layer.name for layer in layers}
    check_choice("unfreeze", unfreeze, [HEAD, *blocks, ALL])
    chosen = set(blocks[blocks.index(unfreeze) :])
    return {layer.name for layer in layers if layer.block in chosen}


def _last_names(layers: Sequence[LayerInfo], count: int) -> set[str]:
    if count > len(layers):
        raise UsageError(
            f"unfreeze={count}, but the model has {len(layers)} layers: give at most "
            f"{len(layers)}, or 'all'."
        )
    return {layer.name for layer in layers[-count:]}


def check_schedule(layers: Sequence[LayerInfo], schedule: Schedule) -> None:
    """Refuse a schedule with any stage that cannot run on these layers, before work starts.

    Raises:
        UsageError: A stage unfreezes what is not there, or solves a head that is not linear
            exactly.
    """
    for stage in schedule:
        plan_freeze(layers, stage)
        if stage.solver == "exact":
            _check_exact(layers, stage)


def _check_exact(layers: Sequence[LayerInfo], stage: Stage) -> None:
    heads = [layer for layer in layers if layer.block == HEAD and layer.parameters]
    if stage.unfreeze != HEAD or len(heads) != 1:
        raise UsageError(
            f"Stage {stage.name!r} solves its head exactly, which needs a linear head and "
            "unfreeze='head': build the model without hidden layers, or use solver='fit'."
        )
