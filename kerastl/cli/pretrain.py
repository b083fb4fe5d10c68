"""`kerastl pretrain`: a base of this package from random weights, on a large data set."""

import argparse
import shlex
import sys

from kerastl.cli.flags import read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say
from kerastl.stages import check_number
from kerastl.startup import start_tensorflow

_EXAMPLES = (
    "kerastl pretrain --data cifar10/",
    "kerastl pretrain --data cifar10/ --epochs 40 --precision mixed_bfloat16",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `pretrain`."""
    parser = add_command(
        commands, "pretrain", "Train a small base from random weights", _EXAMPLES
    )
    add = parser.add_argument
    add("--data", metavar="PATH", required=True, help="a folder with train and test")
    add("--base", metavar="NAME", default="tiny", help="which base (default: tiny)")
    for flag, default, help in (
        ("--epochs", 40, "passes over the images"),
        ("--batch-size", 128, "images per step"),
        ("--seed", 0, "the same seed, the same weights"),
    ):
        text = f"{help} (default: {default})"
        add(flag, metavar="N", type=read_number, default=default, help=text)
    add("--precision", metavar="NAME", default="float32",
        help="float32, mixed_bfloat16: of the computation (default: float32)")  # fmt: skip
    add("--out", metavar="DIR", help="new folder; default: runs/pretrain-1, -2, ...")


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    for name in ("epochs", "batch_size"):  # here too: the next line takes seconds
        check_number(name, getattr(given, name), 1, 100_000, whole=True)
    start_tensorflow()
    from kerastl.pretraining import pretrain_job

    try:
        folder = pretrain_job(
            given.data,
            base=given.base,
            epochs=given.epochs,
            batch_size=given.batch_size,
            seed=given.seed,
            precision=given.precision,
            out=given.out,
            command=shlex.join(["kerastl", *sys.argv[1:]]),
        )
    except KeyboardInterrupt as error:
        error.add_note("Pretraining keeps nothing before its end: start it again.")
        raise
    say(f"results   {folder.path}: {given.base}.npz and how it was made, {given.base}.json")
    return 0
