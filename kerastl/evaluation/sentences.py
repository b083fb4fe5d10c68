"""What a score means, in sentences a learner can act on."""

from typing import TYPE_CHECKING

from kerastl.evaluation.layout import printable

if TYPE_CHECKING:
    from kerastl.evaluation.scores import Scores

_NAMED_ABSENT = 5


def describe(scores: "Scores") -> str:
    """Say what was measured, how sure it is and whether it beats not looking at all.

    Args:
        scores: What `score` returned.

    Returns:
        One sentence or two per line: the headline with interval and baseline, the
        verdict, the other measures, the weakest class and what could not be measured.
    """
    lines = (
        headline(scores),
        verdict(scores),
        _other_measures(scores),
        _weakest_class(scores),
        _absent_classes(scores),
    )
    return "\n".join(line for line in lines if line)


def headline(scores: "Scores") -> str:
    """Return the one sentence to quote: value, interval, images and baseline."""
    measure = scores.accuracy
    name = f"{scores.split} accuracy".strip()
    if scores.multi_label:
        name += " (every label of an image right)"
    return (
        f"{name} {measure.value:.3f} (95 % interval {measure.low:.3f} to "
        f"{measure.high:.3f}, {count_images(scores.n)}); always answering "
        f"{quote(scores.baseline_class)} would score {scores.baseline.value:.3f}."
    )


def verdict(scores: "Scores") -> str:
    """Return what the interval says against the baseline, and what the split allows."""
    return " ".join(filter(None, (_against_baseline(scores), _caution(scores))))


def _against_baseline(scores: "Scores") -> str:
    measure, baseline = scores.accuracy, scores.baseline.value
    common = "set of labels" if scores.multi_label else "class"
    if measure.high < baseline:
        return f"That is worse than always answering the commonest {common}."
    if measure.low <= baseline:
        return (
            "The interval includes that baseline: this score is not distinguishable "
            f"from always answering the commonest {common}. More images in this split "
            "would tell."
        )
    return (
        f"On new images like these expect between {1000 * measure.low:.0f} and "
        f"{1000 * measure.high:.0f} right of 1,000."
    )


def _caution(scores: "Scores") -> str:
    if scores.split != "validation":
        return ""
    return (
        "The epoch kept was chosen on these images, so this score is optimistic; "
        "the test score is the one to believe."
    )


def _other_measures(scores: "Scores") -> str:
    named = {
        "balanced accuracy": scores.balanced_accuracy,
        "micro F1": scores.micro_f1,
        "macro F1": scores.macro_f1,
        **{f"top-{k} accuracy": measure for k, measure in scores.top_k.items()},
    }
    said = [f"{name} {m}" for name, m in named.items() if m is not None]
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def _weakest_class(scores: "Scores") -> str:
    present = scores.per_class[scores.per_class["n"] > 0]
    if len(present) < 2 or present["recall"].min() == 1:
        return ""
    row = present.loc[present["recall"].idxmin()]
    right = round(row["recall"] * row["n"])
    return (
        f"Weakest class: {quote(row['class'])}, {right:,} of {count_images(row['n'])} "
        f"found (recall {row['recall']:.3f}, {row['recall_low']:.3f} to "
        f"{row['recall_high']:.3f})."
    )


def _absent_classes(scores: "Scores") -> str:
    absent = scores.per_class.loc[scores.per_class["n"] == 0, "class"].tolist()
    if not absent:
        return ""
    named = ", ".join(map(quote, absent[:_NAMED_ABSENT]))
    more = f" and {len(absent) - _NAMED_ABSENT} more" * (len(absent) > _NAMED_ABSENT)
    return (
        f"No image of {named}{more} in this split: how well "
        f"{'it is' if len(absent) == 1 else 'they are'} found is unknown."
    )


def quote(name: str) -> str:
    """Return a class name in quotes, its invisible characters shown as escapes.

    Example:

    >>> print(quote("고양이"), quote("it's"))
    '고양이' 'it's'
    """
    return f"'{printable(name)}'"


def count_images(n: int) -> str:
    """Return `1 image` or `1,797 images`.

    Example:

    >>> count_images(1), count_images(1797)
    ('1 image', '1,797 images')
    """
    return f"{n:,} image{'' if n == 1 else 's'}"
