"""All verdicts on a run, each cause before what may follow from it."""

from collections.abc import Callable
from dataclasses import replace

from kerastl.diagnosis.facts import Facts
from kerastl.diagnosis.fitting import judge_over, judge_under
from kerastl.diagnosis.likeness import judge_leakage, judge_shift
from kerastl.diagnosis.noise import judge_noise
from kerastl.diagnosis.rates import judge_rate
from kerastl.diagnosis.records import (
    LEAKAGE,
    NOISE,
    OVER,
    RATE,
    SHIFT,
    UNDER,
    UNKNOWN,
    YES,
    Diagnosis,
    Verdict,
)

JUDGES: dict[str, Callable[[Facts], Verdict]] = {
    LEAKAGE: judge_leakage,
    SHIFT: judge_shift,
    NOISE: judge_noise,
    RATE: judge_rate,
    UNDER: judge_under,
    OVER: judge_over,
}
# what a cause makes look like a fault of its own: a rate at which nothing is learned, or an
# epoch chosen on other images, like a model that learned too little; wrong labels and
# other images like one that learned by heart
EXPLAINED = {UNDER: (SHIFT, RATE), OVER: (SHIFT, NOISE, RATE)}


def judge(facts: Facts, notes: tuple[str, ...] = ()) -> Diagnosis:
    """Judge every cause; one that another explains cannot be told before that is mended.

    Args:
        facts: Of a run.
        notes: What the facts rest on.
    """
    found: dict[str, Verdict] = {}
    for name, judge_cause in JUDGES.items():
        verdict = judge_cause(facts)
        reasons = [n for n in EXPLAINED.get(name, ()) if found[n].holds == YES]
        if verdict.holds == YES and reasons:
            said = f" That may follow from {' and '.join(reasons)}: mend that first."
            evidence = verdict.evidence + said
            verdict = replace(verdict, holds=UNKNOWN, evidence=evidence, next="")
        found[name] = verdict
    return Diagnosis(tuple(found.values()), notes)
