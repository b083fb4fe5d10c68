"""Tables of paths and labels: CSV and TSV files and DataFrames, checked row by row."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kerastl.data.columns import Columns, choose_columns
from kerastl.data.listing import SPLIT_WORDS, Listing, Sample, normalize_name
from kerastl.data.paths import PathChecker, free_path
from kerastl.data.reading import SEPARATOR, Reading, split_labels
from kerastl.errors import DataError, StorageError

DELIMITERS = (",", ";", "\t")
ENCODINGS = ("utf-8-sig", "cp949")


@dataclass(frozen=True)
class Table:
    """A table as text.

    Args:
        shown: What to call it in messages.
        columns: Header.
        rows: One tuple of cells per row, as wide as the header.
        numbers: The number of each row as the user counts it.
        notes: What to say about how it was read.
    """

    shown: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    notes: tuple[str, ...] = ()


def list_csv(path: Path, reading: Reading) -> Listing:
    """List the images that a CSV or TSV file names, relative to the file's folder.

    Raises:
        DataError: The text, header, or a row cannot be used; rows are counted as in a
            spreadsheet, the header being row 1.
        UsageError: A named column does not exist.
    """
    return list_table(read_table(path), PathChecker(path.parent), path.parent, reading)


def list_frame(frame: object, reading: Reading) -> Listing:
    """List the images that a DataFrame names; relative paths start in the current folder.

    Raises:
        DataError: A row cannot be used; rows are counted from 0.
        UsageError: A named column does not exist.
    """
    table = table_of_frame(frame)
    column = choose_columns(table, reading).path
    root, locate = free_path([row[column] for row in table.rows])
    return list_table(table, locate, root, reading)


def read_table(path: Path) -> Table:
    """Read a CSV or TSV file: delimiter and encoding are recognised.

    Args:
        path: File in UTF-8 (with or without a mark) or CP949, with `,`, `;` or tab between
            the cells and a header in its first row.

    Raises:
        DataError: It cannot be decoded, is empty, or a row is not as wide as the header.
    """
    text, encoding = _decode(path)
    records = list(_records(text, _sniff(text, path), path))
    rows = [(number, record) for number, record in enumerate(records, 1) if any(record)]
    if not rows:
        raise DataError(f"{path.name!r} is empty: its first row must name the columns.")
    header = tuple(normalize_name(cell.strip()) for cell in rows[0][1])
    for number, record in rows[1:]:
        if len(record) != len(header):
            raise DataError(
                f"{path.name} row {number} has {len(record)} cells, the header "
                f"{len(header)}: quote cells that hold the delimiter."
            )
    notes = (f"{path.name} was read as CP949.",) if encoding == "cp949" else ()
    return _table(path.name, header, rows[1:], notes)


def _table(
    shown: str, header: tuple[str, ...], rows: Sequence, notes: tuple[str, ...] = ()
) -> Table:
    if not rows:
        raise DataError(f"{shown} has a header but no rows.")
    repeated = {column for column in header if header.count(column) > 1}
    if repeated:
        raise DataError(f"{shown} has two columns called {min(repeated)!r}: rename one.")
    cells = tuple(tuple(record) for _, record in rows)
    return Table(shown, header, cells, tuple(number for number, _ in rows), notes)


def _decode(path: Path) -> tuple[str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    for encoding in ENCODINGS:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path.name!r} is neither UTF-8 nor CP949: save it as 'CSV UTF-8'.")


def _sniff(text: str, path: Path) -> str:
    """Return the delimiter that the header holds most often, outside quotes."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header)
    counts = {delimiter: bare.count(delimiter) for delimiter in DELIMITERS}
    best = max(counts, key=counts.__getitem__)
    if header and not counts[best]:
        raise DataError(
            f"{path.name!r} has one column only, {header[:60]!r}: separate paths and "
            "labels by a comma, a semicolon or a tab."
        )
    return best


