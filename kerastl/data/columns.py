"""Which columns of a table hold the paths, the labels and the splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from kerastl.data.listing import IMAGE_SUFFIXES
from kerastl.data.reading import Reading
from kerastl.errors import DataError, UsageError, suggest

# In order of preference, compared without case, spaces, hyphens and underscores.
PATH_WORDS = (
    "path",
    "imagepath",
    "imgpath",
    "filepath",
    "filename",
    "file",
    "image",
    "img",
    "imagename",
    "imgname",
    "imagefile",
    "경로",
    "파일경로",
    "이미지경로",
    "파일명",
    "파일",
    "이미지",
)
LABEL_WORDS = (
    "label",
    "labels",
    "class",
    "classname",
    "category",
    "target",
    "classes",
    "tags",
    "y",
    "라벨",
    "레이블",
    "분류",
    "클래스",
    "정답",
)
SPLIT_COLUMN_WORDS = ("split", "subset", "partition", "분할")


class HasColumns(Protocol):
    """A table of text cells."""

    shown: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Columns:
    """The chosen columns.

    Args:
        path: Index of the path column.
        path_name: Its name.
        labels: Names of the label columns; empty where a rule builds the label.
        split: Name of the split column, if there is one.
        class_names: The label columns where they are classes themselves, marked by 0 and 1.
        notes: What was recognised rather than named.
    """

    path: int
    path_name: str
    labels: tuple[str, ...]
    split: str | None
    class_names: tuple[str, ...] | None
    notes: tuple[str, ...]


def choose_columns(table: HasColumns, reading: Reading) -> Columns:
    """Take the columns the user named and recognise the others by name.

    Raises:
        UsageError: A named column does not exist; the nearest name is given.
        DataError: A column that was not named cannot be recognised.
    """
    _check_header(table)
    path = _named(table, "path_column", reading.path_column) or _recognise_path(table)
    split = _first(table.columns, SPLIT_COLUMN_WORDS)
    labels = _choose_labels(table, reading, {path, split})
    several = len(labels) > 1
    notes = _notes(reading, path, labels, split)
    index = table.columns.index(path)
    return Columns(index, path, labels, split, labels if several else None, notes)


def _check_header(table: HasColumns) -> None:
    for column in table.columns:
        if _is_image(column):
            raise DataError(
                f"{table.shown} has no header: its first row holds {column!r}. Add a first "
                "row such as path,label."
            )


def _is_image(cell: str) -> bool:
    return PurePosixPath(cell.strip()).suffix.lower() in IMAGE_SUFFIXES


def _plain(column: str) -> str:
    return "".join(letter for letter in column.lower() if letter not in " _-.")


def _first(columns: Sequence[str], words: Sequence[str]) -> str | None:
    plain = {_plain(column): column for column in reversed(columns)}
    return next((plain[word] for word in words if word in plain), None)


def _named(table: HasColumns, argument: str, column: str | None) -> str | None:
    if column is None or column in table.columns:
        return column
    raise UsageError(
        f"{argument}={column!r} is not a column of {table.shown}, which has: "
        f"{', '.join(table.columns)}.{suggest(column, table.columns)}"
    )


def _recognise_path(table: HasColumns) -> str:
    """Take the column called like a path, else the only one whose cells are image files."""
    column = _first(table.columns, PATH_WORDS)
    if column is not None:
        return column
    images = [
        name
        for name, cell in zip(table.columns, table.rows[0], strict=True)
        if _is_image(cell)
    ]
    if len(images) == 1:
        return images[0]
    raise DataError(_unrecognised(table, "path_column", "paths"))


def _unrecognised(table: HasColumns, argument: str, what: str) -> str:
    return (
        f"No column of {table.shown} is recognised as the one with the {what}; it has: "
        f"{', '.join(table.columns)}. Name it with {argument}."
    )


def _choose_labels(table: HasColumns, reading: Reading, taken: set) -> tuple[str, ...]:
    if reading.label_rule is not None:
        return ()
    if reading.label_column is None:
        return (_recognise_label(table, taken),)
    if reading.label_column in table.columns:
        return (reading.label_column,)
    parts = [part.strip() for part in reading.label_column.split(",")]
    return tuple(_named(table, "label_column", part) for part in parts)


def _recognise_label(table: HasColumns, taken: set) -> str:
    """Take the column called like a label, else the only one that is left."""
    left = [column for column in table.columns if column not in taken]
    column = _first(left, LABEL_WORDS)
    if column is not None or len(left) == 1:
        return column or left[0]
    raise DataError(_unrecognised(table, "label_column", "labels"))


def _notes(reading: Reading, path: str, labels: tuple[str, ...], split: str | None):
    guessed = [] if reading.path_column else [f"paths from {path!r}"]
    if labels and reading.label_column is None:
        guessed.append(f"labels from {labels[0]!r}")
    if split:
        guessed.append(f"splits from {split!r}")
    return (f"Columns recognised: {', '.join(guessed)}.",) if guessed else ()
