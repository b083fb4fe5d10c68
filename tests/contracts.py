"""What both engines must agree on: every schedule with every optimizer, and all else.

Run as a script it trains with both, in a precision of its own, and prints the differences.
"""

import json
import sys
from contextlib import contextmanager

import numpy as np
from engines import compare, measure

IMAGES = (10, 6, 4)  # of each class: 15 to train on and 5 to validate on, or all to train
BATCH, WHOLE_BATCH = 9, 5
FACTORS = (
    "no-validation", "class-weight", "whole-batches", "early-stopping", "dropout", "hidden",
    "smoothing", "decay", "step", "cosine", "warm-up", "augment", "mixup", "batchnorm",
    "multi-label", "watched", "rate-decay",
)  # fmt: skip
# schedule and optimizer -> the factors it has; those it has not count as well
CASES = {
    "feature-extraction adam": "no-validation hidden cosine mixup",
    "feature-extraction sgd": "dropout warm-up augment multi-label",
    "feature-extraction adamw": "class-weight whole-batches smoothing step",
    "feature-extraction rmsprop": "early-stopping decay batchnorm watched rate-decay",
    "fine-tune adam": "class-weight whole-batches dropout mixup",
    "fine-tune sgd": "no-validation hidden cosine batchnorm watched rate-decay",
    "fine-tune adamw": "early-stopping smoothing decay rate-decay",
    "fine-tune rmsprop": "step warm-up augment multi-label",
    "hybrid adam": "whole-batches step batchnorm rate-decay",
    "hybrid sgd": "class-weight early-stopping dropout mixup",
    "hybrid adamw": "smoothing cosine augment multi-label watched rate-decay",
    "hybrid rmsprop": "no-validation hidden decay warm-up",
    "gradual adam": "no-validation smoothing cosine augment watched rate-decay",
    "gradual sgd": "hidden step warm-up multi-label",
    "gradual adamw": "whole-batches decay batchnorm",
    "gradual rmsprop": "class-weight early-stopping dropout mixup rate-decay",
    "lp-ft adam": "decay warm-up mixup rate-decay",
    "lp-ft sgd": "class-weight whole-batches early-stopping batchnorm",
    "lp-ft adamw": "no-validation step augment rate-decay",
    "lp-ft rmsprop": "dropout smoothing cosine watched",
    "full adam": "early-stopping cosine batchnorm multi-label",
    "full sgd": "class-weight smoothing decay augment rate-decay",
    "full adamw": "dropout hidden warm-up mixup watched",
    "full rmsprop": "no-validation whole-batches step rate-decay",
}
# a head with hidden layers or several labels is not one that can be solved exactly
IMPOSSIBLE = {("lp-ft", "hidden"), ("lp-ft", "multi-label")}
MODEL = {"dropout": {"dropout": 0.3}, "hidden": {"hidden": (8,)}}
TRAINING = {
    "class-weight": {"class_weight": "balanced"},
    "whole-batches": {"batch_size": WHOLE_BATCH},
    "early-stopping": {"patience": 1, "epochs": 3},
    "smoothing": {"label_smoothing": 0.1},
    "decay": {"weight_decay": 1e-3},
    "step": {"lr_schedule": "step", "step_epochs": 1},
    "cosine": {"lr_schedule": "cosine"},
    "warm-up": {"warmup_epochs": 1},
    "rate-decay": {"rate_decay": 0.3},
    "augment": {"augment": ("flip", "crop")},
    "mixup": {"augment": ("flip", "mixup")},
    "batchnorm": {"train_batchnorm": True},
}


def make_data(factors: list[str], side: int):
    """Return images of three classes, unequal in number, or with several labels each."""
    import kerastl

    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], IMAGES)
    shape = (len(labels), side, side, 3)
    images = rng.normal(60 + 60 * labels[:, None, None, None], 20, shape)
    if "multi-label" in factors:
        labels = (labels[:, None] >= np.arange(3)).astype("int32")
    return kerastl.load_images(
        images.clip(0, 255).astype("uint8"),
        labels=labels,
        validation=0.0 if "no-validation" in factors else 0.25,
        test=0.0,
        multi_label="multi-label" in factors,
    )


# rates in float32, where those of float64 move no weight in the last of many stages, or
# multiply what is rounding by a thousand and more
COARSE = {
    ("mobilenetv2", "gradual rmsprop"): 3e-4,
    ("resnet50", "gradual rmsprop"): 3e-4,
    ("resnet50", "gradual adam"): 1e-4,
    ("resnet50", "gradual adamw"): 5e-6,
    ("mobilenetv2", "full adam"): 3e-5,
    ("resnet50", "full adam"): 1e-6,
    ("resnet50", "full adamw"): 1e-6,
    ("resnet50", "full rmsprop"): 1e-5,
}


