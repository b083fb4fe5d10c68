"""The folder of a run, new or to be gone on with, locked before images are looked at."""

from pathlib import Path

from kerastl.errors import UsageError
from kerastl.finetuning.checkpoints import PROGRESS
from kerastl.runs import RunFolder


def claim_folder(out: str | Path | RunFolder, *, resume: bool) -> RunFolder:
    """Return the folder a run is written to, locked until its `with` block ends.

    Args:
        out: A new folder, a run to go on with, or either of them opened already.
        resume: Whether to go on with the run in it.

    Raises:
        UsageError: There is no run to go on with, or it is finished; or the folder of a new
            run is not empty.
        FolderInUseError: Another process writes to it.
        StorageError: It cannot be made or locked.
    """
    if resume:
        return _claim_run(out if isinstance(out, RunFolder) else RunFolder.open(out))
    return out if isinstance(out, RunFolder) else RunFolder.create("finetune", out)


def _claim_run(folder: RunFolder) -> RunFolder:
    folder.acquire()  # first: who held it may have come to the end just now
    if folder.finished and not folder.exists(PROGRESS):
        folder.close()
        raise UsageError(
            f"The run in {folder.path} is finished, so there is nothing to go on with: its "
            f"model is {folder.path}/model.keras."
        )
    return folder
