"""Options of a benchmark from the fields of its settings: full sizes or `--quick` ones."""

import argparse
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """How a benchmark was called.

    Args:
        name: Of the module.
        settings: Sizes, as a dataclass of the module's own.
        quick: At small sizes, at which most targets mean nothing.
        json: File to write results to; None for none.
    """

    name: str
    settings: Any
    quick: bool = False
    json: Path | None = None


def read_run(
    name: str, doc: str, full: Any, quick: Any, arguments: Sequence[str] | None = None
) -> Run:
    """Read the command line: every field that is a number, text or path is an option.

    Args:
        name: Of the benchmark.
        doc: Its docstring, of which the first line is its help.
        full: Settings without `--quick`.
        quick: Settings with it, of the same class.
        arguments: Default: those of the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    parser = argparse.ArgumentParser(f"benchmarks.{name}", description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few targets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results to FILE")
    names = [_add_option(parser, field, full) for field in dataclasses.fields(full)]
    options = vars(parser.parse_args(arguments))
    given = {n: options[n] for n in names if n and options[n] is not None}
    chosen = dataclasses.replace(quick if options["quick"] else full, **given)
    return Run(name, chosen, options["quick"], options["json"])


def _add_option(
    parser: argparse.ArgumentParser, field: dataclasses.Field, full: Any
) -> str | None:
    value = getattr(full, field.name)
    if not isinstance(value, int | float | str | Path) or field.metadata.get("hidden"):
        return None
    parser.add_argument(
        f"--{field.name.replace('_', '-')}",
        type=type(value),
        choices=field.metadata.get("choices"),
        help=f"default: {value}",
    )
    return field.name
