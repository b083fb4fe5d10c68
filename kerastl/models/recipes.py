"""What a CLIP classifier is made of: a preset and texts, kept as `clip.json`.

Such a classifier has layers of keras-hub's own and the weights of a preset that is on disk
already, so its recipe is stored in place of a `.keras` file. No Keras is imported here.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kerastl.errors import DataError, StorageError, UsageError, suggest
from kerastl.models.information import ModelInfo, check_class_names
from kerastl.weights.presets import explain_package

CLIP = "clip"  # base of such a model
RECIPE = "clip.json"
PRESET = "clip_vit_base_patch32"
_PRESET_CONFIG = "config.json"


@dataclass(frozen=True)
class Recipe:
    """What a classifier by texts is made from.

    Args:
        preset: Name of a CLIP preset of keras-hub, or the folder of one.
        image_size: Height and width of the images it takes.
        class_names: Names in the order of the outputs.
        texts: Of each class, those whose mean embedding it is.
    """

    preset: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)

    @property
    def info(self) -> ModelInfo:
        """What its model says of itself."""
        return ModelInfo(
            base=CLIP,
            weights=self.preset,
            image_size=self.image_size,
            class_names=self.class_names,
        )


def is_recipe(path: str | Path) -> bool:
    """Whether a path is that of a recipe, and not of a `.keras` file."""
    return Path(path).name == RECIPE


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a `clip.json`.

    Raises:
        UsageError: There is no such file.
        StorageError: It is no JSON.
        DataError: It is not what `save` of a zero-shot result writes.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UsageError(f"{str(path)!r}: there is no such file.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StorageError(f"{path} is damaged ({error}): copy it again.") from error
    try:
        return _parse(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no recipe of a CLIP model ({error}).") from error


def _parse(values: dict[str, Any]) -> Recipe:
    preset, (height, width) = values["preset"], values["image_size"]
    names = [_check_text(name) for name in values["class_names"]]
    texts = tuple(tuple(map(_check_text, each)) for each in values["texts"])
    if len(texts) != len(names) or not all(texts):
        raise ValueError("there must be texts for each class")
    size = int(height), int(width)
    return Recipe(_check_text(preset), size, check_class_names(names, len(names)), texts)


def _check_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value


def check_preset(preset: str | Path) -> str:
    """Return the name of a preset, or the whole path where it is a folder.

    Says what can be said before Keras is loaded; whether keras-hub knows a name is told
    when it is.

    Raises:
        UsageError: There is no such folder, it holds no preset, `preset` is an address, or
            keras-hub is not installed.
    """
    text = str(preset)
    folder = Path(preset).expanduser()
    if "://" in text:
        raise UsageError(
            f"preset={text!r} is an address: give a name such as {PRESET!r}, or the folder "
            "of a preset."
        )
    is_path = isinstance(preset, Path) or folder.is_dir() or set(text) & set("/\\.~")
    if is_path and not (folder / _PRESET_CONFIG).is_file():
        raise UsageError(f"preset={text!r}: {_explain_folder(folder)}")
    if missing := explain_package():
        raise UsageError(f"CLIP comes from {missing}.")
    return str(folder.resolve()) if is_path else text


def _explain_folder(folder: Path) -> str:
    if folder.is_dir():
        return (
            f"the folder has no {_PRESET_CONFIG}, which `save_to_preset` of keras-hub "
            "writes there."
        )
    beside: Sequence[Path] = list(folder.parent.iterdir()) if folder.parent.is_dir() else []
    near = suggest(folder.name, sorted(each.name for each in beside))
    return f"there is no such folder.{near}"
