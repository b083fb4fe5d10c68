"""What to do with these images on this base: measured first, then read off a table."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerastl.advice.commands import write_command
from kerastl.advice.evidence import Evidence, gather_evidence
from kerastl.advice.guidance import guide_search
from kerastl.advice.rules import (
    CHEAPER,
    CHEAPER_RUN,
    GUIDE,
    MIN_STEPS,
    SCRATCH_SETTINGS,
    SCRATCH_SOURCE,
    SPREAD,
    STEPS_SOURCE,
    STRATEGIES,
    TIMES,
    TOO_LONG,
    Rule,
    choose_time,
    find_rule,
)
from kerastl.advice.samples import draw_sample
from kerastl.advice.timing import Duration, Speed, estimate_duration
from kerastl.bases import Base, get_base
from kerastl.bases.operations import Network
from kerastl.bases.sizes import check_image_size
from kerastl.data import Data
from kerastl.data.pixels import check_budget
from kerastl.evaluation.layout import text_table
from kerastl.finetuning.costs import estimate_stages
from kerastl.finetuning.planning import check_weights, choose_image_size, resolve_base
from kerastl.options import Options
from kerastl.schedules import resolve_schedule
from kerastl.stages import Schedule, check_number
from kerastl.weights import PRETRAINED

IMAGES = 1000  # looked at


@dataclass(frozen=True)
class Reason:
    """One decision: what was chosen, why, and where that comes from."""

    what: str
    choice: str
    why: str
    source: str


@dataclass(frozen=True)
class Advice:
    """What to do with some images, and what that rests on.

    Args:
        strategy: `"feature extraction"`, `"fine-tune"`, `"hybrid"`, `"from scratch"` or
            `"not advised"`.
        base: Name of the base.
        weights: To start from; None for random ones.
        schedule: A name of `kerastl.SCHEDULES`.
        settings: Of stages, to change in that schedule.
        batch_sizes: To take, or to search where there are several.
        learning_rates: One per stage.
        n_iter: Trials; 1 for a single run.
        minutes: That all of it takes, about.
        reasons: One per decision.
        evidence: What was counted and measured.
        command: The next one to paste.
    """

    strategy: str
    base: str
    weights: str | None
    schedule: str
    settings: dict[str, Any]
    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, ...]
    n_iter: int
    minutes: float
    reasons: tuple[Reason, ...]
    evidence: Evidence
    command: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        reasons = [asdict(reason) for reason in self.reasons]
        return {**values, "reasons": reasons, "evidence": self.evidence.to_dict()}

    def __str__(self) -> str:
        found = text_table(["measured", ""], self.evidence.list_lines())
        parts = [
            f"{reason.what}: {reason.choice}\n    {reason.why}\n    [{reason.source}]"
            for reason in self.reasons
        ]
        return "\n".join([found, "", *parts, "", "next", f"  {self.command}"])

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class _Case:
    """What one call is about."""

    data: Data
    base: Base
    weights: str | Path | None
    image_size: tuple[int, int]
    minutes: float | None

    @property
    def images(self) -> tuple[int, int]:
        return len(self.data.train), len(self.data.validation or ())


def advise(
    data: Data,
    *,
    base: str = "auto",
    minutes: float | None = None,
    weights: str | Path | None = PRETRAINED,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    cache: bool | Path = True,
) -> Advice:
    """Say how to fine-tune a base on your images, why, and what to type next.

    The number of images, what the base's pretrained features do for them and the time there
    is are looked up in the tables of `kerastl.advice.rules`, which `kerastl advise --rules`
    prints. The features of up to 1,000 training images are computed, with pretrained and
    with random weights; validation and test are not opened.

    Args:
        data: From `load_images`, of one label per image.
        base: Name of a base. Default `"auto"`: ResNet50 where its weights can be had, else
            `tiny`.
        minutes: There are for training. Default: as many as it takes.
        weights: As in `build_model`; random ones teach nothing, and are compared with
            nothing.
        image_size: Side, or height and width. Default: as `kerastl finetune` takes it.
        seed: Of the draw of images, the folds and random weights.
        cache: As in `extract_features`.

    Returns:
        Advice; printed, it is a page with measurements, decisions, sources and a command.

    Raises:
        UsageError: An argument is not allowed; before anything is decoded.
        StorageError: The weights can neither be found nor downloaded.
        DataError: A class has a single image, or images cannot be read.

    Example:

    >>> import kerastl
    >>> data = kerastl.load_images("digits")
    >>> advice = advise(data, base="tiny", weights=None, cache=False)
    >>> advice.evidence.amount, advice.evidence.similarity, advice.strategy
    ('enough', 'different', 'fine-tune')
    """
    options, row, _ = check_request(base, minutes, weights, image_size)
    sample = draw_sample(data, IMAGES, seed)
    size = choose_image_size(options, data, row)
    evidence, speed = gather_evidence(
        data, sample, row, options.weights, size, seed=seed, cache=cache
    )
    case = _Case(data, row, options.weights, size, minutes)
    return _decide(case, evidence, speed)


def check_request(
    base: str,
    minutes: float | None,
    weights: str | Path | None,
    image_size: int | tuple[int, int] | None,
) -> tuple[Options, Base, str]:
    """Return the options and row of a base, and why it was taken for `"auto"`.

    Raises:
        UsageError: An argument is not allowed.
        StorageError: The weights can neither be found nor downloaded.
    """
    if minutes is not None:
        check_number("minutes", minutes, 0.01, 1e6)
    given = Options(base=base, weights=weights, image_size=image_size)
    options, reason = resolve_base(given)
    row = get_base(options.base)
    check_image_size(row, options.image_size)
    check_weights(row, options.weights)
    return options, row, reason


def _decide(case: _Case, evidence: Evidence, speed: Speed) -> Advice:
    rule = find_rule(evidence.amount, evidence.similarity)
    plan = _make_plan(case, rule, speed)
    rates = tuple(stage.learning_rate for stage in plan.schedule)
    name, weights = plan.schedule.name, plan.weights
    return Advice(
        strategy=rule.strategy if name == rule.schedule else STRATEGIES[name],
        base=case.base.name,
        weights=None if weights is None else str(weights),
        schedule=name,
        settings=plan.settings,
        batch_sizes=plan.batch_sizes,
        learning_rates=rates,
        n_iter=plan.n_iter,
        minutes=plan.minutes,
        reasons=(
            _explain_strategy(rule, evidence, name),
            _explain_rates(plan),
            _explain_batches(case, plan),
            _explain_trials(case, plan),
        ),
        evidence=evidence,
        command=_write(case, plan, is_advised=rule.is_advised),
    )


@dataclass(frozen=True)
class _Plan:
    """What is to be run."""

    schedule: Schedule
    weights: str | Path | None
    settings: dict[str, Any]
    batch_sizes: tuple[int, ...]
    n_iter: int
    time: str
    minutes: float


def _make_plan(case: _Case, rule: Rule, speed: Speed) -> _Plan:
    sizes = choose_batch_sizes(case.images)
    settings = {"batch_size": sizes[-1], **(SCRATCH_SETTINGS if rule.from_scratch else {})}
    schedule = _resolve(case, rule.schedule, settings)
    duration = _estimate(case, speed, schedule)
    wanted = guide_search(sum(case.images)).n_iter if rule.is_advised else 1
    cheaper = _find_cheaper(case, speed, rule, sizes[-1])
    durations = {"one": duration.count(1), "trial": duration.each}
    time, n_iter = choose_time(case.minutes, **durations, wanted=wanted, cheaper=cheaper)
    weights = None if rule.from_scratch else case.weights
    if time in (CHEAPER_RUN, TOO_LONG):
        name = cheaper or CHEAPER[-1]
        settings, weights = {"batch_size": sizes[-1]}, case.weights
        schedule = _resolve(case, name, settings)
        duration = _estimate(case, speed, schedule)
    del settings["batch_size"]
    sizes = sizes if n_iter > 1 else sizes[-1:]
    minutes = duration.count(n_iter) / 60
    return _Plan(schedule, weights, settings, sizes, n_iter, time, minutes)


def choose_batch_sizes(images: tuple[int, int]) -> tuple[int, ...]:
    """Return the sizes that suit so many images and leave enough steps per epoch.

    Args:
        images: To train on and to validate on.

    Example:

    >>> choose_batch_sizes((1079, 359)), choose_batch_sizes((196, 49))
    ((16, 32), (16,))
    """
    sizes = guide_search(sum(images)).batch_sizes
    return tuple(size for size in sizes if images[0] >= MIN_STEPS * size) or sizes[:1]


def _resolve(case: _Case, name: str, changes: dict[str, Any]) -> Schedule:
    base = case.base
    return resolve_schedule(name, base.blocks, changes, head_rate=base.head_rate)


def _estimate(case: _Case, speed: Speed, schedule: Schedule) -> Duration:
    network = Network(case.base.name, case.image_size, case.data.num_classes)
    budget = check_budget(None)
    costs = estimate_stages(network, schedule.stages, case.images, budget)
    return estimate_duration(costs, speed)


def _find_cheaper(case: _Case, speed: Speed, rule: Rule, batch_size: int) -> str:
    """Return the first schedule after the rule's that fits, if any does."""
    if case.minutes is None:
        return ""
    # pretrained weights need fewer epochs than random ones do by the same schedule
    first = CHEAPER.index(rule.schedule) + (not rule.from_scratch)
    for name in CHEAPER[first:]:
        schedule = _resolve(case, name, {"batch_size": batch_size})
        if _estimate(case, speed, schedule).count(1) <= case.minutes * 60:
            return name
    return ""


