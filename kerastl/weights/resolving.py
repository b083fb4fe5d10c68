"""What a user may pass as `weights`, turned into a file that is there."""

from dataclasses import dataclass
from pathlib import Path

from kerastl.errors import StorageError, UsageError, not_one_of
from kerastl.weights.fetching import convert_folder, fetch_weights, find_obstacle
from kerastl.weights.files import KERAS_HUB, HasWeights, find_damage
from kerastl.weights.presets import CONFIG

PRETRAINED, AUTO, RANDOM = "pretrained", "auto", "random"
SOURCES = ("imagenet", "cifar10")
SUFFIXES = (".weights.h5", ".h5", ".keras", ".npz")


@dataclass(frozen=True)
class ResolvedWeights:
    """Weights that are there: a file to load, or None for random values.

    `source` is `"imagenet"`, `"cifar10"`, `"random"` or the whole path of what a user gave;
    `note` is a line to show, empty when what was asked for is what there is.
    """

    path: Path | None
    source: str
    note: str = ""


def resolve_weights(base: HasWeights, weights: str | Path | None) -> ResolvedWeights:
    """Turn what a user asked for into a file that is there and verified.

    Args:
        base: A row of `kerastl.bases.BASES`.
        weights: `"pretrained"` for the base's own; `"imagenet"` or `"cifar10"` by name;
            `"auto"` for the base's own where they can be had, else random ones, with a
            note; None for random ones; or a path ending in `.weights.h5`, `.h5`, `.keras`
            or `.npz`; or, where the base's own come from keras-hub, a preset's folder.

    Returns:
        ResolvedWeights with the path of the file, its source and a note.

    Raises:
        UsageError: No such weights or file, or this base has none of that source, or
            keras-hub is not installed, which has to read them first.
        StorageError: The file cannot be fetched, or what arrives is not the right file;
            says where to put it by hand.

    Example:

    >>> from kerastl.bases import get_base
    >>> resolve_weights(get_base("vgg16"), None).source
    'random'
    """
    if weights is None:
        return ResolvedWeights(None, RANDOM)
    if weights == AUTO:
        return _resolve_auto(base)
    if base.pretrained is None:
        return _resolve_other(base, weights)
    if weights in (PRETRAINED, base.pretrained.source):
        return ResolvedWeights(fetch_weights(base), base.pretrained.source)
    return _resolve_file(base, weights)


def _resolve_auto(base: HasWeights) -> ResolvedWeights:
    problem = find_obstacle(base)
    if not problem:
        try:
            return ResolvedWeights(fetch_weights(base), base.pretrained.source)
        except StorageError as error:
            problem = str(error)
    note = f"{base.name} starts from random weights: {problem}"
    return ResolvedWeights(None, RANDOM, note)


def _resolve_other(base: HasWeights, weights: str | Path) -> ResolvedWeights:
    if str(weights) in (PRETRAINED, *SOURCES):
        raise UsageError(
            f"weights={str(weights)!r} does not exist for {base.name}, which has no "
            "pretrained weights: weights=None (--weights none) starts from random ones, a "
            "path from a file of your own; `kerastl bases` says which bases have some."
        )
    return _resolve_file(base, weights)


def _resolve_file(base: HasWeights, weights: str | Path) -> ResolvedWeights:
    if str(weights) in SOURCES:
        raise UsageError(
            f"weights={str(weights)!r} does not exist for {base.name}, whose pretrained "
            f"weights are {base.pretrained.source!r}; weights=None (--weights none) starts "
            "from random ones."
        )
    if str(weights) and Path(str(weights)).expanduser().is_dir():
        return _resolve_folder(base, Path(weights).expanduser())
    if not str(weights).endswith(SUFFIXES):
        allowed = [PRETRAINED, *SOURCES, AUTO, f"a path to a file {', '.join(SUFFIXES)}"]
        raise UsageError(not_one_of("weights", str(weights), allowed))
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UsageError(f"weights={str(weights)!r}: there is no such file.")
    file = base.pretrained
    known = file and file.hash is not None and not find_damage(path, base)
    return ResolvedWeights(path, file.source if known else str(path.absolute()))


def _resolve_folder(base: HasWeights, folder: Path) -> ResolvedWeights:
    if base.pretrained is None or base.pretrained.origin != KERAS_HUB:
        raise UsageError(
            f"weights={str(folder)!r} is a folder, which only bases take whose weights "
            f"come from keras-hub (see `kerastl bases`): give {base.name} a file "
            f"{', '.join(SUFFIXES)}."
        )
    if not (folder / CONFIG).is_file():
        raise UsageError(
            f"weights={str(folder)!r} is no preset of keras-hub: it holds no {CONFIG}."
        )
    return ResolvedWeights(convert_folder(base, folder), str(folder.absolute()))
