"""Copies among labelled samples: what they mean for splits and labels, and what to keep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kerastl.data.duplicates import exact_groups, join_links, near_pairs
from kerastl.data.findings import Finding
from kerastl.data.inspection import Inspection
from kerastl.data.listing import Sample

# Of equal images, the one whose split comes first stays: what is tested on must not change.
KEPT_FIRST = ("test", "validation", "train", None)


@dataclass(frozen=True)
class Copies:
    """Which samples show the same image.

    Args:
        samples: All samples.
        inspection: Of their files.
        first: int64 `(n,)`: the first sample with the same pixels.
        near: int64 `(pairs, 2)`: samples that look the same without being equal.
    """

    samples: Sequence[Sample]
    inspection: Inspection
    first: np.ndarray
    near: np.ndarray

    @classmethod
    def find(cls, samples: Sequence[Sample], inspection: Inspection) -> "Copies":
        """Compare all samples."""
        first = exact_groups(inspection)
        return cls(samples, inspection, first, near_pairs(inspection, first))

    @property
    def groups(self) -> np.ndarray:
        """Group numbers `(n,)` as `duplicate_groups` gives them."""
        return join_links(self.first, self.near)

    def sets(self) -> dict[int, list[int]]:
        """Return good samples by image: the one to keep first, then its copies."""
        members: dict[int, list[int]] = {}
        for row in np.flatnonzero(self.inspection.readable).tolist():
            members.setdefault(int(self.first[row]), []).append(row)
        return {
            first: sorted(rows, key=lambda row: KEPT_FIRST.index(self.samples[row].split))
            for first, rows in members.items()
        }

    def clean(self) -> tuple[Sample, ...]:
        """Return one sample per image, none of images that have two labels."""
        kept = [rows[0] for rows in self.sets().values() if not self._disagree(rows)]
        return tuple(self.samples[row] for row in sorted(kept))

    def _disagree(self, rows: list[int]) -> bool:
        return len({_label_set(self.samples[row]) for row in rows}) > 1

    def findings(self) -> Iterable[Finding]:
        """Yield a finding for every copy of an image, and every pair that looks alike."""
        for kept, *extra in self.sets().values():
            for row in extra:
                yield from self._compare_equal(row, kept)
        for earlier, later in self.near.tolist():
            yield from self._compare_near(later, earlier)

    def _compare_equal(self, row: int, kept: int) -> Iterable[Finding]:
        records = self.inspection.records
        digest = records[row].digest  # arrays have none, so only their pixels can agree
        same = "bytes" if digest and digest == records[kept].digest else "pixels"
        what = f"the same {same} as {self.samples[kept].name}"
        yield from self._compare(
            row, kept, what, ("leak", "conflict", "duplicate"), "error"
        )

    def _compare_near(self, row: int, kept: int) -> Iterable[Finding]:
        kinds = ("near-leak", "near-conflict", "near-duplicate")
        what = f"looks like {self.samples[kept].name}"
        yield from self._compare(row, kept, what, kinds, "warning")

    def _compare(
        self, row: int, kept: int, what: str, kinds: tuple[str, str, str], severity: str
    ) -> Iterable[Finding]:
        here, there = self.samples[row], self.samples[kept]
        leak, conflict, copy = kinds
        if here.split != there.split:
            said = f"{what}; one is in {here.split}, the other in {there.split}"
            yield Finding(leak, severity, here.name, said)
        if _label_set(here) != _label_set(there):
            said = f"{what}; one is {_said(here)}, the other {_said(there)}"
            yield Finding(conflict, severity, here.name, said)
        elif here.split == there.split:
            yield Finding(copy, "warning", here.name, what)


def _label_set(sample: Sample) -> frozenset[str]:
    return frozenset([sample.label] if isinstance(sample.label, str) else sample.label)


def _said(sample: Sample) -> str:
    return " and ".join(map(repr, sorted(_label_set(sample)))) or "without a label"
