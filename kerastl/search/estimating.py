"""What a search costs, summed over its candidates before any is trained. No Keras."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.data.pixels import check_budget
from kerastl.finetuning.costs import EXACT, StageCost, estimate_stages
from kerastl.finetuning.planning import choose_image_size, plan_network, read_schedule
from kerastl.finetuning.signatures import Signature, needs_one_hot
from kerastl.options import Options
from kerastl.search.candidates import apply_parameters
from kerastl.search.driver import list_trunks
from kerastl.search.plans import Plan
from kerastl.search.sampling import sample_random

SHARED = "shared"  # the reason of a stage that an earlier trial has trained


@dataclass
class SearchCost:
    """The sum over the trials of a search, their folds and repeats.

    Args:
        total: FLOPs as the search will run.
        plain: FLOPs with all layers in every epoch and nothing shared.
        stages: How many stages of candidates there are by reason: those of a `Choice`, and
            `"shared"` for stages that an earlier trial has trained.
        cuts: How often frozen layers run over the images: each cut once.
        views: How often over the augmented images of one epoch.
        programs: How many different graphs are to be traced in a worker that runs all.
        size: Bytes of the largest of the cuts.
        budget: Bytes that each may take.
    """

    total: float = 0.0
    plain: float = 0.0
    stages: Counter = field(default_factory=Counter)
    cuts: int = 0
    views: int = 0
    programs: int = 0
    size: int = 0
    budget: int = 0


def estimate_search(plan: Plan, data: Data) -> SearchCost:
    """Sum up what the candidates of a plan take.

    Each cut is computed once, and leading stages that candidates have in common are trained
    once. In successive halving as many as go on are counted, each of them as the mean of
    all; for `tpe` as many points as it will suggest are drawn at random.

    Args:
        plan: Of the search.
        data: The images; none is decoded.
    """
    return _Sum(plan, data).run()


class _Sum:
    """The sum in progress: what was seen in the candidates so far."""

    def __init__(self, plan: Plan, data: Data):
        self.plan, self.data = plan, data
        self.folds, self.repeats = plan.settings.cv or 1, plan.settings.repeats
        self.images = _count_images(plan, data)
        self.shares = bool(plan.candidates) and not plan.rungs  # as the driver has it
        self.rungs = _list_rungs(plan)
        self.trunks: set[str] = set()
        self.cuts: set[tuple] = set()
        self.views: Counter = Counter()  # epochs of each augmentation of a cut
        self.programs: set[tuple] = set()
        self.cost = SearchCost(budget=check_budget(plan.options.cache_budget))

    def run(self) -> SearchCost:
        for params in self._list_candidates():
            self._add(apply_parameters(self.plan.options, params))
        self.cost.programs = len(self.programs)
        return self.cost

    def _list_candidates(self) -> tuple[Mapping[str, Any], ...]:
        plan = self.plan
        if plan.candidates:
            return plan.candidates
        seed = plan.settings.random_state or 0
        return tuple(sample_random(plan.space, plan.count, seed))

    def _add(self, options: Options) -> None:
        base = get_base(options.base)
        size = choose_image_size(options, self.data, base)
        network = plan_network(options, base, size, len(self.data.class_names))
        schedule, budget = read_schedule(options, base), self.cost.budget
        costs = estimate_stages(network, schedule.stages, self.images, budget, shared=True)
        trained: set[str] = set()  # by earlier stages
        origin, first = "", 0
        for index, trunk in enumerate(list_trunks(options)):
            cost = costs[index]
            self._add_program((network, str(options.weights)), cost)
            changed = origin if trained & cost.cut.frozen else ""
            model = (network.base, size, changed)
            self._add_stage(cost, trunk, options, (index, first), model)
            trained |= set(cost.cut.trained)
            origin, first = trunk, first + cost.stage.epochs

    def _add_program(self, model: tuple, cost: StageCost) -> None:
        if cost.choice.reason == EXACT:
            return
        signature = Signature.of(
            cost.stage,
            trained=cost.cut.trained,
            cached=cost.choice.cached,
            normalization=cost.stage.normalize,
        )
        folds = self.folds if cost.stage.normalize == "data" else 1  # each has its own
        self.programs |= {(model, signature, fold) for fold in range(folds)}

    def _add_stage(
        self,
        cost: StageCost,
        trunk: str,
        options: Options,
        start: tuple[int, int],
        model: tuple,
    ) -> None:
        fits = self.folds * self.repeats
        is_exact, cached = cost.choice.reason == EXACT, cost.choice.cached
        index, first = start
        epochs = self._count_epochs(first, 1 if is_exact else cost.stage.epochs)
        solved = cost.once if is_exact else 0
        once, every = (solved + cost.count_epochs(1, cached=c) for c in (cached, False))
        self.cost.plain += fits * epochs * every
        if self.shares and trunk in self.trunks:
            self.cost.stages[SHARED] += 1
            return
        self.trunks.add(trunk)
        self.cost.stages[cost.choice.reason] += 1
        self.cost.total += fits * epochs * once
        if cached and not is_exact:
            place = (model, options.pooling, cost.stage.normalize, cost.cut.places)
            self._add_cut(place, cost, options)
            self._add_views((place, index), cost, fits)

    def _add_cut(self, place: tuple, cost: StageCost, options: Options) -> None:
        key = (place, cost.choice.reason)
        if key in self.cuts:
            return
        self.cuts.add(key)
        (_, _, changed), *_ = place
        varies = options.weights is None or changed  # from repeat to repeat
        times = self.folds * (self.repeats if varies else 1)
        self.cost.cuts += times
        self.cost.total += times * cost.once
        self.cost.size = max(self.cost.size, cost.choice.size)

    def _add_views(self, place: tuple, cost: StageCost, fits: int) -> None:
        """Add the augmented images of epochs that no trial before this has drawn."""
        stage = cost.stage
        labels = needs_one_hot(stage)
        key = (*place, stage.name, stage.augment, stage.batch_size, labels)
        new = max(0, stage.epochs - self.views[key])
        self.views[key] += new
        if cost.view:
            self.cost.views += new * fits
        self.cost.total += new * fits * cost.view

    def _count_epochs(self, first: int, count: int) -> float:
        """Return how many of a stage's epochs a candidate trains, in the mean."""
        return sum(
            share * max(0, min(first + count, high) - max(first, low))
            for low, high, share in self.rungs
        )


def _count_images(plan: Plan, data: Data) -> tuple[int, int]:
    train, validation = len(data.train), len(data.validation or ())
    if plan.settings.cv is None:
        return train, validation
    fold = round((train + validation) / plan.settings.cv)
    return train + validation - fold, fold


def _list_rungs(plan: Plan) -> list[tuple[float, float, float]]:
    """Return first and last epoch of each rung, and the share of candidates that train."""
    if not plan.rungs:
        return [(0, math.inf, 1.0)]
    limits = [0, *(epochs for _, epochs in plan.rungs[:-1]), math.inf]
    counts = [count for count, _ in plan.rungs]
    most = len(plan.candidates)
    return [
        (low, high, count / most)
        for low, high, count in zip(limits[:-1], limits[1:], counts, strict=True)
    ]
