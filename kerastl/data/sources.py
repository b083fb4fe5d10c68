"""One door for every source: a folder, table, zip, DataFrame, array or built-in name."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from kerastl.data.archives import unpack
from kerastl.data.arrays import list_arrays, list_pairs
from kerastl.data.builtin import BUILT_IN
from kerastl.data.folders import list_folder
from kerastl.data.labels import Rule
from kerastl.data.listing import Listing
from kerastl.data.reading import Reading
from kerastl.data.tables import list_csv, list_frame
from kerastl.errors import DataError, UsageError, suggest

ARRAYS = "<arrays>"  # how settings name a source that is no path
TABLES = (".csv", ".tsv", ".txt")
KINDS = (
    "a folder, a CSV or TSV file, a zip file, a DataFrame, an image array with labels=, "
    "(images, labels), 'digits' or 'random'"
)


def list_source(
    source: object,
    *,
    labels: object = None,
    path_column: str | None = None,
    label_column: str | None = None,
    label_rule: Rule | None = None,
    group_rule: Rule | None = None,
    multi_label: bool = False,
) -> Listing:
    """List what a source holds without decoding an image.

    Args:
        source: Folder, CSV, TSV or zip path, DataFrame, image array, a pair of images and
            labels or two of them for train and test, or built-in name.
        labels: Labels of an image array.
        path_column: Column of a table with the paths; recognised by name where None.
        label_column: Column with the labels, or several with 0 and 1 as `"a,b,c"`.
        label_rule: Template or function that builds the label from columns or path.
        group_rule: The same for groups that stay on one side of a split.
        multi_label: Whether an image may have several labels, or none.

    Returns:
        Samples with label, split and group as the source gives them; what was skipped.

    Raises:
        UsageError: An argument does not fit the source, or there is no such source.
        DataError: The source cannot be used as it is.

    Example:

    >>> len(list_source("digits").samples)
    1797
    """
    reading = Reading(path_column, label_column, label_rule, group_rule, multi_label)
    if labels is not None and not isinstance(source, np.ndarray):
        raise UsageError(
            "labels= belongs to an image array; this source has its own labels."
        )
    listing = _list(source, labels, reading)
    if not listing.samples:
        raise DataError(f"{_shown(source)} leaves no images: label_rule skips every one.")
    _check_names(listing)
    return replace(listing, notes=listing.notes + _skipped_note(listing))


def _list(source: object, labels: object, reading: Reading) -> Listing:
    if isinstance(source, np.ndarray):
        return list_arrays(source, labels, reading)
    if isinstance(source, tuple | list):
        return list_pairs(source, reading)
    if hasattr(source, "itertuples") and hasattr(source, "columns"):
        return list_frame(source, reading)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(f"data of type {type(source).__name__} is none of: {KINDS}.")
    if source in BUILT_IN:
        reading.only(f"the built-in {source!r}", ())
        return BUILT_IN[source]()
    return _list_path(Path(_check_text(os.fspath(source))).expanduser(), reading)


def _check_text(text: str) -> str:
    if not text or "\0" in text:
        raise UsageError(f"data={text!r} is none of: {KINDS}.")
    if text == ARRAYS:
        raise UsageError("data='<arrays>' were arrays: load them in Python again.")
    if "://" in text:
        raise UsageError(f"data={text!r} is a URL: download it first and give the folder.")
    return text


def _list_path(path: Path, reading: Reading) -> Listing:
    if path.is_dir():
        return list_folder(path, reading)
    if not path.exists():
        raise UsageError(f"data={str(path)!r} does not exist.{_suggest_path(path)}")
    suffix = path.suffix.lower()
    if suffix in TABLES and path.is_file():
        return list_csv(path, reading)
    if suffix == ".zip" and path.is_file():
        folder = unpack(path)
        listing = list_folder(folder, reading, shown=path.name)
        note = f"{path.name} is unpacked in {folder}."
        return replace(listing, notes=(note, *listing.notes))
    raise UsageError(f"data={str(path)!r} is none of: {KINDS}.")


def _suggest_path(path: Path) -> str:
    """Name the nearest entry of the folder the path would be in, or a built-in."""
    try:
        beside = sorted(os.listdir(path.parent))
    except OSError:
        return ""
    return suggest(path.name, [*beside, *BUILT_IN])


def _shown(source: object) -> str:
    return (
        repr(os.fspath(source)) if isinstance(source, str | os.PathLike) else "The source"
    )


def _check_names(listing: Listing) -> None:
    for before, after in zip(listing.samples, listing.samples[1:], strict=False):
        if before.name == after.name:
            raise DataError(
                f"Two files are called {after.name!r} and differ only in the Unicode form "
                "of their names: rename one."
            )


def _skipped_note(listing: Listing) -> tuple[str, ...]:
    if not listing.skipped:
        return ()
    reasons = Counter(reason.split(" (")[0] for _, reason in listing.skipped)
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(4))
    total = len(listing.skipped)
    return (f"Skipped {total} file{'s' * (total > 1)} that are no samples: {listed}.",)
