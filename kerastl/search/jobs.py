"""A search from its options to its report: plan, trials, winner, one test score."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerastl.advice.guidance import default_space, guide_search
from kerastl.data import Data
from kerastl.errors import NothingSucceededError, ResumeRefusedError, UsageError
from kerastl.finetuning.describing import format_seconds, say
from kerastl.finetuning.planning import load_data, resolve_base
from kerastl.options import Options, to_toml
from kerastl.runs import PLAN, RunFolder, describe_environment
from kerastl.search.driver import Driver
from kerastl.search.lines import Lines
from kerastl.search.plans import Plan, check_space, compare_plans, make_plan
from kerastl.search.records import Book, Record
from kerastl.search.results import SearchResult
from kerastl.search.settings import MAY_CHANGE, SearchSettings
from kerastl.spaces import Space

if TYPE_CHECKING:
    from kerastl.finetuning import Run

CONFIG = "config.toml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchJob:
    """What a search is asked for.

    Args:
        options: The same in all trials.
        settings: How to search.
        space: What differs; None for this package's own.
        auto_batch_size: Search the batch sizes that suit the number of images.
        data: Images loaded already; None to load those that `options` name.
    """

    options: Options
    settings: SearchSettings
    space: Space | None = None
    auto_batch_size: bool = False
    data: Data | None = None


def run_search(
    job: SearchJob,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
) -> SearchResult:
    """Run a search to its end, or go on with one.

    Args:
        job: What is asked for.
        out: A new folder; default `runs/search-<n>`. With `resume` the search's own.
        resume: Run only what is not finished; a finished search is read back.
        verbose: 0 silent; anything else a line per trial on stderr.

    Returns:
        SearchResult, written to its folder.

    Raises:
        UsageError: Something asked for cannot be; before images are decoded.
        DataError: The images cannot be used.
        ResumeRefusedError: Space, settings or images differ from those of the search.
        FolderInUseError: Another search writes to the folder.
        NothingSucceededError: All trials failed; names the first cause.
    """
    job, reason = resolve_job(job)
    say(reason, verbose)
    check_job(job)
    folder = RunFolder.begin(PLAN, "search", out, resume=resume)
    with folder:
        data = job.data or load_data(job.options)
        for note in data.notes:
            say(note, verbose)
        plan = _settle_plan(job, data, folder, resume=resume)
        for note in plan.notes:
            say(note, verbose)
        settings = _changed(plan.settings, job.settings)
        return _run(plan, settings, data, folder, verbose)


def resolve_job(job: SearchJob) -> tuple[SearchJob, str]:
    """Replace base="auto" by the base to take, and say which and why."""
    if job.space is not None and "base" in job.space.parameters:
        if job.options.base != "auto":
            return job, ""
        first = job.space.parameters["base"][0]  # a name, which every trial replaces
        return dataclasses.replace(
            job, options=dataclasses.replace(job.options, base=first)
        ), ""
    options, reason = resolve_base(job.options)
    return dataclasses.replace(job, options=options), reason


def check_job(job: SearchJob) -> None:
    """Refuse what cannot run, before images are listed.

    Raises:
        UsageError: A candidate has a setting, stage, size or base that is not allowed.
        StorageError: Weights are neither cached nor can they be downloaded.
    """
    space = job.space or default_space(job.settings.mode, 1)
    check_space(job.options, space, job.settings)


def settle_space(job: SearchJob, data: Data) -> Space:
    """Return the space to search: the one asked for, or this package's own."""
    images = len(data.train) + len(data.validation or ())
    space = job.space or default_space(job.settings.mode, images)
    if not job.auto_batch_size:
        return space
    if job.space is not None and "batch_size" in space.parameters:
        raise UsageError(
            "batch_size='auto' searches the sizes that suit the number of images, and the "
            "space names its own: leave one of them out."
        )
    sizes = guide_search(images).batch_sizes
    return Space({**space.parameters, "batch_size": tuple(sizes)})


def plan_search(job: SearchJob, data: Data) -> Plan:
    """Return the plan of a search on these images; the test split has no part in it."""
    return make_plan(
        job.options, settle_space(job, data), job.settings, data.without_test()
    )


