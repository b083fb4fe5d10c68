"""Train, validation and test, or folds: stratified, seeded, never through a group."""

import heapq
from collections.abc import Sequence

import numpy as np

from kerastl.data.listing import SPLITS
from kerastl.errors import DataError, UsageError
from kerastl.seeds import derive_seed

TRAIN = SPLITS.index("train")
ATTEMPTS = 20  # shuffles tried until each split has each class


def check_shares(validation: float, test: float) -> None:
    """Refuse shares that leave no training data.

    Raises:
        UsageError: A share is no number in [0, 1), or both together reach 1.
    """
    for name, share in (("validation", validation), ("test", test)):
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not number or not 0 <= share < 1:
            raise UsageError(f"{name}={share!r} is not a share from 0 up to, but not, 1.")
    if validation + test >= 1:
        raise UsageError(
            f"validation={validation} and test={test} leave nothing to train on: together "
            "they must be below 1."
        )


def merge_groups(count: int, *groupings: Sequence) -> np.ndarray:
    """Join groupings: samples that share a group in any of them are in one group.

    Args:
        count: Number of samples.
        *groupings: One group per sample each; None is a sample alone.

    Returns:
        `(count,)` int group numbers from 0.

    Example:

    >>> merge_groups(4, ["a", None, "a", None], [0, 1, 2, 2]).tolist()
    [0, 1, 0, 0]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first: dict[tuple, int] = {}
    ends = [
        first.setdefault((which, group), sample)
        for which, groups in enumerate(groupings)
        for sample, group in enumerate(groups)
        if group is not None
    ]
    starts = [
        sample
        for groups in groupings
        for sample, group in enumerate(groups)
        if group is not None
    ]
    links = coo_matrix((np.ones(len(starts), bool), (starts, ends)), shape=(count, count))
    return connected_components(links, directed=False)[1].astype("int64")


def split_samples(
    labels: np.ndarray,
    groups: np.ndarray,
    class_names: Sequence[str],
    *,
    validation: float,
    test: float,
    seed: int,
) -> np.ndarray:
    """Assign samples to splits, each class in proportion, each group as a whole.

    Args:
        labels: `(n,)` class indices, or `(n, classes)` of 0 and 1.
        groups: `(n,)` group numbers.
        class_names: For messages.
        validation: Share for validation; 0 for none.
        test: Share for test; 0 for none.
        seed: The same seed gives the same splits.

    Returns:
        `(n,)` indices into `SPLITS`.

    Raises:
        DataError: A class has fewer groups than there are splits, or groups are so tied
            that a class cannot be in the training split.

    Example:

    >>> labels = np.repeat([0, 1], 5)
    >>> split = split_samples(labels, np.arange(10), "ab", validation=0.2, test=0.2, seed=0)
    >>> np.bincount(split).tolist()
    [6, 2, 2]
    """
    marks = _mark(labels, len(class_names))
    shares = np.array([1 - validation - test, validation, test])
    check_class_sizes(labels, groups, class_names, np.count_nonzero(shares))
    quotas = _quotas(marks.sum(axis=0), shares)
    split, missing = _best_attempt(marks, groups, quotas, seed)
    if missing[TRAIN].any():
        name = class_names[int(np.argmax(missing[TRAIN]))]
        raise DataError(
            f"No image of class {name!r} can be in train while groups stay whole: loosen "
            "group_rule or give a split column."
        )
    return split


def _best_attempt(
    marks: np.ndarray, groups: np.ndarray, quotas: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first split with each class everywhere, else the one nearest to it."""
    best = None
    for attempt in range(ATTEMPTS):
        generator = np.random.default_rng(derive_seed(seed, "split", attempt))
        split = _assign(marks, groups, quotas, generator)
        missing = _missing(marks, split, quotas)
        cost = (missing[TRAIN].sum(), missing.sum())
        if best is None or cost < best[0]:
            best = (cost, split, missing)
        if not missing.any():
            break
    return best[1], best[2]


