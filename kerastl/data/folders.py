"""Folders of images: class folders, split folders around them, or a label rule."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kerastl.data.listing import (
    SPLIT_WORDS,
    Found,
    FoundFile,
    Listing,
    Sample,
    find_files,
)
from kerastl.data.reading import Reading
from kerastl.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv")
ALLOWED = {"label_rule", "group_rule"}
OUTSIDE = "not in a class folder"


@dataclass(frozen=True)
class Layout:
    """Where in the path of an image its split and its class stand.

    Args:
        label_at: Index of the path part that is the class.
        splits: Folder name to split, for the part before the class; empty without splits.
        notes: What to say about it.
    """

    label_at: int
    splits: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def split(self, file: FoundFile) -> str | None:
        """Return the split a file lies in."""
        return self.splits.get(file.parts[self.label_at - 1]) if self.splits else None


def list_folder(root: Path, reading: Reading, *, shown: str | None = None) -> Listing:
    """List the images of a folder with their classes and splits.

    Args:
        root: The folder.
        reading: Rules, if any; without a label rule the folders are the classes.
        shown: What to call the folder in messages; the path itself where None.

    Returns:
        Listing whose samples and skipped files together are all files under `root`.

    Raises:
        DataError: There are no images, no classes, or an empty class folder.
        UsageError: `multi_label` without a rule: a folder is one label.
    """
    kind = "a folder" if reading.label_rule else "a folder without label_rule"
    reading.only(kind, ALLOWED | ({"multi_label"} if reading.label_rule else set()))
    found, shown = find_files(root), shown or str(root)
    if not found.files:
        raise DataError(_no_images(shown, found))
    layout = _read_layout(found, shown, by_rule=reading.label_rule is not None)
    notes = layout.notes
    if reading.label_rule is None:
        notes += _check_class_folders(found, layout, shown)
    samples, skipped = _collect(found, layout, reading)
    return Listing(root, samples, tuple(sorted(found.skipped + skipped)), notes)


def _no_images(shown: str, found: Found) -> str:
    if not found.skipped:
        return f"The folder {shown!r} is empty: put images into one folder per class."
    reasons = Counter(reason for _, reason in found.skipped).most_common(3)
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
    return f"The folder {shown!r} holds no images ({listed})." + _point_to_table(
        shown, found
    )


def _point_to_table(shown: str, found: Found) -> str:
    for name, _ in found.skipped:
        if name.lower().endswith(TABLE_SUFFIXES) and "/" not in name:
            return (
                f" It holds {name!r}: to read labels from it, give data='{shown}/{name}'."
            )
    return ""


def _read_layout(found: Found, shown: str, *, by_rule: bool) -> Layout:
    """Look for split folders at the top, or inside folders that hold all images."""
    depth = 0
    while True:
        splits = _read_splits(found.files, depth, shown, by_rule=by_rule)
        if splits:
            return Layout(depth + 1, splits, _wrapper_note(found.files, depth))
        if not _is_wrapper(found.files, depth):
            break
        depth += 1
    if not by_rule and all(len(file.parts) == depth + 1 for file in found.files):
        raise DataError(_no_classes(shown, found))
    return Layout(depth, {}, () if by_rule else _wrapper_note(found.files, depth))


def _is_wrapper(files: list[FoundFile], depth: int) -> bool:
    """Tell whether one folder holds all images, each of them in a folder inside it."""
    same = len({file.parts[depth] for file in files}) == 1
    return same and any(len(file.parts) > depth + 2 for file in files)


def _wrapper_note(files: list[FoundFile], depth: int) -> tuple[str, ...]:
    if not depth:
        return ()
    inside = "/".join(files[0].parts[:depth])
    return (f"All images lie in {inside!r}; the folders inside it are taken.",)


def _no_classes(shown: str, found: Found) -> str:
    return (
        f"The folder {shown!r} holds {len(found.files)} images but no class folders: put "
        "the images into one folder per class, or give a label_rule."
        + _point_to_table(shown, found)
    )


def _read_splits(
    files: list[FoundFile], depth: int, shown: str, *, by_rule: bool
) -> dict[str, str]:
    """Map folder names to splits where the folders at `depth` are splits, else nothing."""
    tops = {file.parts[depth] for file in files if len(file.parts) > depth + 1}
    words = {top: SPLIT_WORDS[top.lower()] for top in tops if top.lower() in SPLIT_WORDS}
    deep = {file.parts[depth] for file in files if len(file.parts) > depth + 2}
    if not words or (set(words) != tops and (by_rule or not _holds_train(words, deep))):
        return {}
    if not by_rule and not deep & set(words):
        # Two classes may be called train and bus, but train and test are splits.
        raise DataError(_flat_splits(shown, words))
    _check_splits(shown, words, tops)
    return words


def _holds_train(words: dict[str, str], deep: set[str]) -> bool:
    return any(words[top] == "train" and top in deep for top in words)


def _flat_splits(shown: str, words: dict[str, str]) -> str:
    return (
        f"In {shown!r} the images lie directly in {_quoted(words)}, without class folders: "
        "put them into one folder per class, or give a label_rule or a CSV."
    )


def _check_splits(shown: str, words: dict[str, str], tops: set[str]) -> None:
    others = tops - set(words)
    if others:
        raise DataError(
            f"In {shown!r}, {_quoted(words)} hold splits, but {_quoted(others)} "
            "is neither train, validation nor test: move it away or rename it."
        )
    twice = [split for split, count in Counter(words.values()).items() if count > 1]
    if twice:
        both = [top for top in words if words[top] == twice[0]]
        raise DataError(
            f"In {shown!r}, {_quoted(both)} all mean {twice[0]}: keep one of them."
        )
    if "train" not in words.values():
        raise DataError(
            f"{shown!r} has {_quoted(words)} but no train folder: add one, or give the "
            "folder above the classes to have it split."
        )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _check_class_folders(found: Found, layout: Layout, shown: str) -> tuple[str, ...]:
    """Refuse class folders without any image; name those that hold other things only."""
    used = {file.parts[: layout.label_at + 1] for file in found.files}
    notes = []
    for folder in sorted(_class_folders(found, layout) - used):
        name = "/".join(folder)
        inside = [why for file, why in found.skipped if file.startswith(name + "/")]
        if not inside or not all(why.startswith("not an image") for why in inside):
            raise DataError(_empty_class(shown, name, inside))
        notes.append(f"{name!r} holds no images, only other files, and is not a class.")
    return tuple(notes)


def _class_folders(found: Found, layout: Layout) -> set[tuple[str, ...]]:
    """Return the folders at the depth of classes, in train where there are splits."""
    above = found.files[0].parts[: layout.label_at - bool(layout.splits)]
    return {
        folder
        for folder in found.folders
        if len(folder) == layout.label_at + 1
        and folder[: len(above)] == above
        and (not layout.splits or layout.splits.get(folder[-2]) == "train")
    }


def _empty_class(shown: str, name: str, inside: list[str]) -> str:
    held = f"only files that are skipped ({inside[0]})" if inside else "nothing"
    return (
        f"The class folder {name!r} in {shown!r} holds {held}: put images into it or "
        "remove it."
    )


def _collect(
    found: Found, layout: Layout, reading: Reading
) -> tuple[tuple[Sample, ...], list[tuple[str, str]]]:
    samples, skipped = [], []
    for file in found.files:
        label = _label(file, layout, reading)
        if label is None:
            ruled = reading.label_rule is not None and not _beside_splits(file, layout)
            skipped.append((file.name, "left out by label_rule" if ruled else OUTSIDE))
            continue
        group = reading.group(file.name)
        samples.append(Sample(file.name, file.path, label, layout.split(file), group))
    return tuple(samples), skipped


def _label(
    file: FoundFile, layout: Layout, reading: Reading
) -> str | tuple[str, ...] | None:
    if _beside_splits(file, layout):
        return None
    if reading.label_rule is not None:
        return reading.rule_label(file.name)
    inside = len(file.parts) > layout.label_at + 1
    return file.parts[layout.label_at] if inside else None


def _beside_splits(file: FoundFile, layout: Layout) -> bool:
    return bool(layout.splits) and layout.split(file) is None
