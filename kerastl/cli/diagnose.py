"""`kerastl diagnose`: why validation is below training or falls, and what to try next."""

import argparse

from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import UsageError
from kerastl.startup import start_tensorflow

_EXAMPLES = (
    "kerastl diagnose runs/finetune-1",
    "kerastl diagnose runs/finetune-1 --json",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `diagnose`."""
    parser = add_command(
        commands,
        "diagnose",
        "Say why validation is below training, and what to try next",
        _EXAMPLES,
        arguments="RUN",
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--json", action="store_true", help="print all numbers and images as JSON"
    )


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.runs import RunFolder

    folder = RunFolder.open(given.run)  # says what is wrong with it before TensorFlow loads
    if not folder.finished:
        raise UsageError(
            f"{given.run} holds a run that is not finished: go on with it by kerastl "
            f"finetune --resume {given.run}."
        )
    start_tensorflow()
    from kerastl.finetuning import load_run

    found = load_run(given.run).diagnose()
    if given.json:
        show_json(found.to_dict())
    else:
        show(str(found))
    say(f"{folder.path / 'report.html'} has it as well.")
    return 0
