"""Fonts that can draw the names in a figure, and numbers in their place when none can."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib import font_manager

from kerastl.evaluation.layout import printable

KOREAN_FONTS = (
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "NanumGothic",
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
)
LAST_FONT = "DejaVu Sans"
HINT = "numbered, as no font here has these letters\n(apt install fonts-nanum, for example)"
# File names of the fonts above: matplotlib's list is a cache that does not know of a font
# installed after it was made, as after `apt install` in a notebook.
_FONT_FILES = ("malgun", "applesdgothicneo", "applegothic", "nanumgothic", "notosanscjk")


@dataclass(frozen=True)
class Lettering:
    """How the names of one figure are drawn.

    Args:
        names: The texts to draw, in the order given: themselves, or "1", "2", ...
        families: Font families, tried in turn for every character.
        hint: What to install when the names became numbers, else empty.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    hint: str = ""


@contextmanager
def korean_fonts(texts: Iterable[str]) -> Iterator[Lettering]:
    """Draw inside with fonts that hold every character of the texts.

    No warning and no empty boxes: where no font holds them, draw the numbers in `names`
    and show `hint`. Settings of matplotlib are back as they were afterwards.

    Args:
        texts: Class names, titles or stage names.

    Yields:
        The lettering: draw its `names`.

    Example:

    >>> with korean_fonts(["cat", "dog"]) as lettering:
    ...     lettering.names
    ('cat', 'dog')
    """
    lettering = choose_lettering(list(texts))
    settings = {"font.family": list(lettering.families), "axes.unicode_minus": False}
    with matplotlib.rc_context(settings):
        yield lettering


def choose_lettering(texts: Sequence[str]) -> Lettering:
    """Choose fonts for texts: DejaVu Sans where it suffices, else a Korean one first.

    Args:
        texts: What will be drawn.

    Returns:
        The lettering; its `hint` is empty when the texts can be drawn as they are.

    Example:

    >>> choose_lettering(["cat"]).families
    ('DejaVu Sans',)
    """
    names = tuple(drawable(text) for text in texts)
    needed = {ord(character) for name in names for character in name} - {ord("\n")}
    for families in ((LAST_FONT,), (*_find_korean_font(), LAST_FONT)):
        if needed <= _characters(families):
            return Lettering(names, families)
    numbers = tuple(str(index + 1) for index in range(len(names)))
    return Lettering(numbers, (LAST_FONT,), HINT)


def drawable(text: object) -> str:
    """Return text that is drawn letter by letter, never read as a formula.

    Newlines stay; a name that must keep to one line goes through `printable` first.

    Example:

    >>> drawable("$x^2$ is \\x1b")
    '\\\\$x^2\\\\$ is \\\\x1b'
    """
    lines = unicodedata.normalize("NFC", str(text)).split("\n")
    return "\n".join(map(printable, lines)).replace("$", r"\$")


def _find_korean_font() -> tuple[str, ...]:
    known = {entry.name for entry in font_manager.fontManager.ttflist}
    if known.isdisjoint(KOREAN_FONTS):
        known = _add_new_fonts()
    return tuple(name for name in KOREAN_FONTS if name in known)[:1]


def _add_new_fonts() -> set[str]:
    for path in sorted(font_manager.findSystemFonts()):
        if Path(path).stem.casefold().startswith(_FONT_FILES):
            font_manager.fontManager.addfont(path)
    return {entry.name for entry in font_manager.fontManager.ttflist}


def _characters(families: Iterable[str]) -> set[int]:
    files = (font_manager.findfont(family) for family in families)
    return set().union(*(font_manager.get_font(file).get_charmap() for file in files))
