"""The same search three ways, in one process each: see `searching`.

Every peer trains the same candidates in the same order, from the same initial weights, and
says of each trial when it began and ended, how long `fit` took in it, and its best
validation accuracy.
"""

import dataclasses
import itertools
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.bases import get_base
from kerastl.seeds import derive_seed

if TYPE_CHECKING:
    import keras

Arrays = Mapping[str, np.ndarray]
Trials = list[dict[str, Any]]
IMAGES, TASK = "images.npz", "task.json"


@dataclass(frozen=True)
class Task:
    """What is searched; the first four are the same in all trials."""

    base: str = "resnet50"
    image_size: int = 32
    hidden: int = 1024
    epochs: int = 10
    learning_rates: tuple[float, ...] = (0.001, 0.01, 0.1)
    batch_sizes: tuple[int, ...] = (16, 32, 64)
    validation: float = 1 / 3
    seed: int = 0

    def candidates(self) -> list[dict[str, Any]]:
        """Return the grid in the order in which all three try it."""
        pairs = itertools.product(self.batch_sizes, self.learning_rates)
        return [{"batch_size": size, "learning_rate": rate} for size, rate in pairs]


def write_task(folder: Path, task: Task, images: int) -> dict[str, int]:
    """Write what a peer reads: the task, some digits, and how kerastl splits them.

    Returns:
        Images per split.
    """
    import kerastl

    every = kerastl.load_images("digits", validation=0, test=0).train
    rows = np.random.default_rng(task.seed).permutation(len(every))[:images]
    arrays = {"pixels": every.pixels(task.image_size)[rows], "labels": every.labels[rows]}
    data = _load(task, arrays)
    for name, split in data.splits.items():
        arrays[f"{name}-pixels"] = split.pixels(task.image_size)
        arrays[f"{name}-labels"] = split.labels
    np.savez(folder / IMAGES, **arrays)
    (folder / TASK).write_text(json.dumps(dataclasses.asdict(task)))
    return {name: len(split) for name, split in data.splits.items()}


def _load(task: Task, arrays: Arrays) -> Any:
    import kerastl

    pair = (arrays["pixels"], arrays["labels"])
    return kerastl.load_images(pair, validation=task.validation, test=0, seed=task.seed)


def run_peer(name: str, folder: Path) -> None:
    """Do one peer's search on what `write_task` left and write its trials beside it."""
    task = Task(**json.loads((folder / TASK).read_text()))
    with np.load(folder / IMAGES, allow_pickle=False) as archive:
        arrays = dict(archive)
    trials = PEERS[name](task, arrays, folder)
    (folder / f"{name}.json").write_text(json.dumps(trials))


def search_by_hand(task: Task, arrays: Arrays, folder: Path) -> Trials:
    """Build, compile and fit per candidate, as the tutorials do."""
    images, trials = prepare_images(task, arrays), []
    for candidate in task.candidates():
        began = time.time()
        model = build_model(task, candidate["learning_rate"])
        size = candidate["batch_size"]
        history, seconds = fit_model(model, task, images, size, verbose=0)
        score = max(history.history["val_accuracy"])
        trials.append(describe_trial(candidate, score, began, time.time(), seconds))
    return trials


def search_with_keras_tuner(task: Task, arrays: Arrays, folder: Path) -> Trials:
    """Let KerasTuner's GridSearch do it."""
    from benchmarks.tuning import tune

    return tune(task, prepare_images(task, arrays), folder)


def search_with_kerastl(task: Task, arrays: Arrays, folder: Path) -> Trials:
    """Let `kerastl.grid_search` do it."""
    import kerastl

    data = _load(task, arrays)
    assert (data.train.pixels(task.image_size) == arrays["train-pixels"]).all()
    result = kerastl.grid_search(
        data,
        {"learning_rate": task.learning_rates, "batch_size": task.batch_sizes},
        base=task.base,
        weights=None,
        image_size=task.image_size,
        hidden=(task.hidden,),
        schedule="feature-extraction",
        epochs=task.epochs,
        seed=task.seed,
        refit="none",
        jobs=1,
        out=folder / "kerastl",
        verbose=0,
    )
    numbers = range(1, len(task.candidates()) + 1)
    return [_read_trial(result.folder.path / f"trials/{n}/result.json") for n in numbers]


def _read_trial(file: Path) -> dict[str, Any]:
    """A trial's record is written when it ends; its epochs are timed as they end."""
    record, ended = json.loads(file.read_text()), file.stat().st_mtime
    (fit,) = record["fits"]
    seconds = sum(row["seconds"] for row in fit["history"])
    began = ended - record["work"]["seconds"]
    return describe_trial(record["params"], fit["score"], began, ended, seconds)


def prepare_images(task: Task, arrays: Arrays) -> dict[str, np.ndarray]:
    """Return the arrays as the base takes them; kerastl's model does that itself."""
    import keras

    mode = get_base(task.base).preprocessing
    pixels = {
        name: keras.applications.imagenet_utils.preprocess_input(
            arrays[name].astype("float32"), mode=mode
        )
        for name in ("train-pixels", "validation-pixels")
    }
    return {**arrays, **pixels}


def build_model(task: Task, learning_rate: float) -> "keras.Model":
    """Return the tutorials' model, compiled, with the initial weights kerastl draws."""
    import keras

    keras.utils.set_random_seed(task.seed)  # of the order of the images
    construct = getattr(keras.applications, get_base(task.base).constructor)
    shape = (task.image_size, task.image_size, 3)
    random.seed(derive_seed(task.seed, "base"))
    base = construct(include_top=False, weights=None, input_shape=shape)
    base.trainable = False
    random.seed(derive_seed(task.seed, "head"))
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    x = keras.layers.Dense(task.hidden, activation="relu")(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    model = keras.Model(base.input, outputs)
    optimizer = keras.optimizers.Adam(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit_model(
    model: "keras.Model", task: Task, images: Arrays, batch_size: int, **options: Any
) -> tuple["keras.callbacks.History", float]:
    """Fit a model and return its history and the seconds it took."""
    start = time.perf_counter()
    history = model.fit(
        images["train-pixels"],
        images["train-labels"],
        validation_data=(images["validation-pixels"], images["validation-labels"]),
        epochs=task.epochs,
        batch_size=batch_size,
        **options,
    )
    return history, time.perf_counter() - start


def describe_trial(
    candidate: Mapping[str, Any], score: float, began: float, ended: float, seconds: float
) -> dict[str, Any]:
    """Return what a peer says of one trial; moments are those of `time.time`."""
    return {
        "learning_rate": candidate["learning_rate"],
        "batch_size": candidate["batch_size"],
        "score": float(score),
        "began": began,
        "ended": ended,
        "fit_seconds": seconds,
    }


PEERS: dict[str, Callable[[Task, Arrays, Path], Trials]] = {
    "hand-written loop": search_by_hand,
    "KerasTuner": search_with_keras_tuner,
    "kerastl": search_with_kerastl,
}
