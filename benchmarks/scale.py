"""Many trials and many images: what memory they take, and how seconds grow with images.

    python -m benchmarks.scale [--trials 50] [--images 100000] [--large-images 20000]

The trials are those of a grid search with a frozen ResNet50 on digits, in one worker that
is kept for all of them. The images are made up, 32x32 and 224x224, in memory-mapped files,
and `tiny` gets a new head on them for one epoch; a quarter, half and all of them, each in a
process of its own. Targets: memory grows by `GROWTH_TARGET` per trial at most; all images
take `MEMORY_TARGET` resident and `LINEAR_TARGET` times a quarter's seconds, at most.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import MEGABYTE
from benchmarks.outcomes import measure_search
from benchmarks.processes import run_process
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run
from benchmarks.tasks import Task, write_task

GROWTH_TARGET = 2  # MB per trial
MEMORY_TARGET = 2048  # MB
LINEAR_TARGET = 4 * 1.3  # four times the images; the rest is noise of the machine
SIDES = {"images": 32, "large_images": 224}
CLASSES = 10
PART = 500  # images made at a time
PIXELS, LABELS = "pixels.npy", "labels.npy"


@dataclass(frozen=True)
class Settings:
    """How many of each."""

    trials: int = 50
    images: int = 100_000
    large_images: int = 20_000
    base: str = "resnet50"

    def describe_task(self) -> Task:
        """Return the search: many learning rates."""
        rates = tuple(float(f"{rate:.3g}") for rate in np.geomspace(1e-4, 0.1, self.trials))
        size = {"images": 120, "epochs": 2, "base": self.base}
        return Task(**size, hidden=0, learning_rates=rates, batch_sizes=(32,))


QUICK = Settings(trials=6, images=2000, large_images=80, base="vgg16")


def make_images(folder: Path, count: int, side: int) -> None:
    """Write noise of which each class has its own brightness, a part at a time."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    np.save(folder / LABELS, labels)
    shape = (count, side, side, 3)
    pixels = np.lib.format.open_memmap(folder / PIXELS, "w+", "uint8", shape)
    for first in range(0, count, PART):
        here = labels[first : first + PART]
        noise = generator.integers(0, 100, (len(here), *shape[1:]), dtype="uint8")
        pixels[first : first + PART] = noise + 15 * here[:, None, None, None].astype("u1")
    pixels.flush()


def train_many(folder: Path, count: str) -> dict[str, Any]:
    """Give `tiny` a new head on the first of the images; return the seconds it took."""
    import kerastl

    pixels = np.load(folder / PIXELS, mmap_mode="r")[: int(count)]
    labels = np.load(folder / LABELS)[: int(count)]
    start = time.perf_counter()
    data = kerastl.load_images((pixels, labels), validation=0.1, test=0)
    loaded = time.perf_counter()
    model = kerastl.build_model(
        "tiny", num_classes=CLASSES, weights=None, image_size=pixels.shape[1]
    )
    run = kerastl.finetune(model, data, schedule="feature-extraction", epochs=1, verbose=0)
    seconds = time.perf_counter() - start
    accuracy = float(run.history["val_accuracy"].iloc[-1])
    return {"seconds": seconds, "loading": loaded - start, "accuracy": accuracy}


def search_in_one_worker(folder: Path) -> list[dict[str, Any]]:
    """Search as `peers` does, without a new worker after some trials."""
    from benchmarks.peers import search_with_kerastl
    from kerastl.search import children

    children.RECYCLED_AFTER = 1_000_000
    return search_with_kerastl(folder)


def measure_trials(task: Task) -> tuple[list[Row], dict[str, Any]]:
    """Return by how much memory grows per trial."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_task(folder, task)
        outcome = measure_search("benchmarks.scale:search_in_one_worker", folder)
    sizes = outcome.after_trials
    print("MB after each trial:", *(f"{size / MEGABYTE:.0f}" for size in sizes))
    growth = outcome.growth / MEGABYTE
    name = f"memory per trial, over {len(sizes)} trials"
    row = Row(name, growth, "MB", at_most=GROWTH_TARGET)
    return [row, Row("all trials, imports included", outcome.wall)], outcome.to_dict()


def measure_images(count: int, side: int) -> tuple[list[Row], dict[str, Any]]:
    """Return memory and seconds over three sizes."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_images(folder, count, side)
        counts = (count // 4, count // 2, count)
        runs = [run_process("benchmarks.scale:train_many", folder, str(n)) for n in counts]
    name = f"{count:,} images of {side}x{side}"
    peak, own = (size / MEGABYTE for size in (runs[-1].watch.peak, runs[-1].watch.own_peak))
    seconds = [run.result["seconds"] for run in runs]
    rows = [
        Row(f"{name}, resident", peak, "MB", at_most=MEMORY_TARGET, always=True),
        Row(f"{name}, of that no file's", own, "MB"),
        *(Row(f"{n:,} of them", s) for n, s in zip(counts, seconds, strict=True)),
        Row(f"{name}, to read", runs[-1].result["loading"]),
        Row(f"{name} / a quarter", seconds[2] / seconds[0], "x", at_most=LINEAR_TARGET),
    ]
    return rows, {name: [run.result for run in runs]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure trials and images and check the targets."""
    run = read_run("scale", __doc__, Settings(), QUICK, arguments)
    rows, trials = measure_trials(run.settings.describe_task())
    details = {"trials": trials}
    for name, side in SIDES.items():
        found, times = measure_images(getattr(run.settings, name), side)
        rows, details = rows + found, details | times
    conclude(run, rows, details)


if __name__ == "__main__":
    main()
