import json
import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from run_folder import write_json
from search_folder import SPACE, finish_board, make_board, write_search

from kerastl.errors import UsageError
from kerastl.reporting import (
    fonts,
    near_best,
    plot_parallel,
    plot_parameters,
    plot_trials,
    render_search_figures,
    render_search_report,
    search_html,
    search_text,
)
from kerastl.reporting.boards import arrange_trials, format_value, read_values
from kerastl.reporting.canvas import figure_png
from kerastl.reporting.marks import BEST, NEAR
from kerastl.reporting.scales import measure_values, spread_columns
from kerastl.runs.tables import parse_csv, render_csv

PLOTS = (plot_trials, plot_parameters, plot_parallel)
FILES = ("search.json", "leaderboard.csv", "metrics.json", "config.toml")
HOSTILE = ("<script>alert(1)</script>", "$\\frac{$", "=cmd|'/c calc'!A1", "exe\u202egnp")
BOARD = pd.DataFrame(
    {
        "rank": [1, 2, 3, 4, 5],
        "trial": [4, 1, 3, 2, 5],
        "score": [0.90, 0.88, 0.70, np.nan, np.nan],
        "low": [0.86, 0.84, 0.64, np.nan, np.nan],
        "high": [0.93, 0.91, 0.75, np.nan, np.nan],
        "std": [0.0, 0.0, 0.0, np.nan, np.nan],
        "learning_rate": [1e-3, 1e-5, 1e-1, 1e-2, 1e-4],
        "base": ["tiny", "vgg16", "tiny", "vgg16", "tiny"],
        "epochs_run": [5, 5, 5, 0, 0],
        "fit_seconds": [40.0, 9.0, 12.0, np.nan, np.nan],
        "status": ["done", "done", "done", "failed", "not run"],
        "reason": ["", "", "", "MemoryError: 2 GB", ""],
        "peak_memory_mb": [800.0, 700.0, 700.0, 2048.0, np.nan],
    }
)
SUMMARY = {
    "best": {"trial": 4, "params": {"base": "tiny"}, "selected_on": "5 folds"},
    "within_interval": {
        "count": 2,
        "cheapest": {"trial": 1, "params": {"base": "vgg16"}, "fit_seconds": 9.0},
    },
    "test": None,
    "nested": None,
    "notes": ["batch_size was left at 32."],
}


def legend(figure):
    kept = figure.legends or [figure.axes[0].get_legend()]
    return [text.get_text() for text in kept[0].get_texts()]


def shown_ticks(ax):
    low, high = ax.get_xlim()
    pairs = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    return [label for place, label in pairs if low <= place <= high]


def texts_are_inside(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [t for ax in figure.axes for t in (*ax.texts, ax.xaxis.label, ax.yaxis.label)]
    texts += [t for ax in figure.axes if ax.axison for t in shown_ticks(ax)]
    texts += [t for box in figure.legends for t in box.get_texts()]
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in texts if t.get_text()]
    width, height = canvas.get_width_height()
    return all(
        b.x0 >= -1 and b.x1 <= width + 1 and b.y0 >= -1 and b.y1 <= height + 1
        for b in boxes
    )


