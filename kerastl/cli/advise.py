"""`kerastl advise`: what to do with these images, why, and what to type next."""

import argparse

from kerastl.cli.flags import add_options, collect_options, read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.cli.rank import NOT_ASKED, add_model_flags

_EXAMPLES = (
    "kerastl advise --data photos/",
    "kerastl advise --data photos/ --base resnet50 --minutes 30",
    "kerastl advise --rules",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `advise`."""
    parser = add_command(
        commands, "advise", "Say how to fine-tune on your images, and why", _EXAMPLES
    )
    parser.add_argument(
        "--base",
        metavar="NAME",
        default="auto",
        help="see `kerastl bases`; auto: resnet50, else tiny (default: auto)",
    )
    parser.add_argument(
        "--minutes",
        metavar="MINUTES",
        type=read_number,
        help="there are for training; default: as many as it takes",
    )
    parser.add_argument("--rules", action="store_true", help="print the rules, and stop")
    parser.add_argument("--json", action="store_true", help="print the advice as JSON")
    add_model_flags(parser)
    add_options(parser, ["images"], skip=NOT_ASKED)


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.advice.rule_tables import describe_rules

    if given.rules:
        show(describe_rules())
        return 0
    from kerastl.advice.advising import advise, check_request
    from kerastl.finetuning.planning import load_data

    options = collect_options(given, {})
    wanted = {
        "base": given.base,
        "minutes": given.minutes,
        "weights": options.weights,
        "image_size": options.image_size,
    }
    _, _, reason = check_request(**wanted)
    if reason:
        say(reason)
    data = load_data(options)
    for note in data.notes:
        say(note)
    advice = advise(data, seed=options.seed, **wanted)
    if given.json:
        show_json(advice.to_dict())
    else:
        show(str(advice))
    return 0
