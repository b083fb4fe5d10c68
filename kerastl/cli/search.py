"""`kerastl search`: settings chosen on validation, one model, one test score."""

import argparse
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl.cli.finetune import fix_paths, read_config
from kerastl.cli.flags import (
    add_options,
    collect_options,
    find_resumed,
    read_number,
)
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_json
from kerastl.errors import UsageError
from kerastl.options import GROUPS

if TYPE_CHECKING:
    from kerastl.search.jobs import SearchJob
    from kerastl.search.results import SearchResult
    from kerastl.search.settings import SearchSettings

_EXAMPLES = (
    "kerastl search --mode random --n-iter 5",
    "kerastl search --data photos/ --base resnet50,vgg16 --n-iter 20 --jobs 2",
    "kerastl search --param 'learning_rate=loguniform(1e-5,1e-2)' --n-iter 10",
    "kerastl search --param batch_size=16,32 --param schedule=hybrid,gradual",
    "kerastl search --mode grid --space tutorial --base vgg16 --dry-run",
    "kerastl search --mode halving --n-iter 27 --data photos/",
    "kerastl search --data photos/ --jobs 8 --engine ray --address auto --gpus 1",
    "kerastl search --resume runs/search-1",
)
_SOME_FAILED = 4
# flags of `finetune` that mean something more here
_OWN_HELP = {
    "--base": "see `kerastl bases`; several, as resnet50,vgg16, are searched",
    "--batch-size": "images per step; auto: search those that suit the images",
    "--out": "new folder; default: runs/search-1, -2, ...",
}
_FLAGS = {"executor": "engine"}  # a flag that is called otherwise than its setting


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `search` with a flag for every setting and every option of `finetune`."""
    from kerastl.search.settings import SETTINGS

    parser = add_command(
        commands, "search", "Search for the best settings on your images", _EXAMPLES
    )
    group = parser.add_argument_group("search: which candidates, how they are scored")
    for name, field in SETTINGS.items():
        flag = f"--{_FLAGS.get(name, name).replace('_', '-')}"
        group.add_argument(
            flag,
            dest=name,
            type=read_number if field.metadata["like"] in ("N", "MINUTES") else str,
            metavar=field.metadata["like"],
            default=argparse.SUPPRESS,
            help=_describe(field),
        )
    group.add_argument(
        "--param", metavar="NAME=VALUES", action="append", default=[],
        help="16,32,64 or loguniform(1e-5,1e-2); once per parameter",
    )  # fmt: skip
    group.add_argument(
        "--space", metavar="FILE", help="parameters as TOML; or tutorial, the classic one"
    )
    add_options(parser, GROUPS)
    for flag, help in _OWN_HELP.items():
        parser._option_string_actions[flag].help = help
    work = parser.add_argument_group("work: what to do beside searching")
    work.add_argument("--resume", metavar="RUN", help="go on with a search")
    work.add_argument("--config", metavar="FILE", help="options as TOML; flags rule")
    for flag, help in {
        "--dry-run": "print the space and the plan, and stop",
        "--quiet": "no progress and no summary",
        "--json": "print the result as JSON",
    }.items():
        work.add_argument(flag, action="store_true", help=help)


def _describe(field: dataclasses.Field) -> str:
    choices = ", ".join(field.metadata.get("choices", ()))
    text = ": ".join(filter(None, [field.metadata["help"], choices]))
    default = "" if field.default in (None, 0) else f" (default: {field.default})"
    return (text + default).replace("%", "%%")


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from kerastl.search.jobs import run_search

    job = read_job(given)
    if given.dry_run:
        from kerastl.search.describing import describe_search

        show(describe_search(job))
        return 0
    out = given.resume if given.resume is not None else job.options.out
    result = run_search(
        job,
        out=out,
        resume=given.resume is not None,
        verbose=0 if given.quiet else "auto",
    )
    _report(result, given)
    return _SOME_FAILED if result.summary["trials"]["failed"] else 0


def read_job(given: argparse.Namespace) -> "SearchJob":
    """Lay defaults, the search to go on with, files and flags over each other."""
    from kerastl.search.jobs import SearchJob

    before = _read_resumed(given)
    auto_batch_size = getattr(given, "batch_size", None) == "auto"
    if auto_batch_size:
        del given.batch_size
    bases = _take_bases(given)
    settings = _read_settings(given, before)
    space, fixed = _read_space(given, settings.mode, bases)
    options: dict[str, Any] = dict(fixed)
    if before is not None:
        options |= {f.name: getattr(before.options, f.name) for f in _fields(before)}
        space = space or before.space
    if given.config is not None:
        options |= read_config(Path(given.config))
    return SearchJob(
        options=fix_paths(collect_options(given, options)),
        settings=settings,
        space=space,
        auto_batch_size=auto_batch_size,
    )


def _fields(before: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(before.options)


def _read_resumed(given: argparse.Namespace) -> Any:
    from kerastl.runs import PLAN

    folder = find_resumed(given, PLAN, "search")
    if folder is None:
        return None
    from kerastl.search.results import load_search

    return load_search(folder).plan


def _read_settings(given: argparse.Namespace, before: Any) -> "SearchSettings":
    from kerastl.search.settings import SETTINGS, SearchSettings

    flags = {name: value for name, value in vars(given).items() if name in SETTINGS}
    then = {} if before is None else dataclasses.asdict(before.settings)
    return SearchSettings(**{**then, **flags})


def _take_bases(given: argparse.Namespace) -> tuple[str, ...]:
    """Take several names out of `--base`; one alone is the same in all trials."""
    names = tuple(filter(None, getattr(given, "base", "").split(",")))
    if len(names) < 2:
        return ()
    del given.base
    return names


def _read_space(
    given: argparse.Namespace, mode: str, bases: tuple[str, ...]
) -> tuple[Any, dict[str, Any]]:
    """Return the space that flags and file describe, None for none, and what they fix."""
    from kerastl.spaces import (
        TUTORIAL_SETTINGS,
        Space,
        parse_parameters,
        parse_space,
        tutorial_space,
    )

    parameters: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    if given.space == "tutorial":
        parameters, fixed = dict(tutorial_space(mode).parameters), TUTORIAL_SETTINGS
    elif given.space is not None:
        parameters = dict(parse_space(_read_file(given.space)).parameters)
    parameters |= parse_parameters(given.param)
    if bases:
        parameters["base"] = bases
    return (Space(parameters) if parameters else None), fixed


def _read_file(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"--space {name}: there is no such file; give a TOML file of parameters, or "
            "tutorial."
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"--space {name} is not UTF-8 text.") from error


def _report(result: "SearchResult", given: argparse.Namespace) -> None:
    if given.json:
        folder = str(result.folder.path)
        show_json({"folder": folder, **result.metrics})
    if given.quiet or given.json:
        return
    show(f"\n{result!r}\n")
    folder = str(result.folder.path)
    lines = [f"results   {folder}, to look at: {folder}/report.html"]
    if (result.folder.path / "best").is_dir():
        lines += [
            f"model     {folder}/best/model.keras",
            f"next      kerastl predict {shlex.quote(folder)} IMAGES...",
        ]
    if result.summary["trials"]["not_run"]:
        lines.append(f"go on     kerastl search --resume {shlex.quote(folder)}")
    say("\n".join(lines))