def points(ax, color):
    chosen = [line for line in ax.lines if line.get_marker() not in ("None", None, "")]
    found = [line for line in chosen if to_hex(line.get_color()) == color.lower()]
    return sorted((float(x), float(y)) for line in found for x, y in line.get_xydata())


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = set(), [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


# the leaderboard


def test_rows_are_told_apart_by_status_and_score():
    board = pd.DataFrame(
        {
            "trial": [5, 4, 3, 2, 1],
            "score": [0.5, np.nan, np.inf, 0.9, np.nan],
            "status": ["stopped at rung 1", "not run", "done", "done", "failed"],
        }
    )
    rows = arrange_trials(board)
    assert rows["trial"].tolist() == [1, 2, 3, 4, 5]
    assert rows["kind"].tolist() == ["failed", "done", "failed", "not run", "stopped"]


def test_no_leaderboard_is_refused():
    with pytest.raises(UsageError, match=r"no column 'status', only \['trial', 'score'\]"):
        plot_trials(pd.DataFrame({"trial": [1], "score": [0.5]}))
    with pytest.raises(UsageError, match="0 rows: no trial is planned"):
        search_text(BOARD[:0])
    with pytest.raises(UsageError, match=r"without a number: \['x'\]"):
        plot_trials(BOARD[:1].assign(trial="x"))
    with pytest.raises(UsageError, match="no parameter 'learning_rat'.*'learning_rate'"):
        plot_parameters(BOARD, ["learning_rat"])
    with pytest.raises(UsageError, match="no parameter among its columns"):
        plot_parallel(BOARD.drop(columns=["learning_rate", "base"]))
    with pytest.raises(UsageError, match="None of the 1 trials"):
        plot_parameters(BOARD[BOARD["status"] == "not run"])


def test_near_best_are_done_and_inside_the_interval():
    assert near_best(BOARD)["trial"].tolist() == [1, 4]
    assert near_best(BOARD.assign(low=np.nan))["trial"].tolist() == [4]
    assert near_best(BOARD[3:]).empty
    stopped = BOARD.assign(status=["done", "stopped at rung 1", "done", "failed", "failed"])
    assert near_best(stopped)["trial"].tolist() == [4]


def test_the_rank_decides_who_leads_and_lower_numbers_break_ties():
    assert near_best(BOARD.assign(rank=[2, 1, 3, 4, 5], low=2))["trial"].tolist() == [1]
    assert near_best(BOARD.assign(rank=1, low=2))["trial"].tolist() == [1]
    assert near_best(BOARD.drop(columns="rank").assign(low=2))["trial"].tolist() == [4]


@pytest.mark.parametrize(
    ("cell", "value", "shown"),
    [
        (np.float64(16), 16, "16"),
        (np.int64(1024), 1024, "1024"),
        ("[512, 256]", (512, 256), "[512, 256]"),
        ("('flip', 'crop')", ("flip", "crop"), "[flip, crop]"),
        ([0.01, 0.001], (0.01, 0.001), "[0.01, 0.001]"),
        ("[]", (), "[]"),
        ("True", True, "true"),
        (np.bool_(False), False, "false"),
        (float("nan"), None, "none"),
        ("None", None, "none"),
        ("0.00001", 1e-5, "1e-5"),
        (0.0123456, 0.0123456, "0.01235"),
        ("resnet50", "resnet50", "resnet50"),
        ("[" * 90, "[" * 90, "[" * 90),
        ("__import__('os')", "__import__('os')", "__import__('os')"),
        ("a\x1b[31m", "a\x1b[31m", "a\\x1b[31m"),
        ("Infinity", "inf", "inf"),
    ],
)
def test_cells_are_values_again(cell, value, shown):
    assert read_values([cell]) == [value]
    assert type(read_values([cell])[0]) is type(value)
    assert format_value(cell) == shown


def test_a_board_draws_the_same_before_and_after_csv():
    board = make_board(8, 1, 1)
    stored = parse_csv(render_csv(board), ("status", "reason"))
    for plot in PLOTS:
        assert figure_png(plot(stored)) == figure_png(plot(board))
    assert search_text(stored) == search_text(board)


# scales


def test_numbers_over_two_decades_are_logarithmic():
    assert measure_values([1e-5, 1e-4, 1e-2]).log
    assert not measure_values([0.0, 1e-4, 1e-2]).log
    assert not measure_values([-1e-5, 1e-4, 1e-2]).log


def test_one_small_number_of_many_does_not_make_an_axis_logarithmic():
    rng = np.random.default_rng(0)
    assert not measure_values([0.0001, *rng.uniform(0, 1, 60)]).log
    assert measure_values((10 ** rng.uniform(-3, -1.5, 60)).tolist()).log
    assert not measure_values(rng.uniform(0.01, 0.5, 60).tolist()).log


def test_few_numbers_that_repeat_are_columns_in_order():
    scale = measure_values([64, 16, 128, 16])
    assert scale.categories
    assert scale.labels == ("16", "64", "128")
    assert scale.places.tolist() == [1, 0, 2, 0]


def test_none_stands_beside_the_numbers():
    scale = measure_values([None, 0.2, 0.1, 0.9])
    assert scale.labels[0] == "none"
    assert scale.places[0] == scale.ticks[0] < 0.1
    log = measure_values([1e-4, None, 1e-1])
    assert log.log
    assert 0 < log.places[1] < 1e-4
    assert ((log.fractions(log.places) >= 0) & (log.fractions(log.places) <= 1)).all()


@pytest.mark.parametrize(
    "values",
    [[5], [0], [-3.5], [None], [True], [None, 2.5], [1e-30, 1e30], [(), (1,)], ["a", 1]],
)
def test_any_values_have_places_inside_their_bounds(values):
    scale = measure_values(values)
    shares = scale.fractions(scale.places)
    assert np.isfinite(shares).all()
    assert ((shares >= 0) & (shares <= 1)).all()
    assert scale.ticks


def test_the_order_of_trials_does_not_change_the_axis():
    values = ["b", "a", None, (256,), (), 3, "a"]
    assert measure_values(values).labels == measure_values(values[::-1]).labels


def test_spread_columns_stay_within_their_width():
    spread = spread_columns(np.repeat([0.0, 1.0], 50), 0.5)
    assert len(np.unique(spread)) == 100
    assert np.abs(spread - np.repeat([0, 1], 50)).max() <= 0.25


# figures


def test_trials_are_drawn_in_order_with_best_so_far():
    figure = plot_trials(BOARD)
    ax = figure.axes[0]
    steps = next(line for line in ax.lines if line.get_label() == "best so far")
    assert steps.get_xydata().tolist() == [[1, 0.88], [3, 0.88], [4, 0.90]]
    assert points(ax, BEST) == [(4, 0.90)]
    assert points(ax, NEAR) == [(1, 0.88)]
    assert legend(figure) == [
        "95 % interval of the best: 0.860 to 0.930",
        "best so far",
        "best: trial 4 (0.900)",
        "inside its interval (1)",
        "below its interval (1)",
        "failed (1)",
        "not run (1)",
    ]


def test_trials_without_a_score_lie_below_all_others():
    ax = plot_trials(BOARD).axes[0]
    low, high = ax.get_ylim()
    floors = [line for line in ax.lines if line.get_marker() in ("x", "|")]
    assert [line.get_xdata().tolist() for line in floors] == [[2], [5]]
    assert all(low + y * (high - low) < 0.69 for line in floors for y in line.get_ydata())


def test_trials_draw_on_given_axes():
    ax = Figure().add_subplot()
    assert plot_trials(BOARD, ax) is ax.figure


def test_without_an_interval_none_is_claimed():
    board = BOARD.drop(columns=["low", "high"])
    assert "lower (2)" in legend(plot_trials(board))
    assert not any("interval" in entry for entry in legend(plot_trials(board)))


def test_halving_shows_stopped_trials_apart_and_never_as_best():
    status = ["stopped at rung 1", "done", "done", "stopped at rung 2", "not run"]
    board = BOARD.assign(
        status=status, rank=[4, 1, 2, 3, 5], score=[0.95, 0.9, 0.8, 0.7, None]
    )
    for plot in PLOTS:
        assert "best: trial 1 (0.900)" in legend(plot(board))
        assert "stopped early (2)" in legend(plot(board))


def test_parameters_choose_their_axes():
    rate, base = plot_parameters(BOARD).axes
    assert (rate.get_xscale(), base.get_xscale()) == ("log", "linear")
    assert points(rate, BEST) == [(1e-3, 0.90)]
    labels = [label.get_text() for label in base.get_xticklabels()]
    assert labels == ["tiny", "vgg16"]
    assert rate.get_ylim() == base.get_ylim()


def test_parameters_mark_the_median_of_a_column():
    params = pd.DataFrame({"base": ["a", "a", "a", "b"]})
    board = finish_board(params, np.array([0.5, 0.7, 0.9, 0.6]), ["done"] * 4)
    figure = plot_parameters(board)
    (segments,) = [c.get_segments() for c in figure.axes[0].collections]
    assert [segment[0][1] for segment in segments] == pytest.approx([0.7])
    assert "median of a column" in legend(figure)


def test_parallel_lines_reach_the_score_and_failed_ones_do_not():
    ax = plot_parallel(BOARD).axes[0]
    (lines,) = ax.collections
    assert [len(line) for line in lines.get_segments()] == [3, 3, 3]
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [len(line.get_xdata()) for line in dotted] == [2]
    assert legend(plot_parallel(BOARD)) == ["failed (1)", "best: trial 4 (0.900)"]
    titles = [text.get_text() for text in ax.texts[:3]]
    assert titles == ["learning_rate", "base", "validation score"]


def test_better_lines_are_drawn_last():
    (lines,) = plot_parallel(BOARD).axes[0].collections
    ends = [segment[-1][1] for segment in lines.get_segments()]
    assert ends == sorted(ends)


@pytest.mark.parametrize("counts", [(1, 0, 0), (5, 1, 1), (30, 3, 2), (200, 12, 20)])
def test_texts_stay_inside_any_figure(counts):
    assert all(texts_are_inside(plot(make_board(*counts))) for plot in PLOTS)


def test_many_parameters_and_many_categories_fit():
    rng = np.random.default_rng(0)
    params = {"base": [f"a long base name {i}" for i in range(80)]}
    params["optimizer"] = rng.choice(["adam", "sgd"], 80)
    params |= {f"last-15__setting_{i}": rng.uniform(0, 1, 80) for i in range(9)}
    board = finish_board(pd.DataFrame(params), rng.uniform(0.5, 0.9, 80), ["done"] * 80)
    assert all(texts_are_inside(plot(board)) for plot in PLOTS)
    assert plot_parameters(board).axes[3].get_xlabel() == "last-15\nsetting_1"


def test_nothing_but_failures_can_be_drawn():
    board = BOARD.assign(status="failed", score=np.nan, low=np.nan, high=np.nan)
    for plot in PLOTS:
        assert legend(plot(board))[0].startswith("failed (5)")
        figure_png(plot(board))


def test_hostile_and_korean_values_are_drawn_as_text():
    params = pd.DataFrame({"base": [*HOSTILE, "고양이"], "머리__learning_rate": range(5)})
    board = finish_board(params, np.linspace(0.5, 0.9, 5), ["done"] * 5)
    for plot in PLOTS:
        figure_png(plot(board))
    labels = [t.get_text() for t in plot_parameters(board).axes[0].get_xticklabels()]
    named = {"고양이", "<script>alert(1)</scr…", r"\$\frac{\$", "=cmd|'/c calc'!A1"}
    assert set(labels) == named | {r"exe\u202egnp"}


def test_without_a_font_only_what_needs_it_is_numbered(monkeypatch):
    monkeypatch.setattr(fonts, "KOREAN_FONTS", ())
    board = make_board(30)
    labels = [t.get_text() for t in plot_parameters(board).axes[2].get_xticklabels()]
    assert labels == ["resnet50", "tiny", "1"]
    assert "apt install fonts-nanum" in plot_parameters(board).get_supxlabel()
    assert any("apt install" in t.get_text() for t in plot_parallel(board).axes[0].texts)


def test_settings_of_the_user_are_left_alone_and_bytes_repeat():
    for plot in PLOTS:
        assert figure_png(plot(BOARD)) == figure_png(plot(BOARD))
    assert figure_png(plot_trials(BOARD)) == plot_trials(BOARD)._repr_png_()


# text


def test_text_shows_ten_trials_and_counts_the_rest():
    lines = search_text(make_board(30)).splitlines()
    assert lines[0].split()[:5] == ["rank", "trial", "score", "low", "high"]
    assert [line.split()[0] for line in lines[1:11]] == [str(n) for n in range(1, 11)]
    assert lines[11] == "and 20 more trials in leaderboard.csv"
    assert "more trials" not in search_text(make_board(10))


def test_text_says_what_the_best_score_is_worth():
    text = search_text(BOARD, SUMMARY)
    assert "5 trials: 3 done, 1 failed, 1 not run." in text
    assert (
        "Best: trial 4 (base=tiny), 0.900 (95 % interval 0.860 to 0.930) on 5 folds. It "
        "was selected there as the highest of 3 scores, so it is optimistic."
    ) in text
    assert (
        "The score of 1 other trial lies inside that interval: the search cannot tell it "
        "from the best. The cheapest of them is trial 1 (base=vgg16), 9.0 s "
        "instead of 40.0 s."
    ) in text
    assert "Trial 2 failed: MemoryError: 2 GB" in text
    assert "No test score: the test split has not been read" in text
    assert "batch_size was left at 32." in text


def test_text_of_a_best_trial_that_stands_alone_or_is_cheapest():
    alone = SUMMARY | {"within_interval": {"count": 1, "cheapest": {"trial": 4}}}
    assert "No other trial's score lies inside" in search_text(BOARD, alone)
    cheap = SUMMARY | {"within_interval": {"count": 3, "cheapest": {"trial": 4}}}
    assert "The best one is also the cheapest of them." in search_text(BOARD, cheap)


def test_text_names_only_what_the_cheapest_has_otherwise():
    best = SUMMARY["best"] | {"params": {"base": "tiny", "dropout": 0.1}}
    cheapest = {"trial": 1, "params": {"base": "vgg16", "dropout": 0.1}}
    near = {"within_interval": {"count": 2, "cheapest": cheapest}}
    text = search_text(BOARD, SUMMARY | {"best": best} | near)
    assert "The cheapest of them is trial 1 (base=vgg16)." in text


def test_text_of_a_single_trial_compares_it_with_none():
    text = search_text(BOARD[:1], {"within_interval": {"count": 1, "cheapest": None}})
    assert "optimistic" not in text
    assert "No other trial" not in text


def test_parameters_that_are_not_decided_yet_are_dashes():
    board = BOARD.assign(base=["tiny", "vgg16", None, "tiny", None])
    rows = [line.split() for line in search_text(board).splitlines()[1:6]]
    bases = {row[1]: row[6] for row in rows}
    assert (bases["3"], bases["2"], bases["5"]) == ("none", "tiny", "–")


def test_text_while_the_search_runs_names_the_best_from_the_rows():
    assert "Best: trial 4 (learning_rate=0.001, base=tiny), 0.900" in search_text(BOARD)


def test_text_counts_the_failures_it_does_not_list():
    text = search_text(make_board(30, 5))
    assert "Trial 2 failed: killed by signal 9" in text
    assert "The reasons of 2 more are in leaderboard.csv." in text


def test_text_when_all_failed():
    board = BOARD.assign(status="failed", score=np.nan)
    text = search_text(board, {"best": None, "within_interval": None})
    assert "No trial has a score." in text
    assert text.splitlines()[1].split()[:3] == ["–", "4", "–"]


def test_a_done_trial_with_a_score_that_is_not_finite_is_failed_in_the_table():
    board = BOARD.assign(score=[0.9, math.inf, 0.7, np.nan, np.nan])
    assert "Trial 1 failed: its score is not finite." in search_text(board)


def test_text_of_nested_folds():
    text = search_text(BOARD, SUMMARY | {"nested": {"scores": [0.8, 0.9], "mean": 0.85}})
    assert "Nested: on 2 outer folds the winners score 0.850 on average (0.800 to" in text


def test_parameters_that_never_differ_are_left_out_of_the_table():
    header = search_text(BOARD.assign(base="tiny")).splitlines()[0]
    assert "learning_rate" in header
    assert "base" not in header


def test_html_escapes_everything():
    board = BOARD.assign(base=[*HOSTILE, "x"], reason=HOSTILE[0])
    page = Page(search_html(board, SUMMARY | {"notes": [HOSTILE[0]]}))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE[0]) >= 3
    assert "\u202e" not in page.text


