"""`kerastl bases`: the table of bases."""

import argparse
from typing import TYPE_CHECKING, Any

from kerastl.cli.parsing import add_command
from kerastl.cli.printing import show, show_json

if TYPE_CHECKING:
    from kerastl.bases import Base

_EXAMPLES = ("kerastl bases", "kerastl bases --json")
_HEADER = ("name", "parameters", "size", "minimum", "weights", "from", "cached", "blocks")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `bases`."""
    parser = add_command(commands, "bases", "List the bases to choose from", _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.bases import BASES
    from kerastl.evaluation.layout import text_table

    rows = [_describe(base) for base in BASES.values()]
    if given.json:
        show_json(rows)
        return 0
    cells = [[_show(row[name]) for name in _HEADER] for row in rows]
    show(text_table(_HEADER, cells, right={1, 2, 3}))
    return 0


def _describe(base: "Base") -> dict[str, Any]:
    from kerastl.weights import is_cached

    return {
        "name": base.name,
        "parameters": base.parameters,
        "size": base.image_size,
        "minimum": base.min_size,
        "weights": base.source,
        "from": base.origin,
        "cached": is_cached(base),
        "blocks": list(base.blocks),
    }


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(value) if isinstance(value, list) else str(value)
