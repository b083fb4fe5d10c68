"""`kerastl finetune`: images in, a run folder with model, scores and report out."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl.cli.flags import add_options, collect_options
from kerastl.cli.parsing import add_command
from kerastl.cli.printing import say, show, show_file, show_json
from kerastl.errors import ResumeRefusedError, StorageError, UsageError, suggest
from kerastl.options import GROUPS, Options, parse_toml, to_toml

if TYPE_CHECKING:
    from kerastl.finetuning import Run

_EXAMPLES = (
    "kerastl finetune",
    "kerastl finetune --data photos/ --base resnet50 --schedule hybrid",
    "kerastl finetune --data labels.csv --epochs 3,5 --augment flip,crop",
    "kerastl finetune --data photos/ --dry-run",
    "kerastl finetune --resume runs/finetune-1",
)

# of --data and --weights that are no paths, though a folder may be called the same
_WORDS = (None, "digits", "random", "pretrained", "imagenet", "cifar10", "auto")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `finetune` with a flag for every option."""
    parser = add_command(
        commands, "finetune", "Fine-tune a pretrained base on your images", _EXAMPLES
    )
    add_options(parser, GROUPS)
    work = parser.add_argument_group("work: what to do beside training")
    work.add_argument("--resume", metavar="RUN", help="go on with a run that was cut off")
    work.add_argument("--config", metavar="FILE", help="options as TOML; flags rule")
    for flag, help in {
        "--dry-run": "print what each stage would do, and stop",
        "--print-config": "print all options as a file for --config, and stop",
        "--fast-dev-run": "one epoch of two batches per stage, to try things out",
        "--quiet": "no progress and no summary",
        "--json": "print the scores as JSON",
    }.items():
        work.add_argument(flag, action="store_true", help=help)


def run(given: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    options = read_options(given)
    if given.print_config:
        show_file(to_toml(options, comments=True))
        return 0
    if given.dry_run:
        from kerastl.finetuning.planning import plan_job

        show(plan_job(options, fast_dev_run=given.fast_dev_run))
        return 0
    from kerastl.finetuning.jobs import run_job

    finished = run_job(
        options,
        resume=given.resume,
        fast_dev_run=given.fast_dev_run,
        verbose=0 if given.quiet else "auto",
    )
    _report(finished, given)
    return 0


def read_options(given: argparse.Namespace) -> Options:
    """Lay defaults, the run to go on with, the file and the flags over each other."""
    before: dict[str, Any] = {}
    if given.resume is not None:
        if "out" in given:
            raise UsageError(
                f"--out {given.out} and --resume {given.resume} name two folders: a "
                "resumed run goes on in its own."
            )
        before |= parse_toml(_read_resumed(Path(given.resume)))
        before.setdefault("weights", "pretrained")
    if given.config is not None:
        before |= read_config(Path(given.config))
    options = fix_paths(collect_options(given, before))
    if given.resume is not None and "weights" in given:
        _check_weights(given.resume, before["weights"], options.weights)
    return options


def _read_resumed(folder: Path) -> str:
    from kerastl.runs import RunFolder

    if folder.is_dir() and not (folder / "config.toml").is_file():
        raise ResumeRefusedError(
            f"{folder} holds no run to go on with (no config.toml): start a new one with "
            f"--out {folder}."
        )
    return RunFolder.open(folder).read_text("config.toml")


def _check_weights(run: str, then: str, now: str | None) -> None:
    """Refuse other weights here: further on those of a checkpoint take their place."""
    from kerastl.weights.resolving import SOURCES

    same = {then, "pretrained"} if then in SOURCES else {then}
    if (asked := now or "none") not in same:
        raise ResumeRefusedError(
            f"{run} cannot be gone on with, because these differ: weights: {then} in the "
            f"run, {asked} now. Leave --weights out, or start a new run."
        )


def read_config(path: Path) -> dict[str, Any]:
    """Return the options a `--config` file sets.

    Raises:
        UsageError: There is no such file, or it sets what there is not.
        StorageError: It cannot be read.
    """
    if not path.exists():
        raise UsageError(f"--config {path}: there is no such file.{_suggest_beside(path)}")
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise StorageError(f"--config {path} could not be read: {reason}.") from error
    except UsageError as error:
        raise UsageError(f"--config {path}: {error}") from error


def _suggest_beside(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.glob("*.toml")] if folder.is_dir() else []
    return suggest(path.name, sorted(names))


def fix_paths(options: Options) -> Options:
    """Make paths absolute."""
    # the run's config.toml is read again from wherever it is resumed or evaluated
    import dataclasses

    paths = {
        name: str(Path(value).absolute())
        for name in ("data", "weights")
        if (value := getattr(options, name)) not in _WORDS and Path(value).exists()
    }
    return dataclasses.replace(options, **paths)


def _report(run: "Run", given: argparse.Namespace) -> None:
    if given.json:
        show_json({"folder": str(run.folder.path), **run.metrics})
    if given.quiet or given.json:
        return
    show(f"\n{run!r}\n")
    folder, data = str(run.folder.path), str(run.data.settings["data"])
    file = json.dumps(f"{folder}/model.keras", ensure_ascii=False)  # quoted as Python does
    say(
        f"results   {folder}, to look at: {folder}/report.html\n"
        f"load it   model = keras.models.load_model({file})\n"
        f"next      kerastl predict {shlex.quote(folder)} IMAGES...\n"
        f"          kerastl check {shlex.quote(data)}"
    )
