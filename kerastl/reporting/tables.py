"""A run as one table: what each stage trained and gave, and what was selected on."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kerastl.evaluation.layout import (
    MISSING,
    format_share,
    html_table,
    html_text,
    printable,
    text_table,
)
from kerastl.evaluation.scores import Scores
from kerastl.evaluation.sentences import headline, verdict

_PLAN = ("stage", "trains", "epochs", "learning rate", "trainable parameters")
_RESULT = ("best val accuracy *", "seconds", "outcome")
_RIGHT = (2, 3, 4, 5, 6)
_SELECTED_ON = (
    "* selected on: the epoch kept is the one with the best validation score, so these "
    "numbers are optimistic."
)
_NOTHING_SELECTED = "* nothing was selected: there is no validation split."
_SELECTED = "Selected on this split, so optimistic."
_NOT_SELECTED = "Nothing was selected on it."
NOT_READ = "No test score: the test split has not been read, or there is none."


def stage_rows(
    stages: Sequence[Mapping[str, Any]],
    history: pd.DataFrame | None = None,
    best: Mapping[str, Any] | None = None,
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return header and cells of the table with one row per stage.

    Args:
        stages: Entries of stages.json: name, unfreeze, epochs, learning_rate,
            trainable_parameters, outcome; absent ones show as a dash.
        history: Rows of history.csv; without them only the plan is shown.
        best: The stage and epoch kept, as in metrics.json.

    Returns:
        Column titles, and one list of texts per stage.

    Example:

    >>> header, rows = stage_rows([{"name": "top", "unfreeze": 15, "epochs": 5}])
    >>> rows
    [['top', 'last 15 layers', '5', '–', '–']]
    """
    plans = [_plan_cells(stage) for stage in stages]
    if history is None:
        return _PLAN, plans
    done = [history[history["stage_index"] == index] for index in range(len(stages))]
    rows = [
        [*_epochs_run(plan, rows), *_result_cells(stage, rows, best)]
        for plan, rows, stage in zip(plans, done, stages, strict=True)
    ]
    return (*_PLAN, *_RESULT), rows


def _plan_cells(stage: Mapping[str, Any]) -> list[str]:
    return [
        str(stage.get("name", MISSING)),
        describe_unfreeze(stage.get("unfreeze")),
        _number(stage.get("epochs"), "d"),
        _number(stage.get("learning_rate"), "g"),
        _number(stage.get("trainable_parameters"), ",d"),
    ]


def describe_unfreeze(unfreeze: object) -> str:
    """Return in words what a stage trains.

    Args:
        unfreeze: As in `Stage`: "head", "all", a block name or a number of layers.

    Returns:
        A short phrase.

    Example:

    >>> describe_unfreeze("conv5"), describe_unfreeze(4)
    ('conv5 and above', 'last 4 layers')
    """
    if unfreeze is None:
        return MISSING
    if isinstance(unfreeze, int):
        return f"last {unfreeze} layer{'' if unfreeze == 1 else 's'}"
    named = {"head": "head", "all": "everything"}
    return named.get(str(unfreeze), f"{unfreeze} and above")


def _number(value: object, spec: str) -> str:
    return MISSING if value is None else format(value, spec)


def _epochs_run(plan: Sequence[str], rows: pd.DataFrame) -> list[str]:
    ran = str(len(rows))
    said = ran if plan[2] in (ran, MISSING) else f"{ran} of {plan[2]}"
    return [*plan[:2], said, *plan[3:]]


def _result_cells(
    stage: Mapping[str, Any], rows: pd.DataFrame, best: Mapping[str, Any] | None
) -> list[str]:
    accuracy = rows["val_accuracy"].max() if "val_accuracy" in rows else None
    seconds = format_seconds(rows["seconds"].sum()) if "seconds" in rows else MISSING
    outcome = str(stage.get("outcome") or MISSING)
    if best and best.get("epoch") in rows["epoch"].tolist():
        outcome = f"{outcome} (best of the run)"
    return [format_share(accuracy), seconds, outcome]


