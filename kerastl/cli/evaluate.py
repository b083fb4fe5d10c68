"""`kerastl evaluate`: one more look at a test set, counted."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kerastl.cli.flags import add_options, collect_options
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import DataError, UsageError, suggest
from kerastl.startup import start_tensorflow

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerastl.data import Split
    from kerastl.evaluation import Scores
    from kerastl.runs import RunFolder

LOG = "test_log.json"
_EXAMPLES = (
    "kerastl evaluate runs/finetune-1",
    "kerastl evaluate runs/finetune-1 --data other/ --json",
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
    add_options(
        parser,
        ["images"],
        skip=("data", "validation", "test", "merge_validation", "cache_budget"),
    )


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.runs import RunFolder

    RunFolder.open(given.run)  # says what is wrong with it before TensorFlow is loaded
    scores, fingerprint, data = (
        _score_other(given) if "data" in given else _score_own(given.run)
    )
    looks = _record_look(given.run, scores, fingerprint, data)
    if given.json:
        show_json({**scores.to_dict(), "look": looks, "data": data})
    else:
        show(str(scores))
    if looks > 1:
        say(
            f"This was look number {looks} at these images: the more choices follow from "
            "such looks, the more the score flatters."
        )
    return 0


def _score_own(path: str) -> tuple["Scores", str, str]:
    start_tensorflow()
    from kerastl.finetuning import load_run

    run = load_run(path)
    if run.data.test is None:
        raise UsageError(f"{path} has no test split: give other images by --data.")
    scores = _score(run.model, run.data.test, run.data.class_names)
    return scores, run.data.fingerprint, str(run.data.settings["data"])


def _score_other(given: argparse.Namespace) -> tuple["Scores", str, str]:
    from kerastl.data import load_images
    from kerastl.models import get_info, load_model
    from kerastl.predicting import find_model
    from kerastl.runs import RunFolder

    options = collect_options(given, {})
    settings = {name: getattr(options, name) for name in _ABOUT_DATA}
    start_tensorflow()
    model = load_model(find_model(RunFolder.open(given.run).path))
    # all of them are test images, unless the folders say which are
    data = load_images(options.data, validation=0, test=0, **settings)
    split, names = data.test or data.train, get_info(model).class_names
    labels = match_labels(split.labels, data.class_names, names)
    scores = _score(model, replace(split, labels=labels), names)
    return scores, data.fingerprint, options.data


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


def _score(model: "keras.Model", split: "Split", names: tuple[str, ...]) -> "Scores":
    from kerastl.evaluation import score
    from kerastl.models import get_info, predict_probabilities

    pixels = split.pixels(get_info(model).image_size)
    probabilities = predict_probabilities(model, pixels)
    return score(split.labels, probabilities, names, split="test")


def _record_look(path: str, scores: "Scores", fingerprint: str, data: str) -> int:
    from kerastl.runs import RunFolder

    with RunFolder.open(path) as folder:
        looks = folder.read_json(LOG) if folder.exists(LOG) else []
        looks.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "data": data,
                "fingerprint": fingerprint,
                "images": scores.n,
                "accuracy": scores.accuracy.value,
            }
        )
        folder.write_json(LOG, looks)
        earlier = sum(look["fingerprint"] == fingerprint for look in looks)
        return earlier + _was_scored_at_the_end(folder, fingerprint)


def _was_scored_at_the_end(folder: "RunFolder", fingerprint: str) -> bool:
    source = folder.read_json("data.json")
    scored = folder.finished and folder.read_json("metrics.json").get("test")
    return bool(scored) and source["fingerprint"] == fingerprint
