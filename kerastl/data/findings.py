"""What a check found, as data that prints itself: findings, counts, a clean table."""

import csv
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerastl.data.listing import Sample
from kerastl.data.reading import SEPARATOR
from kerastl.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES = ("error", "warning", "info")
NAMES_SHOWN = 10
CLASSES_SHOWN = 12

# Kind of finding -> what it means, in the order of the screen.
KINDS = {
    "unreadable": "cannot be decoded",
    "oversized": "too large to be decoded",
    "leak": "the same image in two splits",
    "conflict": "the same image with two labels",
    "classes": "the classes do not fit together",
    "small-class": "too few images",
    "missing-class": "a split lacks a class",
    "imbalance": "classes of very different size",
    "near-leak": "nearly the same image in two splits",
    "near-conflict": "nearly the same image with two labels",
    "duplicate": "extra copies of an image",
    "near-duplicate": "nearly the same image twice",
    "misnamed": "the name's ending differs from the content",
    "rotated": "turned upright by its EXIF orientation",
    "greyscale": "without colour",
    "tiny": "smaller than 32 pixels",
    "skipped": "files that are no samples",
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Args:
        kind: A key of `KINDS`, such as `"unreadable"`.
        severity: `"error"` (training would fail or its score could not be believed),
            `"warning"` or `"info"`.
        path: Name of the image, or of the class or split it is about; may be empty.
        detail: What is the matter with it.
    """

    kind: str
    severity: str
    path: str
    detail: str


@dataclass(frozen=True, repr=False)
class CheckReport:
    """What `check_images` found; print it to read it.

    Args:
        root: Folder the names are relative to; None for arrays.
        images: Good images per split; the split is `"all"` where the source has none.
        counts: Good images per split and class.
        unusable: How many images cannot be decoded.
        skipped: How many files are no samples.
        findings: Everything found, the gravest first.
        notes: How the source was understood.
        clean: The samples that `clean_csv` keeps.

    Example:

    >>> report = CheckReport(None, {"all": 2}, {"all": {"cat": 1, "dog": 1}})
    >>> report.ok, report.files
    (True, 2)
    >>> print(report)
    2 images
    all: 2 images in 2 classes: cat 1, dog 1
    No errors, 0 warnings, 0 remarks.
    """

    root: Path | None
    images: dict[str, int]
    counts: dict[str, dict[str, int]]
    unusable: int = 0
    skipped: int = 0
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    clean: tuple[Sample, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.select("error")

    @property
    def files(self) -> int:
        """How many files there are: good images, unusable ones and skipped files."""
        return sum(self.images.values()) + self.unusable + self.skipped

    @property
    def imbalance(self) -> float | None:
        """Largest class over smallest in train; None where one is empty."""
        sizes = self.counts.get("train", self.counts.get("all", {})).values()
        return max(sizes) / min(sizes) if sizes and min(sizes) else None

    def select(self, *words: str) -> tuple[Finding, ...]:
        """Return the findings of the kinds or severities given."""
        return tuple(
            each for each in self.findings if {each.kind, each.severity} & {*words}
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return the findings as a table with columns kind, severity, path and detail."""
        import pandas as pd

        columns = ["kind", "severity", "path", "detail"]
        rows = [[getattr(each, name) for name in columns] for each in self.findings]
        return pd.DataFrame(rows, columns=columns)

    def clean_csv(self, folder: str | Path | None = None) -> str:
        """Return a table of the images to keep, for `load_images`; deletes nothing.

        Left out are unusable files, extra copies of an image (the copy in test stays, then
        that in validation) and images that occur with two labels. Near copies stay.

        Args:
            folder: Where the table is going to be saved, as its paths are relative to that;
                the checked folder where None.

        Returns:
            CSV text with columns path and label, and split where the source has splits.

        Raises:
            UsageError: The images are not files inside `folder`, or one has no label.
        """
        rows = [self._row(sample, folder) for sample in self.clean]
        split = any(sample.split for sample in self.clean)
        width = 3 if split else 2
        file = io.StringIO(newline="")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "label", "split")[:width])
        table.writerows(row[:width] for row in rows)
        return file.getvalue()

    def _row(self, sample: Sample, folder: str | Path | None) -> tuple[str, str, str]:
        labels = (sample.label,) if isinstance(sample.label, str) else sample.label
        if not labels:
            raise UsageError(f"{sample.name} has no label, which a CSV cannot say.")
        path = _relative(sample, self.root if folder is None else Path(folder))
        return path, SEPARATOR.join(labels), sample.split or ""

    def __str__(self) -> str:
        return "\n".join([*self._headline(), *self._groups(), self._verdict()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Show the same screen in a notebook."""
        return f"<pre>{html.escape(str(self))}</pre>"

    def _headline(self) -> Iterable[str]:
        parts = [_count(sum(self.images.values()), "image")]
        parts += [f"{self.unusable:,} unusable"] if self.unusable else []
        parts += [f"{self.skipped:,} skipped"] if self.skipped else []
        total = f"{_count(self.files, 'file')}: " if len(parts) > 1 else ""
        yield total + ", ".join(parts)
        for split, classes in self.counts.items():
            held = (
                f"{_count(self.images[split], 'image')} in {_count(len(classes), 'class')}"
            )
            yield f"{split}: {held}: {_list_classes(classes)}"

    def _groups(self) -> Iterable[str]:
        for severity in SEVERITIES:
            for kind, meaning in KINDS.items():
                group = [each for each in self.select(kind) if each.severity == severity]
                if group:
                    yield f"\n{severity}: {kind} ({len(group):,}): {meaning}"
                    yield from self._list(group)

    def _list(self, group: list[Finding]) -> Iterable[str]:
        return ["  every image"] if self._is_every(group) else _list_group(group)

    def _is_every(self, group: Sequence[Finding]) -> bool:
        return len(group) > NAMES_SHOWN and len(group) == sum(self.images.values())

    def _count_remarks(self, kind: str) -> int:
        """Count what is true of every image once: it is one thing to know."""
        group = [each for each in self.select(kind) if each.severity == "info"]
        return 1 if self._is_every(group) else len(group)

    def _verdict(self) -> str:
        errors, warnings = (len(self.select(each)) for each in SEVERITIES[:2])
        remarks = sum(map(self._count_remarks, KINDS))
        said = "No errors" if not errors else _count(errors, "error")
        rest = f"{_count(warnings, 'warning')}, {_count(remarks, 'remark')}"
        return ("\n" if self.findings else "") + f"{said}, {rest}."


def printable(text: str) -> str:
    r"""Show control and direction characters of a name as escapes, leaving the rest.

    Example:

    >>> printable("개\u202egpj.exe")
    '개\\u202egpj.exe'
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _relative(sample: Sample, folder: Path | None) -> str:
    if sample.path is None or folder is None:
        raise UsageError(
            f"{sample.name} is not a file inside a folder, so no CSV can name it: only "
            "folders, tables and zip files give a clean CSV."
        )
    path, folder = sample.path.absolute(), folder.absolute()
    if not path.is_relative_to(folder):
        raise UsageError(
            f"{sample.name} is not inside {folder}: save the CSV in the folder of the "
            "images or above it, as a table may not name files outside its own folder."
        )
    return path.relative_to(folder).as_posix()


def _list_group(group: list[Finding]) -> Iterable[str]:
    shown = group[:NAMES_SHOWN]
    width = min(40, max(len(printable(each.path)) for each in shown))
    for each in shown:
        yield f"  {printable(each.path):<{width}}  {printable(each.detail)}".rstrip()
    if len(group) > NAMES_SHOWN:
        yield f"  and {len(group) - NAMES_SHOWN:,} more"


def _list_classes(classes: dict[str, int]) -> str:
    if len(classes) <= CLASSES_SHOWN:
        pairs = classes.items()
        return ", ".join(f"{printable(name)} {size:,}" for name, size in pairs)
    small, large = (pick(classes, key=classes.get) for pick in (min, max))
    return (
        f"from {classes[small]:,} ({printable(small)}) "
        f"to {classes[large]:,} ({printable(large)}) each"
    )


def _count(number: int, noun: str) -> str:
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
