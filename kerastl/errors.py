"""What goes wrong, as sentences: what was given, what is allowed, what to do.

Each class is also the built-in type a caller would expect, and carries the exit code the
command line ends with:

- `UsageError` (ValueError, 2): an argument that cannot be meant.
- `DataError` (ValueError, 3): images or labels that cannot be used as they are.
- `StorageError` (OSError, 5): a file that could not be written, read or fetched.
- `FolderInUseError` (StorageError, 6): another process holds the run folder.
- `ResumeRefusedError` (ValueError, 7): data or settings differ from the run's.
- `NothingSucceededError` (RuntimeError, 8): there is no result at all.
"""

import difflib
from collections.abc import Iterable


class KerastlError(Exception):
    """Anything this package raises on purpose; `exit_code` is for the command line."""

    exit_code = 1


class UsageError(KerastlError, ValueError):
    """An argument, option or setting that cannot be meant as given."""

    exit_code = 2


class DataError(KerastlError, ValueError):
    """Images or labels that cannot be used as they are."""

    exit_code = 3


class StorageError(KerastlError, OSError):
    """A file or folder that could not be written, read, verified or fetched."""

    exit_code = 5


class FolderInUseError(StorageError):
    """Another process is writing to the run folder."""

    exit_code = 6


class ResumeRefusedError(KerastlError, ValueError):
    """The run to go on with was made from other data or settings."""

    exit_code = 7


class NothingSucceededError(KerastlError, RuntimeError):
    """Everything that was tried failed, so there is nothing to return."""

    exit_code = 8


def suggest(given: object, allowed: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for a near miss, else an empty string.

    Example:

    >>> suggest("resnet5", ["resnet50", "vgg16"])
    " Did you mean 'resnet50'?"
    """
    near = difflib.get_close_matches(str(given), list(allowed), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def not_one_of(name: str, given: object, allowed: Iterable[str]) -> str:
    """Build the sentence for a value outside a list of choices.

    Example:

    >>> not_one_of("mode", "randon", ["grid", "random"])
    "mode='randon' is not one of: grid, random. Did you mean 'random'?"
    """
    choices = list(allowed)
    listed = ", ".join(choices)
    return f"{name}={given!r} is not one of: {listed}.{suggest(given, choices)}"


def check_choice(name: str, given: str, allowed: Iterable[str]) -> str:
    """Return `given` when it is allowed.

    Raises:
        UsageError: It is not; the sentence lists the choices and the nearest one.
    """
    choices = list(allowed)
    if given not in choices:
        raise UsageError(not_one_of(name, given, choices))
    return given
