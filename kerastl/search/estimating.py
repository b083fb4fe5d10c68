"""What a search costs, summed over its candidates before any is trained. No Keras."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.data.pixels import check_budget
from kerastl.finetuning.choices import EXACT, list_splits, measure_width
from kerastl.finetuning.costs import StageCost, estimate_stages
from kerastl.finetuning.passes import Kept, plan_pass
from kerastl.finetuning.planning import choose_image_size, plan_network, read_schedule
from kerastl.finetuning.signatures import Signature, needs_one_hot
from kerastl.options import Options
from kerastl.search.candidates import apply_parameters
from kerastl.search.cuts import identify_model, list_cuts
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
        cuts: How many cuts are kept, of each fold and repeat where they differ.
        passes: How often frozen layers run over the images; one pass gives several cuts.
        views: How often over the augmented images of one epoch.
        programs: How many different graphs are to be traced in a worker that runs all.
        size: Bytes of the largest of the cuts.
        budget: Bytes that each may take.
    """

    total: float = 0.0
    plain: float = 0.0
    stages: Counter = field(default_factory=Counter)
    cuts: int = 0
    passes: int = 0
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
        self.known: set[tuple] = set()  # a cut and a split that went through what is below
        self.width = measure_width(plan.options.activations)
        self.views: Counter = Counter()  # epochs of each augmentation of a cut
        self.programs: set[tuple] = set()
        self.cost = SearchCost(budget=check_budget(plan.options.cache_budget))

    def run(self) -> SearchCost:
        every = [apply_parameters(self.plan.options, p) for p in self._list_candidates()]
        known = every if self.plan.candidates else []  # before the first trial
        self.others = list_cuts(known, self.data)
        for options in every:
            self._add(options)
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
        settings = {"shared": True, "width": self.width}
        costs = estimate_stages(network, schedule.stages, self.images, budget, **settings)
        others = self.others.get(identify_model(options, self.data), ())
        before: list[tuple[str, set[str]]] = []  # what each earlier stage trained
        first = 0
        for index, trunk in enumerate(list_trunks(options)):
            cost = costs[index]
            self._add_program((network, str(options.weights)), cost)
            if self._add_stage(cost, trunk, first):
                given = plan_pass(
                    network, schedule.stages, index, self.images, budget, others, **settings
                )
                places = [_place(one, cost, options, before, size) for one in given]
                self._add_pass(given, places, cost, options)
                self._add_views((places[0], index), cost)
            before.append((trunk, set(cost.cut.trained)))
            first += cost.stage.epochs

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

    def _add_stage(self, cost: StageCost, trunk: str, first: int) -> bool:
        """Add the epochs of a stage; return whether it takes activations."""
        fits = self.folds * self.repeats
        is_exact, cached = cost.choice.reason == EXACT, cost.choice.cached
        epochs = self._count_epochs(first, 1 if is_exact else cost.stage.epochs)
        solved = cost.once if is_exact else 0
        once, every = (solved + cost.count_epochs(1, cached=c) for c in (cached, False))
        self.cost.plain += fits * epochs * every
        if self.shares and trunk in self.trunks:
            self.cost.stages[SHARED] += 1
            return False
        self.trunks.add(trunk)
        self.cost.stages[cost.choice.reason] += 1
        self.cost.total += fits * epochs * once
        return cached and not is_exact

    def _add_pass(
        self,
        given: Sequence[Kept],
        places: Sequence[tuple],
        cost: StageCost,
        options: Options,
    ) -> None:
        """Add what of a stage's pass over the images no earlier one has given."""
        images = {"train": cost.train, "validation": cost.validation}
        (_, _, changed), *_ = places[0]
        varies = options.weights is None or changed  # from repeat to repeat
        times = self.folds * (self.repeats if varies else 1)
        runs = False
        for split in list_splits(cost.choice):
            if (places[0], split) in self.known:
                continue
            found = [
                (place, one)
                for place, one in zip(places, given, strict=True)
                if split in list_splits(one.choice) and (place, split) not in self.known
            ]
            self.known |= {(place, split) for place, _ in found}
            deepest = max(one.cut.below for _, one in found)
            self.cost.total += times * deepest * images[split]
            self.cost.size = max(self.cost.size, *(one.choice.size for _, one in found))
            runs = True
        new = {place for place, _ in self.known} - self.cuts
        self.cuts |= new
        self.cost.cuts += times * len(new)
        self.cost.passes += times * runs

    def _add_views(self, place: tuple, cost: StageCost) -> None:
        """Add the augmented images of epochs that no trial before this has drawn."""
        stage, fits = cost.stage, self.folds * self.repeats
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


def _place(
    one: Kept,
    cost: StageCost,
    options: Options,
    before: Sequence[tuple[str, set[str]]],
    size: tuple[int, int],
) -> tuple:
    """Return what the activations of a cut depend on, given what was trained before."""
    changed = [trunk for trunk, trained in before if trained & one.cut.frozen]
    model = (options.base, size, changed[-1] if changed else "")
    return (model, options.pooling, cost.stage.normalize, one.cut.places)


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
