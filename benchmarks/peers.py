"""The same search four ways, each in a process of its own: see `searching` and `depths`.

Every peer trains the same candidates from the same initial weights, and says of each trial
when it began and ended, how long `fit` took in it, how many parameters it trained, and its
best validation accuracy.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tasks import Task, describe_trial, read_task, split_images
from kerastl.stages import Stage

Trials = list[dict[str, Any]]
SCHEDULES = {("head",): "feature-extraction", ("all",): "full"}
MODULE = "benchmarks.peers"
PEERS = {
    "hand-written loop": f"{MODULE}:search_by_hand",
    "KerasTuner": f"{MODULE}:search_with_keras_tuner",
    "RandomizedSearchCV": f"{MODULE}:search_with_scikit_learn",
    "kerastl": f"{MODULE}:search_with_kerastl",
}


def search_by_hand(folder: Path) -> Trials:
    """Build, compile and fit per candidate, as the tutorials do."""
    from benchmarks.rebuilding import build_model, fit_model, prepare_images

    task, arrays = read_task(folder)
    images, trials = prepare_images(task, arrays), []
    for candidate in task.candidates():
        began = time.time()
        model = build_model(task, candidate)
        history, seconds = fit_model(model, task, images, candidate, verbose=0)
        score = max(history.history["val_accuracy"])
        trials.append(describe_trial(candidate, score, began, seconds, model))
    return trials


def search_with_keras_tuner(folder: Path) -> Trials:
    """Let KerasTuner's GridSearch do it."""
    from benchmarks.rebuilding import prepare_images
    from benchmarks.tuning import tune

    task, arrays = read_task(folder)
    return tune(task, prepare_images(task, arrays), folder)


def search_with_scikit_learn(folder: Path) -> Trials:
    """Let scikit-learn's RandomizedSearchCV do it, over an estimator that rebuilds."""
    from benchmarks.estimating import search
    from benchmarks.rebuilding import prepare_images

    task, arrays = read_task(folder)
    return search(task, prepare_images(task, arrays))


def search_with_kerastl(folder: Path) -> Trials:
    """Let `kerastl.grid_search` do it."""
    import kerastl

    task, arrays = read_task(folder)
    data, names = split_images(task, arrays), name_depths(task)
    assert (data.train.pixels(task.image_size) == arrays["train-pixels"]).all()
    result = kerastl.grid_search(
        data,
        describe_space(task, names),
        base=task.base,
        weights=None,
        image_size=task.image_size,
        hidden=(task.hidden,) if task.hidden else (),
        schedule=SCHEDULES.get(task.trains, Stage(name="top", unfreeze=next(iter(names)))),
        epochs=task.epochs,
        seed=task.seed,
        refit="none",
        jobs=1,
        out=folder / "search",
        verbose=0,
    )
    files = result.folder.path.glob("trials/*/result.json")
    return [_read_trial(task, names, file) for file in files]


def describe_space(task: Task, names: Mapping[str | int, str]) -> dict[str, Any]:
    """Return the task's grid as kerastl takes it."""
    space = {"batch_size": task.batch_sizes, "learning_rate": task.learning_rates}
    return space if task.trains in SCHEDULES else {**space, "unfreeze": list(names)}


def name_depths(task: Task) -> dict[str | int, str]:
    """Return what `unfreeze` is called for kerastl -> what the task calls it.

    What trains after a layer, kerastl counts from the end of the model.
    """
    if set(task.trains) <= {"head", "all"}:
        return {name: name for name in task.trains}
    from benchmarks.rebuilding import build_network

    names = [layer.name for layer in build_network(task).layers]
    total = len(names) - 1 + (3 if task.hidden else 2)  # with pooling and predictions
    return {total - names.index(name): name for name in task.trains}


def _read_trial(task: Task, names: Mapping[str | int, str], file: Path) -> dict[str, Any]:
    """A trial's record is written when it ends; its epochs are timed as they end."""
    record, ended = json.loads(file.read_text()), file.stat().st_mtime
    assert record["status"] == "done", f"{record['params']}: {record['reason']}"
    (fit,), params = record["fits"], record["params"]
    epochs = [row["seconds"] for row in fit["history"]]
    candidate = {
        "batch_size": params["batch_size"],
        "learning_rate": params["learning_rate"],
        "trains": names[params["unfreeze"]] if "unfreeze" in params else task.trains[0],
    }
    return {
        "candidate": candidate,
        "score": fit["score"],
        "began": ended - record["work"]["seconds"],
        "ended": ended,
        "fit_seconds": sum(epochs),
        "epoch_seconds": epochs,
        "trainable": fit["stages"][0]["trainable_parameters"],
    }