def _settle_plan(job: SearchJob, data: Data, folder: RunFolder, *, resume: bool) -> Plan:
    if not resume:
        plan = plan_search(job, data)
        record_plan(folder, plan)
        return plan
    then = Plan.from_dict(folder.read_json(PLAN))
    asked = job.settings
    threads = asked.threads or then.settings.threads  # of the machine it was planned on
    settings = dataclasses.replace(asked, threads=threads)
    now = plan_search(dataclasses.replace(job, settings=settings), data)
    found = compare_plans(then, now)
    if found:
        raise ResumeRefusedError(
            f"{folder.path} cannot be gone on with, because these differ: "
            f"{'; '.join(found)}. Give the same data and settings, or start a new search."
        )
    if not folder.exists(CONFIG):  # cut off between the two
        record_plan(folder, then)
    return then


def record_plan(folder: RunFolder, plan: Plan) -> None:
    """Write the plan, which makes the folder a search, and what it was made on."""
    folder.write_json(PLAN, plan.to_dict())
    folder.write_text(CONFIG, to_toml(plan.options))
    folder.write_json("environment.json", describe_environment())


def _changed(then: SearchSettings, now: SearchSettings) -> SearchSettings:
    changes = {name: getattr(now, name) for name in MAY_CHANGE}
    return dataclasses.replace(then, **changes)


def _run(
    plan: Plan, settings: SearchSettings, data: Data, folder: RunFolder, verbose: str | int
) -> SearchResult:
    from kerastl.search.nesting import run_nested

    nested = None
    if settings.nested is not None:
        nested = run_nested(plan, settings, data, folder, verbose)
    book = Book(folder)
    book.read(range(1, plan.count + 1), len(plan.rungs))
    lines = Lines(plan, book, verbose)
    Driver(plan, data.without_test(), book, settings, lines.show).run()
    return _finish(plan, settings, data, book, nested, verbose)


def _finish(
    plan: Plan,
    settings: SearchSettings,
    data: Data,
    book: Book,
    nested: dict[str, Any] | None,
    verbose: str | int,
) -> SearchResult:
    folder = book.folder
    result = SearchResult(folder, plan, book, data=data, nested=nested)
    if result.summary["best"] is None:
        write_search(result)
        raise NothingSucceededError(_explain_failure(plan, book))
    run = None
    if settings.refit != "none":
        winner = book.last(result.summary["best"]["trial"])
        run = _refit(plan, data, folder, winner, settings.refit, verbose)
    test = run.scores.get("test") if run is not None else None
    result = SearchResult(
        folder, plan, book, data=data, run=run, nested=nested,
        test=None if test is None else test.to_dict(),
    )  # fmt: skip
    write_search(result)
    return result


def _refit(
    plan: Plan,
    data: Data,
    folder: RunFolder,
    winner: Record,
    refit: str,
    verbose: str | int,
) -> "Run":
    from kerastl.search.refitting import refit_winner

    seconds = winner.work.get("seconds", 0)
    about = f", about {format_seconds(seconds)}" if seconds else ""
    what = {"train": "training", "all": "training and validation"}[refit]
    say(f"training trial {winner.number} again on the {what} images{about}", verbose)
    return refit_winner(plan, data, folder, winner, refit=refit, verbose=verbose)


def _explain_failure(plan: Plan, book: Book) -> str:
    first = next((book.last(n) for n in range(1, plan.count + 1) if book.last(n)), None)
    if first is None:
        return (
            f"No trial was run in the time given; go on with resume=True, or --resume "
            f"{book.folder.path}, and more minutes."
        )
    return (
        f"All {plan.count} trials failed, the first because: {first.reason} Their "
        f"tracebacks are in {book.folder.path}/trials."
    )


def write_search(result: SearchResult) -> None:
    """Write the leaderboard, the figures, the metrics and, last, the report."""
    from kerastl.reporting import render_search_figures, render_search_report

    folder = result.folder
    folder.write_csv("leaderboard.csv", result.leaderboard())
    folder.write_json("metrics.json", result.metrics)
    figures = render_search_figures(folder.path)
    for name, picture in figures.items():
        folder.write_bytes(name, picture)
    folder.write_text("report.html", render_search_report(folder.path, figures))
