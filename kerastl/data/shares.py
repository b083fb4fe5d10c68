"""Which splits a source lacks, and taking them out of its training samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerastl.data.classes import encode_labels, settle_classes
from kerastl.data.listing import SPLITS, Listing
from kerastl.data.splits import check_class_sizes, merge_groups, split_samples


@dataclass(frozen=True)
class Shares:
    """A listing and what is to be taken out of its training samples.

    Args:
        listing: The samples.
        validation: Share for validation where the source has none.
        test: Share for test where the source has none.
        seed: For drawing.
    """

    listing: Listing
    validation: float
    test: float
    seed: int

    @property
    def given(self) -> set[str | None]:
        """The splits the source has; `{None}` where it has none."""
        return {sample.split for sample in self.listing.samples}

    @property
    def wanted(self) -> dict[str, float]:
        """The shares still to be taken out of train."""
        asked = {"validation": self.validation, "test": self.test}
        return {
            name: share for name, share in asked.items() if share and name not in self.given
        }

    @property
    def pool(self) -> np.ndarray:
        """Indices of the samples to take them from."""
        samples = self.listing.samples
        rows = [
            row for row, sample in enumerate(samples) if sample.split in (None, "train")
        ]
        return np.array(rows)

    def settle(self, multi_label: bool) -> tuple[tuple[str, ...], np.ndarray]:
        """Return classes and encoded labels, all that can be checked without decoding.

        Raises:
            DataError: Classes clash, are unknown to train or too small to split.
        """
        class_names = settle_classes(self.listing, multi_label=multi_label)
        labels = encode_labels(self.listing.samples, class_names, multi_label=multi_label)
        if self.wanted:
            groups = merge_groups(len(self.pool), self._user_groups())
            check_class_sizes(labels[self.pool], groups, class_names, 1 + len(self.wanted))
        return class_names, labels

    def _user_groups(self) -> list[str | None]:
        return [self.listing.samples[row].group for row in self.pool]

    def draw(
        self, labels: np.ndarray, class_names: Sequence[str]
    ) -> tuple[np.ndarray, list[str]]:
        """Return the split of each sample as an index into `SPLITS`, and notes."""
        samples = self.listing.samples
        split = np.array([SPLITS.index(sample.split or "train") for sample in samples])
        if not self.wanted:
            return split, []
        duplicates = find_copies(self.listing, self.pool)
        split[self.pool] = split_samples(
            labels[self.pool],
            merge_groups(len(self.pool), self._user_groups(), duplicates),
            class_names,
            validation=self.wanted.get("validation", 0),
            test=self.wanted.get("test", 0),
            seed=self.seed,
        )
        return split, [self._note(split), *_duplicate_note(duplicates)]

    def _note(self, split: np.ndarray) -> str:
        sizes = np.bincount(split[self.pool], minlength=len(SPLITS))
        how = f"stratified by class, seed {self.seed}"
        if self.given == {None}:
            said = [
                f"{name} {size}" for name, size in zip(SPLITS, sizes, strict=True) if size
            ]
            return f"Split by itself: {', '.join(said)} ({how})."
        said = [f"{sizes[SPLITS.index(name)]} for {name}" for name in self.wanted]
        return (
            f"The source has no {' and no '.join(self.wanted)} split: {', '.join(said)} of "
            f"its {len(self.pool)} training images are taken ({how})."
        )


def find_copies(listing: Listing, rows: np.ndarray) -> np.ndarray:
    """Group the samples in `rows` that show the same image; no other file is opened."""
    from kerastl.data.duplicates import duplicate_groups, duplicate_groups_of_arrays

    if listing.images is not None:
        return duplicate_groups_of_arrays(listing.images, rows)
    return duplicate_groups([listing.samples[row].path for row in rows])


def _duplicate_note(groups: np.ndarray) -> list[str]:
    counts = np.unique(groups, return_counts=True)[1]
    groups, images = int((counts > 1).sum()), int(counts[counts > 1].sum())
    if not groups:
        return []
    return [f"{images} images are copies of one another ({groups} groups): kept together."]
