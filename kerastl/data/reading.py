"""How the user wants a source to be read: the arguments of `load_images` that say so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from kerastl.data.labels import Rule, Template, apply_rule, parse_rule
from kerastl.errors import DataError, UsageError

SEPARATOR = "|"  # between the labels of one image, in tables and in what rules return


@dataclass(frozen=True)
class Reading:
    """Which columns and rules give the paths, labels and groups.

    Args:
        path_column: Column of paths in a table; None to recognise it.
        label_column: Column of labels; `"a,b,c"` for several columns of 0 and 1.
        label_rule: Template, pattern or function that builds the label.
        group_rule: The same for the group that must stay on one side of a split.
        multi_label: Whether an image may have several labels, or none.
    """

    path_column: str | None = None
    label_column: str | None = None
    label_rule: Rule | None = None
    group_rule: Rule | None = None
    multi_label: bool = False

    def __post_init__(self):
        if self.label_column is not None and self.label_rule is not None:
            raise UsageError(
                f"label_column={self.label_column!r} and label_rule={self.label_rule!r} "
                "both say where labels come from: give one of them."
            )
        for argument in ("label_rule", "group_rule"):
            object.__setattr__(self, argument, _parse(argument, getattr(self, argument)))

    def only(self, kind: str, allowed: Iterable[str]) -> None:
        """Refuse arguments that mean nothing for this kind of source.

        Raises:
            UsageError: One that is set is not in `allowed`.
        """
        for field in fields(self):
            if getattr(self, field.name) and field.name not in allowed:
                value = getattr(self, field.name)
                shown = getattr(value, "rule", value)
                raise UsageError(f"{field.name}={shown!r} cannot be used with {kind}.")

    def rule_label(
        self, name: str, columns: Mapping[str, str] | None = None
    ) -> str | tuple[str, ...] | None:
        """Build the label of one path with `label_rule`; None skips it."""
        text = apply_rule("label_rule", self.label_rule, name, columns)
        return split_labels(text) if self.multi_label and text is not None else text

    def group(self, name: str, columns: Mapping[str, str] | None = None) -> str | None:
        """Build the group of one path, None where there is no rule."""
        if self.group_rule is None:
            return None
        return apply_rule("group_rule", self.group_rule, name, columns)


def _parse(argument: str, rule: Rule | None) -> Rule | None:
    if rule is None or callable(rule):
        return rule
    if not isinstance(rule, str):
        raise UsageError(f"{argument}={rule!r} is neither text nor a function of the path.")
    return parse_rule(argument, rule)


def split_labels(text: str) -> tuple[str, ...]:
    """Take `a|b` apart.

    Raises:
        DataError: A label is empty or stands there twice.

    Example:

    >>> split_labels("cat| dog")
    ('cat', 'dog')
    """
    labels = tuple(label.strip() for label in text.split(SEPARATOR))
    if "" in labels or len(set(labels)) < len(labels):
        raise DataError(
            f"The labels {text!r} have an empty or a repeated one between the '|'."
        )
    return labels


def shown_rule(rule: Rule | None) -> str | None:
    """Return a rule as text, for settings and messages."""
    if rule is None or isinstance(rule, Template):
        return rule and rule.rule
    return f"<function {getattr(rule, '__name__', type(rule).__name__)}>"
