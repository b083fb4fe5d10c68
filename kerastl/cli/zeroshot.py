"""`kerastl zero-shot`: classes never trained, recognised by their attributes or names."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kerastl.cli.flags import add_options, collect_options, read_names, read_number
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import UsageError, check_choice
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    from kerastl.data import Data
    from kerastl.options import Options
    from kerastl.zeroshot import ZeroShot, ZeroShotByNames

_EXAMPLES = (
    "kerastl zero-shot --data photos/ --attributes animals.csv --unseen zebra,okapi",
    "kerastl zero-shot --data photos/ --attributes animals.csv --base resnet50",
    "kerastl zero-shot --data photos/ --attributes animals.csv --method dap --json",
    "kerastl zero-shot --data photos/ --method clip",
    'kerastl zero-shot --data photos/ --method clip --prompt "a scan of a {}."',
)
CLIP = "clip"
METHODS = ("eszsl", "dap", CLIP)
# the unseen classes are not among those that a head is trained on
NOT_ASKED = ("multi_label", "merge_validation")
# flags that mean nothing to the other kind of method
_OF_ATTRIBUTES = (
    "attributes", "unseen", "folds", "base", "weights", "image_size", "activations",
)  # fmt: skip
_OF_NAMES = ("prompt", "preset", "names")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `zero-shot`."""
    parser = add_command(
        commands,
        "zero-shot",
        "Recognise classes never trained by attributes, or by their names",
        _EXAMPLES,
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        default="eszsl",
        help="eszsl or dap, direct attribute prediction; or clip, by the names of the "
        "classes, with pip install 'kerastl[zoo]' (default: eszsl)",
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    _add_attributes(parser.add_argument_group("eszsl and dap"))
    _add_names(parser.add_argument_group("clip"))
    add_options(parser, ["images"], skip=NOT_ASKED)
    add_options(parser, ["model"], skip=("pooling", "hidden", "dropout", "multi_label"))
    add_options(parser, ["run"])


def _add_attributes(section: argparse._ArgumentGroup) -> None:
    section.add_argument(
        "--attributes",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="CSV or TSV: a row per class, a column per attribute, 0/1 or other numbers",
    )
    section.add_argument(
        "--unseen",
        metavar="NAMES",
        type=read_names,
        default=argparse.SUPPRESS,
        help="classes not to train on (default: those of the table without images)",
    )
    section.add_argument(
        "--folds",
        metavar="N",
        type=read_number,
        default=argparse.SUPPRESS,
        help="sets of seen classes held out to choose regularisers by (default: 10)",
    )


def _add_names(section: argparse._ArgumentGroup) -> None:
    section.add_argument(
        "--prompt",
        metavar="TEXT",
        action="append",
        default=argparse.SUPPRESS,
        help="with {} for the name of a class; may be given again, for the mean of all "
        "(default: a photo of a {}.)",
    )
    section.add_argument(
        "--preset",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="CLIP preset of keras-hub, or the folder of one "
        "(default: clip_vit_base_patch32)",
    )
    section.add_argument(
        "--names",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="CSV or TSV of two columns: a class, what to call it in prompts",
    )


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    check_choice("method", given.method, METHODS)
    _check_flags(given)
    options = collect_options(given, {})
    prepare = _prepare_names if given.method == CLIP else _prepare_attributes
    judge = prepare(given, options)
    from kerastl.runs import RunFolder

    with RunFolder.create("zero-shot", options.out) as folder:
        result = judge()
        result.write(folder)
    if given.json:
        show_json(result.to_dict())
    else:
        show(str(result))
    *names, last = result.files
    say(f"{folder.path} has {', '.join(names)} and {last}.")
    return 0


def _check_flags(given: argparse.Namespace) -> None:
    by_names = given.method == CLIP
    for name in _OF_ATTRIBUTES if by_names else _OF_NAMES:
        if name in given:
            flag = f"--{name.replace('_', '-')}"
            others = "eszsl or dap" if by_names else CLIP
            reason = " takes the names of the classes alone" if by_names else " has none"
            raise UsageError(f"{flag} goes with --method {others}; {given.method}{reason}.")
    if not by_names and "attributes" not in given:
        raise UsageError(
            f"--method {given.method} needs --attributes FILE, what is known of each "
            "class; --method clip needs only the names of the classes."
        )


def _load(options: "Options") -> "Data":
    from kerastl.finetuning.planning import load_data

    data = load_data(options)
    for note in data.notes:
        say(note)
    return data


def _prepare_attributes(
    given: argparse.Namespace, options: "Options"
) -> Callable[[], "ZeroShot"]:
    from kerastl.zeroshot import read_attributes, zero_shot

    table = read_attributes(given.attributes)
    chosen = {name: vars(given)[name] for name in ("unseen", "folds") if name in given}
    return partial(
        zero_shot,
        _load(options),
        table,
        base=options.base,
        weights=options.weights,
        image_size=options.image_size,
        method=given.method,
        seed=options.seed,
        **chosen,
    )


def _prepare_names(
    given: argparse.Namespace, options: "Options"
) -> Callable[[], "ZeroShotByNames"]:
    from kerastl.models import PRESET, check_preset
    from kerastl.zeroshot import zero_shot_by_names
    from kerastl.zeroshot.naming import plan_texts
    from kerastl.zeroshot.prompts import PROMPTS, check_prompts

    renamed = {"prompt": "prompts", "preset": "preset", "names": "names"}
    chosen = {renamed[name]: vars(given)[name] for name in renamed if name in given}
    check_prompts(chosen.get("prompts", PROMPTS))  # before a large folder is listed
    check_preset(chosen.get("preset", PRESET))
    data = _load(options)
    plan_texts(data, **chosen)

    def judge() -> "ZeroShotByNames":
        start_tensorflow()
        return zero_shot_by_names(data, **chosen)

    return judge
