"""What every test gets: a fixed seed, a clean environment, and tiny image folders."""

import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def _matplotlib_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "matplotlib")


# nothing computed before is found, and what is computed goes away with the tests; fonts
# stay known, which take matplotlib seconds to list
_CACHE = tempfile.TemporaryDirectory(prefix="kerastl-tests-")
os.environ.setdefault("MPLCONFIGDIR", str(_matplotlib_folder()))
os.environ["XDG_CACHE_HOME"] = _CACHE.name


@pytest.fixture(autouse=True)
def seed_everything() -> None:
    """Seed Python and numpy, and Keras where a test module has imported it already."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def forget_failpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no fault asked for in the shell fire inside the tests."""
    monkeypatch.delenv("KERASTL_FAILPOINT", raising=False)


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of small class folders: `image_folder({"cat": 4, "dog": 4})`.

    Each class has its own colour plus noise, so that a few steps of training learn it and
    no two images are alike. Names with a slash (`"train/cat"`) make nested folders.
    """
    from PIL import Image

    def make(counts: dict[str, int], *, side: int = 32, root: str = "photos") -> Path:
        noise = np.random.default_rng(0)
        hues = {name: _hue(name) for name in counts}
        for folder, count in counts.items():
            target = tmp_path / root / folder
            target.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = hues[folder] + noise.integers(0, 60, (side, side, 3))
                image = Image.fromarray(pixels.astype("uint8"))
                image.save(target / f"{number:02d}.png")
        return tmp_path / root

    return make


def _hue(folder: str) -> np.ndarray:
    name = folder.rpartition("/")[2]
    return np.random.default_rng(sum(name.encode())).integers(0, 190, 3)
