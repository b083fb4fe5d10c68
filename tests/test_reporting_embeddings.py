"""Maps of features: projections against their definitions, samples, figures, the report."""

import numpy as np
import pandas as pd
import pytest
from run_folder import NAMES, write_run

import kerastl
from kerastl.errors import UsageError
from kerastl.evaluation.projections import choose_rows, project_alike, project_features
from kerastl.finetuning.mapping import predict_with_features
from kerastl.models import predict_probabilities
from kerastl.reporting import (
    FeatureMap,
    best_predictions,
    enlarge_maps,
    plot_embedding,
    render_figures,
    render_report,
)
from kerastl.reporting.canvas import figure_png
from kerastl.reporting.embeddings import MOST_NAMED, READING, choose_named
from kerastl.reporting.records import read_record
from kerastl.stages import Stage


def make_groups(n=60, groups=3, seed=0):
    generator = np.random.default_rng(seed)
    centres = 8 * np.random.default_rng(9).normal(size=(groups, 12))
    labels = np.arange(n) % groups
    return (centres[labels] + generator.normal(size=(n, 12))).astype("float32"), labels


# Projections


def test_principal_components_are_those_of_the_singular_values():
    features, _ = make_groups()
    found = project_features(features)
    centred = features.astype(float) - features.mean(axis=0, dtype=float)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * values[:2]
    signs = np.sign((expected * found.points).sum(axis=0))
    np.testing.assert_allclose(found.points * signs, expected, atol=1e-3)
    shares = values**2 / (values**2).sum()
    np.testing.assert_allclose(found.explained, shares[:2], rtol=1e-4)


def test_others_lie_on_the_axes_of_the_first():
    features, _ = make_groups()
    alone = project_features(features)
    first, second = project_alike(features, features[10:14])
    assert np.array_equal(first.points, alone.points)
    np.testing.assert_allclose(second.points, alone.points[10:14], atol=1e-4)
    assert second.explained == first.explained


@pytest.mark.parametrize("n", [5, 60])
def test_tsne_keeps_groups_together_and_repeats_itself(n):
    features, labels = make_groups(n)
    found = project_features(features, "tsne")
    assert found.points.shape == (n, 2)
    assert found.points.dtype == np.float32
    assert found.explained == ()
    assert np.array_equal(found.points, project_features(features, "tsne").points)
    if n == 60:
        gaps = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
        np.fill_diagonal(gaps, np.inf)
        assert (labels[gaps.argmin(axis=1)] == labels).all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_features_that_are_all_alike_are_one_point(method):
    found = project_features(np.ones((6, 4), "float32"), method)
    assert np.ptp(found.points, axis=0).max() == 0
    assert found.explained in ((0.0, 0.0), ())


def test_a_single_feature_is_a_line():
    found = project_features(np.arange(5.0)[:, None])
    assert np.ptp(found.points[:, 0]) == pytest.approx(4)
    assert (found.points[:, 1] == 0).all()
    assert found.explained == (1.0, 0.0)


@pytest.mark.parametrize("shape", [(2, 4), (5,), (4, 0), (4, 2, 2)])
def test_too_few_or_misshapen_features_are_refused(shape):
    with pytest.raises(UsageError, match="features of shape"):
        project_features(np.zeros(shape))


def test_an_unknown_method_is_named_with_the_nearest():
    with pytest.raises(UsageError, match="'tnse'.*tsne"):
        project_features(np.zeros((4, 2)), "tnse")


# Which images are shown


def test_a_sample_keeps_the_shares_and_every_class():
    labels = np.repeat(np.arange(4), [6000, 3000, 999, 1])
    rows = choose_rows(labels, 2000)
    counts = np.bincount(labels[rows])
    assert len(rows) == len(set(rows)) == 2000
    np.testing.assert_allclose(counts / 2000, [0.6, 0.3, 0.0999, 0.0001], atol=2e-3)
    assert counts[3] == 1
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, choose_rows(labels, 2000))
    assert not np.array_equal(rows, choose_rows(labels, 2000, seed=1))


def test_few_images_are_all_shown():
    assert choose_rows(np.array([1, 0, 1]), 10).tolist() == [0, 1, 2]
    assert choose_rows(np.zeros((0,), int), 10).tolist() == []


def test_labels_of_several_classes_are_sampled_by_their_combination():
    labels = np.repeat([[0, 0], [1, 0], [1, 1]], [80, 16, 4], axis=0)
    rows = choose_rows(labels, 25)
    _, counts = np.unique(labels[rows], axis=0, return_counts=True)
    assert counts.tolist() == [20, 4, 1]