def _write(case: _Case, plan: _Plan, *, is_advised: bool) -> str:
    return write_command(
        case.data,
        case.base,
        plan.weights,
        case.image_size,
        plan.schedule,
        plan.settings,
        plan.batch_sizes,
        plan.n_iter,
        is_advised=is_advised,
    )


def _explain_strategy(rule: Rule, evidence: Evidence, chosen: str) -> Reason:
    choice = f"{rule.strategy}, schedule {chosen!r}"
    if chosen != rule.schedule:
        choice = f"schedule {chosen!r} for want of time, not {rule.schedule!r}"
    why = f"{evidence.amount} images, {evidence.similarity} to the source: {rule.why}"
    return Reason("strategy", choice, why, rule.source)


def _explain_rates(plan: _Plan) -> Reason:
    choice = ", ".join(
        "solved exactly" if stage.solver == "exact" else f"{stage.learning_rate:.2g}"
        for stage in plan.schedule
    )
    if plan.settings:
        why, source = "nothing is pretrained that a low rate would spare", SCRATCH_SOURCE
    else:
        why = "a new head learns at its base's own rate, pretrained layers at a tenth of it"
        source = f"{GUIDE}, for low rates; the table of bases, for the head's"
    if plan.n_iter > 1:
        why += f"; searched from a third of that to {SPREAD} times it"
    return Reason("learning rates", choice, why, source)


def _explain_batches(case: _Case, plan: _Plan) -> Reason:
    why = guide_search(sum(case.images)).reason
    if plan.batch_sizes[-1] < guide_search(sum(case.images)).batch_sizes[-1]:
        why += f" Larger ones leave under {MIN_STEPS} steps per epoch."
    choice = " or ".join(map(str, plan.batch_sizes))
    return Reason("batch size", choice, why, STEPS_SOURCE)


def _explain_trials(case: _Case, plan: _Plan) -> Reason:
    low, high = guide_search(sum(case.images)).n_iter_range
    given = "there is no limit"
    if case.minutes is not None:
        given = f"{case.minutes:g} min are given"
    why = f"{given}, this takes about {plan.minutes:.1f} min: {dict(TIMES)[plan.time]}"
    if plan.n_iter > 1:
        why += f"; so many images bear {low} to {high}"
    return Reason("trials", str(plan.n_iter), why, "recipe R5; the FLOPs of each stage")
