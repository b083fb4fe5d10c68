"""The table of classes and their attributes: read, checked, and cut to what can be used."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerastl.data.listing import normalize_name
from kerastl.data.tables import Table, read_table, table_of_frame
from kerastl.errors import DataError, UsageError, check_choice, suggest

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5  # names listed in a message


@dataclass(frozen=True, eq=False)
class Attributes:
    """What is known of each class.

    Args:
        classes: Names of the rows.
        names: Of the columns.
        values: Float64 `(classes, attributes)`.
        notes: What was left out and why, one line each.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...] = ()

    def rows(self, classes: Sequence[str]) -> np.ndarray:
        """Return the values of some classes, in their order."""
        return self.values[[self.classes.index(name) for name in classes]]

    def without(self, columns: np.ndarray, reason: str) -> "Attributes":
        """Return the table without the columns marked True, and a note that says why."""
        if not columns.any():
            return self
        left_out = [name for name, out in zip(self.names, columns, strict=True) if out]
        names = tuple(name for name in self.names if name not in left_out)
        note = f"Left out: {list_names(left_out)}, {reason}."
        return replace(
            self, names=names, values=self.values[:, ~columns], notes=(*self.notes, note)
        )


def list_names(names: Sequence[str]) -> str:
    """Return the first names for a sentence, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def read_attributes(source: "pd.DataFrame | str | Path | Attributes") -> Attributes:
    """Read a table of one row per class and one column per attribute.

    Args:
        source: A CSV or TSV file, or a DataFrame. The first column has the classes' names;
            in a DataFrame they may be its index instead. All other cells are numbers: 0
            and 1, or how much of an attribute a class has.

    Returns:
        Attributes.

    Raises:
        DataError: A cell is no number, or a class or column comes twice.
        UsageError: There is no such file, or `source` is something else.

    Example:

    >>> import pandas as pd
    >>> table = pd.DataFrame({"hooves": [1, 0], "mane": [1, 1]}, index=["horse", "lion"])
    >>> read_attributes(table).rows(["lion"]).tolist()
    [[0.0, 1.0]]
    """
    if isinstance(source, Attributes):
        return source
    table = _read(source)
    if len(table.columns) < 2:
        raise DataError(
            f"{table.shown} has no attribute: after the classes' names there must be one "
            "column for each."
        )
    classes = tuple(normalize_name(row[0].strip()) for row in table.rows)
    _check_classes(table, classes)
    values = [
        _read_row(table, *each) for each in zip(table.numbers, table.rows, strict=True)
    ]
    return Attributes(classes, table.columns[1:], np.array(values, float), table.notes)


def _read(source: object) -> Table:
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if not path.is_file():
            beside = path.parent.iterdir() if path.parent.is_dir() else ()
            near = suggest(path.name, sorted(each.name for each in beside))
            raise UsageError(f"There is no table of attributes {str(source)!r}.{near}")
        return read_table(path)
    if not hasattr(source, "itertuples"):
        kind = type(source).__name__
        raise UsageError(
            f"attributes={kind}: give a CSV or TSV file or a DataFrame, a row per class."
        )
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(source.index.dtype):
        return table_of_frame(source)
    return table_of_frame(source.rename_axis("class").reset_index())


def _check_classes(table: Table, classes: Sequence[str]) -> None:
    for number, name in zip(table.numbers, classes, strict=True):
        if not name:
            raise DataError(f"{table.shown} row {number} names no class.")
        if classes.count(name) > 1:
            raise DataError(
                f"{table.shown} has the class {name!r} twice: keep one row for each."
            )


def _read_row(table: Table, number: int, row: Sequence[str]) -> list[float]:
    values = []
    for column, cell in zip(table.columns[1:], row[1:], strict=True):
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{table.shown} row {number} ({row[0].strip()!r}): {column!r} is {cell!r}, "
                "not a number; every attribute of every class is needed."
            )
        values.append(value)
    return values


def choose_unseen(
    table: Attributes, images_of: Sequence[str], unseen: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes to train on and those never trained, all of them in the table.

    Args:
        table: Of attributes.
        images_of: Classes that there are images of.
        unseen: Names; None for those of the table that there are no images of.

    Raises:
        UsageError: A name is not in the table or comes twice, or none is unseen.
        DataError: Classes with images are missing from the table.
    """
    if isinstance(unseen, str):
        raise UsageError(f"unseen={unseen!r}: give a list of names, such as [{unseen!r}].")
    if unseen is None:
        unseen = [name for name in table.classes if name not in images_of]
    unseen = tuple(normalize_name(str(name)) for name in unseen)
    if not unseen:
        raise UsageError(
            "No class is unseen: there are images of all classes of the table. Name those "
            "to hold out of training in `unseen`."
        )
    for name in unseen:
        check_choice("unseen", name, table.classes)
        if unseen.count(name) > 1:
            raise UsageError(f"unseen has {name!r} twice.")
    missing = [name for name in images_of if name not in table.classes]
    if missing:
        raise DataError(
            f"The table of attributes has no row for {list_names(missing)}: each class of "
            "the images needs one."
        )
    return tuple(name for name in images_of if name not in unseen), unseen


def fit_attributes(
    table: Attributes, seen: Sequence[str], unseen: Sequence[str], *, is_binary: bool
) -> Attributes:
    """Cut a table to the classes in question and to attributes that can be learned.

    Args:
        table: Of attributes.
        seen: Classes trained on.
        unseen: Classes that are not.
        is_binary: Turn numbers other than 0 and 1 into whether they are above the mean of
            the seen classes, as direct attribute prediction needs.

    Returns:
        Attributes, the seen classes first.

    Raises:
        DataError: Two classes have the same attributes, so that nothing tells them apart.
    """
    classes = (*seen, *unseen)
    extra = [name for name in table.classes if name not in classes]
    notes = table.notes
    if extra:
        notes += (f"Rows of the table that are not used: {list_names(extra)}.",)
    fitted = Attributes(classes, table.names, table.rows(classes), notes)
    if is_binary and not np.isin(fitted.values, (0, 1)).all():
        fitted = _binarize(fitted, len(seen))
    constant = np.ptp(fitted.values, axis=0) == 0
    fitted = fitted.without(constant, "the same for every class")
    unlearned = np.ptp(fitted.values[: len(seen)], axis=0) == 0
    reason = "the same for all classes trained on, so that it cannot be learned"
    fitted = fitted.without(unlearned, reason)
    _check_distinct(fitted)
    return fitted


def _binarize(table: Attributes, seen: int) -> Attributes:
    middle = table.values[:seen].mean(axis=0)
    mixed = ~np.isin(table.values, (0, 1)).all(axis=0)
    values = np.where(mixed, table.values > middle, table.values).astype(float)
    names = [name for name, each in zip(table.names, mixed, strict=True) if each]
    note = (
        f"Taken as 0 or 1, above the mean of the classes trained on or not: "
        f"{list_names(names)}."
    )
    return replace(table, values=values, notes=(*table.notes, note))


def _check_distinct(table: Attributes) -> None:
    found: dict[bytes, str] = {}
    for name, row in zip(table.classes, table.values + 0.0, strict=True):
        other = found.setdefault(row.tobytes(), name)
        if other != name:
            raise DataError(
                f"{other!r} and {name!r} have the same attributes among those that can be "
                "learned, so nothing tells them apart: add an attribute in which they "
                "and some of the other classes differ, or leave one of the two out."
            )