def test_the_best_are_right_and_take_turns():
    record = {"name": list("abcdef"), "label": list("xxxyyz"), "predicted": list("xxxyyx")}
    rows = pd.DataFrame(record | {"confidence": [0.9, 0.8, 1, 0.6, 0.5, 1]})
    assert best_predictions(rows, 4)["name"].tolist() == ["c", "d", "a", "e"]
    assert best_predictions(rows[5:]).empty


# Figures


def make_map(names=("cat", "dog"), n=40, split="validation", wrong=3, total=None):
    generator = np.random.default_rng(0)
    labels = [names[i % len(names)] for i in range(n)]
    said = [names[(i + (i < wrong)) % len(names)] for i in range(n)]
    return FeatureMap(
        generator.normal(size=(n, 2)),
        tuple(labels),
        tuple(said),
        split,
        total or n,
        explained=(0.5, 0.25),
    )


def read_legend(figure):
    return [text.get_text() for text in figure.axes[-1].get_legend().texts]


def test_a_map_names_its_classes_and_rings_mistakes():
    figure = plot_embedding(make_map())
    assert read_legend(figure) == ["cat (20)", "dog (20)", "taken for another (3)"]
    ax = figure.axes[0]
    assert len(ax.collections[-1].get_offsets()) == 3
    assert ax.get_xlabel() == "1st component, 50 % of the variance"
    assert ax.get_ylabel() == "2nd component, 25 % of the variance"
    assert ax.get_aspect() == 1
    assert figure_png(figure) == figure_png(plot_embedding(make_map()))


def test_two_maps_show_the_same_part_of_the_plane():
    test = make_map(split="test", n=10, total=90)
    figure = plot_embedding(make_map(), test)
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()
    assert second.get_title(loc="left") == "test: 10 images, drawn in proportion from 90"
    assert read_legend(figure)[0] == "cat (25)"


def test_colours_and_markers_are_different_for_every_class():
    names = tuple(f"class {n}" for n in range(MOST_NAMED))
    figure = plot_embedding(make_map(names, 90, wrong=0))
    handles = figure.axes[0].get_legend().legend_handles
    looks = {(h.get_color(), h.get_marker()) for h in handles}
    assert len(looks) == len(handles) == MOST_NAMED
    assert read_legend(figure)[2] == "class 2 (5)"  # by number, not "class 10"


def test_of_many_classes_those_of_the_most_mistakes_have_colours():
    names = tuple(f"class {n}" for n in range(100))
    each = make_map(names, 300, wrong=4)
    assert choose_named([each])[:3] == ["class 1", "class 2", "class 3"]
    assert read_legend(plot_embedding(each))[-2:] == [
        "82 more classes (246)",
        "taken for another (4)",
    ]


def test_long_names_are_cut_where_they_are_alike():
    names = ("a very long name of a class, first", "a very long name of a class, second")
    first, second, _ = read_legend(plot_embedding(make_map(names)))
    assert first != second
    assert "first" in first


def test_each_method_says_how_to_read_it():
    tsne = FeatureMap(np.eye(3, 2), ("a",) * 3, ("a",) * 3, "test", 3, "tsne")
    figure = plot_embedding(tsne)
    assert "".join(figure.get_supxlabel().split()) == "".join(READING["tsne"].split())
    assert figure.axes[0].get_xlabel() == ""


def test_no_map_or_one_without_labels_is_refused():
    with pytest.raises(UsageError, match="no map"):
        plot_embedding()
    with pytest.raises(UsageError, match="2 points with 1 labels"):
        plot_embedding(FeatureMap(np.zeros((2, 2)), ("a",), ("a", "b"), "test", 2))


# Runs


@pytest.fixture(scope="module")
def run():
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = generator.integers(0, 150, (90, 16, 16, 3))
    images[np.arange(90), :, :, labels] += 60
    data = kerastl.load_images(images.astype("uint8"), labels=labels, seed=0)
    model = kerastl.build_model("tiny", num_classes=3, weights=None, image_size=16)
    stage = Stage(name="head", epochs=2, batch_size=16)
    return kerastl.finetune(model, data, schedule=stage, verbose=0)


