"""Paths that stand in tables: found on disk, and never outside the table's folder."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath

from kerastl.data.listing import normalize_name
from kerastl.errors import DataError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class PathChecker:
    """Turns cells of a table into files inside one folder, remembering checked folders.

    Example:

    >>> PathChecker(Path("."))("../x.jpg")
    Traceback (most recent call last):
    kerastl.errors.DataError: the path '../x.jpg' has '..' in it: it must lie inside the
    table's folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._real_root = os.path.realpath(root)
        self._inside: dict[str, bool] = {}

    def __call__(self, cell: str) -> tuple[str, Path]:
        """Return the sample's name and its file.

        Raises:
            DataError: The path is empty, absolute, a URL, holds `..` or NUL, leads outside
                through a link, or is no regular file.
        """
        relative = check_relative(cell)
        found = find_regular(self.root, relative, cell)
        folder = os.path.dirname(found)
        if folder not in self._inside:
            real = os.path.realpath(folder)
            self._inside[folder] = (
                os.path.commonpath([real, self._real_root]) == self._real_root
            )
        if not self._inside[folder]:
            raise DataError(
                f"the path {cell!r} leads outside the table's folder by a link."
            )
        return normalize_name(relative), Path(found)


def check_relative(cell: str) -> str:
    """Return a cell as a clean relative path with `/`, or raise DataError."""
    _check_plain(cell)
    windows = PureWindowsPath(cell)
    if cell.startswith(("/", "\\", "~")) or windows.drive:
        raise DataError(
            f"the path {cell!r} is absolute: write it relative to the table's folder."
        )
    parts = [part for part in cell.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DataError(
            f"the path {cell!r} has '..' in it: it must lie inside the table's folder."
        )
    return "/".join(parts)


def _check_plain(cell: str) -> None:
    if not cell:
        raise DataError("the path is empty.")
    if "\0" in cell:
        raise DataError(f"the path {cell!r} holds a NUL character.")
    if _SCHEME.match(cell):
        raise DataError(f"the path {cell!r} is a URL: download the images first.")


def find_regular(root: str | Path, relative: str, cell: str) -> str:
    """Find a regular file, whichever Unicode form its name has on disk.

    Raises:
        DataError: There is none, or it is a link, a folder or a device.
    """
    for form in (None, "NFC", "NFD"):
        name = unicodedata.normalize(form, relative) if form else relative
        path = os.path.join(root, name)
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            continue
        if not stat.S_ISREG(mode):
            raise DataError(f"the path {cell!r} is {_describe(mode)}, not a regular file.")
        return path
    raise DataError(f"the file {cell!r} does not exist in {os.fspath(root)!r}.")


def _describe(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a symbolic link" if stat.S_ISLNK(mode) else "a FIFO, socket or device"


def free_path(cells: Sequence[str]) -> tuple[Path, Callable[[str], tuple[str, Path]]]:
    """Make the path finder for DataFrames, whose paths may lie anywhere.

    A DataFrame is made by the user's own program, mostly from a search through folders, so
    absolute paths are what it holds.

    Args:
        cells: All paths; relative ones start in the current folder.

    Returns:
        The folder that holds them all and a function from a cell to name and file.
    """
    absolute = [os.path.abspath(cell) for cell in cells if cell and "\0" not in cell]
    folders = {os.path.dirname(path) for path in absolute}
    root = Path(os.path.commonpath(folders)) if folders else Path.cwd()

    def locate(cell: str) -> tuple[str, Path]:
        _check_plain(cell)
        relative = os.path.relpath(os.path.abspath(cell), root)
        found = find_regular(root, relative, cell)
        return normalize_name(Path(relative).as_posix()), Path(found)

    return root, locate
