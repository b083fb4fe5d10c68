"""A page of HTML in one file: no script, nothing fetched, every text escaped."""

import base64
import re
from collections.abc import Iterable

from kerastl.evaluation.layout import html_text

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 16px/1.5 system-ui, "Malgun Gothic", "Apple SD Gothic Neo", NanumGothic,
  "Noto Sans CJK KR", sans-serif; color: #1b1f24; background: #fff; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #d5dae0; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.lead { font-size: 1.1rem; background: #eef4fb; border-left: 4px solid #0072b2;
  padding: .6rem .9rem; }
.note { color: #57606a; font-size: .9rem; }
table { border-collapse: collapse; font-size: .9rem; margin: .6rem 0; display: block;
  overflow-x: auto; }
caption { text-align: left; color: #57606a; padding-bottom: .3rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #e4e8ec; text-align: left;
  vertical-align: top; max-width: 26rem; font-variant-numeric: tabular-nums; }
td[style*="right"] { white-space: nowrap; }
thead th { border-bottom: 2px solid #b6bec7; }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0; }
pre { background: #f6f8fa; padding: .8rem; font-size: .85rem; white-space: pre-wrap; }
@media print { body { margin: 0; } h2 { break-after: avoid; } img { break-inside: avoid; } }
"""
# A home folder names its owner, and reports are mailed around.
_HOME = re.compile(
    r"(?<![\w.~/\\-])(?:/home/[^/\s\"']+|/Users/[^/\s\"']+|/root"
    r"|[A-Za-z]:[/\\]+Users[/\\]+[^/\\\s\"']+)(?=[/\\\"'\s]|$)"
)


def render_page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page from pieces of HTML made by the functions below.

    Args:
        title: Plain text for the tab and the heading.
        parts: Pieces of HTML, already escaped.

    Returns:
        One HTML document.

    Example:

    >>> page = render_page("a <b> run", [paragraph("fine")])
    >>> "<h1>a &lt;b&gt; run</h1>" in page
    True
    """
    name = html_text(title)
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>",
            f"<body>\n<h1>{name}</h1>",
            *filter(None, parts),
            "</body>\n</html>\n",
        )
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text, one line break per newline.

    Example:

    >>> paragraph("1 < 2", "note")
    '<p class="note">1 &lt; 2</p>'
    """
    lines = "<br>".join(map(html_text, text.split("\n")))
    return f'<p class="{kind}">{lines}</p>' if kind else f"<p>{lines}</p>"


def section(heading: str, *parts: str) -> str:
    """Return a section, or nothing when it has no parts.

    Example:

    >>> section("Empty", "")
    ''
    """
    body = "\n".join(filter(None, parts))
    return f"<section>\n<h2>{html_text(heading)}</h2>\n{body}\n</section>" if body else ""


def subsection(heading: str, *parts: str) -> str:
    """Return a heading with its parts, or nothing without any.

    Example:

    >>> subsection("Mistakes", paragraph("none"))
    '<h3>Mistakes</h3>\\n<p>none</p>'
    """
    body = "\n".join(filter(None, parts))
    return f"<h3>{html_text(heading)}</h3>\n{body}" if body else ""


def picture(png: bytes | None, description: str) -> str:
    """Return a PNG inside the page, or nothing where there is none.

    Args:
        png: The bytes of the file.
        description: What it shows, for those who cannot see it.

    Returns:
        An `<img>` with the bytes as base64.

    Example:

    >>> picture(b"png", "a curve")
    '<img alt="a curve" src="data:image/png;base64,cG5n">'
    """
    if png is None:
        return ""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{html_text(description)}" src="data:image/png;base64,{data}">'


def link(text: str, place: str) -> str:
    """Return a paragraph that is a link to a file beside the page.

    Args:
        text: What to click on.
        place: The file, relative to the page.

    Returns:
        A paragraph of HTML.

    Example:

    >>> link("the winner", "best/report.html")
    '<p><a href="best/report.html">the winner</a></p>'
    """
    return f'<p><a href="{html_text(place)}">{html_text(text)}</a></p>'


def numbered_list(texts: Iterable[str]) -> str:
    """Return texts as a list counted from 1.

    Example:

    >>> numbered_list(["고양이"])
    '<ol><li>고양이</li></ol>'
    """
    items = "".join(f"<li>{html_text(text)}</li>" for text in texts)
    return f"<ol>{items}</ol>" if items else ""


def preformatted(text: str) -> str:
    """Return text with its line breaks as they are, or nothing when it is empty.

    Example:

    >>> preformatted("a = 1\\nb = 2")
    '<pre>a = 1\\nb = 2</pre>'
    """
    lines = "\n".join(map(html_text, text.strip().split("\n")))
    return f"<pre>{lines}</pre>" if lines else ""


def folded(summary: str, *parts: str) -> str:
    """Return parts behind a line to click on; it needs no script.

    Example:

    >>> folded("all classes", "<p>x</p>")
    '<details><summary>all classes</summary>\\n<p>x</p>\\n</details>'
    """
    body = "\n".join(filter(None, parts))
    return f"<details><summary>{html_text(summary)}</summary>\n{body}\n</details>"


def hide_home(text: str) -> str:
    """Return text with home folders shortened to `~`.

    Example:

    >>> hide_home('data = "/home/mina/photos"')
    'data = "~/photos"'
    """
    return _HOME.sub("~", text)
