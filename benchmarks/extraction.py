"""Features of a frozen base: how near to the machine's peak they are computed.

    python -m benchmarks.extraction [--images 192] [--image-size 224]

ResNet50 and VGG16 with random weights, each in a process of its own that measures the peak
just before and after. A third of the images is extracted beforehand: the difference is what
images cost, the rest the trace of the graph. Target: for the difference, `TARGET` percent
of what the arithmetic takes at that peak.
"""

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import time_call
from benchmarks.processes import run_process
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run

TARGET = 70
BASES = ("resnet50", "vgg16")
REPEATS = 3
GIGA = 1e9


@dataclass(frozen=True)
class Settings:
    """What is extracted."""

    images: int = 192
    image_size: int = 224


QUICK = Settings(images=6)


def time_extraction(folder: Path, base: str) -> dict[str, Any]:
    """Return seconds, FLOPs and the peak."""
    from benchmarks.limits import calibrate, measure_model

    settings = Settings(**json.loads((folder / "settings.json").read_text()))
    size = settings.image_size
    model, extract = _prepare(base, size)
    pixels = np.random.default_rng(0).integers(
        0, 256, (settings.images, size, size, 3), dtype="uint8"
    )
    first = pixels[: settings.images // 3]
    extract(first)  # the libraries' own start
    peaks = [calibrate()]
    whole, part = (
        statistics.median(time_call(lambda: extract(some)) for _ in range(REPEATS))  # noqa: B023
        for some in (pixels, first)
    )
    peaks.append(calibrate())
    flops = (len(pixels) - len(first)) * measure_model(model).below
    return {"whole": whole, "seconds": whole - part, "flops": flops, "peaks": peaks}


def _prepare(base: str, size: int) -> tuple[Any, Any]:
    import kerastl
    from kerastl.data.batches import Arrays
    from kerastl.finetuning.activations import extract
    from kerastl.finetuning.compiling import freeze_layers
    from kerastl.finetuning.cuts import split_model
    from kerastl.models import layer_table
    from kerastl.stages import Stage

    model = kerastl.build_model(base, num_classes=10, weights=None, image_size=size)
    freeze_layers(model, layer_table(model), Stage(name="head"))
    split = split_model(model)

    def run(pixels: np.ndarray) -> object:
        return extract(split, Arrays(pixels, np.zeros(len(pixels), "int32")))

    return model, run


def measure_base(settings: Settings, base: str) -> tuple[list[Row], dict[str, Any]]:
    """Measure one base in a process of its own."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "settings.json").write_text(json.dumps(asdict(settings)))
        found = run_process("benchmarks.extraction:time_extraction", folder, base).result
    peak, seconds, count = max(found["peaks"]), found["seconds"], settings.images
    limit, further = found["flops"] / peak, count - count // 3
    rows = [
        Row(f"{base}, peak", peak / GIGA, "GFLOP/s"),
        Row(f"{base}, forward, one image", found["flops"] / further / GIGA, "GFLOP"),
        Row(f"{base}, {count} images with the trace", found["whole"]),
        Row(f"{base}, {further} further images", seconds, limit=limit),
        Row(f"{base}, images per second", further / seconds, ""),
        Row(f"{base}, of limit", 100 * limit / seconds, "%", at_least=TARGET),
    ]
    return rows, {base: found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both and check the target."""
    run = read_run("extraction", __doc__, Settings(), QUICK, arguments)
    rows: list[Row] = []
    details: dict[str, Any] = {}
    for base in BASES:
        found, raw = measure_base(run.settings, base)
        rows, details = rows + found, details | raw
    conclude(run, rows, details)


if __name__ == "__main__":
    main()
