"""What advice rests on: counts of the images and measurements on frozen features."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.advice.rules import find_amount, find_level
from kerastl.advice.samples import make_folds
from kerastl.bases import Base
from kerastl.bases.operations import Network
from kerastl.data import Data
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.probes import FOLDS

if TYPE_CHECKING:
    from kerastl.advice.similarity import Similarity
    from kerastl.advice.timing import Speed

GIGA = 1e9


@dataclass(frozen=True)
class Evidence:
    """What was counted and measured.

    Args:
        base: Name of the base.
        weights: Where its weights come from.
        images: To train on.
        classes: How many.
        per_class: Images of the class in the middle.
        smallest: Images of the smallest class.
        looked_at: Images that features were computed of.
        baseline: Accuracy of always answering the commonest class.
        frozen: Accuracy of a linear head on the base's features, by folds.
        random: The same with random weights.
        gain: Share of the mistakes with random weights that pretrained ones avoid.
        distance: Of the features' statistics to those of the source, in its deviations;
            None where the base cannot tell.
        rate: FLOPs per second of this machine on this base, forward.
        amount: What the number of images is called in the rules.
        similarity: What gain and distance are called there.
        level: What that means.
    """

    base: str
    weights: str
    images: int
    classes: int
    per_class: int
    smallest: int
    looked_at: int
    baseline: float
    frozen: Measure
    random: Measure
    gain: Measure
    distance: float | None
    rate: float
    amount: str
    similarity: str
    level: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        measures = {n: v.to_dict() for n, v in values.items() if isinstance(v, Measure)}
        return {**values, **measures}

    def list_lines(self) -> list[tuple[str, str]]:
        """Return what is printed: a name and a text per line."""
        lines = [
            (
                "images",
                f"{self.images:,} to train on in {self.classes} classes, {self.per_class} "
                f"of the middle one, {self.smallest} of the smallest: {self.amount}",
            ),
            (
                f"frozen {self.base}",
                f"a linear head is right for {self.frozen} of {self.looked_at:,} images",
            ),
        ]
        if self.weights != "random":
            lines += self._list_comparison()
        lines.append(("baseline", f"{self.baseline:.3f}, always the commonest class"))
        lines.append(("similarity", f"{self.similarity}: {self.level}"))
        lines.append(("speed", f"{self.rate / GIGA:,.0f} GFLOP/s forward, here and now"))
        return lines

    def _list_comparison(self) -> list[tuple[str, str]]:
        lines = [
            ("random weights", f"the same for {self.random}"),
            ("gain", f"{self.gain} of the latter's mistakes are avoided"),
        ]
        if self.distance is not None:
            text = f"{self.distance:.2f} deviations from {self.weights}, which is at 0"
            lines.append(("distance", text))
        return lines


def gather_evidence(
    data: Data,
    sample: Data,
    base: Base,
    weights: str | Path | None,
    image_size: tuple[int, int],
    *,
    seed: int,
    cache: bool | Path,
) -> tuple[Evidence, "Speed"]:
    """Count the images and measure what a base does for them, and how fast.

    Args:
        data: All images.
        sample: Those to look at, of `draw_sample`.
        base: Of the table.
        weights: As in `build_model`.
        image_size: Height and width.
        seed: Of folds and random weights.
        cache: As in `extract_features`.
    """
    from kerastl.advice.similarity import measure_similarity
    from kerastl.advice.timing import measure_speed
    from kerastl.models import build_model, get_info

    folds = make_folds(sample, FOLDS, seed)
    pixels = sample.train.pixels(image_size)  # unreadable ones are named before building
    classes = data.num_classes
    model = build_model(
        base.name, num_classes=classes, weights=weights, image_size=image_size, seed=seed
    )
    found = measure_similarity(model, sample.train, folds, seed=seed, cache=cache)
    speed = measure_speed(model, Network(base.name, image_size, classes))
    source = get_info(model).weights
    return _describe(data, base.name, source, len(pixels), found, speed.rate), speed


def _describe(
    data: Data,
    base: str,
    weights: str,
    looked_at: int,
    found: "Similarity",
    rate: float,
) -> Evidence:
    counts = np.bincount(data.train.labels, minlength=data.num_classes)
    per_class = int(np.median(counts))
    gain, frozen = found.gain, found.frozen
    level = find_level((gain.value, gain.low), frozen.low, found.distance)
    return Evidence(
        base=base,
        weights=weights,
        images=len(data.train),
        classes=data.num_classes,
        per_class=per_class,
        smallest=int(counts.min()),
        looked_at=looked_at,
        baseline=float(counts.max() / counts.sum()),
        frozen=frozen,
        random=found.random,
        gain=gain,
        distance=found.distance,
        rate=rate,
        amount=find_amount(len(data.train), per_class).name,
        similarity=level.name,
        level=level.why,
    )