# the report


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    return write_search(tmp_path_factory.mktemp("runs") / "search-1")


@pytest.fixture(scope="module")
def report(search):
    return render_search_report(search)


def test_report_has_every_section(report):
    for heading in ("Trials", "Parameters", "Space", "Failed trials", "Settings"):
        assert f"<h2>{heading}</h2>" in report
    assert "<title>kerastl: random search on ~/사진</title>" in report
    assert "Missing" not in report
    assert "mina" not in report


def test_report_leads_with_the_test_score(report):
    lead = report.partition('<p class="lead">')[2].partition("</p>")[0]
    assert lead.startswith("test accuracy 0.")
    assert "Nothing was selected on it." in lead
    assert "so it is optimistic" in Page(report).text


def test_report_shows_space_failures_and_the_winner(report):
    page = Page(report)
    assert "loguniform(1e-05, 0.1)" in page.text
    assert "killed by signal 9 (out of memory?)" in page.text
    assert ("href", "best/report.html") in page.attributes


def test_report_fetches_and_runs_nothing(report):
    page = Page(report)
    assert "script" not in page.tags
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) == 3
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert "http:" not in report
    assert "https:" not in report


def test_same_search_same_bytes_whatever_the_style(search, report):
    with rc_context({"axes.facecolor": "black", "font.size": 30}):
        figures = render_search_figures(search)
    assert sorted(figures) == ["parallel.png", "parameters.png", "trials.png"]
    assert render_search_report(search, figures) == report


