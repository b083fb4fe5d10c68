"""What training is given: classes, and splits that decode their pixels once."""

import hashlib
import html
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.data.classes import count_classes
from kerastl.data.listing import SPLITS, Listing
from kerastl.data.rows import walk_images
from kerastl.errors import StorageError, check_choice

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from kerastl.data.checks import CheckReport
    from kerastl.data.statistics import ChannelStatistics

ROWS_SHOWN = 30  # classes in the table of a notebook
SIZES_KEPT = 2  # decoded copies per split: the size trained at and one more


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images of one split in a fixed order, with labels.

    Use it where Keras wants arrays: `model.predict(split.pixels(64))` fits `split.labels`.

    Args:
        name: `train`, `validation` or `test`.
        labels: `(n,)` int32 class indices, or `(n, classes)` float32 of 0 and 1.
        names: Relative path per image, or `images[12]` for row 12 of an array.
        paths: The file of each image; empty for arrays.
        images: `(n, height, width, 3)` uint8 for arrays, else None.
        budget: Bytes of memory for decoded pixels; above it they lie in a file. None for a
            third of what is free.

    Example:

    >>> images = np.zeros((2, 8, 8, 3), "uint8")
    >>> split = Split("train", np.array([0, 1]), ("a", "b"), images=images)
    >>> len(split), split.pixels(4).shape
    (2, (2, 4, 4, 3))
    """

    name: str
    labels: np.ndarray
    names: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    images: np.ndarray | None = None
    budget: int | None = None
    _cache: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Split({self.name!r}, {len(self)} images)"

    def pixels(self, image_size: int | Sequence[int]) -> np.ndarray:
        """Return all images at one size; they are decoded at the first call and kept.

        Args:
            image_size: Side in pixels or `(height, width)`; images are stretched to it.

        Returns:
            `(n, height, width, 3)` uint8, in the order of `labels`; do not write into it.

        Raises:
            DataError: Files cannot be decoded; the first are named.
            UsageError: `image_size` is not a size.
        """
        from kerastl.data.decoding import check_image_size

        size = check_image_size(image_size)
        if size not in self._cache:
            while len(self._cache) >= SIZES_KEPT:
                self._cache.pop(next(iter(self._cache)))
            self._cache[size] = self._decode(size)
        return self._cache[size]

    def _decode(self, size: tuple[int, int]) -> np.ndarray:
        from kerastl.data.pixels import load_pixels, resize_arrays

        if self.images is not None:
            return resize_arrays(self.images, size)
        return load_pixels(self.paths, size, budget=self.budget)

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each image's content, in order, reading in threads."""
        if self.images is not None:
            shape = repr(self.images.shape[1:]).encode()
            for image in walk_images(self.images):
                yield hashlib.sha256(shape + image.tobytes()).digest()
            return
        with ThreadPoolExecutor() as pool:
            yield from pool.map(_digest_file, self.paths, chunksize=64)


