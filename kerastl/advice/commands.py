"""The command that follows from advice, ready to paste."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerastl.advice.rules import SPREAD
from kerastl.bases import Base
from kerastl.data import Data
from kerastl.data.sources import ARRAYS
from kerastl.options import FIELDS
from kerastl.stages import Schedule
from kerastl.weights import PRETRAINED

RIVALS = ("tiny", "mobilenetv2", "resnet50")


def write_command(
    data: Data,
    base: Base,
    weights: str | Path | None,
    image_size: tuple[int, int],
    schedule: Schedule,
    settings: Mapping[str, Any],
    batch_sizes: Sequence[int],
    n_iter: int,
    *,
    is_advised: bool = True,
) -> str:
    """Return a shell command; a line of Python for images that are in memory.

    Args:
        data: The images.
        base: To train.
        weights: To start from.
        image_size: Height and width.
        schedule: To train it by.
        settings: Of stages, to change in it.
        batch_sizes: One for a run, one or more for a search.
        n_iter: Trials; 1 for a run.
        is_advised: Else other bases are to be looked at before anything is trained.
    """
    if data.settings["data"] == ARRAYS:
        return _write_python(
            base, weights, image_size, schedule, settings, batch_sizes, n_iter
        )
    images = list_image_flags(data)
    if not is_advised:
        rivals = ",".join(dict.fromkeys([base.name, *RIVALS]))
        words = ["kerastl", "rank", *images, "--bases", rivals, "--weights", "auto"]
        return shlex.join(words)
    words = ["kerastl", "search" if n_iter > 1 else "finetune", *images]
    words += ["--base", base.name]
    if weights != PRETRAINED:
        words += ["--weights", "none" if weights is None else str(weights)]
    if image_size != (base.image_size,) * 2:
        words += ["--image-size", "x".join(map(str, image_size))]
    words += ["--schedule", schedule.name]
    words += _list_training(schedule, settings, batch_sizes, n_iter)
    return shlex.join(words)


def _list_training(
    schedule: Schedule,
    settings: Mapping[str, Any],
    batch_sizes: Sequence[int],
    n_iter: int,
) -> list[str]:
    searched = {"learning_rate"} if n_iter > 1 else set()
    fixed = {name: value for name, value in settings.items() if name not in searched}
    words = [word for name, value in fixed.items() for word in _write_flag(name, value)]
    sizes = ",".join(map(str, batch_sizes))
    if n_iter == 1:
        return [*words, "--batch-size", sizes]
    low, high = bound_rates(schedule)
    words += ["--n-iter", str(n_iter), "--param", f"batch_size={sizes}"]
    return [*words, "--param", f"learning_rate=loguniform({low:.2g},{high:.2g})"]


def bound_rates(schedule: Schedule) -> tuple[float, float]:
    """Return the bounds to search the first stage's learning rate in; others follow it."""
    rate = schedule.stages[0].learning_rate
    return rate / SPREAD, rate * SPREAD


def _write_flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return [flag]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [flag, text]


def list_image_flags(data: Data) -> list[str]:
    """Return the flags that load the same images again, those at their defaults left out.

    Example:

    >>> import kerastl
    >>> list_image_flags(kerastl.load_images("digits", test=0.3))
    ['--data', 'digits', '--test', '0.3']
    """
    words = ["--data", str(data.settings["data"])]
    for name, value in data.settings.items():
        known = name in FIELDS and name != "data"
        if known and value is not None and value != FIELDS[name].default:
            words += _write_flag(name, value)
    return [*words, "--seed", str(data.seed)] if data.seed else words


def _write_python(
    base: Base,
    weights: str | Path | None,
    image_size: tuple[int, int],
    schedule: Schedule,
    settings: Mapping[str, Any],
    batch_sizes: Sequence[int],
    n_iter: int,
) -> str:
    start = {} if weights == PRETRAINED else {"weights": weights}
    if image_size != (base.image_size,) * 2:
        start["image_size"] = image_size
    if n_iter > 1:
        low, high = bound_rates(schedule)
        rates = f"loguniform({low:.2g},{high:.2g})"
        space = {"batch_size": list(batch_sizes), "learning_rate": rates}
        given = {"n_iter": n_iter, "base": base.name, **start, "schedule": schedule.name}
        given |= {name: v for name, v in settings.items() if name != "learning_rate"}
        return f"kerastl.random_search(data, {space!r}, {_write_arguments(given)})"
    build = _write_arguments({"num_classes": "data.num_classes", **start})
    build = build.replace("'data.num_classes'", "data.num_classes")
    given = {"schedule": schedule.name, **settings, "batch_size": batch_sizes[-1]}
    model = f"kerastl.build_model({base.name!r}, {build})"
    return f"kerastl.finetune({model}, data, {_write_arguments(given)})"


def _write_arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
