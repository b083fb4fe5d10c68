import json

import numpy as np
import pandas as pd
import pytest
from run_folder import NAMES, STAGES, make_history, make_predictions

from kerastl.evaluation import score
from kerastl.evaluation.layout import html_table, printable, text_table, text_width
from kerastl.reporting import run_html, run_text, stage_text
from kerastl.reporting.tables import describe_unfreeze, format_seconds


def make_metrics(*splits):
    metrics = {"selected_on": "validation", "best": {"stage": "top", "epoch": 5}}
    for split in splits:
        labels, probabilities, _ = make_predictions(NAMES, split)
        metrics[split] = score(labels, probabilities, NAMES, split=split).to_dict()
    return json.loads(json.dumps(metrics))


def test_run_table_has_one_row_per_stage():
    lines = run_text(STAGES, make_history(), make_metrics()).splitlines()
    assert lines[0].split("  ")[0] == "stage"
    head = "head head 3 0.001 1,290 0.778 37.5 s kept epoch 3 of 3"
    assert " ".join(lines[1].split()) == head
    top = "top conv5 and above 4 of 5 0.0001 154,000 0.866 50.0 s kept epoch 2 of 4"
    assert " ".join(lines[2].split()) == f"{top} (best of the run)"


def test_run_table_says_which_numbers_were_selected_on():
    text = run_text(STAGES, make_history(), make_metrics("validation", "test"))
    lines = text.splitlines()
    assert "best val accuracy *" in lines[0]
    assert lines[3].startswith("* selected on: ")
    assert lines[4].startswith("validation accuracy ")
    assert lines[4].endswith(" Selected on this split, so optimistic.")
    assert lines[5].startswith("test accuracy ")
    assert lines[5].endswith(" Nothing was selected on it.")


def test_run_table_without_a_test_score_says_so():
    text = run_text(STAGES, make_history(), make_metrics("validation"))
    assert "No test score: the test split has not been read, or there is none." in text
    assert "No test score" in run_text(STAGES, make_history())


def test_run_table_without_validation_says_nothing_was_chosen():
    rows = make_history().drop(columns=["val_loss", "val_accuracy"])
    text = run_text(STAGES, rows, {"selected_on": None, "best": {"epoch": None}})
    assert "* nothing was selected: there is no validation split." in text
    assert text.splitlines()[1].split()[5] == "–"


def test_run_table_of_an_unfinished_run():
    rows = make_history()
    text = run_text(STAGES[:1], rows[rows["stage_index"] == 0])
    assert len(text.splitlines()) == 4
    empty = make_history()[:0]
    assert run_text([], empty).splitlines()[0].startswith("stage  trains")


def test_notes_of_a_run_are_repeated():
    metrics = make_metrics("test") | {"notes": ["2 of 9 files\x1b[31m were skipped"]}
    assert run_text(STAGES, make_history(), metrics).endswith(
        "2 of 9 files\\x1b[31m were skipped"
    )


def test_html_has_the_same_cells_and_escapes_them():
    stages = [STAGES[0] | {"name": "<script>", "outcome": 'a "quote"'}, STAGES[1]]
    shown = run_html(stages, make_history(), make_metrics("test"))
    assert "<td>&lt;script&gt;</td>" in shown
    assert "a &quot;quote&quot;" in shown
    assert '<td style="text-align:right">0.866</td>' in shown
    assert "<p>test accuracy " in shown


def test_stage_table_before_training_is_the_plan():
    text = stage_text([{"name": "all", "unfreeze": "all", "epochs": 2}])
    assert text.splitlines()[1].split() == ["all", "everything", "2", "–", "–"]


@pytest.mark.parametrize(
    ("unfreeze", "said"),
    [
        ("head", "head"),
        ("all", "everything"),
        ("block5", "block5 and above"),
        (1, "last 1 layer"),
        (15, "last 15 layers"),
        (None, "–"),
    ],
)
def test_what_trains_is_said_in_words(unfreeze, said):
    assert describe_unfreeze(unfreeze) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min")],
)
def test_durations_never_show_sixty(seconds, said):
    assert format_seconds(seconds) == said


def test_columns_align_with_hangul():
    lines = text_table(["class", "n"], [["고양이", 1], ["a", 1000]], {1}).splitlines()
    assert {text_width(line) for line in lines} == {12}


@pytest.mark.parametrize(
    "name",
    ["\x1b[2J", "a\u202eb", "zero\u200bwidth", "line\nbreak", "\x07", "\ud800", "\x9b31m"],
)
def test_names_cannot_act_on_a_terminal(name):
    text = text_table(["name"], [[name]])
    assert len(text.splitlines()) == 2
    assert printable(name).isprintable()
    assert printable(name).isascii()


def test_html_table_counts_its_cells():
    table = html_table(["a", "b"], [[1, "<"], [np.float64(0.5), "&"]], {0}, "x > y")
    assert table.count("<td") == 4
    assert "<caption>x &gt; y</caption>" in table
    with pytest.raises(ValueError, match="shorter|longer"):
        text_table(["a", "b"], [["only one"]])


def test_rows_of_a_stage_with_nan_accuracy_show_a_dash():
    rows = pd.DataFrame({"stage_index": [0], "epoch": [1], "val_accuracy": [np.nan]})
    line = run_text([{"name": "head"}], rows).splitlines()[1]
    assert " ".join(line.split()) == "head – 1 – – – – –"
