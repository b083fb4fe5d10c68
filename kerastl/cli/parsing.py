"""argparse with kerastl's manners: examples first, defaults shown, nearest flag named."""

import argparse
from collections.abc import Iterable, Sequence
from typing import NoReturn

from kerastl.errors import UsageError, suggest

_COLUMN = 26  # where the help text of a flag begins


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are UsageErrors, for one way of reporting them."""

    def __init__(self, **settings):
        settings.setdefault("formatter_class", _Help)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and ending the process."""
        sentence = message[0].upper() + message[1:]
        raise UsageError(f"{sentence}. See `{self.prog} --help`.")


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, *settings, **named):
        super().__init__(*settings, **named, max_help_position=_COLUMN)


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    summary: str,
    examples: Iterable[str],
    *,
    arguments: str = "",
) -> Parser:
    """Add a command whose help begins with examples.

    Args:
        commands: What `add_subparsers` returned.
        name: Of the command.
        summary: One sentence without a full stop; also its line in `kerastl --help`.
        examples: Whole command lines.
        arguments: Positional ones, for the usage line.
    """
    shown = "\n".join(f"  {example}" for example in examples)
    return commands.add_parser(
        name,
        prog=f"kerastl {name}",
        help=summary[0].lower() + summary[1:],
        description=f"{summary}.\n\nexamples:\n{shown}",
        usage=" ".join(filter(None, ["kerastl", name, arguments, "[options]"])),
    )


def explain_unknown(unknown: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """Say which arguments no flag takes, and the nearest flag to the first one."""
    first = unknown[0].partition("=")[0]
    flags = sorted(flag for flag in parser._option_string_actions if flag[:2] == "--")
    if not first.startswith("-"):
        hint = f" Did you mean --data {first}?" if "--data" in flags else ""
        return f"{first!r} is one argument too many for `{parser.prog}`.{hint}"
    return (
        f"`{parser.prog}` has no flag {first}.{suggest(first, flags)} "
        f"See `{parser.prog} --help`."
    )
