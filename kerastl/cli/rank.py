"""`kerastl rank`: which base suits these images, before any is trained."""

import argparse

from kerastl.cli.flags import add_options, collect_options, read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json

_EXAMPLES = (
    "kerastl rank --data photos/ --bases resnet50,vgg16,mobilenetv2",
    "kerastl rank --data photos/ --bases tiny,vgg16 --weights auto --image-size 64",
    "kerastl rank --bases tiny --json",
)
_DEFAULT = "tiny,mobilenetv2,resnet50"
# no other split is opened, and there is nothing to train
NOT_ASKED = ("merge_validation",)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `rank`."""
    parser = add_command(
        commands, "rank", "Rank bases on your images without training them", _EXAMPLES
    )
    parser.add_argument(
        "--bases",
        metavar="NAMES",
        default=_DEFAULT,
        help=f"see `kerastl bases` (default: {_DEFAULT})",
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=read_number,
        default=2000,
        help="training images to look at, at most (default: 2000)",
    )
    parser.add_argument(
        "--folds",
        metavar="N",
        type=read_number,
        default=5,
        help="to judge a linear head by (default: 5)",
    )
    add_model_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    add_options(parser, ["images"], skip=NOT_ASKED)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `finetune` that say which weights, at what size."""
    add_options(parser, ["model"], skip=("base", "pooling", "hidden", "dropout"))
    add_options(parser, ["run"], skip=("out",))


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.advice.ranking import check_bases, check_counts, rank_bases
    from kerastl.finetuning.planning import load_data

    options = collect_options(given, {})
    names = [name for name in given.bases.split(",") if name]
    check_bases(names, options.weights, options.image_size)
    check_counts(given.images, given.folds)
    data = load_data(options)
    for note in data.notes:
        say(note)
    ranking = rank_bases(
        data,
        names,
        image_size=options.image_size,
        weights=options.weights,
        images=given.images,
        folds=given.folds,
        seed=options.seed,
    )
    if given.json:
        show_json(ranking.to_dict())
    else:
        show(str(ranking))
    return 0
