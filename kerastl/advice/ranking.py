"""Bases ranked on one's own images by their frozen features: none is trained."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerastl.advice.samples import FEWEST, Folds, draw_sample, make_folds
from kerastl.advice.transferability import h_score, log_me
from kerastl.bases import Base, get_base
from kerastl.bases.sizes import check_image_size, is_count
from kerastl.data import Data, Split
from kerastl.errors import UsageError
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.layout import html_table, text_table
from kerastl.evaluation.probes import FOLDS, probe_features
from kerastl.finetuning.planning import check_weights, choose_image_size
from kerastl.options import Options
from kerastl.weights import PRETRAINED

IMAGES = 2000  # looked at: an interval of two points, in minutes on a laptop
HEADER = (
    "base", "weights", "size", "probe accuracy", "LogME", "H-score", "features",
    "parameters", "seconds",
)  # fmt: skip
NUMBERS = range(4, len(HEADER))  # columns of a table


@dataclass(frozen=True)
class RankedBase:
    """What one base's frozen features are worth on some images.

    Args:
        base: Its name.
        weights: Where they come from: `"imagenet"`, `"cifar10"`, `"random"` or a path.
        image_size: Height and width that images were brought to.
        probe: Accuracy of a linear head judged by folds, with its interval.
        log_me: See `kerastl.advice.log_me`.
        h_score: See `kerastl.advice.h_score`, the shrunk version.
        features: Numbers per image that the head gets.
        parameters: Of the base.
        seconds: That the features took; next to none where they were kept from before.
    """

    base: str
    weights: str
    image_size: tuple[int, int]
    probe: Measure
    log_me: float
    h_score: float
    features: int
    parameters: int
    seconds: float

    def show(self) -> list[str]:
        """Return the cells of its row."""
        return [
            self.base,
            self.weights,
            "x".join(map(str, self.image_size)),
            str(self.probe),
            f"{self.log_me:.4f}",
            f"{self.h_score:.3f}",
            f"{self.features:,}",
            f"{self.parameters:,}",
            f"{self.seconds:.1f}",
        ]


@dataclass(frozen=True)
class Ranking:
    """Bases, the best first by the probe's accuracy.

    Args:
        rows: One per base.
        images: How many training images were looked at.
        total: How many there are to train on.
    """

    rows: tuple[RankedBase, ...]
    images: int
    total: int

    @property
    def best(self) -> str:
        """Name of the first."""
        return self.rows[0].base

    @property
    def rivals(self) -> tuple[RankedBase, ...]:
        """Those after the first whose intervals overlap with its."""
        first, *others = self.rows
        return tuple(row for row in others if row.probe.high >= first.probe.low)

    @property
    def conclusion(self) -> str:
        """What can be said of the first place, in a sentence."""
        if len(self.rows) == 1:
            return f"{self.best} alone was looked at, on {self.images:,} images."
        if not self.rivals:
            return f"{self.best} comes first on {self.images:,} images, beyond chance."
        names = ", ".join(_tell(row) for row in self.rivals)
        return (
            f"{self.images:,} images do not tell {_tell(self.rows[0])} from {names}: their "
            "intervals overlap. Take the smallest, or fine-tune them."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        rows = [{**asdict(row), "probe": row.probe.to_dict()} for row in self.rows]
        counts = {"images": self.images, "total": self.total}
        return {"rows": rows, **counts, "conclusion": self.conclusion}

    def __str__(self) -> str:
        table = text_table(HEADER, [row.show() for row in self.rows], right=NUMBERS)
        return f"{table}\n\n{self.conclusion}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        cells = [row.show() for row in self.rows]
        return html_table(HEADER, cells, right=NUMBERS, caption=self.conclusion)


def _tell(row: RankedBase) -> str:
    return f"{row.base} ({row.weights})" if row.weights == "random" else row.base


def rank_bases(
    data: Data,
    bases: Sequence[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    weights: str | Path | None = PRETRAINED,
    images: int = IMAGES,
    folds: int = FOLDS,
    seed: int = 0,
    cache: bool | Path = True,
) -> Ranking:
    """Rank bases on your images before training any of them.

    Each base runs once, frozen, over training images; a linear head on its features is
    judged by folds and decides the order. LogME and H-score stand beside it; how well each
    foretells fine-tuning is measured by `benchmarks/ranking.py`. Neither validation nor
    test images are opened.

    Args:
        data: From `load_images`, of one label per image.
        bases: Names as `kerastl bases` lists them.
        image_size: Side, or height and width, for all. Default: each base's own, or less
            for images of an array that are smaller.
        weights: As in `build_model`. `"auto"` takes random ones where a base's own cannot
            be had, and the table says so.
        images: Training images to look at, at most, drawn by class. Default 2,000.
        folds: To judge a linear head by; fewer where a class has fewer images. Default 5.
        seed: Of the draw, the folds and random weights.
        cache: As in `extract_features`.

    Returns:
        Ranking, the base with the highest accuracy first.

    Raises:
        UsageError: A base, size or number is not allowed; before anything is decoded.
        StorageError: A base's weights can neither be found nor downloaded.
        DataError: A class has a single image, or images cannot be read.

    Example:

    >>> import kerastl
    >>> data = kerastl.load_images("digits")
    >>> ranking = rank_bases(data, ["tiny"], images=60, folds=2, cache=False)
    >>> ranking.best, ranking.rows[0].features
    ('tiny', 80)
    """
    rows = check_bases(bases, weights, image_size)
    check_counts(images, folds)
    options = Options(image_size=image_size)
    sample = draw_sample(data, images, seed)
    parts = make_folds(sample, folds, seed)
    scored = []
    for base in rows:
        size = choose_image_size(options, sample, base)
        settings = {"weights": weights, "image_size": size, "seed": seed, "cache": cache}
        scored.append(score_base(base, sample.train, parts, **settings))
    ranked = sorted(scored, key=lambda row: -row.probe.value)
    return Ranking(tuple(ranked), len(sample.train), len(data.train))


def check_bases(
    bases: Sequence[str],
    weights: str | Path | None,
    image_size: int | tuple[int, int] | None,
) -> list[Base]:
    """Return the rows of some bases, with weights that can be had, each once."""
    if isinstance(bases, str) or not bases:
        raise UsageError(f"bases={bases!r}: give a list of names, such as ['tiny'].")
    rows = list(dict.fromkeys(map(get_base, bases)))
    for base in rows:
        check_image_size(base, image_size)
        check_weights(base, weights)
    return rows


def check_counts(images: int, folds: int) -> None:
    """Refuse what is no number of images or folds."""
    for name, value in (("images", images), ("folds", folds)):
        if not is_count(value) or value < FEWEST:
            raise UsageError(f"{name}={value!r} must be a whole number from {FEWEST} up.")


def score_base(
    base: Base,
    split: Split,
    folds: Folds,
    *,
    weights: str | Path | None,
    image_size: tuple[int, int],
    seed: int = 0,
    cache: bool | Path = True,
) -> RankedBase:
    """Return what one base is worth on one split.

    Args:
        base: Of the table.
        split: The images to look at.
        folds: Of its rows.
        weights: As in `build_model`.
        image_size: Height and width.
        seed: Of random weights.
        cache: As in `extract_features`.
    """
    from kerastl.finetuning.features import extract_features
    from kerastl.models import build_model, get_info

    pixels, labels = split.pixels(image_size), split.labels
    model = build_model(
        base.name, num_classes=2, weights=weights, image_size=image_size, seed=seed
    )
    start = time.perf_counter()
    features = np.asarray(extract_features(model, pixels, cache=cache))
    seconds = time.perf_counter() - start
    return RankedBase(
        base=base.name,
        weights=get_info(model).weights,
        image_size=tuple(image_size),
        probe=probe_features(features, labels, folds).accuracy,
        log_me=log_me(features, labels),
        h_score=h_score(features, labels),
        features=features.shape[1],
        parameters=base.parameters,
        seconds=seconds,
    )
