"""A small search on disk, made of numbers alone, for the tests of reporting."""

from pathlib import Path

import numpy as np
import pandas as pd
from run_folder import NAMES, make_predictions, write_json

from kerastl.evaluation import score, wilson_interval
from kerastl.runs.tables import render_csv

IMAGES = 360
SPACE = {
    "learning_rate": "loguniform(1e-05, 0.1)",
    "batch_size": [16, 32, 64],
    "base": ["tiny", "고양이 모델.keras", "resnet50"],
    "hidden": [[], [256], [512, 256]],
    "weight_decay": "uniform(0.0, 0.01)",
    "head__epochs": [3, 10],
}
REASONS = ("ValueError: learning_rate=1e9 gave NaN", "killed by signal 9 (out of memory?)")


def make_board(trials: int = 30, failed: int = 0, not_run: int = 0) -> pd.DataFrame:
    """Return a leaderboard; what failed and what did not run comes first in the plan."""
    rng = np.random.default_rng(trials)
    decay = rng.uniform(0, 0.01, trials)
    params = pd.DataFrame(
        {
            "learning_rate": 10 ** rng.uniform(-5, -1, trials),
            "batch_size": rng.choice([16, 32, 64], trials),
            "base": rng.choice(SPACE["base"], trials),
            "hidden": [SPACE["hidden"][i] for i in rng.integers(0, 3, trials)],
            "weight_decay": [w if w > 0.002 else None for w in decay],
            "head__epochs": rng.choice([3, 10], trials),
        }
    )
    gap = np.abs(np.log10(params["learning_rate"]) + 3)
    right = np.clip(0.93 - 0.09 * gap**1.5 + rng.normal(0, 0.015, trials), 0.1, 1)
    right += 0.02 * (params["base"] == "resnet50")
    status = np.array(["done"] * trials, dtype=object)
    status[1 : failed + 1], status[failed + 1 : failed + not_run + 1] = "failed", "not run"
    return finish_board(params, right.to_numpy(), status)


def finish_board(params: pd.DataFrame, scores, status) -> pd.DataFrame:
    """Return the columns of leaderboard.csv around the parameters, best first."""
    known = np.array([text.startswith(("done", "stopped")) for text in status])
    done = np.array(status) == "done"
    scores = np.where(known, np.round(np.minimum(scores, 1) * IMAGES) / IMAGES, np.nan)
    bounds = [wilson_interval(s * IMAGES, IMAGES) if s == s else (s, s) for s in scores]
    failures = np.cumsum(np.array(status) == "failed")
    reasons = [
        REASONS[n % 2] if s == "failed" else ""
        for n, s in zip(failures, status, strict=True)
    ]
    board = pd.DataFrame(
        {"rank": 0.0, "trial": np.arange(1, len(scores) + 1), "score": scores}
    )
    board[["low", "high"]] = bounds
    board["std"] = np.nan
    board = pd.concat([board, params], axis=1)
    board = board.assign(
        epochs_run=np.where(known, 10, 0),
        fit_seconds=np.where(known, 12.5 + np.arange(len(scores)) % 7, np.nan),
        status=status,
        reason=reasons,
        peak_memory_mb=np.where(known, 812.0, np.nan),
    )
    board = board.iloc[np.lexsort((board["trial"], -scores, ~known, ~done))]
    board["rank"] = np.where(board["score"].notna(), np.arange(1, len(board) + 1), np.nan)
    return board.reset_index(drop=True)


def write_search(folder: Path, board: pd.DataFrame | None = None) -> Path:
    """Write every file that reporting reads and return the folder."""
    folder.mkdir(parents=True)
    board = make_board(30, 3, 2) if board is None else board
    best, cheap = board.iloc[0], board.iloc[2]
    labels, probabilities, _ = make_predictions(NAMES, "test", 120)
    params = {name: best[name] for name in ("learning_rate", "hidden")}
    params["learning_rate"] = float(params["learning_rate"])
    metrics = {
        "best": {
            "trial": int(best["trial"]),
            "params": params,
            "score": {name: float(best[name]) for name in ("score", "low", "high")},
            "selected_on": "validation (hold-out)",
        },
        "within_interval": {
            "count": 4,
            "cheapest": {
                "trial": int(cheap["trial"]),
                "params": {"hidden": cheap["hidden"]},
                "fit_seconds": 9.1,
            },
        },
        "test": score(labels, probabilities, NAMES, split="test").to_dict(),
        "nested": {"scores": [0.9, 0.8, 0.85], "mean": 0.85},
        "notes": ["n_iter=30: 360 images need no more."],
    }
    plan = {"settings": {"mode": "random", "n_iter": 30, "cv": None}, "space": SPACE}
    write_json(folder / "search.json", plan)
    write_json(folder / "metrics.json", metrics)
    (folder / "leaderboard.csv").write_text(render_csv(board), "utf-8")
    (folder / "config.toml").write_text(
        'base = "tiny"\ndata = "/home/mina/사진"\n', "utf-8"
    )
    (folder / "best").mkdir()
    (folder / "best" / "report.html").write_text("<p>winner</p>", "utf-8")
    return folder
