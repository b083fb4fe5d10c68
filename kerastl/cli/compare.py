"""`kerastl compare`: bases and schedules trained alike, and what can be concluded."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl.cli.finetune import fix_paths, read_config
from kerastl.cli.flags import (
    add_options,
    collect_options,
    find_resumed,
    read_names,
    read_number,
)
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import UsageError
from kerastl.options import GROUPS

if TYPE_CHECKING:
    from kerastl.comparing.jobs import ComparisonJob
    from kerastl.comparing.results import ComparisonResult

_EXAMPLES = (
    "kerastl compare --data photos/ --bases vgg16,resnet50",
    "kerastl compare --bases tiny --schedules feature-extraction,hybrid,lp-ft",
    "kerastl compare --data photos/ --bases vgg16,resnet50 --repeats 3 --dry-run",
    "kerastl compare --resume runs/compare-1",
)
_SOME_FAILED = 4
_ENTRANTS = {
    "bases": (read_names, "NAMES", "see `kerastl bases` (default: auto)"),
    "schedules": (
        read_names, "NAMES", "which layers train when (default: feature-extraction,hybrid)",
    ),
    "repeats": (read_number, "N", "runs of each, with as many seeds (default: 1)"),
    "epochs": (
        read_number, "N", "of each run in all stages together; default: the longest's",
    ),
}  # fmt: skip


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `compare` with a flag for every option of `finetune` that is the same for all."""
    parser = add_command(
        commands, "compare", "Train bases and schedules alike and compare them", _EXAMPLES
    )
    group = parser.add_argument_group("compare: every base with every schedule")
    for name, (read, like, help) in _ENTRANTS.items():
        group.add_argument(
            f"--{name}", type=read, metavar=like, default=argparse.SUPPRESS, help=help
        )
    add_options(parser, GROUPS, skip=("base", "schedule", "epochs", "merge_validation"))
    parser._option_string_actions["--out"].help = "new folder; default: runs/compare-1, ..."
    work = parser.add_argument_group("work: what to do beside comparing")
    work.add_argument("--resume", metavar="RUN", help="go on with a comparison")
    work.add_argument("--config", metavar="FILE", help="options as TOML; flags rule")
    for flag, help in {
        "--dry-run": "print what would be trained, and stop",
        "--quiet": "no progress and no summary",
        "--json": "print the result as JSON",
    }.items():
        work.add_argument(flag, action="store_true", help=help)


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    job = read_job(given)
    if given.dry_run:
        from kerastl.comparing.describing import describe_comparison

        show(describe_comparison(job))
        return 0
    from kerastl.comparing.jobs import run_comparison

    result = run_comparison(
        job,
        out=given.resume if given.resume is not None else job.options.out,
        resume=given.resume is not None,
        verbose=0 if given.quiet else "auto",
    )
    _report(result, given)
    return _SOME_FAILED if result.failed else 0


def read_job(given: argparse.Namespace) -> "ComparisonJob":
    """Lay defaults, the comparison to go on with, file and flags over each other."""
    from kerastl.comparing.entries import Entrants
    from kerastl.comparing.jobs import ComparisonJob

    asked, options = _read_resumed(given)
    flags = dict(vars(given))
    asked |= {name: flags.pop(name) for name in _ENTRANTS if name in flags}
    if given.config is not None:
        options |= read_config(Path(given.config))
    for name in ("base", "schedule", "epochs", "stages"):
        if options.pop(name, None):
            raise UsageError(
                f"--config {given.config} sets {name}, which is what is compared: leave it "
                "out, and give --bases, --schedules and --epochs."
            )
    entrants = Entrants(**asked)
    collected = collect_options(argparse.Namespace(**flags), options)
    return ComparisonJob(options=fix_paths(collected), entrants=entrants)


def _read_resumed(given: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the comparison to go on with was asked for."""
    from kerastl.options import parse_toml
    from kerastl.runs import COMPARISON, RunFolder

    folder = find_resumed(given, COMPARISON, "comparison")
    if folder is None:
        return {}, {}
    plan = RunFolder.open(folder, mark=COMPARISON).read_json(COMPARISON)
    options = parse_toml(plan["options"])
    return plan["entrants"], {n: v for n, v in options.items() if n not in _DECIDED}


# what a plan holds of a base or schedule is the first's, and no one's
_DECIDED = ("base", "schedule", "epochs", "stages")


def _report(result: "ComparisonResult", given: argparse.Namespace) -> None:
    folder = str(result.folder.path)
    if given.json:
        show_json({"folder": folder, **result.result})
    if given.quiet or given.json:
        return
    show(f"\n{result!r}\n")
    lines = [f"results   {folder}, to look at: {folder}/report.html"]
    done = next(iter(result.runs), None)
    if done is not None:
        lines.append(
            f"next      kerastl predict {shlex.quote(f'{folder}/{done}')} IMAGES..."
        )
    say("\n".join(lines))
