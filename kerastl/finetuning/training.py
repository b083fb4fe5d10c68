"""`finetune`: a model and images in, a run out."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypedDict, Unpack

import keras

from kerastl.bases import get_base
from kerastl.data import Data
from kerastl.data.batches import Arrays
from kerastl.data.pixels import UnreadableError, check_budget
from kerastl.errors import UsageError, check_choice
from kerastl.finetuning.checkpoints import EpochArrays, FolderKeeper, NoKeeper, Progress
from kerastl.finetuning.choices import AS_COMPUTED, WIDTHS
from kerastl.finetuning.claiming import claim_folder
from kerastl.finetuning.loop import ENGINES, Job, run_stages
from kerastl.finetuning.progress import BarWatcher, build_watchers
from kerastl.finetuning.rates import sets_rates
from kerastl.finetuning.results import Run
from kerastl.finetuning.resuming import check_same_run, record_start
from kerastl.finetuning.storing import ActivationStore
from kerastl.finetuning.writing import write_results
from kerastl.models import get_info, layer_table, set_class_names, set_normalization
from kerastl.runs import RunFolder
from kerastl.schedules import check_schedule, resolve_schedule
from kerastl.stages import Schedule, Stage

RATE_CALLBACKS = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


class StageOptions(TypedDict, total=False):
    """Settings of `kerastl.Stage` that `finetune` changes in every stage.

    A list gives one value per stage; a single learning rate sets the first stage's, and
    later stages keep their ratio to it.
    """

    epochs: int | Sequence[int]
    learning_rate: float | Sequence[float]
    batch_size: int
    optimizer: str
    momentum: float
    weight_decay: float
    lr_schedule: str
    step_epochs: int
    step_factor: float
    warmup_epochs: int
    rate_decay: float | Sequence[float]
    patience: int | None
    restore_best: bool
    augment: Sequence[str]
    class_weight: str | None
    train_batchnorm: bool
    label_smoothing: float
    normalize: str


def finetune(
    model: keras.Model,
    data: Data,
    *,
    schedule: str | Schedule | Stage | Sequence[Stage] = "hybrid",
    seed: int = 0,
    out: str | Path | RunFolder | None = None,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
    engine: str = "auto",
    cache_budget: int | None = None,
    activations: str = AS_COMPUTED,
    max_steps: int | None = None,
    evaluate: bool = False,
    **options: Unpack[StageOptions],
) -> Run:
    """Train a model stage by stage and keep the best epoch of all stages.

    Each stage sets which layers train, compiles with a fresh optimizer and calls `fit`, as
    the Keras guide to transfer learning does by hand; afterwards it is verified that
    exactly the declared layers moved. Settings are selected on the validation split; the
    test split is not touched before `run.evaluate()`.

    Args:
        model: From `kerastl.build_model` or `kerastl.load_model`; trained in place.
        data: From `kerastl.load_images`.
        schedule: A name of `kerastl.schedules.SCHEDULES`, a Schedule, a Stage or a list.
        seed: Decides order, augmentation and dropout. The same seed on the same machine
            gives the same weights.
        out: A new folder to write the run to, after every epoch, so that nothing finished
            is lost. Default: nothing is written before `run.save(...)`.
        resume: Go on with the run in `out`, from its last finished epoch.
        callbacks: Passed on to `fit` in every stage. They may change the learning rate of
            stages whose `lr_schedule` is "constant", without warm-up; others set it anew
            at every step.
        verbose: 0 silent, 1 a bar, 2 a line per epoch, "auto" by where stderr goes.
        engine: "plain" is Keras' compile and fit, the reference; "auto" gives the same
            weights without running frozen layers again in every epoch.
        cache_budget: Bytes that activations of frozen layers may take, which are kept under
            `$XDG_CACHE_HOME/kerastl/activations` for later runs too; 0 keeps none. Default:
            a third of the free memory.
        activations: The dtype they are kept in: "float32", as they are computed; or
            "float16" (numbers up to 65,504) or "bfloat16" (three digits, any size), which
            take half the bytes; or "mixed_bfloat16", to compute them in bfloat16 as well,
            in less time where the processor has it. Training and the model that is
            returned compute in float32 either way.
        max_steps: Batches per epoch at most, for trying things out.
        evaluate: Read the test split at the end and score it, as `run.evaluate()` does. Its
            files are decoded before training, as the others, so that an unreadable one is
            named then and not hours later.
        **options: Stage settings to change in every stage, as `StageOptions` lists them.

    Returns:
        Run with the trained model and its history.

    Raises:
        UsageError: Model, schedule or an option does not fit, or the run in `out` is
            finished; before anything is trained.
        DataError: Images cannot be read; the sentence names those of all splits.
        FolderInUseError: Another process writes to `out`.
        ResumeRefusedError: Data or settings differ from those of the run in `out`.
        NothingSucceededError: No epoch ended with finite numbers.

    Example:

    >>> import kerastl
    >>> data = kerastl.load_images("digits")
    >>> model = kerastl.build_model("tiny", num_classes=10, weights=None)
    >>> run = finetune(model, data, schedule="feature-extraction", epochs=1, max_steps=2,
    ...                verbose=0)
    >>> list(run.history["stage"])
    ['head']
    """
    check_choice("engine", engine, ENGINES)
    check_activations(activations, engine)
    if resume and out is None:
        raise UsageError("resume=True goes on with the run in `out`: give its folder.")
    check_budget(cache_budget)
    settings = {"engine": engine, "seed": seed, "max_steps": max_steps}
    settings["activations"] = activations
    with nullcontext() if out is None else claim_folder(out, resume=resume) as folder:
        schedule = prepare_schedule(model, data, schedule, options)
        _check_rates(schedule, callbacks)
        run = Run(model=model, data=data, schedule=schedule, settings=settings)
        run.folder = folder
        watchers = build_watchers(verbose, schedule)
        splits = _decode_splits(run, test=evaluate)
        _train(run, splits, watchers, callbacks, cache_budget)
        if "test" in splits:
            run.score_split("test")
        if folder is not None:
            write_results(folder, run)
    return run


def check_activations(activations: str, engine: str) -> None:
    """Refuse a dtype that there is none of, or with an engine that keeps no activations.

    Raises:
        UsageError: Either of them.
    """
    check_choice("activations", activations, WIDTHS)
    if engine == "plain" and activations != AS_COMPUTED:
        raise UsageError(
            f"activations={activations!r} with engine='plain', which keeps none: leave it "
            "out, or give engine='auto'."
        )


def prepare_schedule(
    model: keras.Model,
    data: Data,
    schedule: str | Schedule | Stage | Sequence[Stage],
    options: StageOptions,
) -> Schedule:
    """Resolve and check a schedule for this model and data, before any image is decoded."""
    _match_labels(model, data)
    base = get_base(get_info(model).base)
    resolved = resolve_schedule(schedule, base.blocks, options, head_rate=base.head_rate)
    check_schedule(layer_table(model), resolved)
    for stage in resolved:
        if data.multi_label and (stage.class_weight or stage.solver == "exact"):
            raise UsageError(
                f"Stage {stage.name!r} has class_weight or solver='exact', which need one "
                "class per image; these images have several labels each."
            )
    return resolved


def _check_rates(schedule: Schedule, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuse two that set the learning rate, of which one would have no effect."""
    setters = [c for c in callbacks if isinstance(c, RATE_CALLBACKS)]
    for stage in schedule:
        if setters and sets_rates(stage):
            raise UsageError(
                f"Stage {stage.name!r} sets the learning rate of each step (lr_schedule="
                f"{stage.lr_schedule!r}, warmup_epochs={stage.warmup_epochs}), over what "
                f"{type(setters[0]).__name__} sets: leave out the callback, or give "
                "lr_schedule='constant' and warmup_epochs=0."
            )


