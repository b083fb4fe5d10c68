"""What a comparison would do: printed without TensorFlow."""

from kerastl.bases import get_base
from kerastl.comparing.entries import Entry
from kerastl.comparing.jobs import ComparisonJob, check_splits, settle_job
from kerastl.data import Data
from kerastl.data.pixels import check_budget
from kerastl.evaluation.layout import MISSING, text_table
from kerastl.finetuning.choices import measure_width
from kerastl.finetuning.costs import estimate_stages
from kerastl.finetuning.describing import TERA, show_number
from kerastl.finetuning.planning import (
    choose_image_size,
    load_data,
    plan_network,
    read_schedule,
)

_HEADER = ["model", "stages and epochs", "size", "trained", "TFLOP"]


def describe_comparison(job: ComparisonJob) -> str:
    """Return what a comparison would train, and about how much arithmetic it takes.

    Args:
        job: What is asked for.

    Raises:
        KerastlError: What cannot run, as the comparison itself would say.
    """
    settled = settle_job(job)
    data = settled.job.data or load_data(settled.job.options)
    check_splits(data)
    counts = ", ".join(f"{len(split)} {name}" for name, split in data.splits.items())
    rows = [_describe(entry, data) for entry in settled.entries]
    seeds = settled.seeds
    place = settled.job.options.out or "runs/compare-<n>"
    return "\n".join(
        [
            f"data      {settled.job.options.data}: {counts} images",
            *(f"          {note}" for note in data.notes),
            *(f"plan      {note}" for note in settled.notes),
            f"runs      {len(rows) * len(seeds)}: {len(rows)} combinations, "
            f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}",
            f"out       {place}",
            "",
            text_table(_HEADER, rows, right=(3, 4)),
        ]
    )


def _describe(entry: Entry, data: Data) -> list[str]:
    options = entry.options
    if options is None:
        return [entry.name, "cannot run", *[MISSING] * 3]
    base = get_base(options.base)
    size = choose_image_size(options, data, base)
    network = plan_network(options, base, size, data.num_classes)
    stages = read_schedule(options, base).stages
    images = len(data.train), len(data.validation or ())
    most, width = check_budget(options.cache_budget), measure_width(options.activations)
    costs = estimate_stages(network, stages, images, most, width=width)
    names = {name for cost in costs for name in cost.cut.trained}
    trained = sum(layer.parameters for layer in network.layers if layer.name in names)
    return [
        entry.name,
        ", ".join(f"{stage.name} {stage.epochs}" for stage in stages),
        "x".join(map(str, size)),
        f"{trained:,}",
        show_number(sum(cost.total for cost in costs) / TERA),
    ]
