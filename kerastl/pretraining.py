"""Training a base of our own from random weights, to ship its weights."""

import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerastl import networks
from kerastl.data import Data, load_images
from kerastl.data.augmentation import Augmentation
from kerastl.data.batches import Arrays, EvaluationBatches, TrainingBatches
from kerastl.data.feeding import feed
from kerastl.errors import NothingSucceededError, UsageError, check_choice
from kerastl.evaluation import score
from kerastl.runs import RunFolder, describe_environment
from kerastl.stages import check_number

PEAK_LEARNING_RATE = 0.2
WARMUP = 0.2  # share of all steps
WEIGHT_DECAY = 2e-3  # decoupled: about 2e-4 of the coupled kind at momentum 0.9
# name -> the base, and what is trained on top of it and not shipped
NETWORKS = {"tiny": (networks.tiny, networks.add_tiny_top)}
IMAGE_SIZE = {"tiny": 32}
EPSILON = 1e-3  # that Keras' BatchNorm adds to the variance
RARE = 0.01  # of the largest spread
PRECISIONS = ("float32", "mixed_bfloat16")


class _EpochOrder(keras.callbacks.Callback):
    def __init__(self, batches: TrainingBatches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.batches.set_epoch(epoch)


class _EpochLines(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        print(f"epoch {epoch + 1}/{self.params['epochs']}  {numbers}", file=sys.stderr)


def build_classifier(
    base: str, num_classes: int, *, precision: str = "float32"
) -> keras.Model:
    """Put top and linear softmax head on one of `NETWORKS`, in a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        size = IMAGE_SIZE[base]
        pixels = keras.Input((size, size, 3), name="pixels")
        scaling = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")
        build, add_top = NETWORKS[base]
        features = add_top(build(scaling(pixels)))
        pooled = keras.layers.GlobalAveragePooling2D(name="pooling")(features)
        head = keras.layers.Dense(
            num_classes, activation="softmax", dtype="float32", name="predictions"
        )
        return keras.Model(pixels, head(pooled))
    finally:
        keras.config.set_dtype_policy(before)


def compile_classifier(model: keras.Model, *, steps: int) -> None:
    """Nesterov SGD, a linear warm-up and a cosine back to zero over `steps` steps."""
    warmup = int(WARMUP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=steps - warmup,
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.SGD(
        rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def pretrain_job(
    data: str | Path,
    *,
    base: str = "tiny",
    epochs: int = 40,
    batch_size: int = 128,
    seed: int = 0,
    precision: str = "float32",
    out: str | Path | None = None,
    command: str = "",
) -> RunFolder:
    """Train a base from random weights and write its weights in half precision.

    The recipe is fixed (Nesterov SGD to 0.2 and back, padded crop and flip), so nothing is
    chosen on validation: it trains on every image outside the test split, which is then
    read once, with the weights as they are shipped.

    Args:
        data: A folder with `train` and `test`, or anything `load_images` takes.
        base: A key of `NETWORKS`.
        epochs: Passes over the images.
        batch_size: Images per step.
        seed: Decides weights, order and augmentation.
        precision: "mixed_bfloat16" is faster where the processor has bfloat16.
        out: A new folder; default `runs/pretrain-<n>`.
        command: Recorded beside the weights.

    Returns:
        RunFolder with `<base>.npz` (float16, without the top) and `<base>.json`: how it was
        made, its history, and the test accuracy of the whole classifier.

    Raises:
        UsageError: An argument is not allowed, or there is no test split.
        DataError: The images cannot be used.
    """
    check_choice("base", base, NETWORKS)
    check_choice("precision", precision, PRECISIONS)
    check_number("epochs", epochs, 1, 100_000, whole=True)
    check_number("batch_size", batch_size, 1, 100_000, whole=True)
    images = load_images(data, seed=seed)
    if images.test is None:
        raise UsageError("Pretraining needs a test split: give a folder train and test.")
    settings = {"base": base, "epochs": epochs, "batch_size": batch_size}
    settings |= {"seed": seed, "precision": precision, "command": command}
    with RunFolder.create("pretrain", out) as folder:
        model, history = _train(images, settings)
        _write(folder, images, settings, model, history)
    return folder


def _train(data: Data, settings: dict[str, Any]) -> tuple[keras.Model, dict[str, list]]:
    keras.utils.set_random_seed(settings["seed"])
    model = build_classifier(
        settings["base"], data.num_classes, precision=settings["precision"]
    )
    batches = TrainingBatches(
        _merge_splits(data, settings["base"]),
        batch_size=settings["batch_size"],
        seed=settings["seed"],
        augmentation=Augmentation(["flip", "crop"]),
    )
    compile_classifier(model, steps=settings["epochs"] * len(batches))
    callbacks = [_EpochOrder(batches), _EpochLines()]
    fitted = model.fit(
        feed(batches),
        epochs=settings["epochs"],
        callbacks=callbacks,
        shuffle=False,  # the batches are in their epoch's order already
        verbose=0,
    )
    return model, fitted.history


def _merge_splits(data: Data, base: str) -> Arrays:
    """Return all images outside the test split in the order of their names."""
    size = (IMAGE_SIZE[base], IMAGE_SIZE[base])
    splits = [split for split in (data.train, data.validation) if split is not None]
    order = np.argsort([name for split in splits for name in split.names], kind="stable")
    pixels = np.concatenate([split.pixels(size) for split in splits])[order]
    return Arrays(pixels, np.concatenate([split.labels for split in splits])[order])


def _write(
    folder: RunFolder, data: Data, settings: dict, model: keras.Model, history: dict
) -> None:
    base = settings["base"]
    weights = half_weights(model)
    features = measure_features(model, _merge_splits(data, base).pixels)
    kept = drop_top(weights, base) | features
    archive = pack_weights(kept)
    shipped = build_classifier(base, data.num_classes)
    assign_weights(shipped, weights)
    record = {
        **settings,
        "parameters": sum(array.size for array in kept.values()),
        "parameters_with_top": shipped.count_params(),
        "images": len(data.train) + len(data.validation or ()),
        "classes": list(data.class_names),
        "test": measure(shipped, data, base),
        "sha256": hashlib.sha256(archive).hexdigest(),
        "environment": describe_environment(),
        "history": history,
    }
    folder.write_bytes(f"{base}.npz", archive)
    folder.write_json(f"{base}.json", record)


def measure_features(model: keras.Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights of the base's last BatchNorm: it evens out the finished features.

    Their mean becomes zero, and after pooling their standard deviation one, so that a new
    head learns as well on them as on a larger base's.
    """
    maps = keras.ops.cast(model.get_layer(networks.TINY_OUT).output, "float32")
    axes = (1, 2)
    outputs = [keras.ops.mean(maps, axis=axes), keras.ops.mean(maps**2, axis=axes)]
    statistics = keras.Model(model.input, outputs)
    batches = EvaluationBatches(Arrays(pixels, np.zeros(len(pixels))), batch_size=500)
    means, squares = statistics.predict(feed(batches), verbose=0)
    mean, spread = means.mean(axis=0), means.std(axis=0)
    if not spread.max() > 0:  # also where it is not a number
        raise NothingSucceededError(
            f"Every trained feature is the same for all images (spread {spread.max()}): "
            "training diverged, so there is nothing to ship. Try another seed."
        )
    # a channel that hardly ever fires is noise, and is not blown up
    spread = np.maximum(spread, RARE * spread.max())
    variance = squares.mean(axis=0) - mean**2
    arrays = {
        "gamma": np.sqrt(variance + EPSILON) / spread,
        "beta": np.zeros_like(mean),
        "moving_mean": mean,
        "moving_variance": variance,
    }
    return {f"{networks.TINY_NORM}/{name}": halve(array) for name, array in arrays.items()}


def halve(array: np.ndarray) -> np.ndarray:
    """Return an array as float16.

    Raises:
        NothingSucceededError: A value is not finite, or too large for half precision.
    """
    with np.errstate(over="ignore"):
        half = array.astype("float16")
    if not np.isfinite(half).all():
        raise NothingSucceededError(
            "The trained weights do not fit into half precision: training diverged, so "
            "there is nothing to ship. Train for more epochs, or try another seed."
        )
    return half


def half_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Return every weight as float16, keyed `layer/variable`."""
    return {
        f"{layer.name}/{weight.name}": halve(weight.numpy())
        for layer in model.layers
        for weight in layer.weights
    }


def drop_top(weights: dict[str, np.ndarray], base: str) -> dict[str, np.ndarray]:
    """Return the weights of the base alone: what `include_top=False` leaves."""
    size = IMAGE_SIZE[base]
    network = NETWORKS[base][0](keras.Input((size, size, 3)))
    names = {layer.name for layer in network.layers}
    return {key: array for key, array in weights.items() if key.split("/")[0] in names}


def pack_weights(weights: dict[str, np.ndarray]) -> bytes:
    """Return weights as the bytes of an `.npz` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **weights)
    return buffer.getvalue()


def assign_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Give a model the weights of `half_weights`."""
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(weights[f"{layer.name}/{weight.name}"].astype("float32"))


def measure(model: keras.Model, data: Data, base: str) -> dict[str, Any]:
    """Score the test split once."""
    pixels = data.test.pixels((IMAGE_SIZE[base], IMAGE_SIZE[base]))
    batches = EvaluationBatches(Arrays(pixels, data.test.labels), batch_size=500)
    probabilities = model.predict(feed(batches), verbose=0)
    scores = score(data.test.labels, probabilities, data.class_names, split="test")
    return {"images": len(data.test), "accuracy": scores.to_dict()["accuracy"]}
