"""CLIP as a classifier: an image is of the class whose texts it is nearest to.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language
Supervision". The networks are keras-hub's, which is imported only for them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerastl.errors import DataError, StorageError, UsageError, check_choice
from kerastl.models.information import check_class_names
from kerastl.models.recipes import CLIP, Recipe, check_preset, read_recipe
from kerastl.weights.presets import INSTALL

if TYPE_CHECKING:
    from keras_hub.models import CLIPBackbone, CLIPPreprocessor

TEXTS_AT_ONCE = 64
_FLOAT = "float32"  # of what is compared, whatever the preset computes in


@dataclass(frozen=True, eq=False)
class Clip:
    """A preset as it was loaded.

    Args:
        preset: Its name or folder.
        backbone: Both networks, their projections and the scale.
        preprocessor: Its tokenizer and image converter.
    """

    preset: str
    backbone: "CLIPBackbone"
    preprocessor: "CLIPPreprocessor"

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the network takes."""
        height, width, _ = self.backbone.vision_encoder.image_shape
        return height, width

    @property
    def text_length(self) -> int:
        """Tokens of a text, with those that mark its start and end."""
        return self.backbone.text_encoder.max_sequence_length

    @property
    def scale(self) -> float:
        """What cosines are multiplied with before the softmax; learned."""
        return float(np.exp(self.backbone.clip_head.logit_scale.numpy()))


def build_clip(
    preset: str | Path, class_names: Sequence[str], texts: Sequence[Sequence[str]]
) -> keras.Model:
    """Build a classifier that tells by texts what an image shows; nothing is trained.

    A class is the mean of the normalised embeddings of its texts, normalised again; the
    probabilities are the softmax of its cosines with the image's embedding, times the
    scale that CLIP learned.

    Args:
        preset: Name of a CLIP preset of keras-hub, fetched where it is not there, or the
            folder of one.
        class_names: In the order of the outputs.
        texts: One or more of each class, such as `["a photo of a dog."]`.

    Returns:
        keras.Model from pixels 0-255 `(n, height, width, 3)`, of the size its attribute
        `kerastl` has, to probabilities `(n, classes)` float32.

    Raises:
        UsageError: keras-hub is not installed, or knows no such preset.
        DataError: The folder holds something else, a text is too long, or nothing tells
            two classes apart.
        StorageError: The preset cannot be fetched.
    """
    clip = load_preset(check_preset(preset))
    embeddings = embed_classes(clip, class_names, texts)
    names = check_class_names(class_names, len(embeddings))
    every = tuple(tuple(each) for each in texts)
    return _join(clip, embeddings, Recipe(clip.preset, clip.image_size, names, every))


def load_clip(path: str | Path) -> keras.Model:
    """Build the classifier that a `clip.json` describes.

    Raises:
        UsageError: There is no such file, no such preset, or no keras-hub.
        DataError: It is no recipe, or the preset is another than it was.
        StorageError: It is damaged, or the preset cannot be fetched.
    """
    recipe = read_recipe(path)
    model = build_clip(recipe.preset, recipe.class_names, recipe.texts)
    if model.kerastl.image_size != recipe.image_size:
        raise DataError(
            f"{path}: the preset {recipe.preset} takes other images than it did, of "
            f"{model.kerastl.image_size} pixels and not {recipe.image_size}."
        )
    return model


def load_preset(preset: str) -> Clip:
    """Load the networks, tokenizer and image converter of a preset.

    Args:
        preset: From `check_preset`.

    Raises:
        UsageError: keras-hub cannot be imported, or knows no such preset.
        DataError: The folder is that of something else, or damaged.
        StorageError: The preset cannot be fetched.
    """
    hub = _import_models()
    if not Path(preset).is_dir():
        check_choice("preset", preset, sorted(hub.CLIPBackbone.presets))
    with _explain(preset):
        backbone = hub.CLIPBackbone.from_preset(preset)
        length = backbone.text_encoder.max_sequence_length
        preprocessor = hub.CLIPPreprocessor.from_preset(preset, sequence_length=length)
    return Clip(preset, backbone, preprocessor)


