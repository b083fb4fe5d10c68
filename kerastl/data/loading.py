"""From a source to `Data`: list, leave out what cannot be read, settle classes, split."""

import math
import os
import re
from dataclasses import replace
from typing import Any

import numpy as np

from kerastl.data.classes import count_classes, note_missing
from kerastl.data.dataset import Data, Split
from kerastl.data.labels import Rule
from kerastl.data.listing import SPLITS, Listing
from kerastl.data.reading import shown_rule
from kerastl.data.rows import take_images
from kerastl.data.shares import Shares
from kerastl.data.sources import ARRAYS, list_source
from kerastl.data.splits import check_shares
from kerastl.errors import DataError, UsageError, check_choice

ON_BAD_IMAGE = ("error", "skip")
PROBE_SIZE = 8  # pixels; only whether a file decodes matters
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?")


def load_images(
    source: object,
    *,
    labels: object = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_rule: Rule | None = None,
    group_rule: Rule | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    merge_validation: bool = False,
    multi_label: bool = False,
    on_bad_image: str = "error",
    cache_budget: int | str | None = None,
    seed: int = 0,
) -> Data:
    r"""Load labelled images from wherever they are and split them.

    Splits that the source has (folders train, val, test, or a split column) stay as they
    are; missing ones are taken out of train, stratified by class, with duplicates and
    groups on one side. What was recognised or decided stands in `notes`.

    Args:
        source: Folder, CSV or TSV file, zip file, DataFrame, image array, `(images,
            labels)`, `((images, labels), (images, labels))` for train and test as Keras'
            data sets come, `"digits"` (1,797 scanned digits) or `"random"` (noise).
        labels: Labels of an image array: `(n,)`, or `(n, classes)` of 0 and 1.
        path_column: Column with paths; recognised by its name where None.
        label_column: Column with labels, or several of 0 and 1 as `"cat,dog"`.
        label_rule: Template over columns or path parts, such as `"{gender}-{age:<30,30+}"`
            or `"re:(?P<id>\d+)_(?P<sex>male|female) -> {sex}"`, or a function of the
            relative path; it returns None for images to leave out.
        group_rule: The same, for what must stay on one side of a split, such as a person.
        validation: Share of the images for validation; 0 for none.
        test: Share for test; 0 for none.
        merge_validation: Train on the validation images as well, once all is chosen.
        multi_label: Whether an image may have several labels (`"cat|dog"`), or none.
        on_bad_image: `"error"`, or `"skip"` to leave unreadable files out and say so.
        cache_budget: Memory for decoded pixels, in bytes or as `"2GB"`; None for a third of
            what is free.
        seed: The same seed gives the same splits.

    Returns:
        Data with `train`, `validation` and `test`, the latter two None where their share
        is 0.

    Raises:
        UsageError: An argument cannot be meant as given, or there is no such source.
        DataError: Images, labels or splits cannot be used; the sentence names the file, row
            or class.

    Example:

    >>> load_images("digits")
    Data(1797 images of 10 classes: train 1079, validation 359, test 359)
    """
    check_shares(validation, test)
    check_choice("on_bad_image", on_bad_image, ON_BAD_IMAGE)
    if not isinstance(merge_validation, bool):
        raise UsageError(f"merge_validation={merge_validation!r} is not True or False.")
    seed, budget = check_seed(seed), parse_budget(cache_budget)
    listing = list_source(
        source,
        labels=labels,
        path_column=path_column,
        label_column=label_column,
        label_rule=label_rule,
        group_rule=group_rule,
        multi_label=multi_label,
    )
    shares = Shares(listing, validation, test, seed)
    if on_bad_image == "skip":
        shares.settle(multi_label)  # a class that is too small shows before any decoding
        shares = replace(shares, listing=leave_out_unreadable(listing))
    settings = {
        "data": _shown_source(source),
        "path_column": path_column,
        "label_column": label_column,
        "label_rule": shown_rule(label_rule),
        "group_rule": shown_rule(group_rule),
        "validation": validation,
        "test": test,
        "merge_validation": False,
        "multi_label": multi_label,
        "on_bad_image": on_bad_image,
        "cache_budget": cache_budget,
    }
    data = build_data(shares, settings, budget)
    return data.merge_validation() if merge_validation else data


