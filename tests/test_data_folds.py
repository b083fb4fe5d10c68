"""Train and validation divided anew: merged, in folds, as outer folds, without test."""

import builtins
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from data_trees import write_image, write_tree

from kerastl.data import load_images
from kerastl.data.splits import split_folds
from kerastl.errors import DataError, UsageError


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", {"daisy": 21, "rose": 12})


@pytest.fixture
def opened(monkeypatch):
    """Collect the name of every file that is opened, by whichever door."""
    seen = set()

    def spy(real):
        def call(path, *args, **kwargs):
            seen.add(Path(path).name if isinstance(path, str | os.PathLike) else path)
            return real(path, *args, **kwargs)

        return call

    monkeypatch.setattr(builtins, "open", spy(builtins.open))
    monkeypatch.setattr("io.open", spy(open))
    monkeypatch.setattr(os, "open", spy(os.open))
    real = Path.open

    def open_path(path, *args, **kwargs):
        seen.add(path.name)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_path)
    return seen


def pool(data):
    """Return names and labels of train and then validation."""
    splits = [data.train] + ([data.validation] if data.validation else [])
    names = [name for split in splits for name in split.names]
    return np.array(names), np.concatenate([split.labels for split in splits])


def table(labels, folds):
    """Count the validation rows of each class per fold."""
    size = labels.max() + 1
    return np.array([np.bincount(labels[rows], minlength=size) for _, rows in folds])


# Merging


def test_merging_puts_validation_into_train_and_says_so(tree):
    data = load_images(tree)
    merged = data.merge_validation()
    assert merged.validation is None
    assert merged.test is data.test
    assert list(merged.train.names) == sorted(pool(data)[0])
    assert [merged.class_names[label] for label in merged.train.labels] == [
        name.split("/")[0] for name in merged.train.names
    ]
    assert [str(path.relative_to(tree)) for path in merged.train.paths] == list(
        merged.train.names
    )
    assert merged.notes[-1] == (
        "Validation is merged into train: 27 images to train on, none to choose by."
    )


def test_merging_keeps_each_image_of_an_array_with_its_label():
    images = np.arange(40, dtype="uint8").repeat(48).reshape(40, 4, 4, 3)
    merged = load_images(images, labels=np.arange(40) % 2).merge_validation()
    numbers = [int(name[7:-1]) for name in merged.train.names]
    assert numbers == sorted(numbers)
    assert merged.train.pixels(4)[:, 0, 0, 0].tolist() == numbers
    assert [merged.class_names[label] for label in merged.train.labels] == [
        str(number % 2) for number in numbers
    ]


def test_merged_data_is_loaded_again_by_its_settings(tree):
    merged = load_images(tree).merge_validation()
    settings = json.loads(json.dumps({**merged.settings, "data": str(tree)}))
    again = load_images(settings.pop("data"), **settings, seed=merged.seed)
    assert settings["merge_validation"] is True
    assert again.fingerprint == merged.fingerprint != load_images(tree).fingerprint
    assert again.notes == merged.notes


def test_merging_adds_up_the_memory_budgets(tree):
    data = load_images(tree, cache_budget=33_000)
    budgets = [data.train.budget, data.validation.budget]
    assert 0 <= sum(budgets) - data.merge_validation().train.budget < 2


def test_nothing_to_merge_is_refused(tree):
    with pytest.raises(UsageError, match="merge_validation=True needs a validation split"):
        load_images(tree, validation=0, merge_validation=True)
    with pytest.raises(UsageError, match="there is none"):
        load_images(tree).merge_validation().merge_validation()
    with pytest.raises(UsageError, match="merge_validation='yes'"):
        load_images("no/such/folder", merge_validation="yes")


# Without test, and digests of some splits


def test_without_test_is_the_rest_unchanged(tree):
    data = load_images(tree)
    rest = data.without_test()
    assert rest.test is None
    assert rest.train is data.train
    assert rest.validation is data.validation
    assert list(rest.splits) == ["train", "validation"]


def test_digest_of_all_splits_is_the_fingerprint(tree):
    data = load_images(tree)
    assert data.digest(("test", "validation", "train")) == data.fingerprint
    assert data.digest(("train", "validation")) == data.without_test().fingerprint
    assert data.digest(("train",)) != data.digest(("train", "validation"))
    with pytest.raises(UsageError, match="split='val' is not one of: train, validation"):
        data.digest(("train", "val"))


