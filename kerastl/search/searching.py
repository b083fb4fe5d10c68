"""`grid_search`, `random_search`, `halving_search` and `tpe_search`: one call each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from kerastl.data import Data, load_images
from kerastl.errors import UsageError, suggest
from kerastl.options import FIELDS, Options
from kerastl.schedules import resolve_schedule
from kerastl.search.jobs import SearchJob, run_search
from kerastl.search.results import SearchResult
from kerastl.search.settings import AUTO, SETTINGS, SearchSettings
from kerastl.spaces import Space, read_space
from kerastl.stages import Schedule, Stage


class SearchOptions(TypedDict, total=False):
    """How to search (as `SearchSettings` explains), and what is the same in all trials.

    The second half are the names `build_model` and `Stage` take; what is searched need not
    be given.
    """

    repeats: int
    cv: int | None
    nested: int | None
    refit: str
    max_minutes: float | None
    trial_minutes: float | None
    jobs: int
    executor: str
    address: str | None
    gpus: float
    threads: int | None

    base: str
    weights: str | Path | None
    image_size: int | tuple[int, int] | None
    pooling: str
    hidden: Sequence[int]
    dropout: float
    schedule: str | Schedule | Stage | Sequence[Stage]
    epochs: int | Sequence[int]
    learning_rate: float | Sequence[float]
    batch_size: int | str
    optimizer: str
    momentum: float
    weight_decay: float
    lr_schedule: str
    step_epochs: int
    step_factor: float
    warmup_epochs: int
    rate_decay: float
    patience: int | None
    restore_best: bool
    augment: Sequence[str]
    class_weight: str | None
    train_batchnorm: bool
    label_smoothing: float
    normalize: str
    activations: str


def grid_search(
    data: Data | object,
    space: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Try every combination, score each on validation, train the best again.

    The loop over learning rates and batch sizes that every tutorial writes, with the test
    split out of reach until the winner is chosen. For a handful of combinations; with more,
    `random_search` finds as good a one in fewer trials (Bergstra & Bengio, JMLR 2012).

    Args:
        data: From `load_images`, or what it takes: a folder, a CSV file, arrays.
        space: Name -> list of values, as scikit-learn's ParameterGrid. Names are those of
            `build_model` and `Stage`; `unfreeze`, of the last stage; or
            `<stage>__<setting>`, such as `head__learning_rate` or `2__epochs`.
            Default: three learning rates and the batch sizes that suit the images.
        seed: Of splits, weights and order. The same seed, the same result.
        out: Folder of the search, written trial by trial; default `runs/search-<n>`.
        resume: Go on with the search in `out`.
        verbose: 0 silent; anything else a line per trial.
        **options: How to search and what is the same in all trials: `SearchOptions`.

    Returns:
        SearchResult with `leaderboard()`, `cv_results_`, `best_params_` and `best_run`.

    Raises:
        UsageError: A name or value cannot be meant; before anything runs.
        DataError: The images cannot be used.
        ResumeRefusedError: Data or settings differ from those of the search in `out`.
        FolderInUseError: Another search writes to `out`.
        NothingSucceededError: All trials failed.

    Example:

    >>> import tempfile
    >>> space = {"batch_size": [64, 128]}
    >>> small = {"base": "tiny", "weights": None, "epochs": 1, "refit": "none"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = grid_search(
    ...         "digits", space, out=f"{folder}/search", verbose=0, **small
    ...     )
    >>> found.leaderboard()["status"].tolist()
    ['done', 'done']
    """
    settings: dict[str, Any] = {"mode": "grid"}
    return _search(data, space, settings, options, seed, out, resume, verbose)