def _shown_source(source: object) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else ARRAYS


def check_seed(seed: int) -> int:
    """Return `seed` when it is a whole number.

    Raises:
        UsageError: It is not.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise UsageError(f"seed={seed!r} is not a whole number.")
    return int(seed)


def parse_budget(budget: int | str | None) -> int | None:
    """Read a number of bytes, also written as `"500MB"` or `"2 GiB"` (both binary).

    Raises:
        UsageError: It is neither.

    Example:

    >>> parse_budget("2GB")
    2147483648
    """
    if budget is None:
        return None
    match = _BYTES.fullmatch(str(budget).strip().upper())
    size = float(match[1]) * 1024 ** " KMGT".index(match[2] or " ") if match else 0
    if isinstance(budget, bool) or size < 1:
        raise UsageError(
            f"cache_budget={budget!r} is not a number of bytes above 0, such as 2000000000 "
            "or '2GB'."
        )
    return int(size)


def leave_out_unreadable(listing: Listing) -> Listing:
    """Decode every file once and move those that fail to the skipped ones.

    Raises:
        DataError: None can be decoded.
    """
    from kerastl.data.decoding import decode_paths

    if listing.images is not None:
        return listing
    paths = [sample.path for sample in listing.samples]
    _, readable, failures = decode_paths(paths, PROBE_SIZE)
    if not readable.any():
        raise DataError(
            f"None of the {len(paths)} images can be decoded: {failures[0][1]}."
        )
    if not failures:
        return listing
    pairs = list(zip(listing.samples, readable, strict=True))
    bad = [sample.name for sample, good in pairs if not good]
    reasons = [(name, reason) for name, (_, reason) in zip(bad, failures, strict=True)]
    return replace(
        listing,
        samples=tuple(sample for sample, good in pairs if good),
        skipped=tuple(sorted((*listing.skipped, *reasons))),
        notes=(*listing.notes, _unreadable_note(reasons)),
    )


def _unreadable_note(reasons: list[tuple[str, str]]) -> str:
    listed = ", ".join(f"{name} ({reason})" for name, reason in reasons[:3])
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"Left out {len(reasons)} unreadable images: {listed}{more}."


def build_data(shares: Shares, settings: dict[str, Any], budget: int | None) -> Data:
    """Put classes, labels and splits together."""
    listing, multi_label = shares.listing, settings["multi_label"]
    class_names, labels = shares.settle(multi_label)
    drawn, notes = shares.draw(labels, class_names)
    splits = {
        name: _build_split(listing, labels, np.flatnonzero(drawn == place), name, budget)
        for place, name in enumerate(SPLITS)
    }
    counts = {
        name: count_classes(split.labels, len(class_names))
        for name, split in splits.items()
        if split is not None
    }
    return Data(
        class_names=class_names,
        multi_label=multi_label,
        **splits,
        settings=settings,
        seed=shares.seed,
        notes=(*listing.notes, *notes, *note_missing(counts, class_names)),
        listing=listing,
    )


def _build_split(
    listing: Listing, labels: np.ndarray, rows: np.ndarray, name: str, budget: int | None
) -> Split | None:
    if not len(rows):
        return None
    share = len(rows) / len(listing.samples)
    own = labels[rows]
    own.setflags(write=False)
    return Split(
        name,
        own,
        tuple(listing.samples[row].name for row in rows),
        ()
        if listing.images is not None
        else tuple(listing.samples[row].path for row in rows),
        None if listing.images is None else take_images(listing.images, rows),
        None if budget is None else math.ceil(budget * share),
    )
