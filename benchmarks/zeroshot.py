"""How well are digits never trained recognised by the strokes that they are made of?

    python -m benchmarks.zeroshot [--sides 16,32,64] [--method eszsl] [--most 45] [--new 2]

Scikit-learn's scans of digits, frozen features of `tiny`, and as attributes which of the
seven segments of a display a digit lights. Every pair of digits is held out in turn; side
of the images, regularisers and the constant against the bias to seen classes are chosen by
the eight others alone. CIFAR-10, which `tiny` was pretrained on, has no digits, so the
held-out classes are new to the base as well. Target, with `eszsl` and two digits: the mean
of all pairs is above guessing.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import kerastl
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run
from kerastl.errors import DataError
from kerastl.zeroshot import ZeroShotScores, read_attributes
from kerastl.zeroshot.attributes import fit_attributes
from kerastl.zeroshot.choosing import Samples
from kerastl.zeroshot.learning import FOLDS, learn_head, score_head

TARGETS = {"eszsl": 0.5}  # at least; that of guessing between two
SEGMENTS = (
    "abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg",
)  # fmt: skip
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Settings:
    """Which digits are held out, and how the others are learned from."""

    sides: str = "16,32,64"
    method: str = "eszsl"
    most: int = 45
    new: int = 2


QUICK = Settings(sides="16", most=2)


def make_table() -> pd.DataFrame:
    """Return which segments each digit lights."""
    marks = [[int(c in lit) for c in "abcdefg"] for lit in SEGMENTS]
    return pd.DataFrame(marks, index=list(DIGITS), columns=list("abcdefg"))


def extract(sides: list[int]) -> dict[int, dict[str, Samples]]:
    """Return the features of each split for each side, classes in the order of digits."""
    data, found = kerastl.load_images("digits"), {}
    for side in sides:
        model = kerastl.build_model("tiny", num_classes=2, image_size=side)
        found[side] = {
            name: Samples(np.array(kerastl.extract_features(model, s), float), s.labels)
            for name, s in data.splits.items()
        }
    return found


def hold_out(
    features: dict[int, dict[str, Samples]], unseen: tuple[str, ...], method: str
) -> tuple[int, ZeroShotScores]:
    """Return the side that the seen classes chose, and the scores at it."""
    seen = tuple(name for name in DIGITS if name not in unseen)
    is_binary = method == "dap"
    table = fit_attributes(read_attributes(make_table()), seen, unseen, is_binary=is_binary)
    order = [DIGITS.index(name) for name in table.classes]
    results = {}
    for side, splits in features.items():
        parts = {name: part.of(order) for name, part in splits.items()}
        head, choice = learn_head(method, parts, table, len(seen), FOLDS, 0)
        results[side] = choice, score_head(head, choice, parts)
    best = max(results, key=lambda side: results[side][0].accuracy)
    return best, results[best][1]


def hold_out_all(settings: Settings) -> list[ZeroShotScores]:
    """Return the scores of one set of digits after the other."""
    features = extract([int(side) for side in settings.sides.split(",")])
    every = list(itertools.combinations(DIGITS, settings.new))
    found = []
    for unseen in every[:: -(-len(every) // settings.most)]:
        try:
            side, scores = hold_out(features, unseen, settings.method)
        except DataError as error:  # the digits left do not teach an attribute they need
            print("".join(unseen), error)
            continue
        found.append(scores)
        print("".join(unseen), side, scores.zero_shot, scores.harmonic.value, flush=True)
    return found


def judge(found: Sequence[ZeroShotScores], at_least: float | None) -> list[Row]:
    """Return what came out over all sets."""
    values = [scores.zero_shot.value for scores in found]
    above = sum(scores.zero_shot.low > scores.chance for scores in found)
    below = sum(scores.zero_shot.high < scores.chance for scores in found)
    rows = [
        Row("sets of digits held out", len(found), ""),
        Row("unseen among themselves, mean", float(np.mean(values)), "", at_least=at_least),
        Row("unseen among themselves, highest", max(values), ""),
        Row("unseen among themselves, lowest", min(values), ""),
        Row("above chance beyond their interval", above, ""),
        Row("below chance beyond their interval", below, ""),
    ]
    for name, said in (("uncalibrated", "as it is"), ("all_classes", "calibrated")):
        for part in ("seen", "unseen", "harmonic"):
            each = [getattr(getattr(scores, name), part).value for scores in found]
            rows.append(Row(f"among all ten, {said}, {part}", float(np.mean(each)), ""))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Hold out one set of digits after the other and check the target."""
    run = read_run("zeroshot", __doc__, Settings(), QUICK, arguments)
    found = hold_out_all(run.settings)
    target = TARGETS.get(run.settings.method) if run.settings.new == 2 else None
    conclude(run, judge(found, target), [scores.to_dict() for scores in found])


if __name__ == "__main__":
    main()
