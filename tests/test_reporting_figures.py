import io
import shutil
import subprocess
from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from run_folder import make_history, make_samples

from kerastl.errors import UsageError
from kerastl.reporting import (
    fonts,
    plot_confusion,
    plot_history,
    plot_images,
    plot_worst,
    worst_predictions,
    worst_titles,
)
from kerastl.reporting.canvas import figure_png
from kerastl.reporting.predictions import count_mixups

KOREAN = ["고양이", "강아지", "새"]
# Drawn letter by letter or not at all: formulas, escapes, markup, right-to-left override.
HOSTILE = ["$\\frac{$", "$x^2$", "a\x1b[31m", "b\u202egnp", "<script>", "{0}%s", "_"]
HOSTILE += ["x" * 300, "\N{GRINNING FACE}"]


def draw_matrix(classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (classes, classes)) + np.diag(rng.integers(5, 30, classes))


def read_png(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def texts_are_inside(figure):
    canvas, texts = FigureCanvasAgg(figure), list(figure.texts)
    canvas.draw()
    for ax in figure.axes:
        labels = (ax.xaxis.label, ax.yaxis.label) if ax.axison else ()
        texts += [ax.title, *labels, *ax.texts]
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in texts if t.get_text()]
    width, height = canvas.get_width_height()
    return all(
        b.x0 >= -1 and b.x1 <= width + 1 and b.y0 >= -1 and b.y1 <= height + 1
        for b in boxes
    )


def tick_names(figure):
    figure.canvas.draw()
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


# confusion matrix


