"""What the arithmetic alone would take: FLOPs of a network over the machine's peak.

    python -m benchmarks.limits [--base resnet50] [--image-size 32]

Prints the measured peak and the forward FLOPs of a base per image.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.processes import run_process
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run
from benchmarks.tasks import Task, read_task

if TYPE_CHECKING:
    import keras

REPEATS = 12
SIDE = 2048  # of the matrices
MAPS, PICTURES, CHANNELS = 28, 16, 256  # of the convolution
GIGA = 1e9


@dataclass(frozen=True)
class Costs:
    """Forward FLOPs of a model for one image, apart at a cut.

    Args:
        below: Of what no training step changes.
        above: Of the rest.
        first: Of those layers of the rest that nothing trainable comes before: gradients of
            their inputs are not needed.
    """

    below: float
    above: float
    first: float

    def bound_fit(self, epochs: int, train: int, validation: int) -> float:
        """Return the FLOPs of a fit whose cut is computed already."""
        step = 3 * self.above - self.first
        return epochs * (train * step + validation * self.above)


def calibrate() -> float:
    """Return the peak in FLOP/s: the best of a warm matrix product and convolution."""
    import tensorflow as tf

    side = tf.random.normal((SIDE, SIDE))
    images = tf.random.normal((PICTURES, MAPS, MAPS, CHANNELS))
    kernel = tf.random.normal((3, 3, CHANNELS, CHANNELS))
    product = tf.function(lambda: tf.matmul(side, side))
    convolve = tf.function(lambda: tf.nn.conv2d(images, kernel, 1, "SAME"))
    per_pixel = 2 * 9 * CHANNELS**2
    return max(
        2 * SIDE**3 / _best_seconds(product),
        PICTURES * MAPS**2 * per_pixel / _best_seconds(convolve),
    )


def _best_seconds(call: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()[0, 0].numpy()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def count_flops(layer: "keras.Layer") -> float:
    """Return what a layer multiplies and adds for one image; little ones count nothing."""
    names = ("kernel", "depthwise_kernel", "pointwise_kernel")
    kernels = [getattr(layer, name, None) for name in names]
    size = sum(np.prod(kernel.shape) for kernel in kernels if kernel is not None)
    if not size:
        return 0.0
    return float(2 * size * np.prod(layer.output.shape[1:-1]))


def measure_model(model: "keras.Model") -> Costs:
    """Count a model's FLOPs by its layers' `trainable` flags."""
    tail: set[str] = set()
    below = above = first = 0.0
    for layer in model.layers:  # each after those it takes from
        flops, sources = count_flops(layer), _list_sources(layer)
        follows = any(name in tail for name in sources)
        if follows or (layer.trainable and layer.weights):
            tail.add(layer.name)
            above += flops
            first += 0.0 if follows else flops
        else:
            below += flops
    return Costs(below, above, first)


def _list_sources(layer: "keras.Layer") -> list[str]:
    nodes = [node for node in layer._inbound_nodes if not node.is_input]
    return [t._keras_history.operation.name for node in nodes for t in node.input_tensors]


def bound_search(costs: Sequence[Costs], fits: float, train: int, validation: int) -> float:
    """Return the FLOPs of a search: what is below the highest cut once, then its fits."""
    highest = max((cost.below for cost in costs), default=0.0)
    return highest * (train + validation) + fits


def bound_task(folder: Path) -> dict[str, float]:
    """Return the peak here and the seconds at it that a task's search takes at least."""
    from benchmarks.rebuilding import build_model

    task, arrays = read_task(folder)
    train, validation = (len(arrays[f"{n}-labels"]) for n in ("train", "validation"))
    candidates = {one["trains"]: one for one in task.candidates()}
    costs = {
        name: measure_model(build_model(task, candidates[name])) for name in candidates
    }
    fits = sum(
        costs[one["trains"]].bound_fit(task.epochs, train, validation)
        for one in task.candidates()
    )
    flops, peak = bound_search([*costs.values()], fits, train, validation), calibrate()
    return {"seconds": flops / peak, "peak": peak}


def measure_limit(folder: Path) -> float:
    """Return `bound_task` of a process of its own, and say what the peak is."""
    found = run_process("benchmarks.limits:bound_task", folder).result
    print(f"peak {found['peak'] / GIGA:.0f} GFLOP/s, so {found['seconds']:.2f} s at least")
    return found["seconds"]


@dataclass(frozen=True)
class Settings:
    """What to count."""

    base: str = "resnet50"
    image_size: int = field(default=32)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print peak and FLOPs."""
    from benchmarks.rebuilding import build_network

    run = read_run("limits", __doc__, Settings(), Settings(), arguments)
    task = Task(base=run.settings.base, image_size=run.settings.image_size)
    costs = measure_model(build_network(task))
    rows = [
        Row("peak", calibrate() / GIGA, "GFLOP/s"),
        Row("forward, one image", (costs.above + costs.below) / GIGA, "GFLOP"),
    ]
    conclude(run, rows)


if __name__ == "__main__":
    main()
