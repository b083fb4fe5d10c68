"""What reaches the terminal: messages to stderr, data to stdout, nothing that acts."""

import json
import sys
from typing import Any

from kerastl.evaluation.layout import printable


def escape(text: str) -> str:
    r"""Show characters that would act on a terminal as escapes: names come from files.

    Example:

    >>> escape("cat\x1b[2Jdog")
    'cat\\x1b[2Jdog'
    """
    return "\n".join(map(printable, text.split("\n")))


def say(text: str) -> None:
    """Print a message for people to stderr."""
    print(escape(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Print what was asked for to stdout."""
    print(escape(text))


def show_file(text: str) -> None:
    """Print the content of a file to stdout, as it is."""
    print(text, end="")


def show_json(value: Any) -> None:
    """Print JSON to stdout, for other programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
