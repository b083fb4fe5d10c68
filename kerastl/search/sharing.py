"""Arrays that every worker reads: one copy on a machine, mapped into memory by all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class SharedArrays:
    """Where shared arrays lie: a folder of `.npy` files that all may map."""

    folder: Path
    names: tuple[str, ...]


@contextmanager
def share_arrays(arrays: Mapping[str, np.ndarray]) -> Iterator[SharedArrays]:
    """Write arrays where workers can map them; they go away with the block."""
    raise NotImplementedError
    yield
