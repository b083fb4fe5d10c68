"""One writer per folder: a lock of the system, free the moment its holder dies."""

import json
import os
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import IO

from kerastl.errors import FolderInUseError, StorageError
from kerastl.runs.atomic import translate_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

LOCK = "lock"
_FAR = 1 << 30  # Windows locks bytes, so one where nobody reads
_PATIENCE = 20  # looks at the holder's name, 10 ms apart: it is written after the lock


class FolderLock:
    """The lock of one folder, held from `acquire` to `release` or the process' end."""

    def __init__(self, folder: Path):
        self.path = folder / LOCK
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock at once or not at all.

        Raises:
            FolderInUseError: Another process, or another part of this one, holds it.
            StorageError: The folder cannot be written to, or its disk knows no locks.
        """
        while self._file is None:
            with translate_errors(self.path):
                file = self.path.open("a+", encoding="utf-8")
            try:
                self._lock(file)
                if self._is_current(file):
                    self._sign(file)
                    self._file = file
            finally:
                if self._file is None:
                    file.close()

    def release(self) -> None:
        """Give the lock back; its file stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Take the file of a lock that is held away, and give the lock back."""
        if fcntl is None:  # Windows removes no open file
            self.release()
        self.path.unlink(missing_ok=True)
        self.release()

    def _is_current(self, file: IO[str]) -> bool:
        # who opened the file just before `remove` has locked one that nobody else will find
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _lock(self, file: IO[str]) -> None:
        try:
            if fcntl is None:
                file.seek(_FAR)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise FolderInUseError(self._describe_holder()) from None
        except OSError as error:
            raise StorageError(
                f"{self.path} could not be locked ({error.strerror}): this disk knows no "
                "locks. Choose a folder on another one."
            ) from error

    def _sign(self, file: IO[str]) -> None:
        started = datetime.now().isoformat(sep=" ", timespec="seconds")
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "start": started}
        with translate_errors(self.path):
            file.truncate(0)
            file.write(json.dumps(holder))
            file.flush()

    def _describe_holder(self) -> str:
        holder = self._read_holder()
        who = (
            f"process {holder['pid']} on {holder['host']}, since {holder['start']}"
            if holder
            else "another process"
        )
        return (
            f"{self.path.parent} is in use by {who}: wait for it to end, or choose "
            "another folder."
        )

    def _read_holder(self) -> dict | None:
        for _ in range(_PATIENCE):
            try:
                return json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError:
                time.sleep(0.01)
        return None
