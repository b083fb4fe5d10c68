"""What an engine is given to train one stage, and what it promises in return."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import keras
import numpy as np

from kerastl.data.batches import Arrays
from kerastl.finetuning.choices import AS_COMPUTED
from kerastl.stages import Stage

if TYPE_CHECKING:
    from kerastl.finetuning.cohorts import Cohorts
    from kerastl.finetuning.programs import Programs
    from kerastl.finetuning.storing import ActivationStore, MemoryStore
    from kerastl.finetuning.verifying import Digests

# called after every epoch with its number in the stage, its logs and whether a callback of
# the user asked to stop; returns whether to stop
Record = Callable[[int, dict[str, float], bool], bool]


@dataclass(frozen=True)
class StageTask:
    """One stage of one model over decoded images.

    `seed` belongs to the stage; `first_epoch` epochs of the stage are already done, and
    `epochs_before` epochs of the stages before it. `callbacks` are the user's own.

    The last are for the fast engine: `programs` of earlier trials with this model, which
    are compiled over the same layers instead of the model itself; the `store` that keeps
    activations; the bytes they may take, by default a third of the free memory; the dtype
    they are kept in; the stages whose activations will be wanted as well, with layers that
    do not change until then; the digests of all layers; and the stages of trials to come,
    whose heads may train beside this one's.
    """

    model: keras.Model
    stage: Stage
    train: Arrays
    validation: Arrays | None
    num_classes: int
    multi_label: bool
    seed: int
    first_epoch: int = 0
    epochs_before: int = 0
    max_steps: int | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    programs: "Programs | None" = None
    store: "ActivationStore | MemoryStore | None" = None
    cache_budget: int | None = None
    activations: str = AS_COMPUTED
    wanted: Sequence[Stage] = ()
    digests: "Digests | None" = None
    cohorts: "Cohorts | None" = None
    companions: Sequence[Stage] = ()


class Engine(Protocol):
    """Trains one stage; knows nothing of schedules, searches or folders.

    `model` is what it compiled: the task's, or another over the same layers.
    """

    model: keras.Model

    def __init__(self, task: StageTask) -> None: ...

    def get_state(self) -> list[np.ndarray]:
        """Return what beside the weights an epoch leaves to the next: optimizer slots."""

    def set_state(self, arrays: Sequence[np.ndarray]) -> None:
        """Put back what `get_state` returned, before training."""

    def train(self, record: Record) -> None:
        """Run the epochs from `task.first_epoch` on, calling `record` after each."""