def test_scoring_keeps_features_and_changes_no_probability(run):
    pixels = run.data.validation.pixels((16, 16))
    rows = np.array([0, 3, 17])
    probabilities, features = predict_with_features(run.model, pixels, rows, batch_size=4)
    assert np.array_equal(probabilities, predict_probabilities(run.model, pixels, 4))
    expected = kerastl.extract_features(run.model, pixels, cache=False)[rows]
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_a_run_maps_its_splits(run):
    for split, method in (("validation", "pca"), ("train", "pca"), ("validation", "tsne")):
        title = run.map_embeddings(split, method).axes[0].get_title(loc="left")
        assert title == f"{split}: {len(run.data.splits[split])} images"
    assert "train" not in run.metrics


def test_the_test_split_is_not_looked_at_before_it_is_scored(run):
    if "test" not in run.scores:
        with pytest.raises(UsageError, match=r"run\.evaluate\(\) first"):
            run.map_embeddings("test")
    with pytest.raises(UsageError, match="'tset'.*test"):
        run.map_embeddings("tset")


def test_what_is_written_is_drawn_again_after_reading(run, tmp_path):
    folder = run.save(tmp_path / "run")
    record = read_record(folder)
    assert [each.split for each in record.maps] == ["validation"]
    assert record.missing == ()
    again = kerastl.load_run(folder, run.data)
    assert figure_png(again.map_embeddings()) == figure_png(run.map_embeddings())
    names = {"embedding.png", "heatmaps_right.png"}
    assert names <= {path.name for path in folder.iterdir()}
    again.evaluate()  # writes all again, with the test split
    assert [each.split for each in read_record(folder).maps] == ["validation", "test"]


def test_heat_maps_of_mistakes_are_for_what_was_said_and_for_the_label(run, tmp_path):
    folder = run.save(tmp_path / "run")
    images, maps, titles = read_record(folder).explained("worst")
    assert len(images) == len(maps) == len(titles) <= 8
    assert maps.shape[1:] == (2, 4, 4)
    found = kerastl.explain(run.model, images[:1])
    said = titles[0].partition("said: ")[2].partition(",")[0]
    assert found.labels[0] == said
    label = titles[0].partition("label: ")[2].partition("\n")[0]
    other = kerastl.explain(run.model, images[:1], classes=label)
    for place, each in enumerate((found, other)):
        drawn = enlarge_maps(maps[:1, place], (16, 16))
        np.testing.assert_allclose(drawn, each.heatmaps, atol=1e-4)


@pytest.mark.slow
def test_an_equal_run_has_the_same_report(run, tmp_path):
    first, second = (run.save(tmp_path / name) for name in ("a", "b"))
    for name in ("samples.npz", "embeddings.npz", "embedding.png", "heatmaps_right.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


# The report


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def test_the_report_has_both_sections(folder):
    report = render_report(folder)
    assert "<h2>Where the model looks</h2>" in report
    assert "<h2>Map of the features</h2>" in report
    figures = {"heatmaps_wrong.png", "heatmaps_right.png", "embedding.png"}
    assert figures <= set(render_figures(folder))


def test_a_run_of_an_older_version_says_that_there_is_no_map(folder):
    (folder / "embeddings.npz").unlink()
    arrays = dict(np.load(folder / "samples.npz", allow_pickle=False))
    kept = {n: a for n, a in arrays.items() if "maps" not in n and "best" not in n}
    np.savez(folder / "samples.npz", **kept)
    report = render_report(folder)
    assert "embeddings.npz is missing: there is no map of the features" in report
    assert "Where the model looks" not in report
    assert "Mistakes" in report


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("embeddings.npz", {"validation_points": np.full((60, 2), np.nan)}),
        ("embeddings.npz", {"validation_labels": np.array(["a"])}),
        ("samples.npz", {"worst_maps": np.zeros((9, 1, 2, 2), np.float32)}),
        ("samples.npz", {"best_maps": np.zeros((1, 2), np.float32)}),
    ],
)
def test_arrays_that_do_not_fit_are_told_and_not_drawn(folder, name, change):
    arrays = dict(np.load(folder / name, allow_pickle=False))
    np.savez(folder / name, **(arrays | change))
    assert f"{name} cannot be read (ValueError)" in read_record(folder).missing[0]
    assert render_report(folder)


def test_the_note_on_coarse_maps_is_in_the_report(folder):
    arrays = dict(np.load(folder / "samples.npz", allow_pickle=False))
    note = "The map has one cell at 32 px, too few to show where: use image_size >= 128."
    np.savez(folder / "samples.npz", **(arrays | {"maps_note": np.array(note)}))
    assert "The map has one cell at 32 px" in render_report(folder)
    assert NAMES[0] in {label for each in read_record(folder).maps for label in each.labels}