def _digest_file(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} cannot be read any more ({error.strerror}): load the "
            "images again."
        ) from error


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Labelled images, split; what `load_images` returns and `finetune` takes.

    Args:
        class_names: Class of each model output, in order.
        multi_label: Whether an image may have several classes, or none.
        train: Training split.
        validation: Validation split; None where its share is 0.
        test: Test split; None where its share is 0.
        settings: Arguments that load the same data again, apart from the seed.
        seed: What the splits were drawn with.
        notes: What was recognised, decided or left out, one line each.
        listing: All samples and skipped files of the source.
    """

    class_names: tuple[str, ...]
    multi_label: bool
    train: Split
    validation: Split | None
    test: Split | None
    settings: dict[str, Any]
    seed: int
    notes: tuple[str, ...]
    listing: Listing

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def native_size(self) -> tuple[int, int] | None:
        """Height and width of the images of an array; None for files, which may differ."""
        images = self.train.images
        return None if images is None else images.shape[1:3]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits there are, by name."""
        every = zip(SPLITS, (self.train, self.validation, self.test), strict=True)
        return {name: split for name, split in every if split is not None}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of classes, paths, contents, labels and splits; reads every file once."""
        return self.digest(SPLITS)

    def digest(self, names: Sequence[str]) -> str:
        """Return the fingerprint of some splits alone; no file of another is opened.

        Args:
            names: Of the splits; one that the data has not adds nothing.

        Returns:
            SHA-256 as hex; `fingerprint` where `names` are all splits.

        Raises:
            UsageError: A name is none of train, validation and test.
        """
        for name in names:
            check_choice("split", name, SPLITS)
        digest = hashlib.sha256(repr((self.multi_label, self.class_names)).encode())
        lines = []
        for name, split in self.splits.items():
            if name not in names:
                continue
            labels = split.labels.tolist()
            for sample, content, label in zip(
                split.names, split.digests(), labels, strict=True
            ):
                lines.append(repr((sample, name, label, content.hex())))
        for line in sorted(lines):
            digest.update(line.encode())
        return digest.hexdigest()

    def counts(self) -> "pd.DataFrame":
        """Return the number of images per class and split.

        Returns:
            DataFrame of ints, classes down, splits across.
        """
        import pandas as pd

        columns = {
            name: count_classes(split.labels, self.num_classes)
            for name, split in self.splits.items()
        }
        return pd.DataFrame(columns, index=pd.Index(self.class_names, name="class"))

    def merge_validation(self) -> "Data":
        """Return the same images with those of validation in train.

        Use it for the last training, after everything is chosen: there is nothing left to
        choose an epoch by, so the last one is kept.

        Returns:
            Data without a validation split; test is as it was.

        Raises:
            UsageError: There is no validation split.

        Example:

        >>> import kerastl
        >>> kerastl.load_images("digits").merge_validation()
        Data(1797 images of 10 classes: train 1438, test 359)
        """
        from kerastl.data.regrouping import merge_validation

        return merge_validation(self)

    def without_test(self) -> "Data":
        """Return the same training and validation images, and no way to the test images."""
        return replace(self, test=None)

    def folds(self, k: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """Divide train and validation into folds for cross-validation.

        Each class is spread evenly; copies of an image and user groups stay in one fold.
        The test images are not opened.

        Args:
            k: Number of folds, 2 or more.
            seed: The same seed gives the same folds.

        Returns:
            A pair of int arrays per fold: the rows to train on and those to validate on,
            counted through train and then validation. Each row is validated on once.

        Raises:
            UsageError: `k` is no number of folds, or a class has too few images for it.

        Example:

        >>> import kerastl
        >>> folds = kerastl.load_images("digits").folds(5)
        >>> [len(validation) for _, validation in folds]
        [288, 288, 288, 287, 287]
        """
        from kerastl.data.regrouping import make_folds

        return make_folds(self, k, seed)

    @cached_property
    def row_groups(self) -> np.ndarray:
        """Group number of each row of train and then validation; reads these files once."""
        from kerastl.data.regrouping import group_rows

        return group_rows(self)

    def subset(
        self,
        train_rows: Sequence[int] | np.ndarray,
        test_rows: Sequence[int] | np.ndarray,
        validation: float = 0.2,
        seed: int | None = None,
    ) -> "Data":
        """Return the data of one outer fold of a nested cross-validation.

        Args:
            train_rows: Rows for train and validation, counted as in `folds`.
            test_rows: Rows for test; with `train_rows` what `folds` returns.
            validation: Share of `train_rows` for validation, drawn anew: stratified, and
                with copies and groups on one side; 0 for none.
            seed: Of that drawing; None for the data's own.

        Returns:
            Data of these rows alone; this data's own test images are not in it.

        Raises:
            UsageError: There is no such row, or one is given twice.
            DataError: A class has too few images.
        """
        from kerastl.data.regrouping import cut_subset

        seed = self.seed if seed is None else seed
        return cut_subset(self, train_rows, test_rows, validation, seed)

    def preview(
        self,
        n: int = 9,
        augment: Sequence[str] = ("flip", "crop"),
        image_size: int | Sequence[int] | None = None,
        seed: int = 0,
    ) -> "Figure":
        """Draw training images as training sees them, augmented.

        Args:
            n: How many.
            augment: Names of augmentations; empty for the images as they are.
            image_size: Side or `(height, width)` to draw at; None for a size that fits.
            seed: Which images and which random changes.

        Returns:
            matplotlib Figure.
        """
        from kerastl.data.preview import draw_preview

        return draw_preview(self, n, augment, image_size, seed)

    def channel_statistics(self) -> "ChannelStatistics":
        """Return mean and deviation per channel of the training images, in [0, 1]."""
        return self._statistics

    @cached_property
    def _statistics(self) -> "ChannelStatistics":
        from kerastl.data.statistics import channel_statistics

        return channel_statistics(self.train)

    def check(self) -> "CheckReport":
        """Look for unreadable, misnamed and duplicate files, leaks and small classes."""
        from kerastl.data.checks import check_listing

        return check_listing(
            self.listing,
            validation=self.settings["validation"],
            test=self.settings["test"],
            on_bad_image=self.settings["on_bad_image"],
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(split)}" for name, split in self.splits.items())
        total = sum(map(len, self.splits.values()))
        kind = "multi-label images" if self.multi_label else "images"
        return f"Data({total} {kind} of {self.num_classes} classes: {sizes})"

    def _repr_html_(self) -> str:
        """Show counts per class and the notes in a notebook."""
        table = self.counts().head(ROWS_SHOWN).to_html(escape=True)
        rest = self.num_classes - ROWS_SHOWN
        more = f"<p>and {rest} more classes</p>" if rest > 0 else ""
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"<p>{html.escape(repr(self))}</p>{table}{more}<ul>{notes}</ul>"
