"""Fetching weights: one process downloads, a damaged file never stays."""

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from kerastl.errors import StorageError
from kerastl.runs import write_atomic
from kerastl.weights.files import (
    HasWeights,
    cached_path,
    explain_asset,
    find_damage,
    mirror_url,
)

try:
    import fcntl
except ImportError:  # Windows: two downloads at once, and the last one stays
    fcntl = None  # type: ignore[assignment]

TIMEOUT = 15.0  # seconds without a byte before a server counts as silent
PROBE_TIMEOUT = 4.0
_CHUNK = 1 << 20
_DAY = 86_400  # seconds
_LARGEST = 2 << 30  # bytes; a server that goes on for ever is stopped here


def find_obstacle(base: HasWeights) -> str:
    """Say in a sentence why the pretrained weights cannot be had now; empty if they can.

    Looks into the cache, then asks the server for the file's headers, for a few seconds.
    """
    if base.pretrained is None:
        return "it has no pretrained weights"
    path = cached_path(base)
    if path.is_file() and not find_damage(path, base):
        return ""
    if base.pretrained.url is None:
        return explain_asset(base)
    url = mirror_url(base)
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT):
            return ""
    except (OSError, HTTPException) as error:
        reason = _describe(error)
        return (
            f"its weights are not in {path.parent} and {url} cannot be reached ({reason})."
        )


def fetch_weights(base: HasWeights) -> Path:
    """Return the verified pretrained weights of `base`, downloading them when needed.

    One process downloads, others wait for it. A damaged file in the cache is replaced.

    Raises:
        StorageError: The server cannot be reached or sends something else.
    """
    path = cached_path(base)
    if base.pretrained.url is None:
        return _check_asset(base, path)
    if path.is_file() and not find_damage(path, base):
        return path
    with _lock(path):
        if not path.is_file() or find_damage(path, base):
            _remove_leftovers(path.parent)
            url = mirror_url(base)
            write_atomic(path, lambda temporary: _download(url, temporary, base))
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


def _download(url: str, temporary: Path, base: HasWeights) -> None:
    for _ in range(2):  # a connection that was cut is worth a second try, no more
        damage = _transfer(url, temporary, base) or find_damage(temporary, base)
        if not damage:
            return
    page = " It is a web page: is there a login or a proxy in between?"
    looks = page if _is_page(temporary) else ""
    raise StorageError(f"{url} sent a wrong file: {damage}.{looks} {_advise(base)}")


def _transfer(url: str, temporary: Path, base: HasWeights) -> str:
    received = 0
    with _connect(url, base) as answer, temporary.open("wb") as file:
        length = answer.headers.get("Content-Length", "")
        expected = int(length) if length.isdigit() else None
        print(f"Downloading {url} {_in_megabytes(expected)}", file=sys.stderr)
        for chunk in _read_chunks(answer, url, base):
            received += file.write(chunk)
    cut = expected is not None and received < expected
    return f"only {received} of {expected} bytes arrived" if cut else ""


def _connect(url: str, base: HasWeights) -> HTTPResponse:
    try:
        return urllib.request.urlopen(url, timeout=TIMEOUT)
    except (OSError, HTTPException) as error:
        raise _unreachable(url, base, error) from error


def _read_chunks(answer: HTTPResponse, url: str, base: HasWeights) -> Iterator[bytes]:
    total = 0
    while total <= _LARGEST:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise _unreachable(url, base, error) from error
        if not chunk:
            return
        total += len(chunk)
        yield chunk


def _unreachable(url: str, base: HasWeights, error: Exception) -> StorageError:
    return StorageError(
        f"The weights of {base.name} could not be fetched from {url} "
        f"({_describe(error)}). {_advise(base)}"
    )


def _in_megabytes(size: int | None) -> str:
    return "" if size is None else f"({size / 1e6:.0f} MB)"


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html"))


def _describe(error: Exception) -> str:
    inner = error.reason if type(error) is urllib.error.URLError else error
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def _advise(base: HasWeights) -> str:
    expected = f" (hash {base.pretrained.hash})" if base.pretrained.hash else ""
    return (
        f"Put the file{expected} at {cached_path(base)} by hand, set KERASTL_WEIGHTS_URL "
        "to a mirror, or start from random weights with weights=None (--weights none)."
    )


def _check_asset(base: HasWeights, path: Path) -> Path:
    problem = explain_asset(base)
    if problem:
        raise StorageError(f"{base.name} cannot be loaded: {problem}")
    return path
