"""Runs of either engine on small images, and how far two of them are apart."""

import numpy as np

# name -> (model settings, training settings)
CASES = {
    "hybrid": ({}, {"schedule": "hybrid", "epochs": 2}),
    "dropout and sgd": (
        {"hidden": (16,), "dropout": 0.4},
        {"schedule": "fine-tune", "epochs": 2, "optimizer": "sgd", "batch_size": 16},
    ),
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


# weights smaller than the first are measured as if they were as large; a bias below a
# trained BatchNorm has no gradient but rounding, and stays below the second
SMALL, ZERO = 1e-4, 1e-12


def measure(first, second) -> np.ndarray:
    """Return the largest difference of each pair of arrays, relative to their size."""
    return np.array([_differ(a, b) for a, b in zip(first, second, strict=True)])


def _differ(a, b) -> float:
    size = max(np.abs(a).max(), np.abs(b).max())
    return 0.0 if size < ZERO else np.abs(a - b).max() / max(size, SMALL)


def compare(first, second) -> dict:
    """Return the largest differences of weights and of history; NaN where one number is."""
    weights = measure(first.model.get_weights(), second.model.get_weights()).max()
    columns = [c for c in first.history if c not in ("seconds", "stage", "is_best")]
    apart = first.history[columns] - second.history[columns]
    history = np.abs(apart.to_numpy("float64")).max()
    kept = first.history["is_best"].equals(second.history["is_best"])
    return {"weights": float(weights), "history": float(history), "kept": bool(kept)}


def assert_same_weights(one, other) -> None:
    """Fail unless two runs ended with the same weights, to the bit."""
    weights = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    assert all(np.array_equal(first, second) for first, second in weights)