def _import_models() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise UsageError(f"keras-hub cannot be imported ({error}): {INSTALL}.") from error
    return keras_hub.models


@contextmanager
def _explain(preset: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Keras, kagglehub and requests have no common one
        if Path(preset).is_dir():
            raise DataError(
                f"{preset} is no whole CLIP preset of keras-hub ({_describe(error)})."
            ) from error
        raise StorageError(
            f"The preset {preset!r} could not be fetched ({_describe(error)}). Give the "
            "folder of one (--preset FOLDER), such as one copied from where it can be."
        ) from error


def _describe(error: Exception) -> str:
    inner = getattr(error.args[0], "reason", error) if error.args else error
    line = str(inner).strip().split("\n")[0]
    return line.rpartition("): ")[2].rstrip(".") or type(error).__name__


def embed_classes(
    clip: Clip, class_names: Sequence[str], texts: Sequence[Sequence[str]]
) -> np.ndarray:
    """Return the direction of each class, the mean of those of its texts.

    Args:
        clip: From `load_preset`.
        class_names: For messages.
        texts: One or more of each class.

    Returns:
        float32 `(classes, d)`, rows of length 1.

    Raises:
        DataError: A text is too long, or two classes are the same to the tokenizer.
    """
    ends = np.cumsum([len(each) for each in texts])
    tokens = _tokenize(clip, [text for each in texts for text in each])
    _check_distinct(class_names, np.split(tokens, ends[:-1]))
    directions = _embed_tokens(clip, tokens)
    means = np.stack([each.mean(axis=0) for each in np.split(directions, ends[:-1])])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def _tokenize(clip: Clip, texts: list[str]) -> np.ndarray:
    """Return int32 `(texts, length)`."""
    length = clip.text_length
    # one more than there is room for shows which texts would be cut
    packed = clip.preprocessor(
        {"prompts": texts, "images": None}, sequence_length=length + 1
    )
    cut = np.flatnonzero(np.asarray(packed["padding_mask"])[:, length])
    if len(cut):
        raise DataError(
            f"{texts[cut[0]]!r} is longer than the {length - 2} tokens that "
            f"{clip.preset} reads: shorten the prompt or the name."
        )
    return np.asarray(packed["token_ids"])[:, :length]


def _check_distinct(class_names: Sequence[str], tokens: Sequence[np.ndarray]) -> None:
    seen: dict[bytes, str] = {}
    for name, each in zip(class_names, tokens, strict=True):
        other = seen.setdefault(each.tobytes(), name)
        if other != name:
            raise DataError(
                f"The classes {other!r} and {name!r} are the same words to CLIP, which "
                "cannot tell them apart: name them otherwise (names, --names)."
            )


def _embed_tokens(clip: Clip, tokens: np.ndarray) -> np.ndarray:
    taken = keras.Input((clip.text_length,), dtype="int32", name="tokens")
    embedding = clip.backbone.get_text_embeddings(taken)
    model = keras.Model(taken, keras.layers.UnitNormalization(dtype=_FLOAT)(embedding))
    starts = range(0, len(tokens), TEXTS_AT_ONCE)
    parts = [model.predict_on_batch(tokens[at : at + TEXTS_AT_ONCE]) for at in starts]
    return np.concatenate(parts)


def _join(clip: Clip, embeddings: np.ndarray, recipe: Recipe) -> keras.Model:
    """Return the image's side with the classes as its last layer."""
    with _explain(clip.preset):  # the converter may not go with the network
        pixels = keras.Input((*clip.image_size, 3), name="pixels")
        converted = clip.preprocessor.image_converter(pixels)
        embedding = clip.backbone.get_vision_embeddings(converted)
    unit = keras.layers.UnitNormalization(dtype=_FLOAT, name="embedding")(embedding)
    dense = keras.layers.Dense(
        len(embeddings), use_bias=False, activation="softmax", dtype=_FLOAT,
        name="predictions",
    )  # fmt: skip
    model = keras.Model(pixels, dense(unit), name=CLIP)
    dense.set_weights([clip.scale * embeddings.T])
    model.trainable = False
    model.kerastl = recipe.info
    return model
