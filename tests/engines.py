"""Both engines on the same runs: in float64 when run as a script, printing differences."""

import json
import sys

import numpy as np

# name -> (model settings, training settings)
CASES = {
    "hybrid": ({}, {"schedule": "hybrid", "epochs": 2}),
    "dropout and sgd": (
        {"hidden": (16,), "dropout": 0.4},
        {"schedule": "fine-tune", "epochs": 2, "optimizer": "sgd", "batch_size": 16},
    ),
    "class weights and adamw": (
        {},
        {"schedule": "full", "epochs": 2, "class_weight": "balanced", "optimizer": "adamw"},
    ),
    "smoothing, batchnorm, rmsprop": (
        {},
        {
            "schedule": "gradual", "epochs": 1, "label_smoothing": 0.1,
            "train_batchnorm": True, "optimizer": "rmsprop", "weight_decay": 1e-3,
        },
    ),
    "augmentation, cosine": (
        {},
        {
            "schedule": "full", "epochs": 2, "augment": ("flip", "crop"),
            "lr_schedule": "cosine", "warmup_epochs": 1,
        },
    ),
    "augmented head": (
        {"hidden": (8,), "dropout": 0.2},
        {
            "schedule": "feature-extraction", "epochs": 3, "class_weight": "balanced",
            "augment": ("flip", "crop"),
        },
    ),
    "mixed head": (
        {}, {"schedule": "feature-extraction", "epochs": 2, "augment": ("flip", "mixup")},
    ),
    "early stopping": ({}, {"schedule": "fine-tune", "epochs": 6, "patience": 1}),
    "exact head": ({}, {"schedule": "lp-ft", "epochs": (1, 2)}),
    "no validation": ({}, {"schedule": "feature-extraction", "epochs": 2}),
}  # fmt: skip


def make_data(case: str = "", count: int = 70):
    """Three classes that differ in brightness, in batches of which the last is partial."""
    import kerastl

    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.normal(60 + 60 * labels[:, None, None, None], 20, (count, 32, 32, 3))
    share = 0.0 if case == "no validation" else 0.3
    return kerastl.load_images(
        images.clip(0, 255).astype("uint8"), labels=labels, validation=share, test=0.0
    )


def train(engine: str, base: str, case: str, **settings):
    """Return the run of one engine."""
    import kerastl

    model_settings, training = CASES[case]
    model = kerastl.build_model(
        base, num_classes=3, weights=None, image_size=32, **model_settings
    )
    return kerastl.finetune(
        model, make_data(case), engine=engine, verbose=0, **{**training, **settings}
    )


def compare(first, second) -> dict:
    """Return the largest differences of weights and of history, relative to their size."""
    pairs = zip(first.model.get_weights(), second.model.get_weights(), strict=True)
    weights = max(np.abs(a - b).max() / (np.abs(a).max() + 1e-30) for a, b in pairs)
    columns = [c for c in first.history if c not in ("seconds", "stage", "is_best")]
    history = np.abs(first.history[columns] - second.history[columns]).max().max()
    kept = first.history["is_best"].equals(second.history["is_best"])
    return {"weights": float(weights), "history": float(history), "kept": bool(kept)}


if __name__ == "__main__":
    import keras

    keras.config.set_floatx("float64")
    base, *cases = sys.argv[1:]
    found = {
        case: compare(train("plain", base, case), train("auto", base, case))
        for case in cases or CASES
    }
    print(json.dumps(found))