def _records(text: str, delimiter: str, path: Path) -> Iterable[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(
            f"{path.name} cannot be read near line {reader.line_num}: {error}."
        ) from error


def table_of_frame(frame: object) -> Table:
    """Turn a DataFrame into text cells; missing values become empty ones."""
    header = tuple(normalize_name(str(column)) for column in frame.columns)
    missing = frame.isna().to_numpy()
    rows = [
        (number, [_cell(value, gap) for value, gap in zip(record, gaps, strict=True)])
        for number, (record, gaps) in enumerate(
            zip(frame.itertuples(index=False, name=None), missing, strict=True)
        )
    ]
    return _table("The DataFrame", header, rows)


def _cell(value: object, missing: bool) -> str:
    if missing:
        return ""
    # A column of whole numbers with one gap in it becomes float in pandas.
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def list_table(
    table: Table,
    locate: Callable[[str], tuple[str, Path]],
    root: Path | None,
    reading: Reading,
) -> Listing:
    """Turn the rows of a table into samples.

    Args:
        table: The table.
        locate: Turns a cell into the sample's name and its file, or raises DataError.
        root: Folder the names are relative to.
        reading: Columns and rules.
    """
    columns = choose_columns(table, reading)
    seen: dict[str, tuple[int, Sample]] = {}
    skipped, repeated = [], 0
    for number, row in zip(table.numbers, table.rows, strict=True):
        try:
            sample = _sample(
                dict(zip(table.columns, row, strict=True)), columns, locate, reading
            )
        except DataError as error:
            raise DataError(f"{table.shown} row {number}: {error}") from None
        if isinstance(sample, str):
            skipped.append((sample, "left out by label_rule"))
        elif sample.name in seen:
            _check_repeated(table, number, sample, *seen[sample.name])
            repeated += 1
        else:
            seen[sample.name] = (number, sample)
    _check_splits(table, columns, seen)
    samples = tuple(sample for _, (_, sample) in sorted(seen.items()))
    notes = (*table.notes, *columns.notes)
    if repeated:
        notes += (
            f"{repeated} rows of {table.shown} repeat an earlier row and count once.",
        )
    return Listing(root, samples, tuple(sorted(skipped)), notes, columns.class_names)


def _sample(
    row: dict[str, str], columns: Columns, locate, reading: Reading
) -> Sample | str:
    """Build the sample of a row, or return its name where the label rule skips it."""
    name, path = locate(row[columns.path_name].strip())
    label = _row_label(name, row, columns, reading)
    if label is None:
        return name
    return Sample(name, path, label, _row_split(row, columns), reading.group(name, row))


def _row_label(name: str, row: dict[str, str], columns: Columns, reading: Reading):
    if reading.label_rule is not None:
        return reading.rule_label(name, row)
    if columns.class_names is not None:
        return _marked_labels(row, columns.labels, reading)
    label = normalize_name(row[columns.labels[0]].strip())
    if not label:
        raise DataError(
            f"{name!r} has no label: the column {columns.labels[0]!r} is empty."
        )
    return split_labels(label) if reading.multi_label else label


def _marked_labels(row: dict[str, str], labels: tuple[str, ...], reading: Reading):
    """Read several columns of 0 and 1."""
    for column in labels:
        if row[column].strip() not in ("0", "1"):
            raise DataError(f"{column!r} is {row[column]!r}, not 0 or 1.")
    marked = tuple(column for column in labels if row[column].strip() == "1")
    if reading.multi_label:
        return marked
    if len(marked) != 1:
        raise DataError(
            f"{len(marked)} of {', '.join(labels)} are 1, not exactly one: pass "
            "multi_label=True if an image may have several labels or none."
        )
    return marked[0]


def _row_split(row: dict[str, str], columns: Columns) -> str | None:
    if columns.split is None:
        return None
    given = row[columns.split].strip()
    if given.lower() not in SPLIT_WORDS:
        raise DataError(
            f"the split {given!r} in column {columns.split!r} is not one of: train, "
            "validation, test."
        )
    return SPLIT_WORDS[given.lower()]


def _check_repeated(table: Table, number: int, sample: Sample, first: int, earlier: Sample):
    for what in ("label", "split", "group"):
        here, there = getattr(sample, what), getattr(earlier, what)
        if here != there:
            raise DataError(
                f"{table.shown} row {number}: {sample.name!r} has the {what} "
                f"{_said(here)}, but row {first} says {_said(there)}: keep one row."
            )


def _said(value: str | tuple[str, ...] | None) -> str:
    return repr(SEPARATOR.join(value) if isinstance(value, tuple) else value)


def _check_splits(table: Table, columns: Columns, seen: dict) -> None:
    if not seen:
        raise DataError(f"{table.shown} leaves no images: label_rule skips every row.")
    if columns.split and all(sample.split != "train" for _, sample in seen.values()):
        raise DataError(
            f"{table.shown} has no row with split 'train' in {columns.split!r}."
        )