def test_digest_sees_its_own_splits_only(tree):
    data = load_images(tree)
    before = data.digest(("train", "validation"))
    write_image(tree / data.test.names[0], 999)
    assert data.digest(("train", "validation")) == before
    write_image(tree / data.validation.names[0], 998)
    assert data.digest(("train", "validation")) != before


def test_test_images_are_never_opened(tree, opened):
    for name in sorted(tree.rglob("*.png")):
        name.rename(name.with_name(f"{name.parent.name}-{name.name}"))
    data = load_images(tree)
    opened.clear()
    train, validation = data.folds(3)[0]
    data.digest(("train", "validation"))
    data.merge_validation().train.pixels(8)
    data.subset(train, validation).test.pixels(8)
    data.without_test().folds(3)
    tests = {Path(name).name for name in data.test.names}
    assert {Path(name).name for name in pool(data)[0]} <= opened
    assert tests & opened == set()
    _ = data.fingerprint
    assert tests <= opened  # so the spy does see them


# Folds


def test_each_row_is_validated_once_and_each_class_spread_evenly(tree):
    data = load_images(tree)
    names, labels = pool(data)
    folds = data.folds(4)
    assert sorted(np.concatenate([rows for _, rows in folds])) == list(range(len(names)))
    for train, validation in folds:
        assert sorted([*train, *validation]) == list(range(len(names)))
    counts = table(labels, folds)
    assert counts.max(axis=0) - counts.min(axis=0) == pytest.approx(1, abs=1)
    assert np.ptp(counts.sum(axis=1)) <= 1


@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_counts_differ_by_one_at_most_for_any_classes(k):
    for seed in range(10):
        sizes = np.random.default_rng(seed).integers(k, 40, 6)
        labels = np.repeat(np.arange(6), sizes)
        where = split_folds(labels, np.arange(len(labels)), "abcdef", k=k, seed=seed)
        counts = np.array([np.bincount(labels[where == f], minlength=6) for f in range(k)])
        assert np.ptp(counts, axis=0).max() <= 1
        assert np.ptp(counts.sum(axis=1)) <= 1


def test_same_seed_same_folds_other_seed_other(tree):
    def rows(seed):
        return [validation.tolist() for _, validation in load_images(tree).folds(3, seed)]

    assert rows(0) == rows(0) != rows(1)


def test_copies_and_groups_stay_in_one_fold(tmp_path):
    write_tree(tmp_path, {"a": 20, "b": 20})
    for number in range(6):
        shutil.copy(tmp_path / f"a/{number:03}.png", tmp_path / f"a/copy{number}.png")
    # a person per class and last digit
    data = load_images(tmp_path, test=0, group_rule=lambda name: f"{name[0]}{name[-5]}")
    names, _ = pool(data)
    for _, validation in data.folds(3):
        inside = set(names[validation])
        for number in range(6):
            pair = {f"a/{number:03}.png", f"a/copy{number}.png"}
            assert len(pair & inside) in (0, 2)
        groups = {name: f"{name[0]}{name[-5]}" for name in names}
        held = {groups[name] for name in inside}
        assert all((groups[name] in held) == (name in inside) for name in names)


