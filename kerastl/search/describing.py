"""What a search would do, in words: for `--dry-run`. No Keras."""

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.finetuning.choices import EXACT, FITS, NOTHING, OVER, VIEWS
from kerastl.finetuning.describing import (
    TERA,
    describe_stage,
    format_bytes,
    show_number,
)
from kerastl.finetuning.planning import (
    choose_image_size,
    load_data,
    name_limit,
    read_schedule,
)
from kerastl.search.candidates import apply_parameters
from kerastl.search.estimating import SHARED, SearchCost, estimate_search
from kerastl.search.jobs import SearchJob, check_job, plan_search, resolve_job
from kerastl.search.leaderboards import name_scoring
from kerastl.search.lines import show_value
from kerastl.search.plans import Plan, count_epochs

SHOWN = 10  # candidates written out
# why stages go another way than frozen layers once and the rest in every epoch -> in words
REASONS = {
    SHARED: "trained by an earlier trial",
    EXACT: "with the head solved exactly",
    NOTHING: "with nothing frozen",
    OVER: "with all layers in every epoch, over the budget",
}


def describe_search(job: SearchJob) -> str:
    """Return the plan of a search as text, without decoding images or training.

    Raises:
        KerastlError: As the search itself would, for all that shows before the first trial.
    """
    job, reason = resolve_job(job)
    check_job(job)
    data = job.data or load_data(job.options)
    plan = plan_search(job, data)
    images = ", ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    return "\n".join(
        [
            f"data      {job.options.data}: {images} images in {data.num_classes} classes",
            *(f"          {note}" for note in data.notes),
            *([f"base      {reason}"] if reason else []),
            *_indent("space", plan.space.describe()),
            *(f"          {note}" for note in plan.notes),
            f"scored    on {name_scoring(plan)}; the test split is read once, at the end",
            *_describe_trials(plan, data),
            *_describe_rungs(plan),
            *_describe_costs(plan, estimate_search(plan, data)),
            f"then      {_describe_refit(plan)}",
            f"out       {job.options.out or 'runs/search-<n>'}",
        ]
    )


def _indent(title: str, text: str) -> list[str]:
    first, *rest = text.splitlines()
    return [f"{title:<10}{first}", *(f"{'':10}{line}" for line in rest)]


def _describe_trials(plan: Plan, data: Data) -> list[str]:
    folds = (plan.settings.cv or 1) * plan.settings.repeats
    each = f", {folds} trainings each" if folds > 1 else ""
    lines = [f"trials    {plan.count}, mode {plan.settings.mode}{each}"]
    for number, params in list(plan.numbered())[:SHOWN]:
        lines.append(f"  {number:>6}  {_describe_candidate(plan, params, data)}")
    if len(plan.candidates) > SHOWN:
        lines.append(f"          and {len(plan.candidates) - SHOWN} more")
    return lines


def _describe_candidate(plan: Plan, params: dict, data: Data) -> str:
    options = apply_parameters(plan.options, params)
    base = get_base(options.base)
    height, width = choose_image_size(options, data, base)
    stages = "; ".join(describe_stage(stage) for stage in read_schedule(options, base))
    shown = " ".join(f"{name}={show_value(value)}" for name, value in params.items())
    return f"{shown}: {base.name} at {height}x{width}, {stages}"


def _describe_rungs(plan: Plan) -> list[str]:
    rungs = [f"{count} trials to epoch {epochs}" for count, epochs in plan.rungs[:-1]]
    rungs += [f"{count} to the end" for count, _ in plan.rungs[-1:]]
    return [f"rungs     {', then the best '.join(rungs)}"] if rungs else []


def _describe_costs(plan: Plan, cost: SearchCost) -> list[str]:
    total, plain = show_number(cost.total / TERA), show_number(cost.plain / TERA)
    text = f"about {total} TFLOP of trials"
    if plan.settings.nested is not None:
        text += f", and about as much for each of {plan.settings.nested} outer folds"
    if plain != total:
        text += f"; {plain} with all layers in every epoch of every trial"
    lines = _describe_reasons(plan, cost)
    count = sum(cost.stages.values())
    return [
        f"costs     {text}",
        *_indent("stages", "\n".join(lines)),
        f"programs  {cost.programs} to trace in each worker, for {count} stages of "
        f"{plan.count} trials",
    ]


def _describe_reasons(plan: Plan, cost: SearchCost) -> list[str]:
    count = sum(cost.stages.values())
    drawn = "" if plan.candidates else " of trials drawn at random"
    lines = [
        f"{cost.stages[name]} of {count}{drawn} {words}"
        for name, words in REASONS.items()
        if cost.stages[name]
    ]
    kept = cost.stages[FITS] + cost.stages[VIEWS]
    if kept:
        cuts = "1 cut" if cost.cuts == 1 else f"{cost.cuts} cuts"
        passes = "1 pass" if cost.passes == 1 else f"{cost.passes} passes"
        each = ", of augmented images in each epoch" if cost.stages[VIEWS] else ""
        limit = name_limit(plan.options.cache_budget)
        size, budget = format_bytes(cost.size), format_bytes(cost.budget)
        lines.append(
            f"{kept} of {count}{drawn} with frozen layers run once{each}: {cuts} of "
            f"up to {size} in {passes}, each at most {budget} ({limit})"
        )
    return lines


def _describe_refit(plan: Plan) -> str:
    what = {
        "train": "the best is trained again on the training images",
        "all": "the best is trained again on training and validation images",
        "none": "nothing is trained again",
    }[plan.settings.refit]
    total = _count_all_epochs(plan)
    return f"{what}; {total:,} epochs of trials at most" if total else what


def _count_all_epochs(plan: Plan) -> int:
    epochs = [count_epochs(apply_parameters(plan.options, p)) for p in plan.candidates]
    each = (plan.settings.cv or 1) * plan.settings.repeats
    if not plan.rungs:
        return each * sum(epochs)
    limits = [epochs for _, epochs in plan.rungs[:-1]] + [max(epochs)]
    steps = [high - low for low, high in zip([0, *limits], limits, strict=False)]
    return each * sum(count * s for (count, _), s in zip(plan.rungs, steps, strict=True))
