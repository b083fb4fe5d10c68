"""What a benchmark ends in: a table, a JSON file, and an assertion of its targets."""

import dataclasses
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.settings import Run
from kerastl.runs import describe_environment


@dataclass(frozen=True)
class Row:
    """One measured number.

    Args:
        name: What was measured.
        value: The number.
        unit: Of the number; `"x"` for a ratio.
        limit: What it cannot fall below, by the arithmetic that has to be done.
        at_least: Target.
        at_most: Target.
        always: The target means something at `--quick` sizes as well.
    """

    name: str
    value: float
    unit: str = "s"
    limit: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    always: bool = False

    @property
    def percent(self) -> float | None:
        """How much of the limit is reached, in percent."""
        return None if self.limit is None else 100 * self.limit / self.value

    def misses(self, *, quick: bool = False) -> str:
        """Return what is wrong in one sentence; nothing where the target is met."""
        if quick and not self.always:
            return ""
        if self.at_least is not None and not self.value >= self.at_least:
            return f"{self.name}: {self._tell(self.value)}, not >= {self.at_least:g}"
        if self.at_most is not None and not self.value <= self.at_most:
            return f"{self.name}: {self._tell(self.value)}, not <= {self.at_most:g}"
        return ""

    def _tell(self, value: float) -> str:
        return f"{value:.4g} {self.unit}".strip()

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"{self.limit:.4g}"
        percent = "" if self.percent is None else f"{self.percent:.1f} %"
        return f"{self.name:52} {self._tell(self.value):>12} {limit:>9} {percent:>8}  " + (
            self._tell_target()
        )

    def _tell_target(self) -> str:
        bounds = ((">=", self.at_least), ("<=", self.at_most))
        return " ".join(f"{sign} {value:g}" for sign, value in bounds if value is not None)


def conclude(run: Run, rows: Sequence[Row], details: Any = None) -> None:
    """Print all rows, write them where asked, and assert the targets.

    Args:
        run: How the benchmark was called.
        rows: What it found.
        details: Whatever else is worth keeping, JSON-able.

    Raises:
        AssertionError: Says of each missed target by how much.
    """
    print(f"\n{'':52} {'measured':>12} {'limit':>9} {'of limit':>8}  target")
    for row in rows:
        print(row)
    missed = [text for row in rows if (text := row.misses(quick=run.quick))]
    if run.json is not None:
        _write(run, rows, missed, details)
    assert not missed, "; ".join(missed)


def _write(run: Run, rows: Sequence[Row], missed: Sequence[str], details: Any) -> None:
    settings = dataclasses.asdict(run.settings)
    record = {
        "benchmark": run.name,
        "quick": run.quick,
        "settings": settings,
        "machine": {"name": platform.node(), **describe_environment()},
        "rows": [{**dataclasses.asdict(row), "percent": row.percent} for row in rows],
        "missed": list(missed),
        "details": details,
    }
    run.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_without_nan(record), indent=1, ensure_ascii=False, default=str)
    run.json.write_text(text + "\n", encoding="utf-8")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
