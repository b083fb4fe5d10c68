"""The files of one folder: read freely, written atomically under the folder's lock."""

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kerastl.errors import StorageError, UsageError
from kerastl.runs import atomic
from kerastl.runs.faults import step
from kerastl.runs.locks import LOCK, FolderLock
from kerastl.runs.tables import parse_csv, render_csv

if TYPE_CHECKING:
    import numpy as np
    import pandas


class LockedFiles:
    """Files inside one folder; each is the old one or the new one, whatever happens."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = FolderLock(path)

    def __fspath__(self) -> str:
        return str(self.path)

    def acquire(self) -> None:
        """Take the lock and remove the temporary files of dead processes.

        Raises:
            FolderInUseError: Another process holds the lock; the sentence names it.
            StorageError: The folder is gone or read-only.
        """
        if not self._lock.held:
            self._lock.acquire()
            self._remove_leftovers()

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def write_with(
        self,
        name: str,
        writer: atomic.Writer,
        verify: atomic.Writer | None = None,
        *,
        size: int | None = None,
    ) -> None:
        """Write a file through `writer`, as `write_atomic` does.

        Args:
            name: Inside the folder, with `/` between parts.
            writer: Given a temporary path with the suffix of `name`, writes to it.
            verify: Given the temporary path, raises when it does not read back.
            size: Bytes needed, where known.

        Raises:
            StorageError: It could not be written; the old file is as it was.
            UsageError: The name leads out of the folder.
        """
        path = self._inside(name)
        with self._locked():
            atomic.write_atomic(path, writer, verify, size=size)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write `data`; see `write_with` for what is refused."""
        self.write_with(name, atomic.write_halves(data), size=len(data))

    def write_text(self, name: str, text: str) -> None:
        """Write `text` as UTF-8."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write plain values, numpy's included, as JSON; NaN and infinity become null."""
        text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=2)
        self.write_text(name, text + "\n")

    def write_csv(self, name: str, frame: "pandas.DataFrame") -> None:
        """Write a table as `render_csv` renders it."""
        self.write_text(name, render_csv(frame))

    def write_arrays(self, name: str, arrays: Mapping[str, "np.ndarray"]) -> None:
        """Write arrays as `.npz`, read back and compared before the old file is replaced.

        Raises:
            UsageError: An array holds objects, or the name leads out of the folder.
            StorageError: It could not be written.
        """
        from kerastl.runs import arrays as npz

        npz.check_arrays(arrays)
        size = sum(array.nbytes for array in arrays.values())
        self.write_with(name, npz.write_npz(arrays), npz.verify_npz(arrays), size=size)

    def remove(self, name: str) -> None:
        """Remove a file, and its folder inside this one when nothing else is in it.

        A file that is not there is fine.
        """
        path = self._inside(name)
        with self._locked(), atomic.translate_errors(path):
            step("remove")
            path.unlink(missing_ok=True)
            self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.path and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def remove_folder(self, name: str) -> None:
        """Remove a folder inside this one with all it holds; none there is fine."""
        path = self._inside(name)
        with self._locked(), atomic.translate_errors(path):
            step("remove folder")
            if path.is_dir():
                shutil.rmtree(path)

    def exists(self, name: str) -> bool:
        """Whether the folder has a file of this name."""
        return self._inside(name).is_file()

    def read_bytes(self, name: str) -> bytes:
        """Read a file.

        Raises:
            StorageError: It is missing or cannot be read.
        """
        path = self._inside(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"{path} could not be read: {error.strerror}. Is the run finished?"
            ) from error

    def read_text(self, name: str) -> str:
        """Read a file of UTF-8 text."""
        try:
            return self.read_bytes(name).decode()
        except UnicodeDecodeError as error:
            raise self._damaged(name, error) from error

    def read_json(self, name: str) -> Any:
        """Read a JSON file.

        Raises:
            StorageError: It is missing or damaged.
        """
        try:
            return json.loads(self.read_text(name))
        except (json.JSONDecodeError, RecursionError) as error:
            raise self._damaged(name, error) from error

    def read_csv(self, name: str, text_columns: tuple[str, ...] = ()) -> "pandas.DataFrame":
        """Read what `write_csv` wrote; `text_columns` stay text where they look numeric."""
        return parse_csv(self.read_text(name), text_columns)

    def read_arrays(self, name: str) -> dict[str, "np.ndarray"]:
        """Read what `write_arrays` wrote, each array against its checksum.

        Raises:
            StorageError: It is missing or damaged.
        """
        from kerastl.runs import arrays as npz

        if not self.exists(name):
            self.read_bytes(name)  # says that it is missing
        return npz.read_npz(self._inside(name))

    def check_space(self, needed: int) -> None:
        """Refuse to start what will not fit on the disk.

        Args:
            needed: Bytes that will be written.

        Raises:
            StorageError: Fewer bytes than that are free.
        """
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise StorageError(
                f"{self.path} has {atomic.format_bytes(free)} free, and about "
                f"{atomic.format_bytes(needed)} will be written: free some space, or "
                "choose another folder."
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        held = self._lock.held
        self.acquire()
        try:
            yield
        finally:
            if not held:
                self.close()

    def _inside(self, name: str) -> Path:
        pure = PurePosixPath(name)
        plain = pure.parts and not pure.is_absolute() and ".." not in pure.parts
        path = self.path / pure
        inside = plain and not re.search(r"[\\:\0]", name) and name != LOCK
        if not inside or not path.resolve().is_relative_to(self.path.resolve()):
            raise UsageError(
                f"{name!r} is no file name inside a run folder: use plain names, with / "
                "between folders."
            )
        return path

    def _remove_leftovers(self) -> None:
        with atomic.translate_errors(self.path):
            for path in self.path.rglob(".tmp-*"):
                if atomic.is_temporary(path.name):
                    path.unlink(missing_ok=True)

    def _damaged(self, name: str, error: Exception) -> StorageError:
        return StorageError(
            f"{self._inside(name)} is damaged ({error}): remove it and make it again."
        )


def _plain(value: Any) -> Any:
    """Turn numpy values, paths and tuples into what JSON knows."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.as_posix() if isinstance(value, Path) else value
