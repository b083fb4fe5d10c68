"""`kerastl lr-find`: a learning rate to start from, by a range test."""

import argparse
from typing import TYPE_CHECKING

from kerastl.cli.flags import add_options, collect_options, read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import UsageError
from kerastl.stages import Stage

if TYPE_CHECKING:
    from kerastl.finetuning import RateTest
    from kerastl.options import Options
    from kerastl.runs import RunFolder

_EXAMPLES = (
    "kerastl lr-find --data photos/ --base resnet50",
    "kerastl lr-find --data photos/ --unfreeze conv5 --optimizer sgd --out rates",
    "kerastl lr-find --base tiny --schedule full --steps 200 --json",
)
# rates and times of a stage, which a test of rates has not
_NOT_ASKED = (
    "schedule", "epochs", "learning_rate", "lr_schedule", "step_epochs", "step_factor",
    "warmup_epochs", "patience", "restore_best",
)  # fmt: skip
_TESTED = (
    "batch_size", "optimizer", "momentum", "weight_decay", "rate_decay", "augment",
    "class_weight", "train_batchnorm", "label_smoothing", "normalize",
)  # fmt: skip


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `lr-find`."""
    parser = add_command(
        commands, "lr-find", "Find a learning rate by a range test", _EXAMPLES
    )
    parser.add_argument(
        "--unfreeze",
        metavar="WHAT",
        type=read_number,
        help="head, a block, a number of last layers, or all (default: head)",
    )
    parser.add_argument(
        "--schedule",
        metavar="NAME",
        dest="tested_schedule",
        help="test the first stage of this schedule instead",
    )
    for flag, default, help in (
        ("--steps", 100, "batches to train on, each at a higher rate"),
        ("--min", 1e-7, "rate of the first step"),
        ("--max", 10.0, "rate of the last step"),
    ):
        parser.add_argument(
            flag,
            metavar="N" if flag == "--steps" else "RATE",
            type=read_number,
            default=default,
            help=f"{help} (default: {default:g})",
        )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--out", metavar="DIR", dest="folder", help="new folder for the curve and its plot"
    )
    add_options(parser, ["training"], skip=_NOT_ASKED)
    add_options(parser, ["images", "model"], skip=("merge_validation",))
    add_options(parser, ["run"], skip=("out", "activations"))


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.finetuning.curves import check_range

    options = collect_options(given, {})
    check_range(given.steps, given.min, given.max)
    if given.unfreeze is not None and given.tested_schedule is not None:
        raise UsageError(
            f"--unfreeze {given.unfreeze} and --schedule {given.tested_schedule}: a "
            "schedule says itself what its first stage trains; give one of them."
        )
    options = _check_stage(given, options)
    if given.folder is None:
        _report(_test(given, options), given.json)
        return 0
    from kerastl.runs import RunFolder

    with RunFolder.create("lr-find", given.folder) as folder:
        found = _test(given, options)
        _write(found, folder)
    _report(found, given.json)
    say(f"written to {given.folder}: rates.csv, rates.json, rates.png")
    return 0


def _check_stage(given: argparse.Namespace, options: "Options") -> "Options":
    """Settle the base, and check the stage against it before TensorFlow starts."""
    import dataclasses

    from kerastl.bases import get_base
    from kerastl.bases.sizes import check_image_size
    from kerastl.finetuning.planning import check_weights, read_schedule, resolve_base

    options, reason = resolve_base(options)
    if reason:
        say(reason)
    base = get_base(options.base)
    if given.tested_schedule is None:
        unfreeze = "head" if given.unfreeze is None else given.unfreeze
        stage = dataclasses.asdict(Stage(name="rates", unfreeze=unfreeze))
        read_schedule(dataclasses.replace(options, stages=(stage,)), base)
    else:
        read_schedule(dataclasses.replace(options, schedule=given.tested_schedule), base)
    check_image_size(base, options.image_size)
    check_weights(base, options.weights)
    return options


def _test(given: argparse.Namespace, options: "Options") -> "RateTest":
    from kerastl.bases import get_base
    from kerastl.finetuning.jobs import build_start
    from kerastl.finetuning.planning import load_data
    from kerastl.startup import start_tensorflow

    data = load_data(options)
    for note in data.notes:
        say(note)
    start_tensorflow()
    from kerastl.finetuning import find_learning_rate

    settings = {name: getattr(options, name) for name in _TESTED}
    what = {"unfreeze": "head" if given.unfreeze is None else given.unfreeze}
    if given.tested_schedule is not None:
        what = {"schedule": given.tested_schedule}
    return find_learning_rate(
        build_start(options, data, get_base(options.base)),
        data,
        **what,
        steps=given.steps,
        min_rate=given.min,
        max_rate=given.max,
        seed=options.seed,
        cache_budget=options.cache_budget,
        **{name: value for name, value in settings.items() if value is not None},
    )


def _write(found: "RateTest", folder: "RunFolder") -> None:
    from kerastl.reporting.canvas import figure_png

    folder.write_csv("rates.csv", found.table)
    folder.write_bytes("rates.png", figure_png(found.plot()))
    folder.write_json("rates.json", found.to_dict())


def _report(found: "RateTest", as_json: bool) -> None:
    if as_json:
        show_json(found.to_dict())
    else:
        show(str(found))