def test_report_folds_long_leaderboards(tmp_path):
    folder = write_search(tmp_path / "search", make_board(60))
    report = render_search_report(folder)
    assert "<summary>35 more trials</summary>" in report


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00{", b"[1, 2"])
def test_report_says_what_is_missing_or_damaged(tmp_path, name, content):
    folder = write_search(tmp_path / "search", make_board(3))
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    page = Page(render_search_report(folder, {}))
    said = "is missing" if content is None else "cannot be read"
    if (name, content) != ("config.toml", b""):  # an empty one is a fine one
        assert f"{name} {said}" in page.text


def test_report_refuses_a_folder_that_is_no_search(tmp_path):
    with pytest.raises(UsageError, match=r"empty' is not the folder of a search"):
        render_search_report(tmp_path / "empty")


def test_metrics_of_the_wrong_shape_are_damage_not_a_crash(tmp_path):
    folder = write_search(tmp_path / "search", make_board(3))
    write_json(folder / "metrics.json", {"best": [1], "test": "x"})
    assert "metrics.json cannot be read" in Page(render_search_report(folder, {})).text


def test_hostile_text_in_every_file_stays_text(tmp_path):
    evil = HOSTILE[0]
    board = make_board(6, 2).assign(base=evil, reason=f"/home/mina/x {evil}")
    folder = write_search(tmp_path / "search", board)
    plan = {"settings": {"mode": evil, evil: evil}, "space": {"base": [evil], evil: evil}}
    write_json(folder / "search.json", plan)
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    metrics["best"] |= {"params": {evil: evil}, "selected_on": evil}
    write_json(folder / "metrics.json", metrics | {"notes": [evil]})
    (folder / "config.toml").write_text(f"data = {json.dumps(evil)}\n", "utf-8")
    html = render_search_report(folder)
    page = Page(html)
    assert "script" not in page.tags
    assert page.text.count(evil) >= 10
    assert "mina" not in html
    assert {name for name, _ in page.attributes if name.startswith("on")} == set()


def test_names_without_a_font_are_listed_below_the_figures(search, monkeypatch):
    monkeypatch.setattr(fonts, "KOREAN_FONTS", ())
    assert "<ol><li>고양이 모델.keras</li></ol>" in render_search_report(search)


def test_a_search_of_which_nothing_ran_has_no_figures_of_parameters(tmp_path):
    folder = write_search(tmp_path / "search", make_board(4))
    board = make_board(4).assign(status="not run", score=np.nan, **dict.fromkeys(SPACE))
    (folder / "leaderboard.csv").write_text(render_csv(board), "utf-8")
    assert list(render_search_figures(folder)) == ["trials.png"]


def test_parameters_of_trials_that_did_not_run_are_not_none():
    board = make_board(30, 0, 5)
    board.loc[board["status"] == "not run", list(SPACE)] = None
    labels = [t.get_text() for t in plot_parameters(board).axes[1].get_xticklabels()]
    assert labels == ["16", "32", "64"]
