"""What a source of images holds, before anything is decoded: samples and what was skipped.

`kerastl.data.sources.list_source(source, ...)` makes a `Listing` out of any source (folder,
table, zip, arrays, built-in); the samples are sorted by name and carry the split that the
user gave, if any. Every file found is either a sample or in `skipped`.
"""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kerastl.errors import StorageError

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp"}
)
# Made by systems and tools, never by the person who sorted the images.
SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "__pycache__",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "lost+found",
        "$recycle.bin",
        "system volume information",
        "icon\r",
        "@eadir",
    }
)
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Args:
        name: What people read: the relative path with `/`, in Unicode form NFC, or
            `images[12]` for arrays. Unique within a listing.
        path: Where the file is; None for arrays.
        label: Class name; a tuple of class names for multi-label data.
        split: `train`, `validation` or `test` as the source says, None where it does not.
        group: Samples of one group stay on one side of a split; None for a sample alone.
    """

    name: str
    path: Path | None
    label: str | tuple[str, ...]
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Listing:
    """All samples of a source, and what in it is none.

    Args:
        root: Folder the names are relative to; None for arrays.
        samples: Sorted by name (arrays: as given).
        skipped: `(name, reason)` of every file that is not a sample.
        notes: Lines to say aloud about how the source was understood.
        class_names: The classes in order where the source itself fixes them (one-hot
            columns, built-ins); None where they follow from the labels.
        images: `(n, height, width, 3)` uint8, row i belonging to sample i; None for files.
    """

    root: Path | None
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    images: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class FoundFile:
    """A regular file under a folder that may be an image; `parts` are in NFC."""

    parts: tuple[str, ...]
    path: Path

    @property
    def name(self) -> str:
        """The relative path with `/`."""
        return "/".join(self.parts)


@dataclass
class Found:
    """What a walk through a folder met: candidates, the rest, and the folders."""

    files: list[FoundFile] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)


def normalize_name(text: str) -> str:
    """Return `text` in NFC, so that names typed on a Mac equal those typed elsewhere.

    Example:

    >>> len("\\u1100\\u1161"), len(normalize_name("\\u1100\\u1161"))
    (2, 1)
    """
    return unicodedata.normalize("NFC", text)


def skip_reason(name: str) -> str | None:
    """Say why a file or folder called `name` is never data, or return None.

    Example:

    >>> skip_reason("._daisy.jpg"), skip_reason("daisy.jpg")
    ('hidden', None)
    """
    if name.startswith("."):
        return "hidden"
    if name.lower() in SYSTEM_NAMES:
        return "made by the system"
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        return "file name is not UTF-8"
    return None


def looks_like_image(path: Path) -> bool:
    """Read the first bytes of a file and tell whether they start a format we decode."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    if head[:2] == b"BM":  # two letters alone would take many a text file for a bitmap
        return head[6:10] == bytes(4)
    return head.startswith(MAGIC) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def find_files(root: Path) -> Found:
    """Walk through `root` once, following no links and opening as few files as possible.

    Args:
        root: A folder.

    Returns:
        Candidates (by extension, else by their first bytes) sorted by NFC name, everything
        else with its reason, and the folders that are not skipped.

    Raises:
        StorageError: A folder cannot be listed.
    """
    found = Found()
    _walk(root, (), None, found)
    found.files.sort(key=lambda file: file.name)
    found.skipped.sort()
    return found


def _walk(folder: Path, parts: tuple[str, ...], skipping: str | None, found: Found):
    for entry in _entries(folder):
        inner = (*parts, normalize_name(entry.name))
        reason = skipping or skip_reason(entry.name)
        if entry.is_dir(follow_symlinks=False):
            if reason is None:
                found.folders.append(inner)
            inside = skipping or (reason and f"inside {printable(entry.name)} ({reason})")
            _walk(folder / entry.name, inner, inside, found)
        elif reason := reason or _reject(entry):
            found.skipped.append((printable("/".join(inner)), reason))
        else:
            found.files.append(FoundFile(inner, folder / entry.name))


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        raise StorageError(
            f"The folder {printable(str(folder))!r} cannot be listed ({error.strerror}): "
            "make it readable."
        ) from error


def _reject(entry: os.DirEntry) -> str | None:
    """Say why a directory entry is not an image file to be decoded, if it is not."""
    if entry.is_symlink():
        return "symbolic link (not followed)"
    if not entry.is_file(follow_symlinks=False):
        return _describe_mode(entry.stat(follow_symlinks=False).st_mode)
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in IMAGE_SUFFIXES or looks_like_image(Path(entry.path)):
        return None
    return f"not an image ({suffix or 'no extension'})"


def _describe_mode(mode: int) -> str:
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    return f"not a regular file ({kinds.get(stat.S_IFMT(mode), 'device')})"


def printable(text: str) -> str:
    """Replace what cannot be encoded in UTF-8, so that a name can always be printed."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
