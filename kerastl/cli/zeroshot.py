"""`kerastl zero-shot`: classes never trained, recognised by their attributes."""

import argparse

from kerastl.cli.flags import add_options, collect_options, read_names, read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json

_EXAMPLES = (
    "kerastl zero-shot --data photos/ --attributes animals.csv --unseen zebra,okapi",
    "kerastl zero-shot --data photos/ --attributes animals.csv --base resnet50",
    "kerastl zero-shot --data photos/ --attributes animals.csv --method dap --json",
)
# the unseen classes are not among those that a head is trained on
NOT_ASKED = ("multi_label", "merge_validation")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `zero-shot`."""
    parser = add_command(
        commands, "zero-shot", "Recognise classes never trained by attributes", _EXAMPLES
    )
    parser.add_argument(
        "--attributes",
        metavar="FILE",
        required=True,
        help="CSV or TSV: a row per class, a column per attribute, 0/1 or other numbers",
    )
    parser.add_argument(
        "--unseen",
        metavar="NAMES",
        type=read_names,
        help="classes not to train on (default: those of the table without images)",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        default="eszsl",
        help="eszsl or dap, direct attribute prediction (default: eszsl)",
    )
    parser.add_argument(
        "--folds",
        metavar="N",
        type=read_number,
        default=10,
        help="sets of seen classes held out to choose regularisers by (default: 10)",
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    add_options(parser, ["images"], skip=NOT_ASKED)
    add_options(parser, ["model"], skip=("pooling", "hidden", "dropout", "multi_label"))
    add_options(parser, ["run"])


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.finetuning.planning import load_data
    from kerastl.runs import RunFolder
    from kerastl.zeroshot import read_attributes, zero_shot

    options = collect_options(given, {})
    table = read_attributes(given.attributes)
    data = load_data(options)
    for note in data.notes:
        say(note)
    with RunFolder.create("zero-shot", options.out) as folder:
        result = zero_shot(
            data,
            table,
            unseen=given.unseen,
            base=options.base,
            weights=options.weights,
            image_size=options.image_size,
            method=given.method,
            folds=given.folds,
            seed=options.seed,
        )
        result.write(folder)
    if given.json:
        show_json(result.to_dict())
    else:
        show(str(result))
    say(f"{folder.path} has model.keras, labels.json, attributes.csv and metrics.json.")
    return 0
