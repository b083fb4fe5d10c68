"""Small images on disk for the tests of sources and splits."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, seed: int, size: int = 12) -> Path:
    """Write one image of noise; another seed is another image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype="uint8")
    Image.fromarray(noise).save(path)
    return path


def write_tree(root: Path, counts: dict[str, int], suffix: str = ".png") -> Path:
    """Write `counts[folder]` different images into each folder under `root`."""
    seed = 0
    for folder, count in counts.items():
        for number in range(count):
            write_image(root / folder / f"{number:03}{suffix}", seed)
            seed += 1
    return root


def labels_by_name(listing) -> dict:
    """Return name to label of each sample."""
    return {sample.name: sample.label for sample in listing.samples}
