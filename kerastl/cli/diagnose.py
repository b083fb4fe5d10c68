"""`kerastl diagnose`: why validation is below training or falls, and what to try next."""

import argparse

from kerastl.cli.finished import load_finished
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json

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
    loaded = load_finished(given.run)
    found = loaded.diagnose()
    if given.json:
        show_json(found.to_dict())
    else:
        show(str(found))
    say(f"{loaded.folder.path / 'report.html'} has it as well.")
    return 0
