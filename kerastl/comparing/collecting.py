"""What the finished runs of a comparison say: read from their folders, without Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerastl.comparing.entries import Entry
from kerastl.evaluation import Comparison, compare_repeats
from kerastl.evaluation.intervals import measure_share
from kerastl.evaluation.sentences import count_images
from kerastl.finetuning.resuming import CONFIG
from kerastl.options import from_toml
from kerastl.runs import RunFolder

_TEXTS = ("split", "name", "label", "predicted")


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run came to.

    Args:
        right: Which images it answered right, bool (n,), by split.
        metrics: metrics.json.
        weights: Where its base's weights came from.
        parameters: Of the model.
        trained: The most that any of its stages trained.
        epochs: That ran.
        seconds: They took.
        megabytes: Of model.keras.
    """

    right: dict[str, np.ndarray]
    metrics: dict[str, Any]
    weights: str
    parameters: int
    trained: int
    epochs: int
    seconds: float
    megabytes: float


def read_outcome(path: Path) -> Outcome:
    """Read a finished run."""
    folder = RunFolder.open(path)
    stages, history = folder.read_json("stages.json"), folder.read_csv("history.csv")
    rows = folder.read_csv("predictions.csv", text_columns=_TEXTS)
    right = rows["label"] == rows["predicted"]
    return Outcome(
        right={n: right[part.index].to_numpy() for n, part in rows.groupby("split")},
        metrics=folder.read_json("metrics.json"),
        weights=from_toml(folder.read_text(CONFIG)).weights or "random",
        parameters=max(stage["total_parameters"] for stage in stages),
        trained=max(stage["trainable_parameters"] for stage in stages),
        epochs=len(history),
        seconds=float(history["seconds"].sum()),
        megabytes=(path / "model.keras").stat().st_size / 1e6,
    )


def describe_entry(
    entry: Entry, outcomes: Sequence[Outcome], reason: str, folders: Sequence[str]
) -> dict[str, Any]:
    """Return the row of one combination: means over its seeds, or why there are none."""
    row: dict[str, Any] = {
        "name": entry.name,
        "base": entry.base,
        "schedule": entry.schedule,
        "status": "failed" if reason else "done",
        "reason": reason,
        "folders": list(folders),
    }
    if reason:
        return row
    for split in ("validation", "test"):
        runs = [each.right[split].mean() for each in outcomes if split in each.right]
        row[split] = _measure(outcomes, split) if runs else None
        row[f"{split}_runs"] = list(map(float, runs))
    numbers = ("weights", "parameters", "trained", "epochs", "megabytes")
    row |= {name: getattr(outcomes[0], name) for name in numbers}
    row["epochs"] = max(each.epochs for each in outcomes)
    row["seconds"] = float(np.mean([each.seconds for each in outcomes]))
    return row


def _measure(outcomes: Sequence[Outcome], split: str) -> dict[str, float]:
    right = np.stack([each.right[split] for each in outcomes])
    return measure_share(float(right.mean(0).sum()), right.shape[1]).to_dict()


def compare_outcomes(
    outcomes: Mapping[str, Sequence[Outcome]], split: str
) -> Comparison | None:
    """Compare the combinations of which all runs finished, by the paired test."""
    if len(outcomes) < 2:
        return None
    right = {n: np.stack([e.right[split] for e in o]) for n, o in outcomes.items()}
    return compare_repeats(right)


def conclude(
    rows: Sequence[Mapping[str, Any]],
    comparison: Comparison | None,
    outcomes: Mapping[str, Sequence[Outcome]],
    split: str,
) -> list[str]:
    """Return what can be concluded and what cannot, the main thing first."""
    done = [row for row in rows if row["status"] == "done"]
    if not done:
        return ["None came to its end: there is nothing to compare."]
    if comparison is None:
        return [f"{done[0]['name']} alone came to its end: there is nothing to compare."]
    said = [_say_best(done, comparison, split)]
    note = _say_chance(outcomes, split)
    return [*said, *([note] if note else [])]


def _say_best(rows: Sequence[Mapping[str, Any]], comparison: Comparison, split: str) -> str:
    ranked = sorted(rows, key=lambda row: -row[split]["value"])
    best, others = ranked[0]["name"], [row["name"] for row in ranked[1:]]
    beaten = [
        p for p in comparison.pairs if p.distinguishable and best in (p.first, p.second)
    ]
    worse = [pair.second if pair.first == best else pair.first for pair in beaten]
    equal = [name for name in others if name not in worse]
    where = f"on {count_images(comparison.n)}"
    if len(rows) == 2:
        return comparison.say(comparison.pairs[0])
    if not equal:
        return f"{best} is better than all others, {_join(others)}, {where}."
    chosen = [row for row in rows if row["name"] in (best, *equal)]
    small = min(chosen, key=lambda row: (row["parameters"], row["trained"]))["name"]
    take = f" Of those, {small} is the smallest or trains the least."
    if not any(pair.distinguishable for pair in comparison.pairs):
        names = _join([best, *others])
        return f"None of {names} is distinguishable from another {where}.{take}"
    than = f", and is better than {_join(worse)}" if worse else ""
    return (
        f"{best} has the highest accuracy {where} but is not distinguishable from "
        f"{_join(equal)}{than}.{take}"
    )


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _say_chance(outcomes: Mapping[str, Sequence[Outcome]], split: str) -> str:
    """Say which models are no better than always giving the commonest answer."""
    scores = {name: [e.metrics[split] for e in each] for name, each in outcomes.items()}
    idle = [
        name
        for name, each in scores.items()
        if np.mean([s["accuracy"]["low"] for s in each]) <= each[0]["baseline"]["value"]
    ]
    if not idle:
        return ""
    first = next(iter(scores.values()))[0]
    always = (
        f"always answering {first['baseline_class']} ({first['baseline']['value']:.3f})"
    )
    if len(idle) == len(scores):
        return f"None of them is distinguishable from {always}, which takes no model."
    verb = "is" if len(idle) == 1 else "are"
    return f"{_join(idle)} {verb} not distinguishable from {always}, which takes no model."
