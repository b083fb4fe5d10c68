"""Downloading a weights file: verified before it is put in its place."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from kerastl.errors import StorageError
from kerastl.runs import write_atomic
from kerastl.weights.files import HasWeights, cached_path, find_damage, mirror_url

TIMEOUT = 15.0  # seconds without a byte before a server counts as silent
PROBE_TIMEOUT = 4.0
_CHUNK = 1 << 20
_LARGEST = 2 << 30  # bytes; a server that goes on for ever is stopped here


def explain_file(base: HasWeights) -> str:
    """Say why the published file cannot be fetched; an empty string when it can."""
    url = mirror_url(base)
    reason = probe(url)
    return reason and f"{url} cannot be reached ({reason})"


def fetch_file(base: HasWeights, path: Path) -> None:
    """Download the published file to `path`, all of it and verified, or raise.

    Raises:
        StorageError: The server cannot be reached or sends something else.
    """
    url = mirror_url(base)
    write_atomic(path, lambda temporary: _download(url, temporary, base))


def probe(url: str, *, refusals: bool = True) -> str:
    """Ask for the headers of an address; return why they do not come, or nothing.

    Args:
        url: The address.
        refusals: Whether an answer that refuses counts as one that does not come.
    """
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT):
            return ""
    except (OSError, HTTPException) as error:
        answered = isinstance(error, urllib.error.HTTPError)
        return "" if answered and not refusals else _describe(error)


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
