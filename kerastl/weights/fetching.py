"""Weights that are there: looked for in the cache, fetched once, by one process."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kerastl.errors import StorageError
from kerastl.weights.download import explain_file, fetch_file
from kerastl.weights.files import (
    KERAS_HUB,
    PACKAGE,
    WEB,
    HasWeights,
    cache_folder,
    cached_path,
    explain_asset,
    find_damage,
    find_npz_damage,
)
from kerastl.weights.presets import (
    explain_package,
    explain_preset,
    fetch_preset,
    keep_preset,
)

try:
    import fcntl
except ImportError:  # Windows: two downloads at once, and the last one stays
    fcntl = None  # type: ignore[assignment]

_DAY = 86_400  # seconds


@dataclass(frozen=True)
class _Origin:
    """How weights of one origin come into the cache.

    `lack` says what is missing on this machine, `explain` why a server cannot be reached;
    both say nothing where all is well. `fetch` writes the file or raises.
    """

    lack: Callable[[], str]
    explain: Callable[[HasWeights], str]
    fetch: Callable[[HasWeights, Path], None]


def _lack_nothing() -> str:
    return ""


_ORIGINS = {
    WEB: _Origin(_lack_nothing, explain_file, fetch_file),
    KERAS_HUB: _Origin(explain_package, explain_preset, fetch_preset),
}


def find_lack(base: HasWeights) -> str:
    """Say what its pretrained weights lack that no server has; an empty string if nothing.

    That is weights at all, or a package that has to read them once. Nobody is asked.
    """
    if base.pretrained is None:
        return "it has no pretrained weights"
    if base.pretrained.origin == PACKAGE:
        return explain_asset(base)
    lack = _ORIGINS[base.pretrained.origin].lack()
    return f"its weights come from {lack}." if lack and not _is_well_cached(base) else ""


def find_obstacle(base: HasWeights) -> str:
    """Say in a sentence why the pretrained weights cannot be had now; empty if they can.

    Looks into the cache, then asks the server for the file's headers, for a few seconds.
    """
    lack = find_lack(base)
    if lack or base.pretrained.origin == PACKAGE or _is_well_cached(base):
        return lack
    reason = _ORIGINS[base.pretrained.origin].explain(base)
    return reason and f"its weights are not in {cached_path(base).parent} and {reason}."


def fetch_weights(base: HasWeights) -> Path:
    """Return the verified pretrained weights of `base`, downloading them when needed.

    One process downloads, others wait for it. A damaged file in the cache is replaced.

    Raises:
        UsageError: They come from keras-hub, which is not installed.
        StorageError: The server cannot be reached or sends something else.
    """
    path = cached_path(base)
    if base.pretrained.origin == PACKAGE:
        return _check_asset(base, path)
    fetch = _ORIGINS[base.pretrained.origin].fetch
    return _keep(path, lambda: find_damage(path, base), lambda: fetch(base, path))


def convert_folder(base: HasWeights, folder: Path) -> Path:
    """Return the weights of a preset's folder as a file of arrays, made once per content.

    Raises:
        UsageError: keras-hub is not installed, or the preset is of another network.
        StorageError: A file is damaged.
    """
    path = cache_folder() / f"kerastl_{base.name}_{_digest(folder)}.npz"
    asked = f"weights={str(folder)!r} is a preset of"
    return _keep(
        path,
        lambda: find_npz_damage(path),
        lambda: keep_preset(base, str(folder), path, asked),
    )


def _is_well_cached(base: HasWeights) -> bool:
    path = cached_path(base)
    return path.is_file() and not find_damage(path, base)


def _keep(path: Path, find: Callable[[], str], make: Callable[[], None]) -> Path:
    """Return a file of the cache, made where it is missing or `find` finds damage."""
    if path.is_file() and not find():
        return path
    with _lock(path):
        if not path.is_file() or find():
            _remove_leftovers(path.parent)
            make()
    return path


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = (path.parent / f".{path.name}.lock").open("w")
    except OSError as error:
        raise StorageError(
            f"{path.parent} cannot be written to ({error.strerror}), and weights are kept "
            "there: set KERAS_HOME to a folder you may write to."
        ) from error
    with file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_leftovers(folder: Path) -> None:
    """Remove what downloads killed over a day ago left; younger ones may be running."""
    for path in folder.glob(".tmp-*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _DAY:
                path.unlink()


def _check_asset(base: HasWeights, path: Path) -> Path:
    problem = explain_asset(base)
    if problem:
        raise StorageError(f"{base.name} cannot be loaded: {problem}")
    return path


def _digest(folder: Path) -> str:
    """Digest names and contents of the files in a folder."""
    total = hashlib.sha256()
    try:
        for path in sorted(entry for entry in folder.iterdir() if entry.is_file()):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            total.update(f"{path.name} {digest}\n".encode())
    except OSError as error:
        raise StorageError(f"{folder} cannot be read ({error}).") from error
    return total.hexdigest()[:16]
