"""Decoding, extraction and an epoch, beside `keras.utils.image_dataset_from_directory`.

    python -m benchmarks.loading [--data FOLDER] [--base tiny] [--image-size 64]

Without a folder, 1,000 JPEG photographs of noise and shapes are made. Target: an epoch
reads decoded pixels at least 5 times as fast as Keras' pipeline decodes them again, and a
training epoch is no slower than over Keras' pipeline.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measuring import evict, median_seconds, print_row, time_call
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run

READ_TARGET = 5.0
EPOCH_TARGET = 1.0
BATCH_SIZE = 32


@dataclass(frozen=True)
class Settings:
    """What is read; photographs are made where there is no folder."""

    data: str = ""
    base: str = "tiny"
    image_size: int = 64
    images: int = 1000


QUICK = Settings(images=100)


def make_photos(folder: Path, count: int, side: int = 320) -> None:
    """Write JPEGs of smooth colours and noise in two class folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        small = generator.integers(0, 256, (9, 9, 3), dtype="uint8")
        picture = np.asarray(Image.fromarray(small).resize((side, side), Image.BICUBIC))
        noisy = np.clip(picture + generator.normal(0, 8, picture.shape), 0, 255)
        path = folder / f"class{number % 2}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.astype("uint8")).save(path, quality=90)


def keras_dataset(folder: Path, side: int):
    """Return what the tutorials use."""
    import keras

    return keras.utils.image_dataset_from_directory(
        folder, image_size=(side, side), batch_size=BATCH_SIZE, verbose=False
    )


def read_all(dataset) -> None:
    """Pull every batch once."""
    for _ in dataset:
        pass


def measure_decoding(folder: Path, side: int) -> tuple[float, float]:
    """Print cold and warm reads of both; return warm seconds, Keras' and ours."""
    import kerastl

    data = kerastl.load_images(folder, validation=0, test=0)
    count, paths = len(data.train), data.train.paths
    dataset = keras_dataset(folder, side)
    evict(paths)
    theirs_cold = time_call(lambda: read_all(dataset))
    theirs = median_seconds(lambda: read_all(dataset), 3)
    evict(paths)
    ours_cold = time_call(lambda: data.train.pixels(side))
    again = kerastl.load_images(folder, validation=0, test=0)
    ours_decode = time_call(lambda: again.train.pixels(side))
    ours = median_seconds(lambda: read_batches(data.train.pixels(side)), 3)
    print_row("Keras, first epoch, cold files", theirs_cold, count)
    print_row("Keras, every later epoch (decodes again)", theirs, count)
    print_row("kerastl, decode once, cold files", ours_cold, count, theirs_cold)
    print_row("kerastl, decode once, files in memory", ours_decode, count, theirs)
    print_row("kerastl, every later epoch", ours, count, theirs)
    return theirs, ours


def read_batches(pixels: np.ndarray) -> None:
    """Gather shuffled float32 batches, as training does."""
    order = np.random.default_rng(0).permutation(len(pixels))
    for first in range(0, len(pixels), BATCH_SIZE):
        pixels[order[first : first + BATCH_SIZE]].astype("float32")


def measure_training(folder: Path, base: str, side: int) -> tuple[float, float]:
    """Print extraction and one epoch of the head; return epoch seconds, Keras' and ours."""
    import kerastl

    data = kerastl.load_images(folder, validation=0, test=0)
    model = kerastl.build_model(base, num_classes=2, weights=None, image_size=side)
    pixels = data.train.pixels(side)
    predict = lambda: kerastl.models.predict_probabilities(model, pixels)  # noqa: E731
    predict()
    print_row(f"{base}, extraction", median_seconds(predict, 3), len(pixels))
    run = kerastl.finetune(
        model,
        data,
        schedule="feature-extraction",
        epochs=4,
        batch_size=BATCH_SIZE,
        verbose=0,
    )
    ours = float(run.history["seconds"].iloc[1:].median())  # the first epoch traces
    model.compile("adam", "sparse_categorical_crossentropy")
    dataset = keras_dataset(folder, side)
    fit = lambda: model.fit(dataset, epochs=1, shuffle=False, verbose=0)  # noqa: E731
    fit()  # traces
    theirs = median_seconds(fit, 3)
    print_row(f"{base}, epoch of the head over Keras' pipeline", theirs, len(pixels))
    print_row(f"{base}, epoch of the head in kerastl", ours, len(pixels), theirs)
    return theirs, ours


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both parts on a folder and check the targets."""
    run = read_run("loading", __doc__, Settings(), QUICK, arguments)
    settings, size = run.settings, run.settings.image_size
    with tempfile.TemporaryDirectory() as made:
        folder = Path(settings.data or made)
        if not settings.data:
            make_photos(folder, settings.images)
        theirs, ours = measure_decoding(folder, size)
        slow, fast = measure_training(folder, settings.base, size)
    rows = [
        Row("Keras, reading again", theirs),
        Row("kerastl, reading again", ours),
        Row("reading, Keras / kerastl", theirs / ours, "x", at_least=READ_TARGET),
        Row("Keras, epoch of the head", slow),
        Row("kerastl, epoch of the head", fast),
        Row("epoch, Keras / kerastl", slow / fast, "x", at_least=EPOCH_TARGET),
    ]
    conclude(run, rows)


if __name__ == "__main__":
    main()
