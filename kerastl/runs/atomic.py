"""Write a file so that, whatever happens, it is the old one or the new one."""

import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from kerastl.errors import StorageError
from kerastl.runs.faults import step

_TEMPORARY = re.compile(r"\.tmp-\d+-\d+(\.\w+)*")
_numbers = count(1)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEARLY_FULL = 1 << 20  # bytes

Writer = Callable[[Path], None]


def write_atomic(
    path: str | os.PathLike[str],
    writer: Writer,
    verify: Writer | None = None,
    *,
    size: int | None = None,
) -> Path:
    """Write a file through a temporary one beside it, and rename it when it is complete.

    A process killed, a disk that is full or a writer that raises leave the old file as it
    was. Used by everything in this package that writes to a disk.

    Args:
        path: The file to make or replace; its folder is made when missing.
        writer: Given the temporary path, writes everything to it. The path has the suffix
            of `path`, which is what Keras and matplotlib choose their format by.
        verify: Given the temporary path, raises when it does not read back.
        size: Bytes that will be written, where known, for the message on a full disk.

    Returns:
        pathlib.Path of the file in place.

    Raises:
        StorageError: It could not be written or read back; says where and what to do.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_atomic(f"{folder}/note.txt", lambda p: p.write_text("kept"))
    ...     path.read_text()
    'kept'
    """
    path = Path(path)
    with translate_errors(path, size):
        make_folder(path.parent)
        temporary = _temporary_path(path)
        try:
            _write_temporary(path, temporary, writer, verify)
            step("replace")
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        step("sync folder")
        sync_folder(path.parent)
    return path


def _write_temporary(
    path: Path, temporary: Path, writer: Writer, verify: Writer | None
) -> None:
    step("open")
    temporary.touch()
    writer(temporary)
    step("write")
    with temporary.open("rb+") as file:
        step("sync")
        os.fsync(file.fileno())
    if verify is not None:
        _verify(path, temporary, verify)


def _verify(path: Path, temporary: Path, verify: Writer) -> None:
    try:
        verify(temporary)
    except Exception as error:
        raise StorageError(
            f"{path} was not replaced: what was written does not read back ({error}). "
            "Check the disk and write it again."
        ) from error


def _temporary_path(path: Path) -> Path:
    number = f"{os.getpid()}-{threading.get_ident()}{next(_numbers)}"
    return path.parent / f".tmp-{number}{path.suffix}"


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one that `write_atomic` gives before the rename."""
    return _TEMPORARY.fullmatch(name) is not None


def write_halves(data: bytes) -> Writer:
    """Return a writer of `data` that a fault can interrupt in the middle."""

    def write(path: Path) -> None:
        middle = len(data) // 2
        with path.open("wb") as file:
            file.write(data[:middle])
            file.flush()
            step("half")
            file.write(data[middle:])

    return write


def write_text_atomic(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8, as `write_atomic` does."""
    return write_bytes_atomic(path, text.encode())


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data`, as `write_atomic` does."""
    return write_atomic(path, write_halves(data), size=len(data))


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each a step of writing, where they are missing."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        step("make folder")
        folder.mkdir(exist_ok=True)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, which is what makes a rename last."""
    if os.name == "nt":  # Windows opens no folders; its renames are journalled
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translate_errors(path: Path, size: int | None = None) -> Iterator[None]:
    """Turn what the system says about a failed write to `path` into a StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(_explain(path, error, size)) from error
    except RuntimeError as error:  # h5py closes a file on a full disk with this one
        if _free_bytes(path) >= _NEARLY_FULL:
            raise
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise StorageError(_explain(path, full, size)) from error


def _explain(path: Path, error: OSError, size: int | None) -> str:
    reason = error.strerror or str(error)
    kept = (
        "the file of that name is as it was" if path.exists() else "nothing is half-written"
    )
    return f"{path} could not be written: {reason}; {kept}. {_advise(path, error, size)}"


def _advise(path: Path, error: OSError, size: int | None) -> str:
    if error.errno in _FULL or _free_bytes(path) < _NEARLY_FULL:
        needed = f"{format_bytes(size)} needed, " if size else ""
        free = format_bytes(_free_bytes(path))
        return f"Free some space ({needed}{free} free), or choose another folder."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Choose a folder you may write to."
    return "Check the disk, or choose another folder."


def _free_bytes(path: Path) -> int:
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    return shutil.disk_usage(there).free


def format_bytes(number: float) -> str:
    """Write a number of bytes for people.

    Example:

    >>> format_bytes(1536), format_bytes(2_300_000_000)
    ('1.5 kB', '2.3 GB')
    """
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
