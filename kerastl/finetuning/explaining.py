"""Grad-CAM: which part of an image raises the score of a class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from kerastl import models
from kerastl.bases.graphs import find_cuts
from kerastl.bases.operations import PICTURE, list_operations
from kerastl.data.decoding import decode_paths
from kerastl.data.pixels import UnreadableError
from kerastl.errors import UsageError, check_choice
from kerastl.models import ModelInfo, get_info
from kerastl.predicting import expand_paths, find_model
from kerastl.reporting import enlarge_maps, overlay_maps, plot_heatmaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCH = 16  # images at once; layers run one by one, so larger ones gain nothing
FEWEST_CELLS = 4  # each way, below which a map hardly shows where
_STEP, _LARGEST = 32, 1024  # pixels: sizes that are tried for the advice
_GLOBAL = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Heat maps of images, each for one class; `plot()` draws them.

    Attributes:
        heatmaps: float32 `(n, height, width)` in [0, 1], the strongest place of each image
            1; all 0 where nothing in the image raises the score of the class.
        classes: int64 `(n,)`, the class each map is for.
        probabilities: float32 `(n, classes)`.
        pixels: uint8 `(n, height, width, 3)`, the images as the model sees them.
        names: One per image: its path, or its number from 1.
        class_names: In the order of the outputs.
        grid: Rows and columns of cells that the maps were made from.
        layer: Name of the layer whose output the maps were made from.
        note: What the reader has to know about these maps, or empty.
        failures: Path and reason of each file that could not be read.
    """

    heatmaps: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    pixels: np.ndarray
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    grid: tuple[int, int]
    layer: str
    note: str = ""
    failures: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.heatmaps)

    def __repr__(self) -> str:
        rows, columns = self.grid
        return (
            f"Explanation of {len(self)} images by {rows} x {columns} cells of "
            f"{self.layer!r}. {self.note}".strip()
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the class each map is for."""
        return tuple(self.class_names[index] for index in self.classes)

    @property
    def confidences(self) -> np.ndarray:
        """float32 `(n,)`, the probability of the class each map is for."""
        return self.probabilities[np.arange(len(self)), self.classes]

    def overlays(self) -> np.ndarray:
        """Return the maps on the images: uint8 `(n, height, width, 3)`."""
        return overlay_maps(self.pixels, self.heatmaps)

    def plot(self, columns: int | None = None) -> "Figure":
        """Draw each image beside its heat map and return the figure."""
        titles = [
            f"{Path(name).name}\n{label}, {100 * confidence:.1f} %"
            for name, label, confidence in zip(
                self.names, self.labels, self.confidences, strict=True
            )
        ]
        maps = self.heatmaps[:, None]
        return plot_heatmaps(self.pixels, maps, titles, columns, note=self.note)


def explain(
    model: keras.Model | str | Path,
    images: np.ndarray | str | Path | Iterable[str | Path],
    *,
    classes: int | str | Sequence[int | str] | None = None,
) -> Explanation:
    """Show which part of each image raises the score of a class (Grad-CAM).

    The last tensor of the network that still has rows and columns is weighted, channel by
    channel, by the mean gradient of the class' score before softmax or sigmoid, summed over
    channels, and what lowers the score is left out (Selvaraju et al. 2017, "Grad-CAM:
    Visual Explanations from Deep Networks via Gradient-based Localization"). It says what
    the model used, not whether that was right; cells are as coarse as the last layers.

    Args:
        model: From `build_model` or `load_model`, or the path of a run folder or a `.keras`
            file.
        images: uint8 pixels `(n, height, width, 3)` of the model's image size, or files,
            folders and globs.
        classes: Index or name of the class to explain, one for all images or one each.
            Default: the most probable class of each image.

    Returns:
        Explanation, whose `note` says so where the maps are too coarse to show anything.

    Raises:
        UsageError: No such class, not one class per image, pixels of another form, nothing
            matches a path, or the model is one of CLIP.
        DataError: None of the files can be read.

    Example:

    >>> import kerastl
    >>> model = kerastl.build_model("tiny", num_classes=2, weights=None)
    >>> found = explain(model, np.zeros((3, 32, 32, 3), "uint8"), classes=1)
    >>> found.heatmaps.shape, found.grid, found.layer
    ((3, 32, 32), (8, 8), 'block2_norm')
    """
    if isinstance(model, str | Path):
        path = find_model(model)
        models.read_info(path)  # refuses what is no model before it is loaded
        model = models.load_model(path)
    info = get_info(model)
    if info.base == models.CLIP:
        raise UsageError(
            "CLIP is not convolutional: there is no map of its features to explain it by."
        )
    names_of_classes = info.class_names or tuple(map(str, range(model.output_shape[-1])))
    pixels, names, failures = _read_images(images, info)
    chosen = _choose_classes(classes, names_of_classes, len(names))
    good = np.isin(names, [path for path, _ in failures], invert=True)
    pixels, names = pixels[good], tuple(np.array(names, object)[good])
    chosen = None if chosen is None else chosen[good]
    maps, chosen, probabilities = compute_maps(model, pixels, chosen)
    grid = maps.shape[2:]
    return Explanation(
        heatmaps=enlarge_maps(maps[:, 0], pixels.shape[1:3]),
        classes=chosen[:, 0],
        probabilities=probabilities,
        pixels=pixels,
        names=names,
        class_names=names_of_classes,
        grid=grid,
        layer=find_map(model)._keras_history[0].name,
        note=advise_size(info, grid),
        failures=failures,
    )


def _read_images(
    images: np.ndarray | str | Path | Iterable[str | Path], info: ModelInfo
) -> tuple[np.ndarray, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return all images, black where unreadable, their names, and what failed."""
    if isinstance(images, np.ndarray):
        info.check_pixels(images, "paths of files")
        return images, tuple(map(str, range(1, len(images) + 1))), ()
    files = expand_paths(images)
    pixels, readable, failures = decode_paths(files, info.image_size)
    if failures and not readable.any():
        raise UnreadableError(failures)
    return pixels, tuple(map(str, files)), tuple(failures)


def _choose_classes(
    classes: int | str | Sequence[int | str] | None, names: tuple[str, ...], count: int
) -> np.ndarray | None:
    if classes is None:
        return None
    single = isinstance(classes, int | str | np.integer)
    given = [classes] * count if single else list(classes)
    if len(given) != count:
        raise UsageError(
            f"{len(given)} classes for {count} images: give one for all, or one for each."
        )
    return np.array([_find_class(one, names) for one in given], int).reshape(-1, 1)


def _find_class(given: int | str, names: tuple[str, ...]) -> int:
    if isinstance(given, str):
        return names.index(check_choice("classes", given, names))
    if isinstance(given, bool | np.bool_) or not 0 <= given < len(names):
        raise UsageError(
            f"classes={given!r}: give a name, or an index from 0 to {len(names) - 1}."
        )
    return int(given)


def compute_maps(
    model: keras.Model, pixels: np.ndarray, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute Grad-CAM maps at the size of the network's own cells.

    Layers run one by one, without a graph: tracing one takes longer than a few images.

    Args:
        model: From `build_model` or `load_model`.
        pixels: uint8 `(n, height, width, 3)`.
        classes: int `(n, m)`, m classes to explain of each image. Default: one, the most
            probable.

    Returns:
        Maps, float32 `(n, m, rows, columns)`, nothing negative and the largest of each 1
        unless it is all 0; the classes; probabilities, float32 `(n, classes)`.
    """
    split = _split_at_map(model)
    count = 1 if classes is None else classes.shape[1]
    maps = np.zeros((len(pixels), count, *split[0].output_shape[1:3]), np.float32)
    probabilities = np.zeros((len(pixels), model.output_shape[-1]), np.float32)
    chosen = np.zeros((len(pixels), count), np.int64)
    for start in range(0, len(pixels), BATCH):
        rows = slice(start, start + BATCH)
        batch = tf.cast(np.ascontiguousarray(pixels[rows]), keras.config.floatx())
        features = split[0](batch, training=False)
        logits = _score(model, split[1], features)
        probabilities[rows] = model.get_layer("predictions").activation(logits)
        best = np.argmax(probabilities[rows], axis=1)[:, None]
        chosen[rows] = best if classes is None else classes[rows]
        for place in range(count):
            maps[rows, place] = _weigh(model, split[1], features, chosen[rows, place])
    return maps, chosen, probabilities


def _split_at_map(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return the layers up to the last map, and those from it to the last Dense's input."""
    last_map = find_map(model)
    head = model.get_layer("predictions").input
    return keras.Model(model.inputs[0], last_map), keras.Model(last_map, head)


def _score(model: keras.Model, tail: keras.Model, features: tf.Tensor) -> tf.Tensor:
    """Return the scores before the activation: that of a sure class has no gradient left.

    Computed from the Dense's own variables; the layer itself gives probabilities only.
    """
    dense = model.get_layer("predictions")
    kernel = tf.convert_to_tensor(dense.kernel)
    inputs = tf.cast(tail(features, training=False), kernel.dtype)
    return inputs @ kernel + tf.convert_to_tensor(dense.bias)


def _weigh(
    model: keras.Model, tail: keras.Model, features: tf.Tensor, classes: np.ndarray
) -> np.ndarray:
    with tf.GradientTape() as tape:
        tape.watch(features)
        # images do not depend on each other, so the sum's gradient is that of each
        total = tf.reduce_sum(
            tf.gather(_score(model, tail, features), classes, axis=1, batch_dims=1)
        )
    gradient = tf.cast(tape.gradient(total, features), tf.float32)
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), axis=-1))
    highest = tf.reduce_max(maps, axis=(1, 2), keepdims=True)
    return tf.math.divide_no_nan(maps, highest).numpy()


