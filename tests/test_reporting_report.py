import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from run_folder import NAMES, make_predictions, make_samples, write_json, write_run

from kerastl.errors import UsageError
from kerastl.evaluation import score
from kerastl.reporting import fonts, render_figures, render_report
from kerastl.reporting.page import hide_home
from kerastl.reporting.records import read_record

FILES = (
    "config.toml",
    "stages.json",
    "history.csv",
    "metrics.json",
    "predictions.csv",
    "samples.npz",
    "embeddings.npz",
    "environment.json",
)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><iframe src=javascript:alert(1)>",
    "{{7*7}} ${7*7} %s",
    "&lt;b&gt;",
    "=cmd|'/c calc'!A1",
    "$\\frac{$",
    "고양이 ' onload='x",
)
INVISIBLE = ("red\x1b[31m", "exe\u202egnp.jpg", "zero\u200bwidth")
TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "section"}
TAGS |= {"p", "br", "table", "caption", "thead", "tbody", "tr", "th", "td", "img", "pre"}
TAGS |= {"ol", "li", "details", "summary"}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "style", "alt"}
ATTRIBUTES |= {"src", "scope"}


class Page(HTMLParser):
    """Everything a browser would see: tags, attributes and the text of each element."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.cells, self.text = set(), [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag in ("td", "li"):
            self.cells.append("")

    def handle_data(self, data):
        self.text += data
        if self.cells:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "finetune-1")


@pytest.fixture(scope="module")
def report(run):
    return render_report(run)


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_report_is_one_file_without_script_or_network(report):
    page = Page(report)
    assert page.tags <= TAGS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == 7
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert "http:" not in report
    assert "https:" not in report
    assert ("http-equiv", "Content-Security-Policy") in page.attributes
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert ("content", policy) in page.attributes


def test_report_says_what_the_score_means(report, run):
    page = Page(report)
    scores = read_record(run).scores
    assert str(scores["test"]).splitlines()[0] in page.text
    assert "test (nothing selected on it)" in page.text
    assert "validation (selected on it)" in page.text
    assert "* selected on: " in page.text
    assert "Missing" not in page.text
    assert f"{scores['test'].macro_f1}" in page.cells


def test_report_has_every_section(report):
    for heading in ("Training", "Scores", "Mistakes", "A training batch", "Settings"):
        assert f"<h2>{heading}</h2>" in report
    assert "<title>kerastl: tiny on ~/photos</title>" in report


def test_home_folders_are_shortened(report):
    assert "mina" not in report
    assert 'data = "~/photos"' in Page(report).text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/mina/x", "~/x"),
        ("/Users/mina", "~"),
        ('p = "/root/x"', 'p = "~/x"'),
        ('"C:\\\\Users\\\\mina\\\\x"', '"~\\\\x"'),
        ("photos/home/mina/x", "photos/home/mina/x"),
        ("/rooted/x", "/rooted/x"),
    ],
)
def test_only_home_folders_are_shortened(text, shown):
    assert hide_home(text) == shown


def test_figures_are_png_under_fixed_names(run, report):
    figures = render_figures(run)
    assert render_report(run, figures) == report
    assert sorted(figures) == [
        "confusion_matrix.png",
        "embedding.png",
        "heatmaps_right.png",
        "heatmaps_wrong.png",
        "history.png",
        "train_batch.png",
        "worst_predictions.png",
    ]
    assert all(png.startswith(b"\x89PNG") for png in figures.values())


def test_same_folder_same_bytes(run, report, tmp_path):
    moved = shutil.copytree(run, tmp_path / "elsewhere")
    code = (
        "import sys; from kerastl.reporting import render_report; "
        "sys.stdout.buffer.write(render_report(sys.argv[1]).encode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, moved],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Seoul", "LC_ALL": "C"},
    )
    assert done.stdout == report.encode()


def test_figures_ignore_the_user_style_of_matplotlib(run):
    with rc_context({"axes.facecolor": "black", "font.size": 30}):
        styled = render_figures(run)
    assert styled == render_figures(run)


# hostile names


def test_hostile_names_stay_text(tmp_path):
    names = (*HOSTILE, *INVISIBLE)
    folder = write_run(tmp_path / "run", names)
    page = Page(render_report(folder))
    assert page.tags <= TAGS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert not any("javascript:" in value for _, value in page.attributes)
    for name in HOSTILE:
        assert name in page.cells
    assert "red\\x1b[31m" in page.cells
    assert "exe\\u202egnp.jpg" in page.cells
    assert not set("\x1b\u202e\u200b") & set(page.text)


def test_hostile_text_in_every_other_file_stays_text(copy):
    evil = HOSTILE[1]
    text = f"base = {json.dumps(evil)}\ndata = {json.dumps(evil)}\n"
    (copy / "config.toml").write_text(text, encoding="utf-8")
    stages = json.loads((copy / "stages.json").read_text("utf-8"))
    write_json(copy / "stages.json", [s | {"name": evil, "outcome": evil} for s in stages])
    write_json(copy / "environment.json", {evil: {evil: evil}})
    metrics = json.loads((copy / "metrics.json").read_text("utf-8"))
    write_json(copy / "metrics.json", metrics | {"notes": [evil]})
    page = Page(render_report(copy))
    assert page.tags <= TAGS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert page.text.count(evil) >= 9


def test_cells_guarded_against_spreadsheets_are_read_back(copy):
    rows = pd.DataFrame(
        {
            "split": "test",
            "name": ["'=1+1.jpg", "'tis.jpg"],
            "label": ["'@a", "NA"],
            "predicted": ["'-b", "001"],
            "confidence": [0.9, 0.8],
        }
    )
    rows.to_csv(copy / "predictions.csv", index=False)
    read = read_record(copy).predictions
    assert read["name"].tolist() == ["=1+1.jpg", "'tis.jpg"]
    assert read["label"].tolist() == ["@a", "NA"]
    assert read["predicted"].tolist() == ["-b", "001"]


# what is missing


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    missing = [line.split(": ")[0] for line in read_record(copy).missing]
    assert missing == [f"{name} is missing"]


@pytest.mark.parametrize("name", ["metrics.json", "stages.json"])
def test_a_report_without_a_file_says_so(copy, name):
    (copy / name).unlink()
    assert Page(render_report(copy)).text.count(f"{name} is missing: ") == 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfegarbage", b"[1, 2", b'"text"'])
def test_a_damaged_file_is_named(copy, name, content):
    (copy / name).write_bytes(content)
    missing = [line for line in read_record(copy).missing if line.startswith(name)]
    # An empty TOML file is a valid one.
    assert len(missing) == (0 if (name, content) == ("config.toml", b"") else 1)


@pytest.mark.parametrize("name", ["metrics.json", "samples.npz", "stages.json"])
def test_a_file_cut_anywhere_never_breaks_the_report(copy, name):
    whole = (copy / name).read_bytes()
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        (copy / name).write_bytes(whole[:end])
        assert any(line.startswith(name) for line in read_record(copy).missing)


def test_one_damaged_file_leaves_the_rest_of_the_report(copy):
    (copy / "samples.npz").write_bytes(b"PK\x03\x04 cut")
    report = render_report(copy)
    assert "samples.npz cannot be read (BadZipFile): no training batch" in report
    assert report.count("<img ") == 3


def test_the_smallest_report_has_only_settings(tmp_path):
    (tmp_path / "config.toml").write_text('base = "tiny"\n')
    page = Page(render_report(tmp_path))
    assert "This run has no scores yet." in page.text
    assert page.text.count(" is missing: ") == len(FILES) - 1


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_that_is_no_run_is_refused(tmp_path, make):
    folder = tmp_path / "other"
    if make:
        folder.mkdir()
    with pytest.raises(UsageError, match="other' is not a run folder"):
        render_report(folder)


def test_without_a_test_split_validation_is_shown_and_called_optimistic(copy):
    metrics = json.loads((copy / "metrics.json").read_text("utf-8"))
    write_json(copy / "metrics.json", metrics | {"test": None})
    page = Page(render_report(copy))
    assert "No test score" in page.text
    assert "optimistic; the test score is the one to believe" in page.text
    assert "test (nothing selected on it)" not in page.text
    assert "Classes on the validation split" in page.text


def test_several_labels_per_image_have_no_confusion_matrix(copy):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (40, 3))
    scores = score(truth, rng.random((40, 3)), NAMES, split="test")
    write_json(copy / "metrics.json", {"test": scores.to_dict()})
    assert "confusion_matrix.png" not in render_figures(copy)
    assert "there is no confusion matrix" in Page(render_report(copy)).text


def test_a_run_without_mistakes_says_so(copy):
    _, _, rows = make_predictions(NAMES, "test")
    rows.assign(predicted=rows["label"]).to_csv(copy / "predictions.csv", index=False)
    samples = make_samples(NAMES)
    empty = {name: array[:0] if array.ndim else array for name, array in samples.items()}
    np.savez(copy / "samples.npz", **empty)
    page = Page(render_report(copy))
    assert f"No mistake among the {len(rows)} test images." in page.text


def test_without_a_font_the_report_lists_what_the_numbers_mean(run, monkeypatch):
    monkeypatch.setattr(fonts, "KOREAN_FONTS", ())
    page = Page(render_report(run))
    assert "Classes are numbered as in the table below." in page.text
    assert "0000.jpg, label: 고양이, said: 고양이, 98.1 %" in page.cells


def test_many_classes_are_folded_away(tmp_path):
    names = tuple(f"class {i}" for i in range(50))
    report = render_report(write_run(tmp_path / "run", names))
    assert "<summary>All 50 classes</summary>" in report


def test_pickles_in_samples_are_not_opened(copy):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (copy / "canary",))

    trap = np.array([Trap()], dtype=object)
    np.savez(copy / "samples.npz", train_batch=trap, train_batch_titles=trap)
    assert "samples.npz cannot be read (ValueError)" in read_record(copy).missing[0]
    assert not (copy / "canary").exists()
