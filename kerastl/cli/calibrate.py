"""`kerastl calibrate`: whether a run's confidences can be believed, and making them so."""

import argparse

from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import UsageError
from kerastl.startup import start_tensorflow

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
    from kerastl.runs import RunFolder

    folder = RunFolder.open(given.run)  # says what is wrong with it before TensorFlow loads
    if not folder.finished:
        raise UsageError(
            f"{given.run} holds a run that is not finished: go on with it by kerastl "
            f"finetune --resume {given.run}."
        )
    start_tensorflow()
    from kerastl.finetuning import load_run

    loaded = load_run(given.run)
    calibration = loaded.calibrate(apply=given.apply)
    if given.json:
        show_json(calibration.to_dict())
    else:
        show(str(calibration))
    say(f"{folder.path / 'report.html'} has the reliability diagram.")
    return 0
