"""Tables as CSV text that a spreadsheet cannot mistake for formulas."""

import csv
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

_Change = Callable[[str], str]
# what a spreadsheet may run: = + - @ TAB CR LF and the full-width = + - @
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


def render_csv(frame: "pandas.DataFrame") -> str:
    """Write a table as CSV text; numbers stay numbers, text never becomes a formula.

    A text cell that a spreadsheet would run (`=cmd|...`) gets a leading apostrophe.
    `parse_csv` takes exactly those apostrophes away again.

    Args:
        frame: The rows; the index is not written.

    Returns:
        str of CSV with a header line, `\\n` at line ends and empty cells for NaN.

    Example:

    >>> import pandas as pd
    >>> print(render_csv(pd.DataFrame({"name": ["=1+1", "cat"], "n": [-1, 2]})))
    name,n
    '=1+1,-1
    cat,2
    """
    safe = _map_text(frame, _escape)
    text = safe.to_csv(index=False, lineterminator="\n")
    if "\r" not in text:
        return text
    # left unquoted, a carriage return inside a cell would be read as the end of a row
    return safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def parse_csv(text: str, text_columns: Sequence[str] = ()) -> "pandas.DataFrame":
    """Read what `render_csv` wrote, text cells as they were.

    Args:
        text: The whole CSV file.
        text_columns: Columns to keep as text even where every cell looks like a number,
            such as the names of classes.

    Returns:
        pandas.DataFrame; only empty cells are missing values, so a class may be "NA".
    """
    import io

    import pandas

    frame = pandas.read_csv(
        io.StringIO(text),
        keep_default_na=False,
        na_values=[""],
        dtype=dict.fromkeys(text_columns, str),
    )
    return _map_text(frame, _unescape)


def _map_text(
    frame: "pandas.DataFrame", change: Callable[[str], str]
) -> "pandas.DataFrame":
    changed = frame.rename(columns=lambda name: _change_cell(name, change))
    for position, dtype in enumerate(frame.dtypes):
        if dtype.kind not in "biuf":
            cells = [_change_cell(cell, change) for cell in frame.iloc[:, position]]
            changed.isetitem(position, cells)
    return changed


def _change_cell(cell: object, change: _Change) -> object:
    return change(cell) if isinstance(cell, str) else cell


def _escape(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _unescape(text: str) -> str:
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text