def test_copies_across_the_given_splits_meet_in_one_fold(tmp_path):
    write_tree(tmp_path, {"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2})
    shutil.copy(tmp_path / "train/a/000.png", tmp_path / "val/a/001.png")
    data = load_images(tmp_path, test=0)
    names, _ = pool(data)
    both = [list(names).index(name) for name in ("train/a/000.png", "val/a/001.png")]
    assert any(set(both) <= set(rows) for _, rows in data.folds(3))


def test_rows_count_through_train_and_then_validation(tree):
    data = load_images(tree)
    _, labels = pool(data)
    alone = load_images(tree).merge_validation().folds(3)
    assert len(alone) == len(data.folds(3)) == 3
    train, validation = data.folds(3)[0]
    assert train.dtype == validation.dtype == np.int64
    assert max(train.max(), validation.max()) == len(labels) - 1


def test_multi_label_folds_have_each_label(tmp_path):
    rows = ["path,label"]
    for number in range(48):
        write_image(tmp_path / f"{number}.png", number)
        label = ("cat", "dog", "cat|dog", "cat|owl")[number % 4]
        rows.append(f"{number}.png,{label}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    data = load_images(tmp_path / "labels.csv", multi_label=True, test=0)
    _, labels = pool(data)
    counts = np.array([labels[rows].sum(axis=0) for _, rows in data.folds(4)])
    assert np.ptp(counts, axis=0).max() <= 2
    assert counts.min() >= 2


@pytest.mark.parametrize(
    ("k", "match"),
    [
        (11, "class 'rose' has 10 images to choose by: too few for k=11.*take k=10"),
        (1, "k=1 folds"),
        (2.0, "k=2.0 folds"),
        (True, "k=True folds"),
    ],
)
def test_folds_that_cannot_be_are_refused(tree, k, match):
    with pytest.raises(UsageError, match=match):
        load_images(tree).folds(k)


def test_a_class_in_too_few_groups_is_named():
    labels, groups = np.repeat([0, 1], [6, 6]), np.array([0] * 6 + [1, 2, 3, 4, 5, 6])
    with pytest.raises(
        UsageError, match="'a' has 6 images in 1 group.*leave the class out"
    ):
        split_folds(labels, groups, "ab", k=3, seed=0)


def test_uneven_groups_still_leave_no_fold_without_a_class():
    # one large group and as many single images as there are other folds
    labels = np.repeat([0, 1], [14, 20])
    groups = np.array([0] * 10 + list(range(1, 25)))
    for seed in range(20):
        where = split_folds(labels, groups, "ab", k=5, seed=seed)
        counts = np.array([np.bincount(labels[where == f], minlength=2) for f in range(5)])
        assert sorted(counts[:, 0]) == [1, 1, 1, 1, 10]
        assert (counts[:, 1] == 4).all()


def test_many_images_are_dealt_in_seconds():
    labels = np.random.default_rng(0).integers(0, 100, 100_000)
    start = time.perf_counter()
    split_folds(labels, np.arange(len(labels)), [str(n) for n in range(100)], k=5, seed=0)
    assert time.perf_counter() - start < 10


# Outer folds


def test_an_outer_fold_is_test_and_the_rest_is_split_anew(tree):
    data = load_images(tree)
    names, labels = pool(data)
    train_rows, test_rows = data.folds(3)[1]
    outer = data.subset(train_rows, test_rows, 0.25)
    assert list(outer.test.names) == names[test_rows].tolist()
    assert outer.test.labels.tolist() == labels[test_rows].tolist()
    inner = [*outer.train.names, *outer.validation.names]
    assert sorted(inner) == sorted(names[train_rows])
    assert np.bincount(outer.validation.labels).tolist() == [3, 2]
    assert not set(data.test.names) & {*inner, *outer.test.names}
    assert outer.settings["data"] == "<arrays>"
    assert "split anew: train 13, validation 5, test 9 " in outer.notes[-1]


def test_an_outer_fold_without_validation_and_its_own_folds(tree):
    data = load_images(tree)
    train_rows, test_rows = data.folds(3)[0]
    outer = data.subset(train_rows, test_rows, 0)
    assert outer.validation is None
    assert len(outer.train) == len(train_rows)
    held = [name for _, rows in outer.folds(2) for name in pool(outer)[0][rows]]
    assert sorted(held) == sorted(outer.train.names)


def test_an_outer_fold_follows_its_seed_and_keeps_copies_together(tmp_path):
    write_tree(tmp_path, {"a": 20, "b": 20})
    for number in range(8):
        shutil.copy(tmp_path / f"a/{number:03}.png", tmp_path / f"a/copy{number}.png")
    data = load_images(tmp_path, test=0)
    folds = data.folds(3)
    one, two = (data.subset(*folds[0], 0.3, seed=seed) for seed in (1, 1))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != data.subset(*folds[0], 0.3, seed=2).fingerprint
    for split in one.splits.values():
        for number in range(8):
            pair = {f"a/{number:03}.png", f"a/copy{number}.png"}
            assert len(pair & set(split.names)) in (0, 2)


@pytest.mark.parametrize(
    ("train", "test", "match"),
    [
        ([0, 1, 2], [2, 3], "Row 2 is given twice"),
        ([0, 0], [2], "Row 0 is given twice"),
        ([0, 99], [2], r"train_rows goes from 0 to 99: .* the rows 0 to 26"),
        ([0], [-1], "test_rows goes from -1"),
        ([0], [], "test_rows of shape"),
        ([0.5], [1], "train_rows of shape"),
    ],
)
def test_rows_that_cannot_be_are_refused(tree, train, test, match):
    with pytest.raises(UsageError, match=match):
        load_images(tree).subset(train, test)


def test_an_outer_fold_too_small_to_split_names_the_class(tree):
    data = load_images(tree)
    _, labels = pool(data)
    rose = np.flatnonzero(labels == 1)
    rest = np.setdiff1d(np.arange(len(labels)), rose[1:])
    with pytest.raises(DataError, match="class 'rose' has 1 image"):
        data.subset(rest, rose[1:])
