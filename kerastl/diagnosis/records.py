"""What a diagnosis is: verdicts, their evidence, and the same as text, HTML and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kerastl.errors import DataError, check_choice
from kerastl.evaluation.intervals import Measure
from kerastl.evaluation.layout import html_table, html_text, printable

YES, UNKNOWN, NO = "yes", "cannot tell", "no"
LEAKAGE, SHIFT, NOISE = "leakage", "distribution shift", "label noise"
RATE, UNDER, OVER = "learning rate", "under-fitting", "over-fitting"
# what comes first can be the reason of what comes after it, never the reverse
CAUSES = {
    LEAKAGE: "Validation images are known from training, so the validation score is too "
    "kind.",
    SHIFT: "Validation images are of another kind than training images.",
    NOISE: "Some training images carry a wrong label.",
    RATE: "The learning rate or batch size does not suit.",
    UNDER: "The model has not learned what the training images offer.",
    OVER: "The model learns the training images by heart.",
}
_SHOWN = 10  # suspects in a text; `suspects` has all


@dataclass(frozen=True)
class Suspect:
    """An image to look at.

    Args:
        name: As the data names it.
        reason: What is odd about it.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Whether one cause holds.

    Args:
        name: One of the six causes.
        holds: `"yes"`, `"no"` or `"cannot tell"`.
        evidence: What was measured, with 95 % intervals, in a sentence.
        next: What to type next; empty where there is nothing to mend.
        measures: The numbers of the sentence by name.
        suspects: Images to look at, the oddest first.
    """

    name: str
    holds: str
    evidence: str
    next: str = ""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    suspects: tuple[Suspect, ...] = ()

    def __str__(self) -> str:
        meaning = f" {CAUSES[self.name]}" * (self.holds == YES)
        lines = [f"{self.name}: {self.holds}.{meaning} {self.evidence}"]
        lines += [f"  {printable(s.name)}: {s.reason}" for s in self.suspects[:_SHOWN]]
        if more := len(self.suspects[_SHOWN:]):
            lines.append(f"  and {more} more, in its suspects and in diagnosis.json")
        if self.next:
            lines.append(f"  next: {self.next}")
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Why validation is below training or falls; `Run.diagnose` makes it.

    Args:
        verdicts: One per cause, what can be the reason of others first.
        notes: What the evidence rests on, one sentence each.

    Example:

    >>> found = Diagnosis((Verdict("leakage", "no", "0 of 40 images have a copy."),))
    >>> found.main is None
    True
    """

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Verdict:
        """Return the verdict on a cause.

        Raises:
            UsageError: There is no such cause.
        """
        named = {verdict.name: verdict for verdict in self.verdicts}
        check_choice("cause", name, named)
        return named[name]

    @property
    def main(self) -> Verdict | None:
        """The first cause that holds, from which others may follow; None without one."""
        held = (verdict for verdict in self.verdicts if verdict.holds == YES)
        return next(held, None)

    @property
    def ranked(self) -> tuple[Verdict, ...]:
        """Verdicts that hold first, then those that cannot be told, then the others."""
        order = (YES, UNKNOWN, NO)
        return tuple(sorted(self.verdicts, key=lambda each: order.index(each.holds)))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "main": None if self.main is None else self.main.name,
            "verdicts": [_verdict_dict(verdict) for verdict in self.verdicts],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Diagnosis":
        """Rebuild what `to_dict` gave, also after a trip through JSON.

        Raises:
            DataError: Something is missing or is not what `to_dict` writes.
        """
        try:
            verdicts = tuple(map(_read_verdict, values["verdicts"]))
            return cls(verdicts, tuple(map(str, values["notes"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"This diagnosis is damaged ({type(error).__name__}: {error}); diagnose "
                "the run again."
            ) from error

    @property
    def headline(self) -> str:
        """What to do first, in a sentence."""
        if self.main is not None:
            return f"Look at this first: {self.main.name}. {CAUSES[self.main.name]}"
        if any(verdict.holds == UNKNOWN for verdict in self.verdicts):
            return "Nothing wrong was found; not everything could be judged."
        return "Nothing wrong was found."

    def __str__(self) -> str:
        return "\n".join((self.headline, "", *map(str, self.ranked), "", *self.notes))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = [[v.name, v.holds, v.evidence, v.next] for v in self.ranked]
        table = html_table(["cause", "holds", "evidence", "next"], rows)
        listed = "".join(map(_list_suspects, self.ranked))
        notes = "".join(f"<p>{html_text(note)}</p>" for note in self.notes)
        return f"<p><b>{html_text(self.headline)}</b></p>{table}{listed}{notes}"


def _list_suspects(verdict: Verdict) -> str:
    if not verdict.suspects:
        return ""
    rows = [[suspect.name, suspect.reason] for suspect in verdict.suspects]
    title = f"{verdict.name}: {len(rows)} images to look at"
    table = html_table(["image", "why"], rows)
    return f"<details><summary>{html_text(title)}</summary>{table}</details>"


def _verdict_dict(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "holds": verdict.holds,
        "evidence": verdict.evidence,
        "next": verdict.next,
        "measures": {name: each.to_dict() for name, each in verdict.measures.items()},
        "suspects": [{"name": s.name, "reason": s.reason} for s in verdict.suspects],
    }


def _read_verdict(values: Mapping[str, Any]) -> Verdict:
    if values["name"] not in CAUSES or values["holds"] not in (YES, UNKNOWN, NO):
        raise ValueError(f"{values['name']!r} {values['holds']!r}")
    return Verdict(
        values["name"],
        values["holds"],
        str(values["evidence"]),
        str(values["next"]),
        {name: Measure.from_dict(each) for name, each in values["measures"].items()},
        tuple(Suspect(str(s["name"]), str(s["reason"])) for s in values["suspects"]),
    )
