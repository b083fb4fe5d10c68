"""How many trials and which batch sizes suit a number of images."""

from dataclasses import dataclass

from kerastl.errors import UsageError
from kerastl.spaces import Space


@dataclass(frozen=True)
class Guidance:
    """What to try with this many images, and why.

    `n_iter` is the low end of `n_iter_range`: trials can be added, time cannot be had back.
    """

    n_iter: int
    n_iter_range: tuple[int, int]
    batch_sizes: tuple[int, ...]
    reason: str


# from so many images: trials, batch sizes, and what decides
ROWS = (
    (
        1_000_000, (50, 100), (64, 128, 256),
        "scores are precise enough to tell close settings apart, and large batches still "
        "leave many steps per epoch",
    ),
    (
        100_000, (50, 100), (32, 64),
        "scores are precise enough to tell close settings apart",
    ),
    (
        10_000, (20, 50), (16, 32, 64),
        "scores are precise enough to tell more settings apart",
    ),
    (
        1_001, (10, 20), (16, 32),
        "validation scores carry an error of a few percent, so settings must differ by "
        "more to be told apart",
    ),
    (
        1, (5, 10), (16, 32),
        "validation scores are so rough that the best of many trials is mostly luck, and "
        "small batches leave enough steps per epoch",
    ),
)  # fmt: skip


def guide_search(images: int) -> Guidance:
    """Say how many trials to run and which batch sizes to try.

    Args:
        images: How many there are for training and validation together.

    Returns:
        Guidance; batch sizes are powers of two and never larger than `images`.

    Raises:
        UsageError: There is no image.

    Example:

    >>> advice = guide_search(800)
    >>> advice.n_iter, advice.n_iter_range, advice.batch_sizes
    (5, (5, 10), (16, 32))
    """
    if images < 1:
        raise UsageError(f"images={images}: give at least 1.")
    trials, sizes, why = next(row[1:] for row in ROWS if images >= row[0])
    fitting = tuple(size for size in sizes if size <= images)
    sizes = fitting or (1 << (images.bit_length() - 1),)
    noun = "image" if images == 1 else "images"
    reason = (
        f"{images:,} {noun}: {trials[0]} to {trials[1]} trials and batches of "
        f"{' or '.join(map(str, sizes))}, because {why}."
    )
    return Guidance(trials[0], trials, sizes, reason)


def default_space(mode: str, images: int) -> Space:
    """Return what is searched when no space is given: the rate, the batch and the dropout.

    Args:
        mode: `"grid"` gets lists; any other kind of search draws the learning rate.
        images: As for `guide_search`.

    Example:

    >>> print(default_space("grid", 1797).describe())
    learning_rate  0.001, 0.003, 0.01
    batch_size     16, 32
    3 x 2 = 6 points
    """
    batch_sizes = guide_search(images).batch_sizes
    if mode == "grid":
        return Space({"learning_rate": (0.001, 0.003, 0.01), "batch_size": batch_sizes})
    return Space(
        {
            "learning_rate": "loguniform(3e-4, 3e-2)",
            "batch_size": batch_sizes,
            "dropout": (0.0, 0.2, 0.5),
        }
    )
