"""What figures are drawn on and turned into: no pyplot, fixed bytes, text that fits."""

import io

from matplotlib.figure import Figure

from kerastl.evaluation.layout import text_width

PNG_DPI = 110


class Picture(Figure):
    """A matplotlib figure that a notebook shows even where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def new_figure(width: float, height: float) -> Picture:
    """Return an empty figure of a size in inches, outside pyplot's list of figures.

    Example:

    >>> float(new_figure(4, 3).get_figwidth())
    4.0
    """
    return Picture(figsize=(width, height), layout="constrained")


def figure_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes, the same for the same figure.

    Args:
        figure: Any matplotlib figure.

    Returns:
        The bytes of a PNG file without a date or a version inside.

    Example:

    >>> figure_png(new_figure(1, 1))[:4]
    b'\\x89PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def shorten(text: str, width: int) -> str:
    """Return text cut to a width in letters, Hangul counting two, with an ellipsis.

    Example:

    >>> shorten("a very long class name", 10), shorten("아주 긴 이름입니다", 10)
    ('a very lo…', '아주 긴 …')
    """
    if text_width(text) <= width:
        return text
    while text_width(text) > width - 1:
        text = text[:-1]
    return f"{text}…"