def random_search(
    data: Data | object,
    space: Mapping[str, Any] | None = None,
    *,
    n_iter: int | str = AUTO,
    random_state: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Draw `n_iter` candidates as scikit-learn's ParameterSampler does, and try them.

    Args:
        data: From `load_images`, or what it takes.
        space: Name -> list, or a distribution of `scipy.stats` such as
            `loguniform(1e-4, 1e-1)`. Default: the learning rate and the batch size.
        n_iter: Candidates; "auto" by the number of images.
        random_state: Of the draw: the same candidates as scikit-learn's with it.
        seed: Of splits, weights and order.
        out: Folder of the search; default `runs/search-<n>`.
        resume: Go on with the search in `out`.
        verbose: 0 silent; anything else a line per trial.
        **options: As in `grid_search`.

    Returns:
        SearchResult, as from `grid_search`.

    Raises:
        KerastlError: As in `grid_search`.

    Example:

    >>> import tempfile
    >>> from scipy.stats import loguniform
    >>> space = {"learning_rate": loguniform(1e-3, 1e-1), "batch_size": [64, 128]}
    >>> small = {"base": "tiny", "weights": None, "epochs": 1, "refit": "none"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = random_search(
    ...         "digits", space, n_iter=2, out=f"{folder}/search", verbose=0, **small
    ...     )
    >>> sorted(found.best_params_)
    ['batch_size', 'learning_rate']
    """
    settings = {"mode": "random", "n_iter": n_iter, "random_state": random_state}
    return _search(data, space, settings, options, seed, out, resume, verbose)


def halving_search(
    data: Data | object,
    space: Mapping[str, Any] | None = None,
    *,
    n_iter: int | str = AUTO,
    random_state: int = 0,
    factor: int = 3,
    min_epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Give many candidates few epochs, and the best third of them three times as many.

    Successive halving (Jamieson & Talwalkar, AISTATS 2016). Survivors go on from their
    saved state, to the bit as if they had never been paused; none starts again.

    Args:
        data: From `load_images`, or what it takes.
        space: As in `random_search`.
        n_iter: Candidates in the first rung; "auto" by the number of images.
        random_state: Of the draw.
        factor: One candidate in `factor` goes on, for `factor` times the epochs.
        min_epochs: Epochs of the first rung, over all stages; default: what makes the last
            rung the whole schedule.
        seed: Of splits, weights and order.
        out: Folder of the search; default `runs/search-<n>`.
        resume: Go on with the search in `out`.
        verbose: 0 silent; anything else a line per trial and rung.
        **options: As in `grid_search`.

    Returns:
        SearchResult, as from `grid_search`.

    Raises:
        KerastlError: As in `grid_search`.
    """
    settings: dict[str, Any] = {"mode": "halving", "n_iter": n_iter, "factor": factor}
    settings |= {"random_state": random_state, "min_epochs": min_epochs}
    return _search(data, space, settings, options, seed, out, resume, verbose)


def tpe_search(
    data: Data | object,
    space: Mapping[str, Any] | None = None,
    *,
    n_iter: int | str = AUTO,
    random_state: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Let Optuna's TPE suggest each candidate from the finished ones.

    Worth it from about 20 trials on. Needs `pip install 'kerastl[optuna]'`. A search that
    goes on after a kill suggests what it would have suggested.

    Args:
        data: From `load_images`, or what it takes.
        space: Lists, `uniform`, `loguniform` and `randint`.
        n_iter: Trials; "auto" by the number of images.
        random_state: Of the suggestions.
        seed: Of splits, weights and order.
        out: Folder of the search; default `runs/search-<n>`.
        resume: Go on with the search in `out`.
        verbose: 0 silent; anything else a line per trial.
        **options: As in `grid_search`.

    Returns:
        SearchResult, as from `grid_search`.

    Raises:
        KerastlError: As in `grid_search`.
    """
    settings = {"mode": "tpe", "n_iter": n_iter, "random_state": random_state}
    return _search(data, space, settings, options, seed, out, resume, verbose)


def _search(
    data: Data | object,
    space: Mapping[str, Any] | None,
    settings: dict[str, Any],
    options: Mapping[str, Any],
    seed: int,
    out: str | Path | None,
    resume: bool,
    verbose: str | int,
) -> SearchResult:
    how, fixed = _divide(options)
    auto_batch_size = fixed.get("batch_size") == AUTO
    if auto_batch_size:
        del fixed["batch_size"]
    known = Options(**_name_schedule(fixed), seed=seed)  # before images are listed
    images = data if isinstance(data, Data) else load_images(data, seed=seed)
    job = SearchJob(
        options=Options(**_lay_over(images.settings, known)),
        settings=SearchSettings(**settings, **how),
        space=None if space is None else _as_space(space),
        auto_batch_size=auto_batch_size,
        data=images,
    )
    return run_search(job, out=out, resume=resume, verbose=verbose)


def _as_space(space: Mapping[str, Any] | Space) -> Space:
    return space if isinstance(space, Space) else read_space(space)


def _lay_over(settings: Mapping[str, Any], known: Options) -> dict[str, Any]:
    return {**{name: getattr(known, name) for name in FIELDS}, **settings}


def _divide(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how to search, and what is the same in all trials."""
    allowed = list(SearchOptions.__annotations__)
    for name in options:
        if name not in allowed:
            raise UsageError(f"There is no option {name!r}.{suggest(name, allowed)}")
    how = {name: value for name, value in options.items() if name in SETTINGS}
    return how, {name: value for name, value in options.items() if name not in SETTINGS}


def _name_schedule(fixed: dict[str, Any]) -> dict[str, Any]:
    schedule = fixed.get("schedule", "")
    if isinstance(schedule, str):
        return fixed
    resolved = resolve_schedule(schedule, ()).to_dict()
    return {**fixed, "schedule": resolved["name"], "stages": tuple(resolved["stages"])}
