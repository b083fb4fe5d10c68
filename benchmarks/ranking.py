"""Do scores of frozen features foretell which base is best once fine-tuned?

    python -m benchmarks.ranking [--cifar10 FOLDER] [--hymenoptera FOLDER] [--images 300]

Each base is scored on the training images as `kerastl rank` does, then fine-tuned on them
and judged on images held back. Reported is how far the order of each score agrees with that
of fine-tuning (Kendall's tau, tau weighted by rank, Spearman's rho), and what choosing by
it would have lost. Pretrained weights are taken where they can be had, else random ones:
features of different worth either way. Whatever is found is reported; there is no target.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import Row, conclude
from benchmarks.settings import read_run

if TYPE_CHECKING:
    from kerastl.advice.ranking import RankedBase
    from kerastl.data import Data

DIGITS = "digits"
SCORES = ("probe", "LogME", "H-score")
SMALL = (("tiny", "auto", 32), ("tiny", None, 32), ("vgg16", "auto", 32))
# base, weights, side
CANDIDATES = (
    *SMALL,
    ("tiny", "auto", 64),
    ("resnet50", "auto", 32),
    ("mobilenetv2", "auto", 32),
    ("efficientnetb0", "auto", 32),
    ("densenet121", "auto", 32),
)


@dataclass(frozen=True)
class Settings:
    """Sizes; 0 epochs are the schedule's own, and a set without a folder is left out."""

    images: int = 300
    held_back: int = 1000
    epochs: int = 0
    schedule: str = "hybrid"
    cifar10: str = ""
    hymenoptera: str = ""
    seed: int = 0
    candidates: tuple = CANDIDATES


QUICK = Settings(images=60, held_back=60, epochs=1, candidates=SMALL)


@dataclass(frozen=True)
class Outcome:
    """One base on one set: its scores, and what fine-tuning reached."""

    data: str
    base: str
    weights: str
    side: int
    probe: float
    log_me: float
    h_score: float
    scoring: float  # seconds
    tuned: float
    tuning: float  # seconds

    def list_scores(self) -> tuple[float, ...]:
        """Return the scores, in the order of `SCORES`."""
        return self.probe, self.log_me, self.h_score


def load_sets(settings: Settings) -> dict[str, "Data"]:
    """Return what is trained on by name: few training images, and some held back."""
    sources = {
        DIGITS: DIGITS,
        "CIFAR-10": settings.cifar10,
        "hymenoptera": settings.hymenoptera,
    }
    return {name: load_set(source, settings) for name, source in sources.items() if source}


def load_set(source: str, settings: Settings) -> "Data":
    """Return a few training images of a set, and as test some that it held back."""
    import kerastl
    from kerastl.advice.samples import draw_sample
    from kerastl.data.regrouping import take_rows

    shares = {"validation": 0, "test": 0.4 if source == DIGITS else 0}
    data = kerastl.load_images(source, **shares, seed=settings.seed)
    held_back = data.test or data.validation
    generator = np.random.default_rng(settings.seed)
    rows = generator.permutation(len(held_back))[: settings.held_back]
    test = take_rows(held_back, np.sort(rows), "test")
    return replace(draw_sample(data, settings.images, settings.seed), test=test)


def try_base(name: str, data: "Data", candidate: tuple, settings: Settings) -> Outcome:
    """Score one base on one set and fine-tune it there."""
    import keras

    base, _, side = candidate
    start = time.perf_counter()
    scored = score(data, candidate, settings.seed)
    scoring = time.perf_counter() - start
    tuned = tune(data, candidate, settings)
    keras.backend.clear_session()
    return Outcome(
        name, base, scored.weights, side, scored.probe.value, scored.log_me,
        scored.h_score, scoring, tuned, time.perf_counter() - start - scoring,
    )  # fmt: skip


