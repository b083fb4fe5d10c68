"""`kerastl check`: everything wrong with a set of images, before training on it."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.cli.flags import add_options, collect_options
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import DataError

if TYPE_CHECKING:
    from kerastl.data.checks import CheckReport

_EXAMPLES = (
    "kerastl check photos/",
    "kerastl check labels.csv --label-column breed --json",
    "kerastl check photos/ --fix clean.csv",
)
_ABOUT_DATA = (
    "path_column",
    "label_column",
    "label_rule",
    "group_rule",
    "validation",
    "test",
    "multi_label",
)

_NOT_ASKED = ("data", "merge_validation", "on_bad_image", "cache_budget")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `check`."""
    parser = add_command(
        commands,
        "check",
        "Find unreadable, duplicate, misnamed and misplaced images",
        _EXAMPLES,
        arguments="DATA",
    )
    parser.add_argument("data", metavar="DATA", help="a folder, CSV, TSV or zip file")
    parser.add_argument(
        "--fix", metavar="FILE", help="write a CSV of the good images; nothing is deleted"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    add_options(parser, ["images"], skip=_NOT_ASKED)


def run(given: argparse.Namespace) -> int:
    """Run the command; 3 when there are errors."""
    from kerastl.data import check_images

    options = collect_options(given, {})
    settings = {name: getattr(options, name) for name in _ABOUT_DATA}
    report = check_images(options.data, **settings)
    if given.json:
        show_json(_to_dict(report))
    else:
        show(str(report))
    if given.fix is not None:
        _write_clean(report, Path(given.fix))
    return 0 if report.ok else DataError.exit_code


def _to_dict(report: "CheckReport") -> dict:
    names = ("kind", "severity", "path", "detail")
    found = [{name: getattr(each, name) for name in names} for each in report.findings]
    return {
        "ok": report.ok,
        "files": report.files,
        "images": report.images,
        "counts": report.counts,
        "unusable": report.unusable,
        "skipped": report.skipped,
        "findings": found,
        "notes": list(report.notes),
    }


def _write_clean(report: "CheckReport", path: Path) -> None:
    from kerastl.runs import write_text_atomic

    write_text_atomic(path, report.clean_csv(path.parent))
    name = shlex.quote(str(path))
    say(f"the good images are listed in {path}: kerastl finetune --data {name}")
