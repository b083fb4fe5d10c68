"""What a finished run hands over to be diagnosed: no test image is opened for it."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.bases import get_base
from kerastl.data import Split
from kerastl.data.regrouping import take_rows
from kerastl.data.sources import ARRAYS
from kerastl.diagnosis import Diagnosis, Facts, Images, judge
from kerastl.diagnosis.limits import limit
from kerastl.errors import StorageError, UsageError
from kerastl.finetuning.features import extract_features
from kerastl.finetuning.resuming import CONFIG
from kerastl.finetuning.writing import write_diagnosis
from kerastl.models import build_model, get_info, predict_probabilities
from kerastl.seeds import derive_seed
from kerastl.weights import PRETRAINED, RANDOM
from kerastl.weights.resolving import SOURCES

if TYPE_CHECKING:
    import keras

    from kerastl.finetuning.results import Run

ALWAYS = "tiny"  # the base whose weights are always there
_BUILDING = ("weights", "dropout")  # what belongs to the model, not to its training


def diagnose_run(run: "Run") -> Diagnosis:
    """Judge why a run's validation is below its training; `Run.diagnose` says the rest."""
    _check(run)
    facts, notes = collect_facts(run)
    run.diagnosis = judge(facts, notes)
    if run.folder is not None:
        with run.folder:
            write_diagnosis(run.folder, run)
    return run.diagnosis


def _check(run: "Run") -> None:
    if run.data.validation is None:
        raise UsageError(
            "There is no validation split to diagnose: load the images with "
            "validation=0.2. The test split is for judging."
        )
    if run.data.multi_label:
        raise UsageError(
            "These images may have several labels each (multi_label=True); a diagnosis is "
            "of images with one class each."
        )


def collect_facts(run: "Run") -> tuple[Facts, tuple[str, ...]]:
    """Return what a diagnosis reads of a run, and what it rests on."""
    frozen, note = build_frozen(run)
    train, first = _draw(run.data.train, run.settings["seed"])
    validation, second = _draw(run.data.validation, run.settings["seed"])
    groups = run.data.row_groups
    cut = len(run.data.train)
    info = get_info(run.model)
    facts = Facts(
        _collect(run, train, frozen, groups[:cut][first]),
        _collect(run, validation, frozen, groups[cut:][second]),
        run.data.class_names,
        run.progress.rows,
        tuple(run.schedule),
        [outcome["outcome"] for outcome in run.stages],
        make_writer(run),
        _write_check(run),
        _write_review(run),
        _find_pretrained(info.base) if info.weights == RANDOM else {},
        run.settings["seed"],
        len(run.data.train),
    )
    notes = (note, *_say_drawn(run.data.train, train))
    return facts, (*notes, "No test image was looked at.")


def build_frozen(run: "Run") -> tuple["keras.Model", str]:
    """Return a model whose base never saw the images, and a sentence on it.

    It is the run's base as it was before training: after training, features of training
    images would differ from others for that reason alone.
    """
    info = get_info(run.model)
    known = info.weights in SOURCES or Path(info.weights).is_file()
    if known:
        try:
            model = build_model(
                info.base, num_classes=2, weights=info.weights, image_size=info.image_size
            )
        except StorageError:  # gone from the cache since, and not to be had
            known = False
    if known:
        return model, f"Features are those of {info.base} before training."
    said = (
        f"{info.base} started from random weights"
        if info.weights == RANDOM
        else (f"the weights that {info.base} started from are not at hand")
    )
    return build_model(ALWAYS, num_classes=2), f"Features are those of {ALWAYS}: {said}."


def _draw(split: Split, seed: int) -> tuple[Split, np.ndarray]:
    """Return a split, or as many of its images as probes see, and their rows."""
    most = int(limit("most images"))
    if len(split) <= most:
        return split, np.arange(len(split))
    generator = np.random.default_rng(derive_seed(seed, "diagnosis", split.name))
    rows = np.sort(generator.permutation(len(split))[:most])
    return take_rows(split, rows, split.name), rows


def _collect(run: "Run", split: Split, frozen: "keras.Model", groups: np.ndarray) -> Images:
    pixels = split.pixels(get_info(run.model).image_size)
    probabilities = predict_probabilities(run.model, pixels)
    features = extract_features(frozen, split)
    return Images(split.names, split.labels, features, probabilities, groups)


def _say_drawn(whole: Split, drawn: Split) -> tuple[str, ...]:
    if len(whole) == len(drawn):
        return ()
    return (f"Probes saw {len(drawn):,} of {len(whole):,} training images.",)


def _find_pretrained(base: str) -> dict[str, str]:
    if get_base(base).pretrained is None:
        return {"base": ALWAYS, "weights": PRETRAINED}
    return {"weights": PRETRAINED}


def make_writer(run: "Run") -> Callable[[Mapping[str, Any]], str]:
    """Return what writes the command that trains as this run did, but for some settings.

    It is a shell command where images and run lie in folders, else a line of Python.
    """
    if _is_on_disk(run):
        config = str(run.folder.path / CONFIG)
        return lambda changes: shlex.join(
            ["kerastl", "finetune", "--config", config, *_write_flags(changes)]
        )
    return lambda changes: _write_python(run, changes)


def _is_on_disk(run: "Run") -> bool:
    return run.folder is not None and run.data.settings["data"] != ARRAYS


def _write_flags(changes: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in changes.items():
        text = (",".join(value) or "none") if isinstance(value, list) else f"{value}"
        words += [f"--{name.replace('_', '-')}", text]
    return words


def _write_python(run: "Run", changes: Mapping[str, Any]) -> str:
    info = get_info(run.model)
    start = None if info.weights == RANDOM else info.weights
    built = {"weights": start, "image_size": info.image_size, "pooling": info.pooling}
    built |= {"hidden": info.hidden, "dropout": info.dropout}
    built |= {name: changes[name] for name in _BUILDING if name in changes}
    trained = {n: v for n, v in changes.items() if n not in ("base", *_BUILDING)}
    plan = trained.pop("schedule", None)
    schedule = "run.schedule" if plan is None else repr(plan)
    base = changes.get("base", info.base)
    return (
        f"run = kerastl.finetune(kerastl.build_model({base!r}, "
        f"num_classes=run.data.num_classes, {_write_arguments(built)}), run.data, "
        f"{', '.join(filter(None, (f'schedule={schedule}', _write_arguments(trained))))})"
    )


def _write_arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())


def _write_check(run: "Run") -> str:
    if run.data.settings["data"] == ARRAYS:
        return "print(run.data.check())"
    return shlex.join(["kerastl", "check", str(run.data.settings["data"])])


def _write_review(run: "Run") -> str:
    if _is_on_disk(run):
        return shlex.join(["kerastl", "diagnose", str(run.folder.path), "--json"])
    return 'run.diagnosis["label noise"].suspects'