def _spare(base: str, schedule: str, optimizer: str, factors: list[str]) -> dict:
    """Return what a large base needs else: time and, without pretraining, small steps.

    At a hundred times the rate of sgd weights of ResNet50 end as NaN; at ten times that of
    rmsprop, which divides gradients by their size, it multiplies rounding a million times.
    So do six stages of BatchNorm that trains on five images at a time, at the usual rate:
    two runs of one engine end far apart where the weights they start from are rounded.
    """
    import keras

    changes = {"epochs": 1} if schedule == "gradual" else {}  # of six stages and more
    rate = {"sgd": 1e-5, "rmsprop": 1e-4}.get(optimizer)
    if schedule == "gradual" and "batchnorm" in factors:
        rate = 5e-5
    if keras.config.floatx() == "float32":
        rate = COARSE.get((base, f"{schedule} {optimizer}"), rate)
    if rate is not None:
        changes["learning_rate"] = rate / 10 if schedule == "full" else rate
    return changes


def settle(base: str, case: str) -> dict:
    """Return what `finetune` is given for a case."""
    schedule, optimizer = case.split()
    settings = {"schedule": schedule, "optimizer": optimizer, "epochs": 2}
    settings["batch_size"] = BATCH
    for factor in CASES[case].split():
        settings |= TRAINING.get(factor, {})
    if base != "tiny":
        settings |= _spare(base, schedule, optimizer, CASES[case].split())
    if schedule == "lp-ft":
        settings["epochs"] = (1, settings["epochs"])
        if "warm-up" in CASES[case]:
            settings["warmup_epochs"] = (0, 1)
    return settings


def train(engine: str, base: str, case: str, **changes):
    """Return the run of one engine."""
    import keras

    import kerastl

    factors, side = CASES[case].split(), 8 if base == "tiny" else 32
    model_settings = {"multi_label": "multi-label" in factors}
    for factor in factors:
        model_settings |= MODEL.get(factor, {})
    model = kerastl.build_model(
        base, num_classes=3, weights=None, image_size=side, **model_settings
    )
    data = make_data(factors, side)
    enliven(model, data.train.pixels(side))
    return kerastl.finetune(
        model,
        data,
        engine=engine,
        verbose=0,
        # whoever looks has a head trained by `fit`, epoch by epoch
        callbacks=[keras.callbacks.Callback()] if "watched" in factors else (),
        **{**settle(base, case), **changes},
    )


def enliven(model, pixels: np.ndarray) -> None:
    """Give BatchNorm layers the statistics of the images, as pretrained ones have.

    Without, each of the many layers of MobileNetV2 shrinks what comes in, up to features of
    1e-12: no engine could then train it to anything else than the other does.
    """
    import keras

    kind = keras.layers.BatchNormalization
    layers = [layer for layer in model.layers if isinstance(layer, kind)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    model(pixels.astype(keras.config.floatx()), training=True)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum


@contextmanager
def watch_ends():
    """Give the weights that each stage begins and ends with, even if they are not kept."""
    from kerastl.finetuning import loop

    keep, ends = loop._StageRun._keep, []

    def note(self) -> str:
        places = {id(weight): place for place, weight in enumerate(self.job.model.weights)}
        start = [self.start[places[id(weight)]] for weight in self.moving]
        ends.append((start, [weight.numpy() for weight in self.moving]))
        return keep(self)

    loop._StageRun._keep = note
    try:
        yield ends
    finally:
        loop._StageRun._keep = keep


def contrast(base: str, case: str) -> dict:
    """Train with both engines and return how far apart they are, and how far they went."""
    from kerastl.models import predict_probabilities

    with watch_ends() as first:
        plain = train("plain", base, case)
    with watch_ends() as second:
        auto = train("auto", base, case)
    pixels = plain.data.train.pixels(plain.model.input_shape[1])
    one, other = (predict_probabilities(run.model, pixels) for run in (plain, auto))
    ends = zip(first, second, strict=True)
    return {
        **compare(plain, auto),
        "ends": float(max(measure(mine[1], theirs[1]).max() for mine, theirs in ends)),
        "moved": min(float(np.median(measure(end, start))) for start, end in first),
        "classes": bool((one.argmax(axis=1) == other.argmax(axis=1)).all()),
        "epochs": len(plain.history),
        "planned": sum(stage.epochs for stage in plain.schedule),
    }


if __name__ == "__main__":
    import keras

    base, precision, *cases = sys.argv[1:]
    keras.config.set_floatx(precision)
    found = {}
    for case in cases or CASES:
        found[case] = contrast(base, case)
        keras.backend.clear_session()  # both models are large
        print(case, found[case], file=sys.stderr, flush=True)
    print(json.dumps(found))
