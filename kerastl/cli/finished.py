"""The finished run that a command reads."""

from typing import TYPE_CHECKING

from kerastl.errors import UsageError

if TYPE_CHECKING:
    from kerastl.finetuning import Run


def load_finished(path: str) -> "Run":
    """Read a run from its folder; what is wrong with it is said before TensorFlow loads.

    Raises:
        UsageError: There is no run, or it is not finished.
    """
    from kerastl.runs import RunFolder
    from kerastl.startup import start_tensorflow

    if not RunFolder.open(path).finished:
        raise UsageError(
            f"{path} holds a run that is not finished: go on with it by kerastl finetune "
            f"--resume {path}."
        )
    start_tensorflow()
    from kerastl.finetuning import load_run

    return load_run(path)