def score(data: "Data", candidate: tuple, seed: int) -> "RankedBase":
    """Return what `kerastl rank` says of one base."""
    from kerastl.advice.ranking import score_base
    from kerastl.advice.samples import make_folds
    from kerastl.bases import get_base
    from kerastl.evaluation.probes import FOLDS

    base, weights, side = candidate
    folds = make_folds(replace(data, test=None), FOLDS, seed)
    size = {"image_size": (side, side), "weights": weights}
    return score_base(get_base(base), data.train, folds, **size, seed=seed, cache=False)


def tune(data: "Data", candidate: tuple, settings: Settings) -> float:
    """Fine-tune one base and return its accuracy on the images held back."""
    import kerastl

    base, weights, side = candidate
    model = kerastl.build_model(
        base,
        num_classes=data.num_classes,
        weights=weights,
        image_size=side,
        seed=settings.seed,
    )
    changes = {"epochs": settings.epochs} if settings.epochs else {}
    kerastl.finetune(
        model,
        replace(data, test=None),
        schedule=settings.schedule,
        seed=settings.seed,
        verbose=0,
        **changes,
    )
    found = kerastl.predict_probabilities(model, data.test.pixels(side))
    return float((found.argmax(axis=1) == data.test.labels).mean())


def correlate(scores: Sequence[float], tuned: Sequence[float]) -> dict[str, float]:
    """Return how far two orders agree, and what choosing by the first loses."""
    from scipy.stats import kendalltau, spearmanr, weightedtau

    return {
        "tau": float(kendalltau(scores, tuned).statistic),
        "weighted tau": float(weightedtau(scores, tuned).statistic),
        "Spearman": float(spearmanr(scores, tuned).statistic),
        "loss": float(max(tuned) - tuned[int(np.argmax(scores))]),
    }


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print a row per base."""
    print(
        f"{'':15} {'weights':9} {'side':>4} {'probe':>6} {'LogME':>8} {'H-score':>8} "
        f"{'s':>6} {'tuned':>6} {'s':>6}"
    )
    for one in sorted(outcomes, key=lambda one: -one.tuned):
        print(
            f"{one.base:15} {one.weights:9} {one.side:4} {one.probe:6.3f} "
            f"{one.log_me:8.4f} {one.h_score:8.3f} {one.scoring:6.1f} {one.tuned:6.3f} "
            f"{one.tuning:6.1f}"
        )


def judge(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, for each set and in the mean, how far each score agrees with fine-tuning."""
    names = list(dict.fromkeys(one.data for one in outcomes))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        rows = [one for one in outcomes if one.data == name]
        columns = zip(*(one.list_scores() for one in rows), strict=True)
        tuned = [one.tuned for one in rows]
        found[name] = {
            which: correlate(column, tuned)
            for which, column in zip(SCORES, columns, strict=True)
        }
    found["mean"] = {
        which: {
            measure: float(np.mean([found[name][which][measure] for name in names]))
            for measure in found[names[0]][which]
        }
        for which in SCORES
    }
    return found


def list_rows(found: dict[str, dict[str, dict[str, float]]]) -> list[Row]:
    """Return a row per set, score and measure of agreement."""
    return [
        Row(f"{name}, {which}, {measure}", value, "")
        for name, scores in found.items()
        for which, measures in scores.items()
        for measure, value in measures.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Score and fine-tune every base on every set, and compare the orders."""
    run = read_run("ranking", __doc__, Settings(), QUICK, arguments)
    settings, outcomes = run.settings, []
    for name, data in load_sets(settings).items():
        print(f"\n{name}: {len(data.train)} to train on, {len(data.test)} held back")
        mine = [try_base(name, data, one, settings) for one in settings.candidates]
        print_outcomes(mine)
        outcomes += mine
    details: dict[str, Any] = {"outcomes": [asdict(one) for one in outcomes]}
    conclude(run, list_rows(judge(outcomes)), details)


if __name__ == "__main__":
    main()
