"""`kerastl calibrate`: whether a run's confidences can be believed, and making them so."""

import argparse

from kerastl.cli.finished import load_finished
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json

_EXAMPLES = (
    "kerastl calibrate runs/finetune-1",
    "kerastl calibrate runs/finetune-1 --apply",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `calibrate`."""
    parser = add_command(
        commands,
        "calibrate",
        "Measure how sure a run is against how often it is right",
        _EXAMPLES,
        arguments="RUN",
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--apply",
        action="store_true",
        help="build the temperature into the run's model; what it answers stays the same",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    loaded = load_finished(given.run)
    calibration = loaded.calibrate(apply=given.apply)
    if given.json:
        show_json(calibration.to_dict())
    else:
        show(str(calibration))
    say(f"{loaded.folder.path / 'report.html'} has the reliability diagram.")
    return 0
