"""Splitting: shares, strata, groups, seeds, and what is too small."""

import time

import numpy as np
import pytest

from kerastl.data.listing import SPLITS
from kerastl.data.splits import check_shares, merge_groups, split_samples
from kerastl.errors import DataError, UsageError


def names(count):
    return [f"class{number}" for number in range(count)]


def split(labels, groups=None, *, validation=0.2, test=0.2, seed=0):
    labels = np.asarray(labels)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    count = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    return split_samples(
        labels, groups, names(count), validation=validation, test=test, seed=seed
    )


def table(labels, where):
    """Count samples per split and class."""
    return np.array(
        [
            np.bincount(labels[where == place], minlength=labels.max() + 1)
            for place in range(3)
        ]
    )


def assert_groups_whole(groups, where):
    for group in np.unique(groups):
        assert len(np.unique(where[groups == group])) == 1


def test_each_class_is_split_in_proportion():
    labels = np.repeat(np.arange(3), [100, 50, 10])
    assert table(labels, split(labels)).tolist() == [[60, 30, 6], [20, 10, 2], [20, 10, 2]]


@pytest.mark.parametrize(
    ("validation", "test", "sizes"),
    [
        (0.2, 0, [80, 20, 0]),
        (0, 0.3, [70, 0, 30]),
        (0, 0, [100, 0, 0]),
        (0.1, 0.1, [80, 10, 10]),
    ],
)
def test_shares_of_zero_leave_a_split_empty(validation, test, sizes):
    where = split(np.repeat([0, 1], 50), validation=validation, test=test)
    assert np.bincount(where, minlength=3).tolist() == sizes


def test_same_seed_same_split_other_seed_other_split():
    labels = np.repeat([0, 1], 50)
    assert np.array_equal(split(labels, seed=3), split(labels, seed=3))
    assert not np.array_equal(split(labels, seed=3), split(labels, seed=4))


def test_small_classes_get_one_image_in_each_split():
    labels = np.repeat([0, 1], [3, 97])
    assert table(labels, split(labels, validation=0.1, test=0.1))[:, 0].tolist() == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_class_too_small_for_its_splits_is_named(count):
    labels = np.repeat([0, 1, 2], [10, count, 10])
    with pytest.raises(
        DataError, match=f"class 'class1' has {count} image.*too few for 3 splits"
    ):
        split(labels)


def test_class_in_too_few_groups_is_named():
    groups = [0, 0, 0, 0, 1, 1, 1, 1, *range(2, 12)]
    labels = np.repeat([0, 1], [8, 10])
    with pytest.raises(DataError, match="'class0' has 8 images in 2 groups: too few for 3"):
        split(labels, groups)


@pytest.mark.parametrize("seed", range(5))
def test_random_groups_stay_whole_and_shares_hold(seed):
    generator = np.random.default_rng(seed)
    labels = generator.choice(5, 2000, p=[0.4, 0.3, 0.2, 0.07, 0.03])
    groups = generator.integers(0, 500, 2000)
    where = split(labels, groups, seed=seed)
    assert_groups_whole(groups, where)
    counts = table(labels, where)
    assert counts.min() > 0
    shares = counts / counts.sum(axis=0)
    assert np.abs(shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.08
    assert np.abs(counts.sum(axis=1) / 2000 - [0.6, 0.2, 0.2]).max() < 0.02


def test_people_of_the_mask_data_stay_whole_with_18_classes_in_each_split():
    generator = np.random.default_rng(0)
    kinds = generator.choice(6, 400, p=[0.24, 0.18, 0.03, 0.33, 0.18, 0.04])
    groups = np.repeat(np.arange(400), 7)
    wear = np.tile([0, 0, 0, 0, 0, 1, 2], 400)
    labels = np.repeat(kinds, 7) * 3 + wear
    where = split(labels, groups)
    assert_groups_whole(groups, where)
    assert (table(labels, where) > 0).all()
    assert np.abs(np.bincount(where) / 2800 - [0.6, 0.2, 0.2]).max() < 0.02


def test_one_huge_group_goes_to_train():
    groups = [*[0] * 50, *range(1, 51)]
    labels = np.tile([0, 1], 50)
    assert set(split(labels, groups)[:50]) == {SPLITS.index("train")}


def test_groups_that_are_fewer_than_the_splits_are_refused():
    with pytest.raises(DataError, match="'class0' has 2 images: too few for 3 splits"):
        split(np.array([0, 1, 0, 1]), [0, 0, 1, 1])


def test_train_has_each_class_where_not_every_split_can():
    # The lines of the Fano plane: points that meet each line hold a whole one.
    lines = ["012", "034", "056", "135", "146", "236", "245"]
    rows = [(label, int(point)) for label, line in enumerate(lines) for point in line]
    labels, groups = np.array(rows).T
    where = split(labels, groups)
    assert_groups_whole(groups, where)
    counts = table(labels, where)
    assert (counts[0] > 0).all()
    assert (counts[1:] == 0).any()


def test_multi_label_samples_are_dealt_by_each_label():
    generator = np.random.default_rng(0)
    labels = (generator.random((500, 4)) < [0.5, 0.3, 0.1, 0.05]).astype("float32")
    where = split(labels)
    shares = np.array(
        [labels[where == place].sum(axis=0) for place in range(3)]
    ) / labels.sum(axis=0)
    assert np.abs(shares - np.array([[0.6], [0.2], [0.2]])).max() < 0.08
    assert np.abs(np.bincount(where) / 500 - [0.6, 0.2, 0.2]).max() < 0.02


def test_merged_groups_follow_chains_and_none_is_alone():
    groups = merge_groups(6, ["a", "a", None, None, "b", None], [0, 1, 1, 2, 3, 3])
    assert groups[0] == groups[1] == groups[2]
    assert groups[4] == groups[5]
    assert len(set(groups)) == 3


def test_sixty_thousand_are_split_in_seconds():
    labels = np.repeat(np.arange(10), 6000)
    groups = np.arange(60_000) // 3
    start = time.perf_counter()
    where = split(labels, groups)
    assert time.perf_counter() - start < 15
    assert_groups_whole(groups[:300], where[:300])


@pytest.mark.parametrize(
    ("validation", "test", "match"),
    [
        (1, 0, "validation=1 is not a share"),
        (-0.1, 0, "validation=-0.1"),
        (0.2, True, "test=True"),
        (0.2, "0.2", "test='0.2'"),
        (float("nan"), 0, "validation=nan"),
        (0.5, 0.5, "validation=0.5 and test=0.5 leave nothing"),
    ],
)
def test_impossible_shares_are_refused(validation, test, match):
    with pytest.raises(UsageError, match=match):
        check_shares(validation, test)
