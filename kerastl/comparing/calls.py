"""`compare`: bases and schedules trained alike, and what their difference is worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from kerastl.comparing.entries import AUTO, Entrants
from kerastl.comparing.jobs import ComparisonJob, run_comparison
from kerastl.comparing.results import ComparisonResult
from kerastl.data import Data, load_images
from kerastl.errors import UsageError, suggest
from kerastl.finetuning.resuming import name_split_seed
from kerastl.options import FIELDS, Options


class ComparisonOptions(TypedDict, total=False):
    """What is the same in all runs: names that `build_model` and `Stage` take."""

    weights: str | Path | None
    image_size: int | tuple[int, int] | None
    pooling: str
    hidden: Sequence[int]
    dropout: float
    learning_rate: float
    batch_size: int
    optimizer: str
    momentum: float
    weight_decay: float
    lr_schedule: str
    step_epochs: int
    step_factor: float
    warmup_epochs: int
    patience: int | None
    restore_best: bool
    augment: Sequence[str]
    class_weight: str | None
    train_batchnorm: bool
    label_smoothing: float
    normalize: str
    activations: str
    cache_budget: int | str


def compare(
    data: Data | object,
    bases: Sequence[str] = (AUTO,),
    schedules: Sequence[str] = ("feature-extraction", "hybrid"),
    *,
    repeats: int = 1,
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    **options: Unpack[ComparisonOptions],
) -> ComparisonResult:
    """Train every base with every schedule alike, and say which differences are real.

    All runs have the same images in the same splits, the same seeds and as many epochs.
    They run one after the other, each in a folder of its own that `load_run` reads; frozen
    layers run once for all that share them. The test images are read once per model, after
    it was trained, and nothing is selected by them.

    Two models are told apart by McNemar's exact test on the same images, adjusted by Holm
    for the number of pairs. With `repeats` the test counts the seeds as well
    (`kerastl.evaluation.compare_repeats`).

    Args:
        data: From `load_images`, or what it takes: a folder, a CSV file, arrays.
        bases: Names as `kerastl bases` lists them; default: the one that `finetune` takes.
        schedules: Keys of `kerastl.SCHEDULES`.
        repeats: Runs of each combination, with seeds `seed`, `seed + 1`, and so on; the
            splits stay the same.
        epochs: Of each run in all, divided over its stages in proportion to those they
            have by default. Default: as many as the longest of the schedules.
        seed: Of splits, and of weights, order and augmentation of the first run.
        out: Folder of the comparison; default `runs/compare-<n>`.
        resume: Go on with the comparison in `out`: finished runs are kept, failed ones are
            tried again.
        verbose: 0 silent; else as in `finetune`.
        **options: What is the same in all runs: `ComparisonOptions`.

    Returns:
        ComparisonResult; `print` it, or read `table`, `conclusion` and `runs`.

    Raises:
        UsageError: A name or value cannot be meant; before anything runs.
        DataError: The images cannot be used.
        ResumeRefusedError: Data or settings differ from those of the comparison in `out`.
        FolderInUseError: Another process writes to `out`.
        NothingSucceededError: All runs failed.

    Example:

    >>> import tempfile
    >>> small = {"weights": None, "epochs": 2, "batch_size": 512, "verbose": 0}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = compare("digits", ["tiny"], out=f"{folder}/compared", **small)
    >>> found.table["epochs"].tolist()
    [2, 2]
    """
    # before images are listed
    entrants = Entrants(bases, schedules, repeats, epochs)
    known = Options(**_check(options), seed=seed)
    images = data if isinstance(data, Data) else load_images(data, seed=seed)
    values = {name: getattr(known, name) for name in FIELDS} | images.settings
    job = ComparisonJob(
        options=Options(**values | {"split_seed": name_split_seed(images, seed)}),
        entrants=entrants,
        data=images,
    )
    return run_comparison(job, out=out, resume=resume, verbose=verbose)


def _check(options: ComparisonOptions) -> ComparisonOptions:
    allowed = list(ComparisonOptions.__annotations__)
    for name in options:
        if name not in allowed:
            raise UsageError(f"There is no option {name!r}.{suggest(name, allowed)}")
    return options
