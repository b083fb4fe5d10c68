"""What verdicts are judged by, and what several of them share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from kerastl.diagnosis.limits import limit
from kerastl.evaluation.probes import LEAST, predict_folds, standardise
from kerastl.seeds import derive_seed
from kerastl.stages import AUGMENTATIONS, Stage

_BLOCK = 512  # rows of distances at a time


@dataclass(frozen=True, eq=False)
class Images:
    """One split.

    Args:
        names: As the data names them.
        labels: int `(n,)`.
        features: Floats `(n, d)`, of layers that never saw these images.
        probabilities: Floats `(n, classes)`, of the run's model.
        groups: int `(n,)`; copies of an image, and user groups, share one across splits.
    """

    names: Sequence[str]
    labels: np.ndarray
    features: np.ndarray
    probabilities: np.ndarray
    groups: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """Whether the model classifies each image rightly."""
        return self.probabilities.argmax(axis=1) == self.labels

    @property
    def losses(self) -> np.ndarray:
        """Minus log of the probability of each label."""
        own = self.probabilities[np.arange(len(self)), self.labels]
        return -np.log(np.maximum(own, LEAST))

    def take(self, rows: np.ndarray) -> "Images":
        """Return some of them."""
        return Images(
            [self.names[row] for row in rows],
            self.labels[rows],
            self.features[rows],
            self.probabilities[rows],
            self.groups[rows],
        )


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything a diagnosis reads.

    Args:
        train: Training images.
        validation: Validation images.
        class_names: Class of each label.
        rows: One dict per epoch: stage_index, loss, accuracy, val_loss, val_accuracy.
        stages: As they ran.
        outcomes: What came of each stage, in words.
        write: Writes the command that trains again with some settings changed.
        check: Command that looks for copies and leaks.
        review: Command that lists all suspects.
        pretrained: Settings that start from pretrained weights; empty where it did.
        seed: Of folds and draws.
        drawn_from: Images trained on, where `train` is some of them; 0 where it is all.
    """

    train: Images
    validation: Images
    class_names: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    stages: Sequence[Stage]
    outcomes: Sequence[str]
    write: Callable[[Mapping[str, Any]], str]
    check: str
    review: str
    pretrained: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    drawn_from: int = 0

    def augment_by(self, *names: str) -> list[str]:
        """Return the augmentations of the run, and the first of `names` it had not."""
        used = {name for stage in self.stages for name in stage.augment}
        more = [name for name in names if name not in used][:1]
        return [name for name in AUGMENTATIONS if name in used] + more

    @property
    def guessing(self) -> float:
        """Loss of one who knows nothing but how frequent each class is."""
        shares = np.bincount(self.train.labels) / len(self.train)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    @cached_property
    def probed(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Classes, and probabilities of training images by heads solved without them."""
        folds = make_folds(self.train.labels, self.train.groups, self.seed)
        if folds is None:
            return None
        kinds = np.unique(self.train.labels)
        return kinds, predict_folds(self.train.features, self.train.labels, folds)[0]

    @cached_property
    def nearest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances to the nearest of train: of train (other groups), of validation, which.

        Features count in units of their deviation over the training images.
        """
        train, judged = standardise(self.train.features, self.validation.features)
        within, _ = find_nearest(train, train, (self.train.groups, self.train.groups))
        across, place = find_nearest(judged, train)
        return within, across, place

    @cached_property
    def spacings(self) -> np.ndarray:
        """Distances of validation images to the nearest of as many others as train has.

        With few training images these say better how near the nearest is by chance than
        the few distances within train; empty where validation has no more images.
        """
        _, judged = standardise(self.train.features, self.validation.features)
        generator = np.random.default_rng(derive_seed(self.seed, "spacings"))
        rows = generator.permutation(len(judged))
        others, rest = rows[: len(self.train)], rows[len(self.train) :]
        groups = self.validation.groups
        return find_nearest(judged[rest], judged[others], (groups[rest], groups[others]))[0]


def make_folds(
    labels: np.ndarray, groups: np.ndarray, seed: int
) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return stratified folds that keep groups whole; None where a class is too small."""
    from sklearn.model_selection import StratifiedGroupKFold

    kinds = np.unique(labels)
    fewest = min(len(np.unique(groups[labels == kind])) for kind in kinds)
    folds = min(int(limit("folds")), fewest)
    if len(kinds) < 2 or folds < 2 or len(labels) < limit("fewest images"):
        return None
    random_state = derive_seed(seed, "folds")
    cutter = StratifiedGroupKFold(folds, shuffle=True, random_state=random_state)
    found = list(cutter.split(labels, labels, groups))
    whole = all(len(np.unique(labels[train])) > 1 for train, _ in found)
    return [pair for pair in found if len(pair[1])] if whole else None


def find_nearest(
    rows: np.ndarray,
    others: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return distance to and index of the nearest of the others, of another group if given.

    Example:

    >>> points = np.array([[0.0], [1.0], [3.0]])
    >>> distance, place = find_nearest(points, points, (np.arange(3), np.arange(3)))
    >>> distance.round(3).tolist(), place.tolist()
    ([1.0, 1.0, 2.0], [1, 0, 1])
    """
    distances, places = np.empty(len(rows)), np.empty(len(rows), int)
    squares = (others**2).sum(axis=1)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        own = (rows[part] ** 2).sum(axis=1)[:, None]
        found = np.maximum(own + squares - 2 * rows[part] @ others.T, 0)
        if groups is not None:
            found[groups[0][part, None] == groups[1]] = np.inf
        places[part] = found.argmin(axis=1)
        distances[part] = np.sqrt(found[np.arange(len(found)), places[part]])
    return distances, places
