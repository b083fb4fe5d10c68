"""Rows as plain text and as HTML; names from disk can neither act nor break the lines."""

import html
import unicodedata
from collections.abc import Collection, Sequence

MISSING = "–"


def printable(text: object) -> str:
    """Return text whose control, bidi and zero-width characters show as escapes.

    For every name that comes from disk or a user before it meets a terminal, a figure or
    a page.

    Args:
        text: Anything; its `str` is used.

    Returns:
        The same text when all of it is visible, else with escapes such as `\\x1b`.

    Example:

    >>> printable("고양이"), printable("cat\\x1b[31m")
    ('고양이', 'cat\\\\x1b[31m')
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def html_text(text: object) -> str:
    """Return text that is safe between tags and inside quoted attributes.

    Args:
        text: Anything; its `str` is used.

    Returns:
        Escaped HTML without invisible characters.

    Example:

    >>> html_text('<img onerror="x">')
    '&lt;img onerror=&quot;x&quot;&gt;'
    """
    return html.escape(printable(text), quote=True)


def format_share(value: float | None, digits: int = 3) -> str:
    """Return a share with fixed digits, or a dash where nothing was measured.

    Args:
        value: A number; None and NaN mean unknown.
        digits: Decimals, 3 by default.

    Returns:
        Text such as `0.942` or `–`.

    Example:

    >>> format_share(0.9416), format_share(float("nan"))
    ('0.942', '–')
    """
    if value is None or value != value:
        return MISSING
    return f"{value:.{digits}f}"


def text_width(text: str) -> int:
    """Return how many terminal cells a text takes; Hangul takes two each.

    Example:

    >>> text_width("cat"), text_width("고양이")
    (3, 6)
    """
    return sum(_cell_width(character) for character in text)


def _cell_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _pad(text: str, width: int, to_right: bool) -> str:
    gap = " " * (width - text_width(text))
    return gap + text if to_right else text + gap


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], right: Collection[int] = ()
) -> str:
    """Lay rows out as aligned plain text, one line each.

    Args:
        header: Column titles.
        rows: Cells, one sequence per row, as many as the header has.
        right: Indices of the columns aligned to the right.

    Returns:
        Lines joined by newlines, without trailing blanks.

    Example:

    >>> print(text_table(["class", "n"], [["고양이", 5], ["dog", 12]], right={1}))
    class    n
    고양이   5
    dog     12
    """
    lines = [[printable(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(text_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            _pad(cell, width, index in right)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: Collection[int] = (),
    caption: str = "",
) -> str:
    """Lay rows out as an HTML table; every cell is escaped.

    Args:
        header: Column titles.
        rows: Cells, one sequence per row, as many as the header has.
        right: Indices of the columns aligned to the right.
        caption: A line above the table; none by default.

    Returns:
        One `<table>` element.

    Example:

    >>> html_table(["class"], [["<b>"]]).partition("<tbody>")[2]
    '<tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    top = f"<caption>{html_text(caption)}</caption>" if caption else ""
    head = _html_row(header, right, '<th scope="col"', "</th>")
    body = "".join(_html_row(row, right, "<td", "</td>") for row in rows)
    return f"<table>{top}<thead>{head}</thead><tbody>{body}</tbody></table>"


def _html_row(
    cells: Sequence[object], right: Collection[int], opening: str, closing: str
) -> str:
    aligned = (' style="text-align:right"' if i in right else "" for i in range(len(cells)))
    return (
        "<tr>"
        + "".join(
            f"{opening}{style}>{html_text(cell)}{closing}"
            for style, cell in zip(aligned, cells, strict=True)
        )
        + "</tr>"
    )
