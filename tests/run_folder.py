"""A small finished run on disk, made of numbers alone, for the tests of reporting."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from kerastl.evaluation import score

NAMES = ("고양이", "강아지", "새")
STAGES = [
    {
        "name": "head",
        "unfreeze": "head",
        "epochs": 3,
        "learning_rate": 0.001,
        "optimizer": "adam",
        "batch_size": 32,
        "trainable_parameters": 1290,
        "total_parameters": 310_000,
        "outcome": "kept epoch 3 of 3",
    },
    {
        "name": "top",
        "unfreeze": "conv5",
        "epochs": 5,
        "learning_rate": 0.0001,
        "optimizer": "sgd",
        "batch_size": 32,
        "trainable_parameters": 154_000,
        "total_parameters": 310_000,
        "outcome": "kept epoch 2 of 4",
    },
]


def make_history(lengths: tuple[int, ...] = (3, 4)) -> pd.DataFrame:
    """Return plausible rows; the last epoch but two is the best."""
    stages = [(i, s) for i, count in enumerate(lengths) for s in range(count)]
    epoch = np.arange(1, len(stages) + 1)
    accuracy = 0.95 - 0.5 * 0.7**epoch
    accuracy[-2:] -= 0.05
    return pd.DataFrame(
        {
            "stage": [STAGES[i]["name"] for i, _ in stages],
            "stage_index": [i for i, _ in stages],
            "epoch": epoch,
            "stage_epoch": [s + 1 for _, s in stages],
            "loss": 1.5 * 0.7**epoch,
            "accuracy": accuracy + 0.02,
            "val_loss": 1.6 * 0.72**epoch,
            "val_accuracy": accuracy,
            "learning_rate": [STAGES[i]["learning_rate"] for i, _ in stages],
            "seconds": 12.5,
            "is_best": epoch == len(stages) - 2,
        }
    )


def make_predictions(
    names: tuple[str, ...], split: str, n: int = 60
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return labels, probabilities and rows that are right four times of five."""
    rng = np.random.default_rng(len(split))
    labels = rng.integers(0, len(names), n)
    said = np.where(rng.random(n) < 0.8, labels, rng.integers(0, len(names), n))
    probabilities = rng.dirichlet(np.ones(len(names)), n) + 3 * np.eye(len(names))[said]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    rows = {
        "split": split,
        "name": [f"{names[label]}/{i:04d}.jpg" for i, label in enumerate(labels)],
        "label": [names[label] for label in labels],
        "predicted": [names[index] for index in probabilities.argmax(axis=1)],
        "confidence": probabilities.max(axis=1),
    }
    columns = {f"p_{i}": probabilities[:, i] for i in range(len(names))}
    return labels, probabilities, pd.DataFrame(rows | columns)


def make_samples(names: tuple[str, ...], n: int = 3) -> dict[str, np.ndarray]:
    """Return small colourful images with titles."""
    ramp = np.linspace(0, 255, 24, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp[::-1]), axis=-1)
    images = np.stack([np.roll(image, 4 * i, axis=1) for i in range(n)])
    titles = np.array([names[i % len(names)] for i in range(n)])
    worst = [
        f"{i:04d}.jpg\nlabel: {t}\nsaid: {names[0]}, 98.1 %" for i, t in enumerate(titles)
    ]
    maps = np.linspace(0, 1, n * 2 * 3 * 4, dtype=np.float32).reshape(n, 2, 3, 4)
    return {
        "train_batch": images,
        "train_batch_titles": titles,
        "worst": images[::-1].copy(),
        "worst_titles": np.array(worst),
        "worst_maps": maps,
        "best": images,
        "best_titles": np.array(worst),
        "best_maps": maps[:, :1],
        "maps_note": np.array(""),
    }


def make_maps(parts: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Return a map of the features for rows of each split."""
    arrays = {}
    for split, rows in parts.items():
        points = np.random.default_rng(len(split)).normal(size=(len(rows), 2))
        arrays |= {
            f"{split}_points": points.astype(np.float32),
            f"{split}_labels": np.array(rows["label"].tolist()),
            f"{split}_predicted": np.array(rows["predicted"].tolist()),
            f"{split}_total": np.array(len(rows)),
            f"{split}_explained": np.array([0.5, 0.25]),
        }
    return arrays


def write_run(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Write every file that reporting reads and return the folder."""
    folder.mkdir(parents=True)
    parts = {split: make_predictions(names, split) for split in ("validation", "test")}
    metrics = {s: score(y, p, names, split=s).to_dict() for s, (y, p, _) in parts.items()}
    metrics |= {"selected_on": "validation", "best": {"stage": "top", "epoch": 5}}
    metrics["notes"] = ["20 % of the images were taken for the test split."]
    predictions = pd.concat([rows for _, _, rows in parts.values()])
    (folder / "config.toml").write_text(
        'base = "tiny"\ndata = "/home/mina/photos"\nseed = 0\n', encoding="utf-8"
    )
    make_history().to_csv(folder / "history.csv", index=False)
    predictions.to_csv(folder / "predictions.csv", index=False)
    write_json(folder / "stages.json", STAGES)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "labels.json", list(names))
    write_json(
        folder / "environment.json", {"python": "3.11", "packages": {"keras": "3.15"}}
    )
    np.savez(folder / "samples.npz", **make_samples(names))
    rows = {split: frame for split, (_, _, frame) in parts.items()}
    np.savez(folder / "embeddings.npz", **make_maps(rows))
    return folder


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False), "utf-8")
