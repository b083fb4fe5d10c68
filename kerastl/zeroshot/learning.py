"""zero_shot(): frozen features and a table of attributes in, a classifier out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerastl.bases import Base, get_base
from kerastl.bases.sizes import check_image_size, is_count
from kerastl.data import Data
from kerastl.errors import DataError, UsageError, check_choice
from kerastl.finetuning.planning import check_weights, choose_image_size, resolve_base
from kerastl.options import Options
from kerastl.weights import PRETRAINED
from kerastl.zeroshot.attributes import (
    Attributes,
    choose_unseen,
    fit_attributes,
    read_attributes,
)
from kerastl.zeroshot.choosing import FEWEST, Choice, Samples, choose_settings, draw_folds
from kerastl.zeroshot.mappings import METHODS, Standard, encode_attributes, fit_mappings
from kerastl.zeroshot.measures import ZeroShotScores, score_answers
from kerastl.zeroshot.results import ZeroShot

if TYPE_CHECKING:
    import pandas as pd

    from kerastl.zeroshot.heads import Head

FOLDS = 10


def zero_shot(
    data: Data,
    attributes: "pd.DataFrame | str | Path | Attributes",
    *,
    unseen: Sequence[str] | None = None,
    base: str = "auto",
    weights: str | Path | None = PRETRAINED,
    image_size: int | tuple[int, int] | None = None,
    method: str = "eszsl",
    folds: int = FOLDS,
    seed: int = 0,
    cache: bool | Path = True,
) -> ZeroShot:
    """Recognise classes never trained from what is known of them.

    On frozen features, what tells the seen classes apart is learned by way of their
    attributes; a class that is none of them is then scored by its own. Regularisers
    are chosen by seen classes held out of training, the constant against the bias to seen
    classes by these on validation images. Images of unseen classes, of whichever split,
    are scored at the end and used for nothing else.

    Args:
        data: From `load_images`, of one label per image, with a test split. Unseen classes
            may be among its classes or not.
        attributes: CSV or TSV file or DataFrame, one row per class and one column per
            attribute, 0 and 1 or other numbers.
        unseen: Classes not to train on. Default: those of the table without images.
        base: Name, or `"auto"` (default): ResNet50 where its weights can be had, else tiny.
        weights: As in `build_model`.
        image_size: Side, or height and width. Default: the base's own, or less for images
            of an array that are smaller.
        method: `"eszsl"` (Romera-Paredes and Torr 2015; default) or `"dap"`, direct
            attribute prediction (Lampert et al. 2009), which is slower and takes
            attributes as 0 or 1.
        folds: Sets of classes to hold out when choosing. Default 10.
        seed: Of these sets, and of random weights.
        cache: As in `extract_features`.

    Returns:
        ZeroShot, whose model is a plain classifier of all classes.

    Raises:
        UsageError: An argument that cannot be meant; before anything is decoded.
        DataError: The table does not fit, or fewer than 4 classes are seen.
        StorageError: The base's weights can neither be found nor downloaded.

    Example:

    >>> import kerastl, pandas as pd
    >>> data = kerastl.load_images("digits")
    >>> strokes = ["abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc",
    ...     "abcdefg", "abcdfg"]
    >>> table = pd.DataFrame([[c in s for c in "abcdefg"] for s in strokes],
    ...     index=data.class_names, columns=list("abcdefg")).astype(int)
    >>> result = zero_shot(data, table, unseen=["3", "4"], base="tiny", cache=False)
    >>> result.classes[-2:], result.scores.chance
    (('3', '4'), 0.5)
    """
    check_choice("method", method, METHODS)
    _check_data(data)
    if not is_count(folds) or folds < 2:
        raise UsageError(f"folds={folds!r} must be a whole number from 2 up.")
    given = read_attributes(attributes)
    seen, unseen = choose_unseen(given, data.class_names, unseen)
    if len(seen) < FEWEST:
        raise DataError(
            f"{len(seen)} classes are left to train on, too few to choose anything by "
            f"holding some of them out: it takes {FEWEST}."
        )
    table = fit_attributes(given, seen, unseen, is_binary=method == "dap")
    options, reason = resolve_base(Options(base=base, weights=weights))
    row = get_base(options.base)
    check_image_size(row, image_size)
    check_weights(row, options.weights)
    size = choose_image_size(Options(image_size=image_size), data, row)
    model, samples = _extract(data, table, row, options.weights, size, seed, cache)
    head, choice = learn_head(method, samples, table, len(seen), folds, seed)
    return _finish(
        model, head, choice, samples, table, method, notes=(reason,) if reason else ()
    )


def _check_data(data: Data) -> None:
    if data.multi_label:
        raise UsageError("Zero-shot takes one label per image; this data has several.")
    if data.test is None:
        raise UsageError(
            "This data has no test split, without which nothing can be said of the seen "
            "classes: load it with test=0.2."
        )


def _extract(
    data: Data,
    table: Attributes,
    base: Base,
    weights: str | Path | None,
    size: tuple[int, int],
    seed: int,
    cache: bool | Path,
) -> tuple[object, dict[str, Samples]]:
    """Return a model up to its head, and the features of each split."""
    from kerastl.finetuning.features import extract_features
    from kerastl.models import build_model

    model = build_model(
        base.name,
        num_classes=len(table.classes),
        weights=weights,
        image_size=size,
        class_names=table.classes,
        seed=seed,
    )
    places = np.array([table.classes.index(name) for name in data.class_names])
    return model, {
        name: Samples(
            np.asarray(extract_features(model, split, cache=cache), float),
            places[split.labels],
        )
        for name, split in data.splits.items()
    }


def learn_head(
    method: str,
    samples: dict[str, Samples],
    table: Attributes,
    seen: int,
    folds: int,
    seed: int,
) -> tuple["Head", Choice]:
    """Return the head before calibration, learned from seen classes alone."""
    from kerastl.zeroshot.heads import Head

    known = {name: part.of(range(seen)) for name, part in samples.items() if name != "test"}
    train, values = known["train"], table.values
    held_out = draw_folds(seen, len(table.classes) - seen, folds, seed)
    choice = choose_settings(
        method, train, known.get("validation"), values[:seen], held_out
    )
    encoded = encode_attributes(method, values, seen)
    standard = Standard.of(train.features)
    features = standard.apply(train.features)
    found = fit_mappings(method, features, train.labels, encoded[:seen], [choice.penalties])
    mapping = next(found).on_raw(standard)
    kernel, bias = mapping.weights @ encoded.T, mapping.offsets @ encoded.T
    return Head(kernel, bias, table.classes, seen), choice


def _finish(
    model: object,
    head: "Head",
    choice: Choice,
    samples: dict[str, Samples],
    table: Attributes,
    method: str,
    notes: tuple[str, ...],
) -> ZeroShot:
    from kerastl.zeroshot.heads import attach_head

    scores = score_head(head, choice, samples)
    if "validation" not in samples:
        notes += ("No validation split: the bias to seen classes is left as it is.",)
    elif not choice.is_scaled:
        notes += ("How sure the model says it is could not be fitted: do not go by it.",)
    calibrated = head.calibrate(choice.constant, choice.scale)
    return ZeroShot(
        model=attach_head(model, calibrated),
        head=calibrated,
        method=method,
        attributes=table,
        choice=choice,
        scores=scores,
        notes=(*table.notes, *notes),
    )


def score_head(head: "Head", choice: Choice, samples: dict[str, Samples]) -> ZeroShotScores:
    """Score test images of seen classes, and all images of unseen ones."""
    kept = [
        part.labels >= (0 if name == "test" else head.seen)
        for name, part in samples.items()
    ]
    parts = list(zip(samples.values(), kept, strict=True))
    features = np.concatenate([part.features[rows] for part, rows in parts])
    labels = np.concatenate([part.labels[rows] for part, rows in parts])
    return score_answers(
        head.score(features), labels, head.classes, head.seen, choice.constant
    )
