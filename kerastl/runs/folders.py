"""A run folder: everything one command produced, written by one process at a time."""

import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from kerastl.errors import ResumeRefusedError, StorageError, UsageError, suggest
from kerastl.runs import atomic
from kerastl.runs.faults import step
from kerastl.runs.files import LockedFiles
from kerastl.runs.locks import LOCK

CONFIG = "config.toml"
PLAN = "search.json"  # the plan of a search, written before its first trial
COMPARISON = "compare.json"  # the plan of a comparison, written before its first run
FINISHED = "metrics.json"  # written when nothing is left to train
COMPARED = "comparison.json"  # the same of a comparison

# file that says what a folder is -> the command that makes it and goes on with it
MARKS = {CONFIG: "finetune", PLAN: "search", COMPARISON: "compare"}


class RunFolder(LockedFiles):
    """One folder with everything a command produced; the lock is held inside `with`.

    Make one with `create` or `open`. Reading needs no lock. Writing takes it, for that one
    file when not inside `with`, and removes what a killed process left half-written.

    Example:

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with RunFolder.create("finetune", Path(parent) / "out") as folder:
    ...         folder.write_json("metrics.json", {"accuracy": float("nan")})
    ...     folder.read_json("metrics.json")
    {'accuracy': None}
    """

    @classmethod
    def create(cls, command: str, out: str | os.PathLike[str] | None = None) -> Self:
        """Make an empty folder and hold its lock.

        Args:
            command: What makes the run; the folder is `runs/<command>-<n>`.
            out: Another folder, which must be new or empty.

        Returns:
            RunFolder, locked until its `with` block ends or `close` is called.

        Raises:
            UsageError: `out` holds a run or other files; says how to go on with it.
            FolderInUseError: Another process is writing to `out`.
            StorageError: The folder cannot be made.
        """
        path = _next_free(command) if out is None else Path(out)
        if path.exists():
            _check_is_folder(path)
            if not (path / LOCK).exists():  # leave no lock in a folder of someone else's
                _check_empty(path)
        with atomic.translate_errors(path):
            atomic.make_folder(path)
        folder = cls(path)
        folder.acquire()
        try:
            _check_empty(path)
        except UsageError:
            folder.close()
            raise
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str], mark: str = CONFIG) -> Self:
        """Return an existing run, to read from or, inside `with`, to go on writing.

        Args:
            path: A folder that a command of this package made.
            mark: The file that makes it one: `search.json` for a search.

        Raises:
            UsageError: There is no such folder, or no run in it.
        """
        path = Path(path)
        if not path.is_dir():
            raise UsageError(f"There is no run folder {path}.{_suggest_sibling(path)}")
        if mark == CONFIG and (path / PLAN).is_file():
            raise UsageError(
                f"{path} holds a search: its best run is {path}/best, and `kerastl search "
                f"--resume {path}` goes on with it."
            )
        if mark == CONFIG and (path / COMPARISON).is_file():
            raise UsageError(
                f"{path} holds a comparison, whose runs are the folders in it: give one of "
                f"them; `kerastl compare --resume {path}` goes on with it."
            )
        if not (path / mark).is_file():
            raise UsageError(
                f"{path} holds no run (no {mark}): give the folder that a command such "
                f"as `kerastl {MARKS[mark]}` named at its end."
            )
        return cls(path)

    @classmethod
    def begin(
        cls, mark: str, what: str, out: str | os.PathLike[str] | None, *, resume: bool
    ) -> Self:
        """Make the folder of a job of several runs, or open the one it goes on in.

        Args:
            mark: The file with the job's plan, a key of `MARKS`.
            what: The job, as in "holds no search to go on with".
            out: A new folder, default `runs/<command>-<n>`; with `resume` the job's own.
            resume: Whether there is one to go on with.

        Raises:
            UsageError: `out` is not empty, or missing where it must be there.
            ResumeRefusedError: It is the folder of something else.
        """
        if not resume:
            return cls.create(MARKS[mark], out)
        if out is None:
            raise UsageError(
                f"resume=True goes on with the {what} in `out`: give its folder."
            )
        path = Path(out)
        if path.is_dir() and not (path / mark).is_file():
            raise ResumeRefusedError(
                f"{path} holds no {what} to go on with (no {mark}): start a new one."
            )
        return cls.open(path, mark=mark)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.exists(FINISHED)

    @property
    def has_run(self) -> bool:
        """Whether there is something to go on with."""
        return any(map(self.exists, MARKS))

    @property
    def command(self) -> str:
        """The command that makes such a folder and goes on with it."""
        # a search has a configuration as well
        return next((MARKS[m] for m in reversed(MARKS) if self.exists(m)), MARKS[CONFIG])

    def discard(self) -> None:
        """Take away a folder in which nothing was written, and give the lock back.

        For work that cannot start. A folder that holds anything stays as it is.
        """
        if self._lock.held and {entry.name for entry in self.path.iterdir()} == {LOCK}:
            self._lock.remove()
            with suppress(OSError):  # another process took it in between
                self.path.rmdir()
        self.close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, KeyboardInterrupt | StorageError) and self.has_run:
            error.run_folder = self.path  # so that the command line can say how to go on
        if error is None:
            self.close()
        else:
            self.discard()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"


def _next_free(command: str) -> Path:
    parent = Path("runs")
    pattern = re.compile(rf"{re.escape(command)}-(\d+)")
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    taken = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    number = max(taken, default=0) + 1
    while True:  # another process may take the number first
        path = parent / f"{command}-{number}"
        with atomic.translate_errors(path):
            atomic.make_folder(parent)
            step("make folder")
            try:
                path.mkdir()
                return path
            except FileExistsError:
                number += 1


def _check_is_folder(path: Path) -> None:
    if not path.is_dir():
        raise UsageError(f"{path} is a file: give a new or empty folder to write to.")


def _check_empty(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()} - {LOCK}
    names = {name for name in names if not atomic.is_temporary(name)}
    if {FINISHED, COMPARED} & names:
        raise UsageError(
            f"{path} holds a finished run, which is not overwritten: give another folder."
        )
    if MARKS.keys() & names:
        raise UsageError(
            f"{path} holds a run that did not come to its end: go on with it by --resume "
            f"{path}, or give another folder."
        )
    if names:
        raise UsageError(
            f"{path} is not empty ({min(names)!r} is there): give a new or empty folder."
        )


def _suggest_sibling(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    return suggest(path.name, sorted(entry.name for entry in path.parent.iterdir()))