def find_map(model: keras.Model) -> keras.KerasTensor:
    """Find the last tensor with rows and columns that every path to the output crosses.

    Args:
        model: From `build_model` or `load_model`.

    Returns:
        Its tensor, `(batch, rows, columns, channels)`.

    Raises:
        UsageError: The model has none.

    Example:

    >>> from kerastl.models import build_model
    >>> find_map(build_model("tiny", weights=None)).shape
    (None, 8, 8, 80)
    """
    for name in reversed(find_cuts(model)):
        layer = model.get_layer(name)
        # a global pooling that keeps its dimensions has rows and columns in name only
        if len(layer.output.shape) == PICTURE + 1 and not isinstance(layer, _GLOBAL):
            return layer.output
    raise UsageError(f"{model.name} has no tensor with rows and columns to explain it by.")


def advise_size(info: ModelInfo, grid: tuple[int, int]) -> str:
    """Say that a map is too coarse and which image size is not, or nothing.

    Args:
        info: Of the model.
        grid: Rows and columns of its maps.

    Returns:
        A sentence, or an empty text from 4 cells each way.

    Example:

    >>> from kerastl.models import build_model, get_info
    >>> info = get_info(build_model("tiny", weights=None, image_size=8))
    >>> advise_size(info, (2, 2))
    'The map has 2 x 2 cells at 8 px, too few to show where: use image_size >= 32.'
    """
    if min(grid) >= FEWEST_CELLS:
        return ""
    cells = "one cell" if grid == (1, 1) else f"{grid[0]} x {grid[1]} cells"
    at = " x ".join(map(str, dict.fromkeys(info.image_size)))
    enough = next(
        (
            side
            for side in range(_STEP, _LARGEST, _STEP)
            if min(_lay_grid(info.base, side)) >= FEWEST_CELLS
        ),
        _LARGEST,
    )
    return (
        f"The map has {cells} at {at} px, too few to show where: "
        f"use image_size >= {enough}."
    )


def _lay_grid(base: str, side: int) -> tuple[int, int]:
    """Return rows and columns of a base's last map for square images."""
    shapes = [operation.shape for operation in list_operations(base, (side, side))]
    return next(shape[:2] for shape in reversed(shapes) if len(shape) == PICTURE)