def format_seconds(seconds: float) -> str:
    """Return a duration for people.

    Example:

    >>> format_seconds(9.26), format_seconds(200), format_seconds(7384)
    ('9.3 s', '3 min 20 s', '2 h 03 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def stage_text(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return what each stage will train as plain text, before anything is trained.

    Args:
        stages: Dicts such as `Stage.to_dict()` gives, with `trainable_parameters` added
            where known.

    Returns:
        An aligned table.

    Example:

    >>> print(stage_text([{"name": "head", "unfreeze": "head", "epochs": 3,
    ...                    "learning_rate": 0.001, "trainable_parameters": 1290}]))
    stage  trains  epochs  learning rate  trainable parameters
    head   head         3          0.001                 1,290
    """
    return text_table(*stage_rows(stages), right=_RIGHT)


def run_text(
    stages: Sequence[Mapping[str, Any]],
    history: pd.DataFrame,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Return a run as plain text: its stages, its scores and what they were used for.

    Args:
        stages: Entries of stages.json.
        history: Rows of history.csv.
        metrics: metrics.json; None while nothing is measured.

    Returns:
        A table and a few sentences.

    Example:

    >>> rows = pd.DataFrame({"stage_index": [0], "epoch": [1], "val_accuracy": [0.9]})
    >>> print(run_text([{"name": "head"}], rows).splitlines()[-1])
    No test score: the test split has not been read, or there is none.
    """
    header, rows = stage_rows(stages, history, (metrics or {}).get("best"))
    return "\n".join([text_table(header, rows, right=_RIGHT), *run_notes(metrics)])


def run_html(
    stages: Sequence[Mapping[str, Any]],
    history: pd.DataFrame,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Return the same as `run_text` as HTML for a notebook.

    Args:
        stages: Entries of stages.json.
        history: Rows of history.csv.
        metrics: metrics.json; None while nothing is measured.

    Returns:
        A table and paragraphs; every name in them is escaped.

    Example:

    >>> rows = pd.DataFrame({"stage_index": [0], "epoch": [1], "val_accuracy": [0.9]})
    >>> "<td>&lt;b&gt;</td>" in run_html([{"name": "<b>"}], rows)
    True
    """
    header, rows = stage_rows(stages, history, (metrics or {}).get("best"))
    notes = "".join(f"<p>{html_text(line)}</p>" for line in run_notes(metrics))
    return html_table(header, rows, right=_RIGHT) + notes


def run_notes(metrics: Mapping[str, Any] | None) -> list[str]:
    """Return the sentences under a run's table: the scores, and what was selected on what.

    Args:
        metrics: metrics.json; None while nothing is measured.

    Returns:
        Lines of plain text.

    Example:

    >>> run_notes({"selected_on": None})[0]
    '* nothing was selected: there is no validation split.'
    """
    metrics = metrics or {}
    validation, test = (_read_scores(metrics, name) for name in ("validation", "test"))
    said = [chosen_note(metrics)]
    if validation:
        said.append(f"{headline(validation)} {_SELECTED}")
    if test:
        said += [f"{headline(test)} {_NOT_SELECTED}", verdict(test)]
    else:
        said.append(NOT_READ)
    return [*said, *map(printable, metrics.get("notes") or ())]


def chosen_note(metrics: Mapping[str, Any]) -> str:
    """Return the footnote that says what the epoch was selected on.

    Example:

    >>> chosen_note({"selected_on": None})
    '* nothing was selected: there is no validation split.'
    """
    return _SELECTED_ON if metrics.get("selected_on", "validation") else _NOTHING_SELECTED


def _read_scores(metrics: Mapping[str, Any], split: str) -> Scores | None:
    fields = metrics.get(split)
    return Scores.from_dict({**fields, "split": split}) if fields else None
