"""Where the time of a training step goes: forward, gradients, update.

    python -m benchmarks.steps [--base resnet50] [--image-size 32] [--batch-size 16]

All layers train but BatchNorm, with random weights and Adam. The parts are graphs of their
own that take turns, so their differences are what each part adds; beside them the step of
the fast engine and that of Keras. Limits are the FLOPs over the machine's peak, and for
the update the bytes it has to read and write over what a copy of an array moves per second.
Then the step of the fast engine again, in a process that has made a pipeline of a generator
before, as Keras makes of a `PyDataset`: see `kerastl/data/feeding.py`. Medians; no target.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.processes import run_process
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run

if TYPE_CHECKING:
    import keras

ADAM_TRAFFIC = 7  # arrays of a variable's size: four read, three written
COPIED = 64 << 20  # bytes of the array whose copying is timed, more than caches hold
FORWARD, GRADIENTS, FUSED, KERAS = "forward", "gradients", "fast engine", "Keras"
AFTER = "after a generator"


@dataclass(frozen=True)
class Settings:
    """Of which step."""

    base: str = "resnet50"
    image_size: int = 32
    batch_size: int = 16
    repeats: int = 30


QUICK = Settings(base="tiny", repeats=3)


def time_parts(folder: Path) -> dict[str, Any]:
    """Return the seconds of each part, of the first calls, and what limits them."""
    from benchmarks.limits import calibrate, measure_model

    settings = Settings(**json.loads((folder / "settings.json").read_text()))
    model = build(settings)
    calls = list_calls(model, settings)
    first = {name: _time(call) for name, call in calls.items()}
    turns = [{n: _time(call) for n, call in calls.items()} for _ in range(settings.repeats)]
    size = sum(int(np.prod(v.shape)) * 4 for v in model.trainable_variables)
    return {
        "first": first,
        "seconds": {n: statistics.median(turn[n] for turn in turns) for n in calls},
        "forward_limit": measure_model(model).above * settings.batch_size / calibrate(),
        "update_limit": ADAM_TRAFFIC * size / _measure_traffic(),
    }


def time_after_generator(folder: Path) -> dict[str, Any]:
    """Return the same, once a pipeline that is made of a generator was read."""
    import tensorflow as tf

    number = tf.TensorSpec((), "int32")
    list(tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=number))
    return time_parts(folder)


def build(settings: Settings) -> "keras.Model":
    """Return the model, compiled for a stage that trains all of it."""
    import kerastl
    from kerastl.finetuning.compiling import compile_stage, freeze_layers
    from kerastl.models import layer_table
    from kerastl.stages import Stage

    model = kerastl.build_model(
        settings.base, num_classes=10, weights=None, image_size=settings.image_size
    )
    stage = Stage(name="full", unfreeze="all", learning_rate=1e-5)
    freeze_layers(model, layer_table(model), stage)
    compile_stage(model, stage, multi_label=False)
    return model


def list_calls(model: "keras.Model", settings: Settings) -> dict[str, Callable[[], Any]]:
    """Return the parts by name; each returns when it is done."""
    import tensorflow as tf

    from kerastl.finetuning.cuts import whole_model
    from kerastl.finetuning.programs import view_model
    from kerastl.finetuning.steps import build_step, build_trackers, specify

    side, size = settings.image_size, settings.batch_size
    x = tf.random.uniform((size, side, side, 3), maxval=255.0)
    y = tf.constant(np.arange(size, dtype="int32") % 10)
    other = view_model(model)
    other.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    build_trackers(model, y[:1])
    variables = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False)
    def run_forward() -> Any:
        return model.compute_loss(None, y, model(x, training=True))

    @tf.function(autograph=False)
    def find_gradients() -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(None, y, model(x, training=True))
        return tape.gradient(loss, variables)

    step = build_step(whole_model(model), specify((x, y)))
    return {
        FORWARD: lambda: run_forward().numpy(),
        GRADIENTS: lambda: find_gradients()[0].numpy(),
        FUSED: lambda: step(x, y)["loss"].numpy(),
        KERAS: lambda: other.train_on_batch(x, y),
    }


def _time(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _measure_traffic() -> float:
    """Return the bytes per second that the best of several copies reads and writes."""
    source = np.ones(COPIED, dtype="uint8")
    target = np.empty_like(source)
    return 2 * COPIED / min(_time(lambda: np.copyto(target, source)) for _ in range(10))


def judge(found: Mapping[str, Any]) -> list[Row]:
    """Return a row for each part, and for each first call."""
    seconds, forward, update = (
        found[name] for name in ("seconds", "forward_limit", "update_limit")
    )
    whole = 3 * forward + update
    return [
        Row("forward", seconds[FORWARD], limit=forward),
        Row(
            "gradients, in addition",
            seconds[GRADIENTS] - seconds[FORWARD],
            limit=2 * forward,
        ),
        Row("fused update, in addition", seconds[FUSED] - seconds[GRADIENTS], limit=update),
        Row("a step of the fast engine", seconds[FUSED], limit=whole),
        Row("a step of Keras", seconds[KERAS], limit=whole),
        Row("Keras / fast engine", seconds[KERAS] / seconds[FUSED], "x"),
        Row("the fast engine's, after a generator", seconds[AFTER], limit=whole),
        Row(
            "at most, with the arithmetic and its traffic alone",
            seconds[KERAS] / whole,
            "x",
        ),
        Row("first step of the fast engine, traced", found["first"][FUSED]),
        Row("first step of Keras, traced", found["first"][KERAS]),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    run = read_run("steps", __doc__, Settings(), QUICK, arguments)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "settings.json").write_text(json.dumps(asdict(run.settings)))
        found = run_process("benchmarks.steps:time_parts", folder).result
        after = run_process("benchmarks.steps:time_after_generator", folder).result
    found["seconds"][AFTER] = after["seconds"][FUSED]
    conclude(run, judge(found), found)


if __name__ == "__main__":
    main()
