"""How well are digits never trained recognised by the strokes that they are made of?

    python -m benchmarks.zeroshot [--sides 16,32,64] [--method eszsl] [--most 45] [--new 2]

Scikit-learn's scans of digits, frozen features of `tiny`, and as attributes which of the
seven segments of a display a digit lights. Every pair of digits is held out in turn; side
of the images, regularisers and the constant against the bias to seen classes are chosen by
the eight others alone. CIFAR-10, which `tiny` was pretrained on, has no digits, so the
held-out classes are new to the base as well. Whatever is found is reported.
"""

import argparse
import itertools

import numpy as np
import pandas as pd

import kerastl
from kerastl.errors import DataError
from kerastl.zeroshot import ZeroShotScores, read_attributes
from kerastl.zeroshot.attributes import fit_attributes
from kerastl.zeroshot.choosing import Samples
from kerastl.zeroshot.learning import FOLDS, _learn, _score

SEGMENTS = (
    "abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg",
)  # fmt: skip
DIGITS = tuple("0123456789")


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
        head, choice = _learn(method, parts, table, len(seen), FOLDS, 0)
        results[side] = choice, _score(head, choice, parts)
    best = max(results, key=lambda side: results[side][0].accuracy)
    return best, results[best][1]


def main() -> None:
    """Hold out one set of digits after the other and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", default="16,32,64")
    parser.add_argument("--method", default="eszsl")
    parser.add_argument("--most", type=int, default=45)
    parser.add_argument("--new", type=int, default=2)
    given = parser.parse_args()
    features = extract([int(side) for side in given.sides.split(",")])
    every = list(itertools.combinations(DIGITS, given.new))
    chosen = every[:: -(-len(every) // given.most)]
    rows = []
    for unseen in chosen:
        try:
            side, scores = hold_out(features, unseen, given.method)
        except DataError as error:  # the digits left do not teach an attribute they need
            print("".join(unseen), error)
            continue
        rows.append(
            (scores.zero_shot, scores.uncalibrated.harmonic, scores.harmonic, scores)
        )
        print("".join(unseen), side, scores.zero_shot, scores.harmonic.value, flush=True)
    values = np.array([row[0].value for row in rows])
    above = sum(row[0].low > row[3].chance for row in rows)
    below = sum(row[0].high < row[3].chance for row in rows)
    print(f"{len(rows)} sets, mean {values.mean():.3f}, median {np.median(values):.3f}")
    print(f"{above} above chance beyond their interval, {below} below")
    for name in ("uncalibrated", "all_classes"):
        means = [
            np.mean([getattr(getattr(row[3], name), part).value for row in rows])
            for part in ("seen", "unseen", "harmonic")
        ]
        print(name, "seen, unseen, harmonic:", *(f"{mean:.3f}" for mean in means))


if __name__ == "__main__":
    main()
