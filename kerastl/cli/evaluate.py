"""`kerastl evaluate`: one more look at a test set, counted."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from kerastl.cli.flags import add_options, collect_options
from kerastl.cli.parsing import add_command
from kerastl.cli.predict import add_averaging
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import DataError, UsageError, suggest
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerastl.data import Split
    from kerastl.evaluation import Comparison, Scores
    from kerastl.runs import RunFolder

LOG = "test_log.json"
_MEAN = "the mean of all"
_EXAMPLES = (
    "kerastl evaluate runs/finetune-1",
    "kerastl evaluate runs/finetune-1 --data other/ --json",
    "kerastl evaluate runs/finetune-1 --with runs/finetune-2 --tta flip",
)
_ABOUT_DATA = (
    "path_column",
    "label_column",
    "label_rule",
    "group_rule",
    "multi_label",
    "on_bad_image",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `evaluate`."""
    parser = add_command(
        commands, "evaluate", "Score a run on test images", _EXAMPLES, arguments="RUN"
    )
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument(
        "--data",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help="other images; default: the run's own test split",
    )
    add_averaging(parser)
    add_options(
        parser,
        ["images"],
        skip=("data", "validation", "test", "merge_validation", "cache_budget"),
    )


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.models import check_views

    check_views(given.tta)
    _check_runs(given)  # says what is wrong with them before TensorFlow is loaded
    look = _look_other(given) if "data" in given else _look_own(given)
    looks = _record_look(given, look)
    if given.json:
        compared = look.comparison and {"comparison": look.comparison.to_dict()}
        scores = {**look.scores.to_dict(), **(compared or {})}
        show_json({**scores, "look": looks, "data": look.data})
    else:
        show("\n".join(str(part) for part in (look.scores, look.comparison) if part))
    if looks > 1:
        say(
            f"This was look number {looks} at these images: the more choices follow from "
            "such looks, the more the score flatters."
        )
    return 0


class _Look(NamedTuple):
    """What was scored, and on what."""

    scores: "Scores"
    comparison: "Comparison | None"
    fingerprint: str
    data: str


def _check_runs(given: argparse.Namespace) -> None:
    from kerastl.runs import RunFolder

    paths = [given.run, *given.others]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice: average different runs.")
    sources = [RunFolder.open(path).read_json("data.json") for path in paths]
    for path, source in zip(paths, sources, strict=True):
        if "data" not in given and source["fingerprint"] != sources[0]["fingerprint"]:
            raise DataError(
                f"{path} was trained on other images or splits than {given.run}, so it may "
                "have trained on images that are test images here."
            )


def _look_own(given: argparse.Namespace) -> _Look:
    start_tensorflow()
    from kerastl.finetuning import load_run

    run = load_run(given.run)
    if run.data.test is None:
        raise UsageError(f"{given.run} has no test split: give other images by --data.")
    scored = _score(given, run.model, run.data.test, run.data.class_names)
    return _Look(*scored, run.data.fingerprint, str(run.data.settings["data"]))


def _look_other(given: argparse.Namespace) -> _Look:
    from kerastl.data import load_images
    from kerastl.models import get_info, load_model
    from kerastl.predicting import find_model

    options = collect_options(given, {})
    settings = {name: getattr(options, name) for name in _ABOUT_DATA}
    start_tensorflow()
    model = load_model(find_model(given.run))
    # all of them are test images, unless the folders say which are
    data = load_images(options.data, validation=0, test=0, **settings)
    split, names = data.test or data.train, get_info(model).class_names
    labels = match_labels(split.labels, data.class_names, names)
    scored = _score(given, model, replace(split, labels=labels), names)
    return _Look(*scored, data.fingerprint, options.data)


def match_labels(
    labels: "np.ndarray", given: tuple[str, ...], known: tuple[str, ...]
) -> "np.ndarray":
    """Translate labels from the order of one list of classes to another's, by name.

    Args:
        labels: Class indices `(n,)` or rows of 0 and 1 `(n, len(given))`.
        given: Class names the labels count by.
        known: Class names of the model.

    Returns:
        Labels of the same kind that count by `known`.

    Raises:
        DataError: A class is unknown to the model.
    """
    import numpy as np

    unknown = [name for name in given if name not in known]
    if unknown:
        raise DataError(
            f"The model knows no class {unknown[0]!r}, only {', '.join(known)}."
            f"{suggest(unknown[0], known)}"
        )
    places = np.array([known.index(name) for name in given], dtype="int32")
    if labels.ndim == 1:
        return places[labels]
    matched = np.zeros((len(labels), len(known)), labels.dtype)
    matched[:, places] = labels
    return matched


def _score(
    given: argparse.Namespace, model: "keras.Model", split: "Split", names: tuple[str, ...]
) -> tuple["Scores", "Comparison | None"]:
    """Score a model, or the mean of several and whether that is better than each."""
    from kerastl.evaluation import compare_predictions, score
    from kerastl.predicting import average_members, load_members, predict_members

    members = load_members([model, *given.others])
    each = predict_members(members, split.pixels, given.tta)
    mean = average_members(each)
    scores = score(split.labels, mean, names, split="test")
    if not given.others:
        return scores, None
    named = dict(zip([given.run, *given.others], each, strict=True))
    named = {_MEAN: mean, **named}
    return scores, compare_predictions(split.labels, named, against=_MEAN)


def _record_look(given: argparse.Namespace, look: _Look) -> int:
    from kerastl.runs import RunFolder

    averaged = {"tta": list(given.tta), "with": given.others}
    with RunFolder.open(given.run) as folder:
        looks = folder.read_json(LOG) if folder.exists(LOG) else []
        looks.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "data": look.data,
                "fingerprint": look.fingerprint,
                "images": look.scores.n,
                "accuracy": look.scores.accuracy.value,
                **{name: values for name, values in averaged.items() if values},
            }
        )
        folder.write_json(LOG, looks)
        earlier = sum(each["fingerprint"] == look.fingerprint for each in looks)
        return earlier + _was_scored_at_the_end(folder, look.fingerprint)


def _was_scored_at_the_end(folder: "RunFolder", fingerprint: str) -> bool:
    source = folder.read_json("data.json")
    scored = folder.finished and folder.read_json("metrics.json").get("test")
    return bool(scored) and source["fingerprint"] == fingerprint
