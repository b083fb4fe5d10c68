"""A scikit-learn classifier of images: file paths or arrays in, class labels out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from kerastl.bases import get_base
from kerastl.bases.sizes import check_image_size
from kerastl.data import Data
from kerastl.data.arrays import to_pixels
from kerastl.data.pixels import load_pixels, resize_arrays
from kerastl.errors import UsageError
from kerastl.estimators.inputs import (
    apply_scale,
    find_scale,
    read_images,
    read_labels,
    split_images,
)
from kerastl.estimators.parameters import read_parameters
from kerastl.finetuning.planning import (
    check_weights,
    choose_image_size,
    read_schedule,
    resolve_base,
)
from kerastl.options import Options
from kerastl.stages import Schedule, Stage

if TYPE_CHECKING:
    import keras


class TransferClassifier(ClassifierMixin, BaseEstimator):
    """A fine-tuned image classifier that scikit-learn can validate, search and stack.

    Use it for `cross_val_score`, `GridSearchCV` and their kin; each fit builds a model and
    fine-tunes it as `kerastl.finetune` does. Arguments are stored as given and checked by
    `fit`, before an image is decoded.

    Args:
        base: Name of a base, or `"auto"`: ResNet50 where its weights can be had, else
            `tiny`.
        weights: `"pretrained"`, `"imagenet"`, `"auto"`, None for random ones, or a file.
        image_size: Side, or height and width; None for the base's own.
        pooling: `"average"`, `"max"` or `"flatten"`.
        hidden: Units of the head's hidden layers.
        dropout: Share dropped after each of them.
        schedule: Name of a schedule, a `kerastl.Schedule`, a `kerastl.Stage` or a list.
        epochs: Of every stage, or one number per stage. This and the settings below mean
            what they mean in `kerastl.Stage`; None leaves them to the schedule.
        learning_rate: The first stage's, the others in proportion; or one per stage.
        batch_size: Images per step.
        optimizer: Name of one.
        momentum: Of sgd.
        weight_decay: Decoupled decay per step.
        lr_schedule: Of the learning rate within a stage.
        step_epochs: Epochs between steps of `"step"`.
        step_factor: Factor at each of them.
        warmup_epochs: Epochs of linear rise.
        rate_decay: Factor of the rate for each block down from the head.
        patience: Epochs without gain after which a stage stops.
        restore_best: Whether a stage ends with its best epoch.
        augment: Names of augmentations.
        class_weight: `"balanced"` to make rare classes count more.
        train_batchnorm: Whether unfrozen BatchNorm layers train.
        label_smoothing: Share spread over all classes.
        normalize: `"base"` or `"data"`.
        validation_fraction: Share of the images of `fit` that the best epoch is chosen by;
            0 for none, which keeps the last epoch.
        random_state: Whole number, `RandomState` or None; decides split, initial weights,
            order, augmentation and dropout.
        verbose: 0 silent, 1 a bar, 2 a line per epoch.

    Attributes:
        classes_: Labels in the order of the columns of `predict_proba`.
        model_: The trained keras.Model.
        run_: The Run with history and validation scores. It holds the training images, so
            it is left out when the classifier is pickled.

    Example:

    >>> from sklearn.datasets import load_digits
    >>> images, labels = load_digits().images[:60] / 16, load_digits().target[:60]
    >>> classifier = TransferClassifier(base="tiny", weights=None, epochs=1)
    >>> classifier.fit(images, labels).predict_proba(images[:3]).shape
    (3, 10)
    """

    def __init__(
        self,
        *,
        base: str = "auto",
        weights: str | Path | None = "pretrained",
        image_size: int | tuple[int, int] | None = None,
        pooling: str = "average",
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        schedule: str | Schedule | Stage | Sequence[Stage] = "hybrid",
        epochs: int | Sequence[int] | None = None,
        learning_rate: float | Sequence[float] | None = None,
        batch_size: int | None = None,
        optimizer: str | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        lr_schedule: str | None = None,
        step_epochs: int | None = None,
        step_factor: float | None = None,
        warmup_epochs: int | None = None,
        rate_decay: float | None = None,
        patience: int | None = None,
        restore_best: bool | None = None,
        augment: Sequence[str] | None = None,
        class_weight: str | None = None,
        train_batchnorm: bool | None = None,
        label_smoothing: float | None = None,
        normalize: str | None = None,
        validation_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = 0,
        verbose: int | str = 0,
    ):
        self.base = base
        self.weights = weights
        self.image_size = image_size
        self.pooling = pooling
        self.hidden = hidden
        self.dropout = dropout
        self.schedule = schedule
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.step_epochs = step_epochs
        self.step_factor = step_factor
        self.warmup_epochs = warmup_epochs
        self.rate_decay = rate_decay
        self.patience = patience
        self.restore_best = restore_best
        self.augment = augment
        self.class_weight = class_weight
        self.train_batchnorm = train_batchnorm
        self.label_smoothing = label_smoothing
        self.normalize = normalize
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune a model on images and labels.

        Args:
            X: Paths of image files, or an image array `(n, height, width, 3 or 1)` with
                values 0-255 or 0-1.
            y: `(n,)` labels, whole numbers or texts.

        Returns:
            The classifier itself.

        Raises:
            UsageError: A parameter cannot be meant, or `X` or `y` is nothing to fit on.
            DataError: A file is missing or no image, or a class has too few images.
        """
        options = read_parameters(self.get_params(deep=False))
        images, (classes, codes) = read_images(X), read_labels(y)
        if len(images) != len(codes):
            raise UsageError(f"X has {len(images)} images and y {len(codes)} labels.")
        options, reason = resolve_base(options)
        base = get_base(options.base)
        schedule = read_schedule(options, base)
        check_image_size(base, options.image_size)
        check_weights(base, options.weights)
        data = split_images(images, codes, list(map(str, classes.tolist())), options)
        if reason and self.verbose != 0:
            print(reason, file=sys.stderr, flush=True)

        from kerastl.finetuning.training import finetune

        model = _build(options, data)
        self.run_ = finetune(
            model, data, schedule=schedule, seed=options.seed, verbose=self.verbose
        )
        self.model_, self.classes_ = model, classes
        self._float_scale = find_scale(images)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each image.

        Args:
            X: Paths or an image array, as `fit` takes them.

        Returns:
            `(n, classes)` float32, columns in the order of `classes_`.

        Raises:
            NotFittedError: `fit` was not called.
            UsageError: `X` is neither, or its values are on another scale than in `fit`.
            DataError: A file is missing or no image.
        """
        check_is_fitted(self)
        from kerastl.models import get_info, predict_probabilities

        images, size = read_images(X), get_info(self.model_).image_size
        if isinstance(images, tuple):
            return predict_probabilities(self.model_, load_pixels(images, size))
        pixels, _ = to_pixels(apply_scale(images, self._float_scale))
        return predict_probabilities(self.model_, resize_arrays(pixels, size))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each image: `(n,)`, from `classes_`."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True  # paths
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True  # grey images
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("run_", None)
        if "model_" in state:
            state["model_"] = _pack(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "model_" in state:
            self.model_ = _unpack(state["model_"])


def _build(options: Options, data: Data) -> "keras.Model":
    from kerastl.models import build_model

    return build_model(
        options.base,
        num_classes=data.num_classes,
        weights=options.weights,
        image_size=choose_image_size(options, data, get_base(options.base)),
        pooling=options.pooling,
        hidden=options.hidden,
        dropout=options.dropout,
        class_names=data.class_names,
        seed=options.seed,
    )


def _pack(model: "keras.Model") -> dict[str, Any]:
    """Return a model as text and arrays, without optimizer or compiled functions."""
    import keras

    bare = keras.Model(model.input, model.output, name=model.name)
    return {"json": bare.to_json(), "arrays": bare.get_weights(), "info": model.kerastl}


def _unpack(packed: dict[str, Any]) -> "keras.Model":
    import keras

    model = keras.models.model_from_json(packed["json"])
    model.set_weights(packed["arrays"])
    model.kerastl = packed["info"]
    return model