def test_confusion_shows_counts_and_names():
    figure = plot_confusion(np.array([[8, 2], [0, 9]]), ["cat", "dog"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["8", "2", "9"]
    assert tick_names(figure) == ["cat", "dog"]
    assert figure.axes[0].get_xlabel() == "predicted"
    assert figure.axes[0].get_ylabel() == "true"


@pytest.mark.parametrize(("classes", "numbers"), [(20, True), (21, False), (30, False)])
def test_confusion_leaves_numbers_out_when_there_are_many(classes, numbers):
    figure = plot_confusion(draw_matrix(classes), [f"class {i}" for i in range(classes)])
    assert bool(figure.axes[0].texts) == numbers
    assert len(tick_names(figure)) == classes


@pytest.mark.parametrize("classes", [2, 10, 20, 30, 60])
def test_confusion_names_do_not_overlap(classes):
    names = [f"a long name {i}" for i in range(classes)]
    figure = plot_confusion(draw_matrix(classes), names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = figure.axes[0].get_yticklabels()
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))


@pytest.mark.parametrize("classes", [2, 12, 30])
@pytest.mark.parametrize("name", ["", "a quite long class name ", "고양이와 강아지와 새 "])
def test_confusion_texts_stay_inside_the_figure(classes, name):
    names = [f"{i}{name}" for i in range(classes)]
    assert texts_are_inside(plot_confusion(draw_matrix(classes), names, title="test"))


def test_confusion_of_a_hundred_classes_numbers_them():
    figure = plot_confusion(draw_matrix(100), [f"class {i}" for i in range(100)])
    assert "number of the class" in figure.axes[0].get_xlabel()
    assert tick_names(figure)[1] == "1"


def test_a_row_without_images_is_grey():
    figure = plot_confusion(np.array([[5, 0], [0, 0]]), ["cat", "dog"])
    shares = figure.axes[0].images[0].get_array()
    assert shares.mask.tolist() == [[False, False], [True, True]]


def test_confusion_must_fit_its_names():
    with pytest.raises(UsageError, match=r"\(2, 2\) with 3 class names"):
        plot_confusion(np.eye(2), KOREAN)
    with pytest.raises(UsageError, match=r"\(3, 2, 2\)"):
        plot_confusion(np.zeros((3, 2, 2)), KOREAN)


def test_confusion_draws_on_given_axes():
    figure = Figure()
    assert plot_confusion(np.eye(3, dtype=int), KOREAN, figure.add_subplot()) is figure
    figure_png(figure)


# history


def test_history_marks_stages_and_the_best_epoch():
    figure = plot_history(make_history())
    loss, accuracy = figure.axes
    assert [loss.get_ylabel(), accuracy.get_ylabel()] == ["loss", "accuracy"]
    labels = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert labels == ["training", "validation", "best: epoch 5 (0.866)"]
    assert [text.get_text() for text in accuracy.texts] == ["head", "top"]
    shaded = accuracy.patches[0]
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (3.5, 7.5)


def test_history_numbers_stages_that_have_no_room():
    rows = make_history((3, 4))
    rows["stage"] = ["a stage with a long name", "two", "two", *["three"] * 4]
    rows["stage_index"] = [0, 1, 1, 2, 2, 2, 2]
    panel = plot_history(rows).axes[0]
    assert [text.get_text() for text in panel.texts] == ["1", "2", "3"]
    assert panel.get_xlabel().startswith("epoch\nstages:  1 a stage with a lo…  2 two")


def test_history_shows_where_the_loss_was_not_finite():
    rows = make_history()
    rows.loc[[2, 4], "loss"] = [np.nan, np.inf]
    figure = plot_history(rows)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "training loss not finite" in labels
    figure_png(figure)


def test_history_without_validation_or_with_one_epoch():
    rows = make_history((1,)).drop(columns=["val_loss", "val_accuracy"])
    figure = plot_history(rows)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["training"]
    figure_png(figure)


def test_history_draws_accuracy_alone_on_one_axes():
    ax = Figure().add_subplot()
    assert plot_history(make_history(), ax) is ax.figure
    assert ax.get_ylabel() == "accuracy"


def test_history_refuses_what_is_no_history():
    with pytest.raises(UsageError, match="has 0 rows"):
        plot_history(make_history()[:0])
    with pytest.raises(UsageError, match="no column 'stage'.*'epoch'"):
        plot_history(pd.DataFrame({"epoch": [1]}))
    with pytest.raises(UsageError, match="ax holds 3 axes"):
        plot_history(make_history(), Figure().subplots(1, 3))


def test_history_texts_stay_inside_the_figure(monkeypatch):
    rows = make_history()
    rows["stage_index"] = range(7)
    rows["stage"] = [f"a long name of stage {i}" for i in range(7)]
    assert texts_are_inside(plot_history(rows))
    rows["stage"] = "고양이"
    monkeypatch.setattr(fonts, "KOREAN_FONTS", ())
    assert texts_are_inside(plot_history(rows))
    assert texts_are_inside(plot_confusion(draw_matrix(3), KOREAN))
    assert texts_are_inside(plot_images(np.zeros((1, 8, 8, 3), np.uint8), KOREAN[:1]))


# images


@pytest.mark.parametrize(
    ("count", "grid"), [(1, (1, 1)), (6, (6, 1)), (9, (3, 3)), (12, (6, 2)), (16, (4, 4))]
)
def test_images_fill_their_grid(count, grid):
    figure = plot_images(np.zeros((count, 8, 8, 3), np.uint8), ["a"] * count)
    corners = [ax.get_position(original=True).p0.round(3) for ax in figure.axes]
    assert tuple(len(set(places)) for places in zip(*corners, strict=True)) == grid


def test_images_keep_their_pixels():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    images[..., 0] = 200
    drawn = read_png(figure_png(plot_images(images, ["red"])))
    assert np.mean((drawn == [200, 0, 0]).all(axis=-1)) > 0.4


def test_images_refuse_what_cannot_be_drawn():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match="1 titles for 2 images"):
        plot_images(images, ["a"])
    with pytest.raises(UsageError, match="dtype float64"):
        plot_images(images / 255, ["a", "b"])
    with pytest.raises(UsageError, match="holds 0 images"):
        plot_images(images[:0], [])
    with pytest.raises(UsageError, match="columns=0"):
        plot_images(images, ["a", "b"], columns=0)


def test_worst_shows_sure_mistakes_first():
    rows = pd.DataFrame(
        {
            "name": ["x/1.jpg", "x/2.jpg", "y/3.jpg", "y/4.jpg"],
            "label": ["x", "x", "y", "y"],
            "predicted": ["x", "y", "x", "x"],
            "confidence": [0.99, 0.6, 0.9, 0.9],
        }
    )
    worst = worst_predictions(rows, 2)
    assert worst["name"].tolist() == ["y/3.jpg", "y/4.jpg"]
    titles = worst_titles(worst)
    assert titles[0] == "y/3.jpg\nlabel: y\nsaid: x, 90.0 %"
    figure = plot_worst(np.zeros((2, 8, 8, 3), np.uint8), titles)
    assert [ax.get_title() for ax in figure.axes] == titles
    assert count_mixups(rows) == [("y", "x", 2), ("x", "y", 1)]


