"""Where the pretrained weights of a base are, and whether they are what they should be."""

import hashlib
import json
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kerastl.errors import StorageError, UsageError
from kerastl.runs.arrays import read_npz

ASSETS = Path(__file__).parents[1] / "assets"
PACKAGE, WEB, KERAS_HUB = "package", "web", "keras-hub"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class WeightsFile:
    """The pretrained weights of one base.

    Args:
        source: The data set they were trained on, `"imagenet"` or `"cifar10"`.
        name: File name in the cache, the one Keras itself uses where it has such a file.
        url: Where it is published: an address of the web, or a preset's as keras-hub takes
            it (`kaggle://`, `hf://`), which is converted to a `.npz` file; None when it
            ships inside this package.
        hash: Its MD5 or SHA-256, or None where none is published.
        layers: Layers with weights in it, checked where there is no hash.
    """

    source: str
    name: str
    url: str | None = None
    hash: str | None = None
    layers: int | None = None

    @property
    def origin(self) -> str:
        """Where it comes from: `"package"`, `"web"` or `"keras-hub"`."""
        if self.url is None:
            return PACKAGE
        return WEB if self.url.startswith("http") else KERAS_HUB


Scale = float | list[float]


class HasWeights(Protocol):
    """A row of the table of bases, as far as its weights are concerned."""

    @property
    def name(self) -> str:
        """Name of the base."""

    @property
    def pretrained(self) -> WeightsFile | None:
        """Its pretrained weights; None where it has none."""

    @property
    def parameters(self) -> int:
        """Its weights, counted one by one."""

    @property
    def scaling(self) -> tuple[Scale, Scale]:
        """Factor and offset that 0-255 pixels get, for all channels or each."""


def cache_folder() -> Path:
    """Return where Keras keeps weights: `$KERAS_HOME/models`, or `~/.keras/models`."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def is_cached(base: HasWeights) -> bool:
    """Whether the pretrained weights of `base` are on this machine."""
    return base.pretrained is not None and cached_path(base).is_file()


def cached_path(base: HasWeights) -> Path:
    """Return where the pretrained weights of `base` are, or would be once fetched."""
    folder = cache_folder() if base.pretrained.url else ASSETS
    return folder / base.pretrained.name


def mirror_url(base: HasWeights) -> str:
    """Return the address of the weights, its host replaced by `KERASTL_WEIGHTS_URL` if set.

    Raises:
        UsageError: The variable holds no http or https address, or a plain http one for
            a file whose hash is not known.
    """
    mirror = os.environ.get("KERASTL_WEIGHTS_URL")
    if not mirror:
        return str(base.pretrained.url)
    parts = urllib.parse.urlsplit(mirror)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"KERASTL_WEIGHTS_URL={mirror!r} is no https://host address.")
    verified = base.pretrained.hash or parts.hostname in _LOOPBACK
    if parts.scheme == "http" and not verified:
        raise UsageError(
            f"KERASTL_WEIGHTS_URL={mirror!r} is not encrypted and the weights of "
            f"{base.name} have no published hash: give an https:// address."
        )
    return mirror.rstrip("/") + urllib.parse.urlsplit(base.pretrained.url).path


def find_damage(path: Path, base: HasWeights) -> str:
    """Say what is wrong with a weights file; an empty string when nothing is."""
    expected = base.pretrained.hash
    if expected is None and path.suffix == ".npz":
        return find_npz_damage(path)
    if expected is None:
        return _find_hdf5_damage(path, base.pretrained.layers)
    try:
        actual = _hash_file(path, "sha256" if len(expected) == 64 else "md5")
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return "" if actual == expected else f"its hash is {actual}, not {expected}"


def _hash_file(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def find_npz_damage(path: Path) -> str:
    """Say what is wrong with a file of arrays written here; empty when nothing is."""
    try:
        read_npz(path)
    except StorageError as error:
        return str(error)
    return ""


def _find_hdf5_damage(path: Path, layers: int | None) -> str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            layers_in_file = [file[name] for name in file.attrs["layer_names"]]
            counted = sum(len(layer.attrs["weight_names"]) > 0 for layer in layers_in_file)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        return f"it is no Keras weights file ({error})"
    if counted != layers:
        return f"it holds {counted} layers with weights, not {layers}"
    return ""


def explain_asset(base: HasWeights) -> str:
    """Say why weights that ship inside the package cannot be used; empty if they can."""
    path = cached_path(base)
    advice = (
        "install kerastl again, or start from random weights with weights=None "
        "(--weights none)."
    )
    try:
        expected = json.loads(path.with_suffix(".json").read_text())["sha256"]
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path} is missing or damaged ({error}): {advice}"
    return "" if actual == expected else f"{path} has a wrong hash {actual}: {advice}"
