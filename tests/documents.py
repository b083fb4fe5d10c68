"""The code blocks of Markdown documents, and a kerastl that runs them fast and offline."""

import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kerastl

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block, its language and the line its code begins at."""

    language: str
    code: str
    line: int

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of a shell block, split as a shell would."""
        lines = [line for line in self.code.splitlines() if line.strip()]
        return [shlex.split(line.partition(" > ")[0], comments=True) for line in lines]


def find_blocks(text: str, *languages: str) -> list[Block]:
    found = [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in found if block.language in languages]


def read_section(path: Path, heading: str) -> str:
    """The text under the one heading that starts like this, up to the next."""
    text = path.read_text(encoding="utf-8")
    starts = [match for match in _HEADING.finditer(text) if match[1].startswith(heading)]
    assert len(starts) == 1, f"{path.name} has {len(starts)} headings {heading!r}"
    following = _HEADING.search(text, starts[0].end())
    return text[starts[0].end() : following.start() if following else None]


def read_table(text: str) -> list[list[str]]:
    """The cells of the first Markdown table, its header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def patch_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make documents run offline in seconds while their text stays what users type.

    Bases that would be downloaded start from random weights at their smallest size, and
    every stage is one epoch of two batches. Searches have two trials.
    """
    from kerastl.finetuning import training

    monkeypatch.setattr(kerastl, "build_model", shrink(kerastl.build_model))
    monkeypatch.setattr(kerastl, "finetune", shorten(kerastl.finetune))
    monkeypatch.setattr(training, "finetune", shorten(training.finetune))  # classifiers'
    monkeypatch.setattr(kerastl, "random_search", hurry(kerastl.random_search))
    monkeypatch.setenv("KERAS_MAX_STEPS_PER_EPOCH", "2")  # for the processes of trials


def shrink(build_model: Callable) -> Callable:
    def build(base: str = "resnet50", **settings: object) -> object:
        inspect.signature(build_model).bind(base, **settings)
        row = kerastl.get_base(base)
        if row.pretrained is None or row.pretrained.url is not None:
            settings |= {"weights": None, "image_size": row.min_size}
        return build_model(base, **settings)

    return build


def shorten(finetune: Callable) -> Callable:
    def run(model: object, data: object, **settings: object) -> object:
        short = {"epochs": 1, "max_steps": 2, "verbose": 0}
        return finetune(model, data, **{**settings, **short})

    return run


def hurry(search: Callable) -> Callable:
    def run(data: object, space: object, *, base: str, **settings: object) -> object:
        assert kerastl.get_base(base).pretrained.url is None, "this would be downloaded"
        short = {"n_iter": 2, "epochs": 1, "verbose": 0}
        return search(data, space, base=base, **{**settings, **short})

    return run


def write_images(root: Path, names: list[str], side: int = 24) -> Path:
    """Write one picture of noise per name; the same names, the same pictures."""
    noise = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (side, side, 3), dtype="uint8")
        Image.fromarray(pixels).save(path)
    return root


def write_photos(root: Path, classes: tuple[str, ...] = ("ant", "bee", "fly")) -> Path:
    return write_images(root, [f"{name}/{n}.jpg" for name in classes for n in range(10)])


def write_cifar10(root: Path) -> Path:
    names = [
        f"{split}/{name}/{n}.png"
        for split, count in (("train", 10), ("test", 2))
        for name in ("airplane", "cat", "truck")
        for n in range(count)
    ]
    return write_images(root, names, side=32)


def write_masks(root: Path) -> Path:
    """The folders of the mask data set, and what systems leave between their files."""
    people = [
        f"{number:06d}_{gender}_Asian_{age}"
        for number, (gender, age, _) in enumerate(
            (gender, age, copy)
            for gender in ("male", "female")
            for age in (18, 29, 30, 59, 60)
            for copy in range(4 if age == 60 else 2)
        )
    ]
    wears = ["incorrect_mask", *(f"mask{n}" for n in range(1, 6)), "normal"]
    suffixes = ("jpg", "jpeg", "png")
    names = [
        f"{person}/{wear}.{suffixes[number % 3]}"
        for number, person in enumerate(people)
        for wear in wears
    ]
    write_images(root, names)
    for person in people[:3]:
        (root / person / "._mask1.jpg").write_bytes(b"\0\5\x16\7Mac OS X")
        (root / person / ".ipynb_checkpoints").mkdir()
        write_images(root / person / ".ipynb_checkpoints", ["mask1-checkpoint.jpg"])
    return root
