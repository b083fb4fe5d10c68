"""zero_shot_by_names(): images told apart by what their classes are called."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerastl.data import Data
from kerastl.errors import UsageError
from kerastl.evaluation.layout import html_text
from kerastl.finetuning.answers import tabulate_split
from kerastl.models import PRESET, RECIPE, Recipe, check_preset
from kerastl.runs import FINISHED, RunFolder
from kerastl.zeroshot.answers import tabulate_answers
from kerastl.zeroshot.attributes import list_names
from kerastl.zeroshot.prompts import PROMPTS, check_prompts, fill_prompts, read_words

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from kerastl.evaluation import Scores

METHOD = "clip"


def zero_shot_by_names(
    data: Data,
    *,
    preset: str | Path = PRESET,
    prompts: str | Sequence[str] = PROMPTS,
    names: Mapping[str, str] | str | Path | None = None,
) -> "ZeroShotByNames":
    """Tell the classes of images apart by their names alone, with CLIP.

    CLIP puts images and texts in one space. An image is of the class whose prompt, such as
    "a photo of a bee.", it is nearest to (Radford et al. 2021). Nothing is trained or
    chosen: of all images only those of the test split are looked at, once.

    Args:
        data: From `load_images`, of one label per image, with a test split.
        preset: Name of a CLIP preset of keras-hub, which is downloaded where it is not
            there, or the folder of one. Default: `"clip_vit_base_patch32"`.
        prompts: One or several, each with `{}` where the name of a class goes. Of several
            the normalised embeddings are averaged. Default: `"a photo of a {}."`.
        names: What classes are called in prompts, where not by their names: words by
            class, or a CSV or TSV file with the columns class and words. Underscores of a
            class' name are spaces in a prompt.

    Returns:
        ZeroShotByNames; `print` it for what can be concluded.

    Raises:
        UsageError: An argument that cannot be meant, no test split, or keras-hub is not
            installed (`pip install 'kerastl[zoo]'`); before anything is decoded.
        DataError: Nothing tells two classes apart, or the folder holds no CLIP preset.
        StorageError: The preset cannot be fetched.
    """
    plan = plan_texts(data, preset=preset, prompts=prompts, names=names)
    from kerastl.evaluation import score
    from kerastl.models import build_clip, predict_probabilities

    model = build_clip(plan.preset, data.class_names, plan.texts)
    pixels = data.test.pixels(model.kerastl.image_size)
    probabilities = predict_probabilities(model, pixels)
    return ZeroShotByNames(
        model=model,
        plan=plan,
        scores=score(data.test.labels, probabilities, data.class_names, split="test"),
        data=data,
        probabilities=probabilities,
    )


@dataclass(frozen=True)
class TextPlan:
    """What is asked of CLIP, checked.

    Args:
        preset: Name, or the whole path of a folder.
        prompts: As they were given.
        words: What each class is called in them.
        texts: Of each class, its prompts filled with these words.
    """

    preset: str
    prompts: tuple[str, ...]
    words: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]


def plan_texts(
    data: Data,
    *,
    preset: str | Path = PRESET,
    prompts: str | Sequence[str] = PROMPTS,
    names: Mapping[str, str] | str | Path | None = None,
) -> TextPlan:
    """Check all that can be checked before Keras is loaded.

    Args and what is raised are those of `zero_shot_by_names`.
    """
    _check_data(data)
    prompts = check_prompts(prompts)
    words = read_words(names, data.class_names)
    texts = fill_prompts(prompts, words, data.class_names)
    return TextPlan(check_preset(preset), prompts, words, texts)


def _check_data(data: Data) -> None:
    if data.multi_label:
        raise UsageError("Zero-shot takes one label per image; this data has several.")
    if data.test is None:
        raise UsageError(
            "This data has no test split, which is what is scored: load it with test=0.2."
        )


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShotByNames:
    """A classifier by names of classes, and its scores; `zero_shot_by_names` makes it.

    Args:
        model: From pixels to the probabilities of all classes; of keras-hub's layers.
        plan: Preset, prompts and the words of each class.
        scores: Of the test split.
        data: Whose test split that is.
        probabilities: Float32 `(n, classes)` of its images.
    """

    model: "keras.Model"
    plan: TextPlan
    scores: "Scores"
    data: Data
    probabilities: np.ndarray

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the model's outputs."""
        return self.data.class_names

    def predict(
        self, images: np.ndarray | str | Path | Iterable[str | Path]
    ) -> "pd.DataFrame":
        """Classify images.

        Args:
            images: Files, folders and globs, or uint8 pixels `(n, height, width, 3)` of the
                model's image size.

        Returns:
            DataFrame as of `predict_paths`; for pixels `label` and `confidence`.

        Raises:
            UsageError: Nothing matches a path, or pixels are of another size.
        """
        return tabulate_answers(self.model, images)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but model and probabilities as plain values, for JSON."""
        return {
            "method": METHOD,
            "preset": self.plan.preset,
            "image_size": list(self.model.kerastl.image_size),
            "prompts": list(self.plan.prompts),
            "names": dict(zip(self.classes, self.plan.words, strict=True)),
            "test": self.scores.to_dict(),
        }

    def save(self, out: str | Path | None = None) -> Path:
        """Write what the model is built from, predictions and scores to a new run folder.

        The model itself is not written: `clip.json` has the preset and the texts, from
        which `load_model` and `kerastl predict` build it again, with keras-hub.

        Args:
            out: A new or empty folder. Default: `runs/zero-shot-<n>`.

        Returns:
            pathlib.Path of the folder.

        Raises:
            UsageError: The folder is not empty.
            StorageError: A file cannot be written.
        """
        with RunFolder.create("zero-shot", out) as folder:
            self.write(folder)
        return folder.path

    files = (RECIPE, "labels.json", "predictions.csv", FINISHED)  # that are written

    def write(self, folder: RunFolder) -> None:
        """Write the same to a folder that is held already."""
        size, texts = self.model.kerastl.image_size, self.plan.texts
        recipe = Recipe(self.plan.preset, size, self.classes, texts)
        folder.write_json(RECIPE, recipe.to_dict())
        folder.write_json("labels.json", list(self.classes))
        rows = tabulate_split(self.data.test, self.probabilities, self.classes)
        folder.write_csv("predictions.csv", rows)
        folder.write_json(FINISHED, self.to_dict())

    def __str__(self) -> str:
        return "\n".join([self._title(), "", str(self.scores), *self._cautions()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html_text(line)}</li>" for line in self._cautions())
        title = f"<p>{html_text(self._title())}</p>"
        return f"{title}{self.scores._repr_html_()}<ul>{lines}</ul>"

    def _title(self) -> str:
        prompts, preset = self.plan.prompts, Path(self.plan.preset).name
        mean = f", the mean of {len(prompts)} prompts" if len(prompts) > 1 else ""
        return (
            f"{len(self.classes)} classes told apart by their names, "
            f"{list_names(prompts)}{mean}, with CLIP ({preset})."
        )

    def _cautions(self) -> list[str]:
        return [
            "Nothing was trained, and nothing chosen by these images. Prompts or names "
            "that are changed after this look are chosen by it, and their score flatters.",
            "CLIP was trained on images and captions of the web, perhaps with such images "
            "or these very ones among them; it is zero-shot as to your labels only.",
        ]
