"""What reaches the terminal: messages to stderr, data to stdout, nothing that acts."""

import json
import os
import sys
from typing import Any

from kerastl.errors import StorageError
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
    show_file(escape(text) + "\n")


def show_json(value: Any) -> None:
    """Print JSON to stdout, for other programs."""
    show_file(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def show_file(text: str) -> None:
    """Print the content of a file to stdout, as it is.

    Raises:
        BrokenPipeError: The reader went away.
        StorageError: Stdout is a file on a full disk, or the like.
    """
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise StorageError(f"The output cannot be written: {error.strerror}.") from error


def discard_output() -> None:
    """Let what is still to be written to stdout go nowhere: Python tries again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
