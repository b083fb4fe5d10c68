"""Everything wrong with a set of images, said before training on it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

import numpy as np

from kerastl.data.classes import labels_of, settle_classes, sort_classes
from kerastl.data.copies import Copies
from kerastl.data.findings import KINDS, SEVERITIES, CheckReport, Finding
from kerastl.data.inspection import Inspection, Record, inspect_arrays, inspect_files
from kerastl.data.labels import Rule
from kerastl.data.listing import SPLITS, Listing
from kerastl.data.loading import ON_BAD_IMAGE, check_seed, parse_budget
from kerastl.data.shares import Shares
from kerastl.data.sources import list_source
from kerastl.data.splits import check_shares, merge_groups
from kerastl.errors import DataError, check_choice

__all__ = ["CheckReport", "Finding", "check_images", "check_listing"]

FEW_IMAGES = 5  # of a class, below which its scores mean nothing
IMBALANCE = 3  # largest class over smallest, above which plain accuracy misleads
TINY_SIDE = 32

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
}


def check_images(
    source: object,
    *,
    labels: object = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_rule: Rule | None = None,
    group_rule: Rule | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    multi_label: bool = False,
    on_bad_image: str = "error",
    cache_budget: int | str | None = None,
    seed: int = 0,
) -> CheckReport:
    """Look through images and labels for what would spoil training or its score.

    Use it before `load_images`, with the same arguments. Every file is decoded once, by
    the decoder that training uses; nothing is changed. It also reports where `load_images`
    would raise: damaged files, unknown or too small classes.

    Args:
        source: As for `load_images`: a folder, table, zip, DataFrame, array or built-in.
        labels: Labels of an image array.
        path_column: Column with paths.
        label_column: Column with labels.
        label_rule: Rule that builds the label.
        group_rule: Rule for what stays on one side of a split.
        validation: Share for validation, which classes must be large enough for.
        test: Share for test, likewise.
        multi_label: Whether an image may have several labels.
        on_bad_image: `"skip"` makes unreadable files warnings instead of errors.
        cache_budget: Checked, and without effect here.
        seed: Checked, and without effect here.

    Returns:
        The report: `.ok`, `.findings`, `.counts`; print it, or `.to_frame()`.

    Raises:
        UsageError: An argument cannot be meant as given, or there is no such source.
        DataError: The source cannot be listed, such as an empty folder.

    Example:

    >>> images = np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), dtype="uint8")
    >>> images[19] = images[0]
    >>> report = check_images(images, labels=[0, 1] * 10)
    >>> report.ok, [finding.kind for finding in report.findings]
    (False, ['conflict'])
    """
    check_shares(validation, test)
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    check_seed(seed)
    parse_budget(cache_budget)
    listing = list_source(
        source,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        label_rule=label_rule,
        group_rule=group_rule,
        multi_label=multi_label,
    )
    return check_listing(
        listing, validation=validation, test=test, on_bad_image=on_bad_image
    )


def check_listing(
    listing: Listing,
    *,
    validation: float = 0.2,
    test: float = 0.2,
    on_bad_image: str = "error",
) -> CheckReport:
    """Check samples that are listed already; see `check_images`."""
    return _Check(listing, validation, test, on_bad_image).report()


@dataclass(frozen=True)
class _Check:
    """One check; every method named after findings yields them."""

    listing: Listing
    validation: float
    test: float
    on_bad_image: str

    @cached_property
    def inspection(self) -> Inspection:
        if self.listing.images is not None:
            return inspect_arrays(self.listing.images)
        return inspect_files([sample.path for sample in self.listing.samples])

    @cached_property
    def copies(self) -> Copies:
        return Copies.find(self.listing.samples, self.inspection)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        given = {sample.split for sample in self.listing.samples}
        return ("all",) if given == {None} else SPLITS

    def report(self) -> CheckReport:
        images, counts = self.count()
        return CheckReport(
            root=self.listing.root,
            images=images,
            counts=counts,
            unusable=int((~self.inspection.readable).sum()),
            skipped=len(self.listing.skipped),
            findings=self.findings(counts),
            notes=self.listing.notes,
            clean=self.copies.clean(),
        )

    def findings(self, counts: dict[str, dict[str, int]]) -> tuple[Finding, ...]:
        found = [
            *self.files(),
            *self.copies.findings(),
            *self.classes(),
            *_missing_classes(counts),
            *_imbalance(counts),
            *self.skipped(),
        ]
        kinds = list(KINDS)
        order = [
            (SEVERITIES.index(each.severity), kinds.index(each.kind)) for each in found
        ]
        ranked = sorted(range(len(found)), key=lambda row: (order[row], found[row].path))
        return tuple(found[row] for row in ranked)

    def count(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """Count good images per split, and per split and class."""
        images: Counter = Counter()
        pairs: Counter = Counter()
        names = {label for each in self.listing.samples for label in labels_of(each)}
        for sample, good in zip(
            self.listing.samples, self.inspection.readable, strict=True
        ):
            split = "all" if self.splits == ("all",) else sample.split or "train"
            images[split] += int(good)
            pairs.update((split, label) for label in labels_of(sample) if good)
        present = [split for split in self.splits if split in images]
        classes = self.listing.class_names or sort_classes(names)
        counts = {
            split: {name: pairs[split, name] for name in classes} for split in present
        }
        return {split: images[split] for split in present}, counts

    def files(self) -> Iterable[Finding]:
        """Say what is the matter with single files."""
        bad = "warning" if self.on_bad_image == "skip" else "error"
        samples = zip(self.listing.samples, self.inspection.records, strict=True)
        for sample, record in samples:
            if record.reason is not None:
                kind = "oversized" if record.oversized else "unreadable"
                yield Finding(kind, bad, sample.name, record.reason)
            else:
                yield from _describe_image(sample.name, sample.path, record)

    def classes(self) -> Iterable[Finding]:
        """Say what `load_images` would: class names that clash, classes too small."""
        try:
            settle_classes(self.listing, multi_label=self.multi_label)
        except DataError as error:
            yield Finding("classes", "error", "", str(error))
        shares = Shares(self.listing, self.validation, self.test, 0)
        needed = 1 + len(shares.wanted)
        for name, rows in self.rows_to_split(shares).items():
            yield from _describe_class(name, rows, self.groups[rows], needed)

    @property
    def multi_label(self) -> bool:
        return any(isinstance(sample.label, tuple) for sample in self.listing.samples)

    @cached_property
    def groups(self) -> np.ndarray:
        given = [sample.group for sample in self.listing.samples]
        return merge_groups(len(given), given, self.copies.groups)

    def rows_to_split(self, shares: Shares) -> dict[str, np.ndarray]:
        """Return the good samples of each class that the splits are taken from."""
        names = [labels_of(sample) for sample in self.listing.samples]
        pool = [int(row) for row in shares.pool]
        rows: dict[str, list[int]] = {name: [] for row in pool for name in names[row]}
        for row in pool:
            for name in names[row] if self.inspection.readable[row] else ():
                rows[name].append(row)
        return {name: np.array(rows[name], int) for name in sort_classes(rows)}

    def skipped(self) -> Iterable[Finding]:
        """Name the files that are no samples."""
        return (Finding("skipped", "info", *each) for each in self.listing.skipped)


def _rank(finding: Finding) -> tuple[int, int]:
    return SEVERITIES.index(finding.severity), list(KINDS).index(finding.kind)


def _describe_image(name: str, path: PurePath | None, record: Record) -> Iterable[Finding]:
    header = record.header
    suffix = PurePath(name).suffix.lower()
    if path is not None and suffix and suffix not in SUFFIXES[header.format]:
        yield Finding("misnamed", "warning", name, f"is a {header.format} file by content")
    if header.orientation != 1:
        said = f"EXIF orientation {header.orientation}, applied when decoding"
        yield Finding("rotated", "info", name, said)
    if record.grey:
        yield Finding("greyscale", "info", name, "red, green and blue are equal")
    if min(header.width, header.height) < TINY_SIDE:
        said = f"{header.width} x {header.height} pixels"
        yield Finding("tiny", "info", name, said)


def _describe_class(
    name: str, rows: np.ndarray, groups: np.ndarray, needed: int
) -> Iterable[Finding]:
    distinct = len(set(groups.tolist()))
    images = f"{len(rows)} good image{'s' * (len(rows) != 1)}"
    if distinct < len(rows):
        images += f" in {distinct} group{'s' * (distinct != 1)} that must stay together"
    if distinct < needed:
        said = f"has {images}, too few for {needed} split{'s' * (needed > 1)}"
        yield Finding("small-class", "error", name, said)
    elif distinct < FEW_IMAGES:
        yield Finding("small-class", "warning", name, f"has only {images}")


def _missing_classes(counts: dict[str, dict[str, int]]) -> Iterable[Finding]:
    for split in SPLITS[1:]:
        for name, size in counts.get(split, {}).items():
            if size == 0 and counts.get("train", {}).get(name):
                said = f"has no image of class {name!r}: its score will say nothing on it"
                yield Finding("missing-class", "warning", split, said)


def _imbalance(counts: dict[str, dict[str, int]]) -> Iterable[Finding]:
    sizes = counts.get("train", counts.get("all", {}))
    filled = {name: size for name, size in sizes.items() if size}
    if not filled:
        return
    small, large = min(filled, key=filled.get), max(filled, key=filled.get)
    ratio = filled[large] / filled[small]
    if ratio > IMBALANCE:
        said = (
            f"has {filled[large]:,} images, {ratio:.1f} times as many as {small!r} with "
            f"{filled[small]:,}: look at balanced accuracy, or use class weights"
        )
        yield Finding("imbalance", "warning", large, said)
