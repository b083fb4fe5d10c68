"""Images for the report: a training batch, mistakes and successes with their heat maps."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kerastl.data.augmentation import Augmentation
from kerastl.finetuning.answers import name_labels
from kerastl.finetuning.explaining import advise_size, compute_maps
from kerastl.models import get_info
from kerastl.reporting import best_predictions, worst_predictions, worst_titles

if TYPE_CHECKING:
    from kerastl.finetuning.results import Run

SHOWN = 16  # images in a figure
EXPLAINED = 8  # of them with heat maps


def collect_samples(run: "Run", predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return images with titles: a training batch as the model saw it, worst and best.

    Args:
        run: A trained one.
        predictions: What `tabulate_predictions` gave for it.

    Returns:
        uint8 `(n, height, width, 3)` as `train_batch`, `worst` and `best`; texts as
        `<name>_titles`; float32 `(m, maps, rows, columns)` for the first m images as
        `<name>_maps`, the first map for what was said, the second, where there is one class
        per image and it is another, for the label; what to know of the maps as `maps_note`.
    """
    samples = _collect_batch(run)
    if predictions.empty:
        return samples
    name = "test" if "test" in run.probabilities else "validation"
    rows = predictions[predictions["split"] == name].reset_index(drop=True)
    samples |= _collect_rows(run, name, "worst", worst_predictions(rows, SHOWN))
    samples |= _collect_rows(run, name, "best", best_predictions(rows, EXPLAINED))
    note = advise_size(get_info(run.model), samples["worst_maps"].shape[2:])
    return {**samples, "maps_note": np.array(note)}


def _collect_batch(run: "Run") -> dict[str, np.ndarray]:
    train = run.data.train
    chosen = np.linspace(0, len(train) - 1, min(SHOWN, len(train))).astype(int)
    images = _augment(run, train.pixels(get_info(run.model).image_size)[chosen])
    titles = name_labels(train.labels[chosen], run.data.class_names)
    return {"train_batch": images, "train_batch_titles": np.array(titles, dtype=str)}


def _augment(run: "Run", images: np.ndarray) -> np.ndarray:
    names = next((stage.augment for stage in run.schedule if stage.augment), ())
    if not names:
        return images
    augmented = Augmentation(names)(images, seed=run.settings["seed"])
    return augmented.clip(0, 255).round().astype("uint8")


def _collect_rows(
    run: "Run", split: str, kind: str, rows: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Return images, titles and maps of rows, whose index are their places in the split."""
    places = rows.index.to_numpy(int)
    images = run.data.splits[split].pixels(get_info(run.model).image_size)[places]
    classes = _choose_classes(run, split, places[:EXPLAINED], both=kind == "worst")
    maps, _, _ = compute_maps(run.model, images[:EXPLAINED], classes)
    return {
        kind: images,
        f"{kind}_titles": np.array(worst_titles(rows), dtype=str),
        f"{kind}_maps": maps,
    }


def _choose_classes(
    run: "Run", split: str, places: np.ndarray, *, both: bool
) -> np.ndarray:
    said = run.probabilities[split][places].argmax(axis=1)
    labels = run.data.splits[split].labels
    if labels.ndim == 2 or not both:
        return said[:, None]
    return np.stack([said, labels[places]], axis=1)
