"""Guidance: how many trials and which batch sizes, by the number of images."""

import pytest

from kerastl.advice.guidance import default_space, guide_search
from kerastl.bases import base_names
from kerastl.errors import UsageError
from kerastl.options import Options
from kerastl.search.candidates import apply_parameters
from kerastl.search.sampling import sample_grid, sample_random


@pytest.mark.parametrize(
    ("images", "trials", "batch_sizes"),
    [
        (32, (5, 10), (16, 32)),
        (1_000, (5, 10), (16, 32)),
        (1_001, (10, 20), (16, 32)),
        (9_999, (10, 20), (16, 32)),
        (10_000, (20, 50), (16, 32, 64)),
        (99_999, (20, 50), (16, 32, 64)),
        (100_000, (50, 100), (32, 64)),
        (999_999, (50, 100), (32, 64)),
        (1_000_000, (50, 100), (64, 128, 256)),
        (10**8, (50, 100), (64, 128, 256)),
    ],
)
def test_advice_follows_the_number_of_images(images, trials, batch_sizes):
    advice = guide_search(images)
    assert advice.n_iter_range == trials
    assert advice.n_iter == trials[0]
    assert advice.batch_sizes == batch_sizes
    assert f"{images:,} images: {trials[0]} to {trials[1]} trials" in advice.reason
    assert "because" in advice.reason
    assert advice.reason.endswith(".")
    assert advice.reason.count(". ") == 0


def test_batch_sizes_are_powers_of_two_and_fit():
    for images in [*range(1, 200), 12_345, 10**6]:
        for size in guide_search(images).batch_sizes:
            assert size <= images
            assert size & (size - 1) == 0
    assert guide_search(20).batch_sizes == (16,)
    assert guide_search(10).batch_sizes == (8,)
    assert guide_search(1).batch_sizes == (1,)


def test_more_images_never_mean_fewer_trials_or_smaller_batches():
    rows = [guide_search(10**power) for power in range(1, 9)]
    assert [row.n_iter for row in rows] == sorted(row.n_iter for row in rows)
    largest = [row.batch_sizes[-1] for row in rows]
    assert largest == sorted(largest)


@pytest.mark.parametrize("images", [0, -5])
def test_no_images_are_refused(images):
    with pytest.raises(UsageError, match=f"images={images}: give at least 1"):
        guide_search(images)


@pytest.mark.parametrize("images", [7, 1_797, 60_000])
def test_the_default_space_follows_the_number_of_images(images):
    for mode in ("grid", "random", "halving", "tpe"):
        space = default_space(mode, images)
        assert space.parameters["batch_size"] == guide_search(images).batch_sizes
        assert (space.size is None) == (mode != "grid")


@pytest.mark.parametrize("base", sorted({"tiny", "vgg16", "resnet50"} & set(base_names())))
def test_every_point_of_the_default_space_can_be_trained(base):
    points = sample_grid(default_space("grid", 500))
    points += sample_random(default_space("random", 500), 10, 0)
    for point in points:
        assert apply_parameters(Options(base=base), point).stages
