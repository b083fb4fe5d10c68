"""How often a diagnosis is right, on runs that are built to have one fault each.

    python -m benchmarks.diagnosing [--seeds 5] [--first 100] [--data digits]

For each seed another draw of images, another head and another order: eleven runs, of which
ten have a fault. Counted are runs whose fault was named, and runs of which something else
was said to hold. `--data` takes a folder as well; there the run without a fault of ours may
have one of its own. Targets, on digits: `FOUND` and `ALARMS`, of all runs together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.faults import DIGITS, EXPECTED, build
from benchmarks.results import Row, conclude
from benchmarks.settings import read_run
from kerastl.diagnosis import Diagnosis
from kerastl.diagnosis.records import YES
from kerastl.evaluation.intervals import measure_share

FOUND, ALARMS = 0.8, 0.2  # shares of runs: at least found, at most with another cause


@dataclass(frozen=True)
class Settings:
    """Which runs."""

    seeds: int = 5
    first: int = 100  # the tests, by which limits were set, have 0 to 2
    data: str = DIGITS


QUICK = Settings(seeds=1)


def list_held(found: Diagnosis) -> list[str]:
    """Return the causes that a diagnosis says hold."""
    return [verdict.name for verdict in found.verdicts if verdict.holds == YES]


def diagnose(settings: Settings) -> dict[str, list[list[str]]]:
    """Return, for each fault, the causes that were named for each seed."""
    named: dict[str, list[list[str]]] = {fault: [] for fault in EXPECTED}
    for seed in range(settings.first, settings.first + settings.seeds):
        for fault in EXPECTED:
            found = build(fault, seed, settings.data).diagnose()
            held = list_held(found)
            named[fault].append(held)
            print(f"{seed} {fault}: {', '.join(held) or 'nothing'}", flush=True)
            if held != list(filter(None, [EXPECTED[fault]])):
                print(found, flush=True)
    return named


def judge(named: Mapping[str, list[list[str]]], *, has_targets: bool) -> list[Row]:
    """Return for each fault and for all the shares found and those with another cause."""
    rows, hits, alarms, faulty, runs = [], 0, 0, 0, 0
    for fault, helds in named.items():
        expected = EXPECTED[fault]
        right = sum(expected in held for held in helds)
        wrong = sum(bool(set(held) - {expected}) for held in helds)
        if expected is not None:
            rows.append(Row(f"{fault}: {expected} named", right / len(helds), ""))
            hits, faulty = hits + right, faulty + len(helds)
        rows.append(Row(f"{fault}: another cause named", wrong / len(helds), ""))
        alarms, runs = alarms + wrong, runs + len(helds)
    print(f"\nfaults found: {measure_share(hits, faulty)} of {faulty}")
    print(f"runs with another cause: {measure_share(alarms, runs)} of {runs}")
    least, most = (FOUND, ALARMS) if has_targets else (None, None)
    rows.append(Row("all faults: named", hits / faulty, "", at_least=least))
    rows.append(Row("all runs: another cause named", alarms / runs, "", at_most=most))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and check the targets."""
    run = read_run("diagnosing", __doc__, Settings(), QUICK, arguments)
    named = diagnose(run.settings)
    conclude(run, judge(named, has_targets=run.settings.data == DIGITS), named)


if __name__ == "__main__":
    main()