def _mark(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return `(n, classes)` of 0 and 1; multi-label rows get a column that counts rows."""
    if labels.ndim == 1:
        return np.eye(num_classes, dtype="int32")[labels]
    return np.column_stack([labels, np.ones(len(labels))]).astype("int32")


def check_class_sizes(
    labels: np.ndarray, groups: np.ndarray, class_names: Sequence[str], needed: int
) -> None:
    """Refuse classes that cannot be in every split.

    Raises:
        DataError: A class has fewer groups than `needed` splits; it is named.
    """
    for place, name in enumerate(class_names):
        rows = np.flatnonzero(labels[:, place] if labels.ndim == 2 else labels == place)
        distinct = len(np.unique(groups[rows]))
        if distinct >= needed:
            continue
        tied = (
            f" in {distinct} group{'s' * (distinct != 1)}" if distinct < len(rows) else ""
        )
        raise DataError(
            f"The class {name!r} has {len(rows)} image{'s' * (len(rows) != 1)}{tied}: too "
            f"few for {needed} splits. Add images, leave the class out, or set test=0 or "
            "validation=0."
        )


def _quotas(totals: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return `(splits, classes)` counts: at least one wherever a share is above 0."""
    quotas = np.rint(np.outer(shares, totals)).astype(int)
    quotas = np.where(shares[:, None] > 0, np.maximum(quotas, 1), 0)
    quotas[TRAIN] = totals - quotas.sum(axis=0) + quotas[TRAIN]
    return quotas


def _assign(marks, groups, quotas, generator: np.random.Generator) -> np.ndarray:
    """Place the large and rare groups first, then single samples exactly."""
    split = np.full(len(marks), TRAIN)
    sizes = np.bincount(groups)
    alone = sizes[groups] == 1
    if (marks.sum(axis=1) != 1).any():  # multi-label: a sample counts in several classes
        alone[:] = False
    used = np.zeros_like(quotas)
    for rows in _ordered_groups(marks, groups, np.flatnonzero(~alone), generator):
        counts = marks[rows].sum(axis=0)
        place = _nearest(counts, used, quotas)
        split[rows] = place
        used[place] += counts
    _fill(marks, np.flatnonzero(alone), quotas - used, split, generator)
    return split


def _ordered_groups(marks, groups, rows, generator) -> list[np.ndarray]:
    """Return the row numbers of each group, rarest class and largest group first."""
    order = rows[np.argsort(groups[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    members = np.split(order, starts) if len(order) else []
    totals = marks.sum(axis=0)
    shuffled = [members[place] for place in generator.permutation(len(members))]
    rarity = {id(rows): _rarest(marks[rows], totals) for rows in shuffled}
    return sorted(shuffled, key=lambda rows: (rarity[id(rows)], -len(rows)))


def _rarest(marks: np.ndarray, totals: np.ndarray) -> int:
    present = marks.any(axis=0)
    return int(totals[present].min()) if present.any() else 0


def _nearest(counts: np.ndarray, used: np.ndarray, quotas: np.ndarray) -> int:
    """Return the split whose quotas gain most from a group, in the chi-square sense."""
    wanted = np.maximum(quotas, 1)
    change = counts * (counts + 2 * (used - quotas)) / wanted
    cost = change.sum(axis=1)
    cost[quotas.sum(axis=1) == 0] = np.inf
    return int(np.argmin(cost))


def _fill(marks, rows, left: np.ndarray, split: np.ndarray, generator) -> None:
    """Deal single samples of each class to what is left of the quotas; the rest trains."""
    labels = marks[rows].argmax(axis=1)
    for place in range(marks.shape[1]):
        dealt = generator.permutation(rows[labels == place])
        for which in range(len(SPLITS)):
            if which == TRAIN:
                continue
            take = max(int(left[which, place]), 0)
            split[dealt[:take]] = which
            dealt = dealt[take:]


def _missing(marks: np.ndarray, split: np.ndarray, quotas: np.ndarray) -> np.ndarray:
    """Return `(splits, classes)` of whether a class has no sample where it should."""
    counts = [marks[split == place].sum(axis=0) for place in range(len(SPLITS))]
    return (np.array(counts) == 0) & (quotas > 0)


def split_folds(
    labels: np.ndarray,
    groups: np.ndarray,
    class_names: Sequence[str],
    *,
    k: int,
    seed: int,
) -> np.ndarray:
    """Deal samples to `k` folds, each class evenly, each group as a whole.

    Args:
        labels: `(n,)` class indices, or `(n, classes)` of 0 and 1.
        groups: `(n,)` group numbers.
        class_names: For messages.
        k: Number of folds.
        seed: The same seed gives the same folds.

    Returns:
        `(n,)` fold numbers from 0.

    Raises:
        UsageError: `k` is no whole number from 2 up, or a class has fewer groups than that.

    Example:

    >>> labels = np.repeat([0, 1], [6, 4])
    >>> np.bincount(split_folds(labels, np.arange(10), "ab", k=2, seed=0)).tolist()
    [5, 5]
    """
    _check_folds(labels, groups, class_names, k)
    marks, best = _mark(labels, len(class_names)), None
    for attempt in range(ATTEMPTS):
        generator = np.random.default_rng(derive_seed(seed, "folds", attempt))
        fold = _deal(marks, groups, k, generator)
        counts = np.array([marks[fold == place].sum(axis=0) for place in range(k)])
        missing = np.count_nonzero(counts == 0)
        if best is None or missing < best[0]:
            best = (missing, fold)
        if not missing:
            break
    return best[1]


def _check_folds(
    labels: np.ndarray, groups: np.ndarray, class_names: Sequence[str], k: int
) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 2:
        raise UsageError(f"k={k!r} folds: give a whole number from 2 up.")
    for place, name in enumerate(class_names):
        rows = np.flatnonzero(labels[:, place] if labels.ndim == 2 else labels == place)
        distinct = len(np.unique(groups[rows]))
        if distinct < k:
            raise UsageError(_too_few(name, len(rows), distinct, k))


def _too_few(name: str, images: int, distinct: int, k: int) -> str:
    tied = f" in {distinct} group{'s' * (distinct != 1)}" if distinct < images else ""
    lower = f"take k={distinct}" if distinct > 1 else "leave the class out"
    return (
        f"The class {name!r} has {images} image{'s' * (images != 1)}{tied} to choose by: "
        f"too few for k={k} folds. Add images, or {lower}."
    )


def _deal(
    marks: np.ndarray, groups: np.ndarray, k: int, generator: np.random.Generator
) -> np.ndarray:
    """Place the rare and large groups first, then level out with single samples."""
    fold = np.zeros(len(marks), int)
    alone = (np.bincount(groups)[groups] == 1) & (marks.sum(axis=1) == 1)
    used = np.zeros((k, marks.shape[1]), int)
    quotas = np.tile(marks.sum(axis=0) / k, (k, 1))
    for rows in _ordered_groups(marks, groups, np.flatnonzero(~alone), generator):
        counts = marks[rows].sum(axis=0)
        place = _nearest(counts, used, quotas)
        fold[rows] = place
        used[place] += counts
    _level(marks, np.flatnonzero(alone), used, fold, generator)
    return fold


def _level(marks, rows, used: np.ndarray, fold: np.ndarray, generator) -> None:
    """Give each sample to the fold with the fewest of its class, then the smallest."""
    labels, totals = marks[rows].argmax(axis=1), used.sum(axis=1)
    for place in range(marks.shape[1]):
        folds = [(used[each, place], totals[each], each) for each in range(len(used))]
        heapq.heapify(folds)
        for row in generator.permutation(rows[labels == place]):
            count, total, each = folds[0]
            fold[row] = each
            totals[each] = total + 1
            heapq.heapreplace(folds, (count + 1, total + 1, each))