def test_worst_titles_keep_the_end_of_a_long_name():
    row = {"name": f"{'deep/' * 20}0001.jpg", "label": "a", "predicted": "b"}
    title = worst_titles(pd.DataFrame([row | {"confidence": 1.0}]))[0]
    assert title.splitlines()[0] == "deep/deep/deep/0001.jpg"
    row["name"] = "x" * 200 + "_0001.jpg"
    title = worst_titles(pd.DataFrame([row | {"confidence": 1.0}]))[0]
    assert title.splitlines()[0].endswith("x_0001.jpg")


# fonts and names


@pytest.mark.parametrize("names", [KOREAN, HOSTILE[:3], HOSTILE[3:6], HOSTILE[6:9]])
def test_any_name_is_drawn_without_a_warning(names):
    figure_png(plot_confusion(draw_matrix(len(names)), names))
    rows = make_history()
    rows["stage"] = [names[0]] * 3 + [names[1]] * 4
    figure_png(plot_history(rows))
    figure_png(plot_images(np.zeros((3, 8, 8, 3), np.uint8), names[:3]))


def test_formulas_and_escapes_are_text():
    figure = plot_confusion(draw_matrix(2), ["$x^2$", "a\x1b\u202e\nb"])
    assert tick_names(figure) == [r"\$x^2\$", r"a\x1b\u202e\nb"]


def test_without_a_font_names_become_numbers_with_one_hint(monkeypatch):
    monkeypatch.setattr(fonts, "KOREAN_FONTS", ())
    figure = plot_confusion(draw_matrix(3), KOREAN)
    assert tick_names(figure) == ["1", "2", "3"]
    assert figure.axes[0].get_xlabel().count("apt install fonts-nanum") == 1
    figure_png(figure)
    grid = plot_images(np.zeros((2, 8, 8, 3), np.uint8), KOREAN[:2])
    assert [ax.get_title() for ax in grid.axes] == ["1", "2"]
    assert "apt install fonts-nanum" in grid.texts[1].get_text()


def test_ascii_names_need_no_other_font(monkeypatch):
    monkeypatch.setattr(fonts, "KOREAN_FONTS", ())
    with fonts.korean_fonts(["cat", "café"]) as lettering:
        assert lettering == fonts.Lettering(("cat", "café"), ("DejaVu Sans",))


def test_a_font_installed_after_the_list_was_made_is_found(monkeypatch):
    if shutil.which("fc-list") is None:
        pytest.skip("fc-list is not installed")
    listed = subprocess.run(["fc-list", ":", "family"], capture_output=True, text=True)
    if not any(name in listed.stdout for name in fonts.KOREAN_FONTS):
        pytest.skip("no Korean font is installed")
    manager = font_manager.fontManager
    old = [entry for entry in manager.ttflist if entry.name not in fonts.KOREAN_FONTS]
    monkeypatch.setattr(manager, "ttflist", old)
    assert fonts.choose_lettering(KOREAN).names == tuple(KOREAN)


def test_decomposed_hangul_is_drawn_composed():
    assert fonts.drawable("\u1100\u1169") == "고"


def test_settings_of_matplotlib_are_left_alone():
    before = dict(matplotlib.rcParams)
    plot_confusion(draw_matrix(3), KOREAN)
    plot_history(make_history())
    with pytest.raises(ZeroDivisionError), fonts.korean_fonts(KOREAN):
        raise ZeroDivisionError
    assert dict(matplotlib.rcParams) == before


# notebooks and bytes


def test_figures_show_themselves_in_a_notebook():
    figure = plot_history(make_history())
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_png_holds_no_version_and_no_date():
    png = figure_png(plot_history(make_history()))
    assert png == figure_png(plot_history(make_history()))
    assert set(Image.open(io.BytesIO(png)).info) == {"dpi"}


def test_samples_of_the_fixture_can_be_drawn():
    samples = make_samples(tuple(KOREAN), 3)
    assert len(plot_images(samples["worst"], samples["worst_titles"]).axes) == 3
