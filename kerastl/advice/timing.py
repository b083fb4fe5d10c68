"""How long a schedule takes here: its arithmetic over a rate that is measured first."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kerastl.bases.operations import Network
from kerastl.finetuning.costs import StageCost
from kerastl.models import get_info

BATCH = 32
ENOUGH_SECONDS = 0.5  # of measuring
MOST_BATCHES = 20
START_SECONDS = 20.0  # of a command, to import TensorFlow and read images


@dataclass(frozen=True)
class Speed:
    """What this machine does with one base.

    Args:
        rate: FLOPs per second forward, in batches of 32.
        setup: Seconds to build the base and trace its graph.
    """

    rate: float
    setup: float


def measure_speed(model: keras.Model, network: Network) -> Speed:
    """Measure how fast a model runs forward, in about a second and its trace.

    Args:
        model: The model.
        network: The same as plain data, which has its FLOPs.
    """
    height, width = get_info(model).image_size
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, height, width, 3))
    batch = noise.astype("float32")
    start = time.perf_counter()
    model.predict_on_batch(batch)
    traced = time.perf_counter()
    batches = 0
    while batches < MOST_BATCHES and time.perf_counter() - traced < ENOUGH_SECONDS:
        model.predict_on_batch(batch)
        batches += 1
    seconds = (time.perf_counter() - traced) / batches
    flops = BATCH * sum(one.flops for one in network.operations)
    return Speed(flops / seconds, max(0.0, traced - start - seconds))


@dataclass(frozen=True)
class Duration:
    """About how long runs of a schedule take.

    Args:
        once: Seconds before the first of them, with what they share.
        each: Seconds of each.
    """

    once: float
    each: float

    def count(self, trials: int) -> float:
        """Return the seconds of some trials, one after the other."""
        return self.once + trials * self.each


def estimate_duration(costs: Sequence[StageCost], speed: Speed) -> Duration:
    """Estimate how long runs of a schedule take, at the rate measured forward.

    Steps whose arithmetic is next to nothing, such as those of a head on features, take
    longer than this says; tracing is counted once per stage, as a search reuses it.

    Args:
        costs: Of its stages.
        speed: Of this machine.
    """
    shared = sum(cost.once for cost in costs) / speed.rate
    each = sum(cost.total - cost.once for cost in costs) / speed.rate
    return Duration(START_SECONDS + speed.setup * len(costs) + shared, each)