def _match_labels(model: keras.Model, data: Data) -> None:
    info = get_info(model)
    outputs = model.output_shape[-1]
    if outputs != data.num_classes or info.multi_label != data.multi_label:
        kind = "labels" if data.multi_label else "classes"
        raise UsageError(
            f"The model ends in {outputs} outputs (multi_label={info.multi_label}), but "
            f"the data has {data.num_classes} {kind}: build it with num_classes="
            f"{data.num_classes}, multi_label={data.multi_label}."
        )
    if info.class_names and info.class_names != data.class_names:
        raise UsageError(
            f"The model was trained on classes {', '.join(info.class_names)}, the data has "
            f"{', '.join(data.class_names)}: build a new model for these."
        )
    set_class_names(model, data.class_names)


def _decode_splits(run: Run, *, test: bool) -> dict[str, Arrays]:
    """Decode what the run reads; unreadable files of all splits are named at once."""
    size, decoded, failures = get_info(run.model).image_size, {}, []
    for name, split in run.data.splits.items():
        if name != "test" or test:
            try:
                decoded[name] = Arrays(split.pixels(size), split.labels)
            except UnreadableError as error:
                failures += error.failures
    if failures:
        raise UnreadableError(failures)
    return decoded


def _train(
    run: Run,
    splits: Mapping[str, Arrays],
    watchers: list,
    callbacks: Sequence,
    cache_budget: int | None,
) -> None:
    progress, resumed = _start(run)  # after decoding, which may find a bad file
    bars = [watcher for watcher in watchers if isinstance(watcher, BarWatcher)]
    job = Job(
        model=run.model,
        schedule=run.schedule,
        train=splits["train"],
        validation=splits.get("validation"),
        statistics=_measure_channels(run),
        seed=run.settings["seed"],
        keeper=FolderKeeper(run.folder) if run.folder else NoKeeper(),
        engine=run.settings["engine"],
        max_steps=run.settings["max_steps"],
        store=ActivationStore(),
        cache_budget=cache_budget,
        activations=run.settings["activations"],
        callbacks=[*callbacks, *(bar.callback for bar in bars)],
        watch=watchers,
    )
    try:
        run.progress = run_stages(job, progress, resumed)
    finally:
        for bar in bars:
            bar.stop()


def _start(run: Run) -> tuple[Progress, EpochArrays | None]:
    folder = run.folder
    if folder is None:
        return Progress(), None
    if not folder.exists("config.toml"):
        record_start(run, folder)
        return Progress(), None
    check_same_run(run, folder)
    keeper = FolderKeeper(folder)
    progress = keeper.load_progress()
    if progress is None:
        return Progress(), None
    run.model.set_weights(keeper.load_start(progress))
    if progress.normalization != "base":
        set_normalization(run.model, run.data.channel_statistics())
    return progress, keeper.load_epoch(progress)


def _measure_channels(run: Run):
    wanted = any(stage.normalize == "data" for stage in run.schedule)
    return run.data.channel_statistics() if wanted else None
