"""Zero-shot: against closed forms and scikit-learn, and on real scans of digits."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import kerastl
from benchmarks.zeroshot import extract, hold_out
from kerastl.errors import DataError, UsageError
from kerastl.zeroshot import fit_dap, read_attributes, solve_eszsl
from kerastl.zeroshot.attributes import choose_unseen, fit_attributes
from kerastl.zeroshot.choosing import choose_constant, draw_folds
from kerastl.zeroshot.mappings import Standard
from kerastl.zeroshot.measures import harmonic_mean, measure_generalized, score_answers

# which of the seven segments of a display each digit lights
SEGMENTS = (
    "abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg",
)  # fmt: skip
HELD_OUT = ["0", "1"]
SIDE = 64  # which held-out seen digits chose, in benchmarks/zeroshot.py


def make_table(classes=tuple("0123456789")):
    marks = [[int(c in SEGMENTS[int(name)]) for c in "abcdefg"] for name in classes]
    return pd.DataFrame(marks, index=list(classes), columns=list("abcdefg"))


@pytest.fixture(scope="module")
def data():
    return kerastl.load_images("digits")


@pytest.fixture(scope="module")
def result(data):
    return kerastl.zero_shot(
        data, make_table(), unseen=HELD_OUT, base="tiny", image_size=SIDE
    )


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 5)), rng.integers(0, 4, 60)
    return features, labels, rng.normal(size=(4, 3))


# The methods


def lose(v, features, labels, attributes, gamma, lambda_):
    """The objective of the paper's equation 2 with its regulariser, equation 5."""
    signs = np.where(np.eye(len(attributes))[labels] == 1, 1, -1)
    return (
        np.sum((features @ v @ attributes.T - signs) ** 2)
        + gamma * np.sum((v @ attributes.T) ** 2)
        + lambda_ * np.sum((features @ v) ** 2)
        + gamma * lambda_ * np.sum(v**2)
    )


@pytest.mark.parametrize(("gamma", "lambda_"), [(0.1, 10.0), (100.0, 0.01)])
def test_eszsl_is_where_the_gradient_of_the_objective_is_zero(problem, gamma, lambda_):
    found = solve_eszsl(*problem, gamma=gamma, lambda_=lambda_)
    for place in np.ndindex(found.shape):
        step = np.zeros_like(found)
        step[place] = 1e-4
        up, down = (lose(found + s * step, *problem, gamma, lambda_) for s in (1, -1))
        assert abs(up - down) / 2e-4 < 1e-5
        assert up + down > 2 * lose(found, *problem, gamma, lambda_)


def test_eszsl_is_the_solution_of_its_linear_equations(problem):
    features, labels, attributes = problem
    signs = 2 * np.eye(4)[labels] - 1
    left = features.T @ features + 3.0 * np.eye(5)
    right = attributes.T @ attributes + 0.5 * np.eye(3)
    # vec(A V B) = (B' kron A) vec(V), columns below each other
    vector = np.linalg.solve(
        np.kron(right.T, left), (features.T @ signs @ attributes).ravel("F")
    )
    found = solve_eszsl(features, labels, attributes, gamma=3.0, lambda_=0.5)
    np.testing.assert_allclose(found, vector.reshape(5, 3, order="F"), rtol=1e-9)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_regularisers_are_above_zero(problem, value):
    with pytest.raises(UsageError, match=f"lambda_={value!r} must be a number above 0"):
        solve_eszsl(*problem, gamma=1, lambda_=value)


def test_dap_is_the_product_of_regressions_called_by_hand(problem):
    features, labels, _ = problem
    marks = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)
    new = np.array([[1, 0], [0, 1], [1, 1]], float)
    product = np.ones((len(features), len(new)))
    for place in range(2):
        own = marks[labels, place]
        model = LogisticRegression(C=0.1, max_iter=1000).fit(features, own)
        given = model.predict_proba(features)[:, 1:]
        before = own.mean()
        has = new[:, place]
        product *= np.where(has, given, 1 - given) / np.where(has, before, 1 - before)
    weights, offsets = fit_dap(features, labels, marks, cost=0.1)
    scores = (features @ weights + offsets) @ new.T
    soft = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(soft, product / product.sum(axis=1, keepdims=True))


def test_an_attribute_that_no_image_varies_in_says_nothing(problem):
    features, labels, _ = problem
    marks = np.array([[0, 1], [1, 1], [1, 1], [0, 1]], float)
    weights, offsets = fit_dap(features, labels, marks, cost=1)
    assert weights[:, 0].any()
    assert not weights[:, 1].any()
    assert offsets[1] == 0


# The table


def test_a_file_and_a_frame_are_the_same_table(tmp_path):
    frame = make_table()
    frame.rename_axis("digit").to_csv(tmp_path / "a.csv")
    frame.rename_axis("digit").to_csv(tmp_path / "a.tsv", sep="\t")
    column = frame.reset_index(names="digit")
    for source in (tmp_path / "a.csv", str(tmp_path / "a.tsv"), column, frame):
        table = read_attributes(source)
        assert table.classes == tuple("0123456789")
        assert table.names == tuple("abcdefg")
        np.testing.assert_array_equal(table.values, frame.to_numpy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,x\nant,1\nant,0\n", "'ant' twice"),
        ("class,x,x\nant,1,1\nbee,0,0\n", "two columns called 'x'"),
        ("class,x\nant,1\nbee,yes\n", r"row 3 \('bee'\): 'x' is 'yes', not a number"),
        ("class,x\nant,\nbee,0\n", r"row 2 \('ant'\): 'x' is ''"),
        ("class,x\nant,nan\nbee,0\n", "'x' is 'nan'"),
        ("class,x\n,1\nbee,0\n", "row 2 names no class"),
        ("class,x\n", "no rows"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, text, message):
    path = tmp_path / "attributes.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_attributes(path)


def test_a_table_that_is_not_there_is_named_with_the_nearest(tmp_path):
    make_table().to_csv(tmp_path / "attributes.csv")
    with pytest.raises(UsageError, match=r"Did you mean 'attributes.csv'"):
        read_attributes(tmp_path / "atributes.csv")
    with pytest.raises(UsageError, match="attributes=dict"):
        read_attributes({"ant": [1]})


def test_classes_without_a_row_are_named():
    table = read_attributes(make_table(tuple("01234567")))
    with pytest.raises(DataError, match="no row for '8', '9'"):
        choose_unseen(table, tuple("0123456789"), ["0"])


def test_unseen_classes_are_names_of_the_table():
    table = read_attributes(make_table())
    with pytest.raises(UsageError, match="unseen='10' is not one of"):
        choose_unseen(table, tuple("0123"), ["10"])
    with pytest.raises(UsageError, match="'3' twice"):
        choose_unseen(table, tuple("0123"), ["3", "3"])
    with pytest.raises(UsageError, match=r"such as \['3'\]"):
        choose_unseen(table, tuple("0123"), "3")
    with pytest.raises(UsageError, match="No class is unseen"):
        choose_unseen(table, tuple("0123456789"), None)
    by_default = choose_unseen(table, tuple("01234567"), None)
    assert by_default == (tuple("01234567"), ("8", "9"))


def test_constant_attributes_and_those_that_cannot_be_learned_are_left_out():
    frame = make_table().assign(always=1, new=[1, *[0] * 9])
    table = fit_attributes(
        read_attributes(frame), tuple("123456789"), ("0",), is_binary=False
    )
    assert table.names == tuple("abcdefg")
    assert table.notes == (
        "Left out: 'always', the same for every class.",
        "Left out: 'new', the same for all classes trained on, so that it cannot be "
        "learned.",
    )


def test_classes_that_nothing_tells_apart_are_named():
    frame = make_table()
    frame.loc["9"] = frame.loc["8"]
    frame["new"] = [*[0] * 9, 1]  # a difference that no seen class shows
    seen = tuple("01234567")
    with pytest.raises(DataError, match="'8' and '9' have the same attributes"):
        fit_attributes(read_attributes(frame), seen, ("8", "9"), is_binary=False)


def test_dap_takes_numbers_as_above_the_mean_of_the_seen():
    frame = pd.DataFrame({"kg": [1, 2, 900, 600], "legs": [0, 1, 1, 0]}, list("abcd"))
    table = fit_attributes(read_attributes(frame), tuple("abc"), ("d",), is_binary=True)
    assert table.values.tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
    assert any("'kg'" in note for note in table.notes)


# The scores


def test_the_measures_are_those_of_the_paper():
    # two seen classes, two unseen: recalls 0.9 and 0.5, 0.2 and 0.4
    confusion = np.array([[9, 1, 0, 0], [20, 20, 0, 0], [8, 0, 2, 0], [0, 12, 0, 8]])
    found = measure_generalized(confusion, 2)
    assert found.seen.value == pytest.approx(0.7)
    assert found.unseen.value == pytest.approx(0.3)
    assert found.harmonic.value == pytest.approx(2 * 0.7 * 0.3 / 1.0)
    assert found.harmonic.low < 0.42 < found.harmonic.high


def test_the_interval_of_the_harmonic_mean_holds_it():
    rng = np.random.default_rng(0)
    truth, counts = np.array([0.9, 0.7, 0.3, 0.5]), np.array([40, 80, 60, 30])
    expected = harmonic_mean(truth[:2].mean(), truth[2:].mean())
    inside = 0
    for hits in rng.binomial(counts, truth, (2000, 4)):
        confusion = np.diag(hits)
        confusion[:, 0][1:] = (counts - hits)[1:]
        confusion[0, 1] = counts[0] - hits[0]
        harmonic = measure_generalized(confusion, 2).harmonic
        inside += harmonic.low <= expected <= harmonic.high
    assert 0.93 <= inside / 2000 <= 0.97


def test_unseen_classes_without_images_have_no_score():
    scores = score_answers(np.eye(3)[:2], np.array([0, 1]), ("a", "b", "c"), 2, 0.0)
    assert scores.seen.value == 1
    assert (scores.unseen, scores.harmonic, scores.zero_shot) == (None, None, None)


def test_the_constant_takes_off_what_seen_classes_have_too_much():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    scores = np.eye(4)[labels] + rng.normal(0, 0.2, (2000, 4))
    scores[:, :2] += 3.0
    assert choose_constant([(scores, labels, 2)]) == pytest.approx(3.0, abs=0.3)
    assert choose_constant([(scores[:, ::-1], 3 - labels, 2)]) == pytest.approx(-3, abs=0.3)


def test_folds_hold_each_class_out_about_equally_often():
    folds = draw_folds(8, 3, 8, seed=0)
    assert len(set(folds)) == len(folds) == 8
    assert {len(fold) for fold in folds} == {3}
    counts = np.bincount(list(itertools.chain(*folds)), minlength=8)
    assert counts.min() >= 1
    assert draw_folds(8, 3, 8, seed=0) == folds
    assert {len(fold) for fold in draw_folds(5, 10, 4, seed=0)} == {2}


# Everything, on real scans


def test_real_scans_of_digits_never_trained_are_told_apart(result):
    scores = result.scores
    assert scores.chance == 0.5
    assert scores.zero_shot.low > 0.6
    assert scores.seen.low > scores.chance_of_all
    assert scores.unseen.low > scores.chance_of_all
    assert result.classes == (*"23456789", *HELD_OUT)
    assert (result.seen, result.unseen) == (tuple("23456789"), tuple(HELD_OUT))


def test_pairs_of_digits_that_share_none_are_told_apart_on_the_whole():
    features = extract([SIDE])
    pairs = ("01", "23", "45", "67", "89")
    found = [hold_out(features, tuple(pair), "eszsl")[1] for pair in pairs]
    mean = np.mean([scores.zero_shot.value for scores in found])
    errors = [(s.zero_shot.high - s.zero_shot.low) / 3.92 for s in found]
    assert mean - 1.96 * np.hypot.reduce(errors) / len(pairs) > 0.5
    for scores in found:
        assert scores.harmonic.low > scores.chance_of_all


def test_calibration_mends_the_bias_to_seen_classes(result):
    before, after = result.scores.uncalibrated, result.scores.all_classes
    assert before.seen.value > before.unseen.value
    assert after.unseen.value > before.unseen.value
    assert after.harmonic.value > before.harmonic.value


def scramble(data, names):
    """The same data with noise in place of the images of some classes."""
    import dataclasses

    rng = np.random.default_rng(1)
    marked = [data.class_names.index(name) for name in names]
    splits = {}
    for name, split in data.splits.items():
        images = split.images.copy()
        rows = np.isin(split.labels, marked)
        images[rows] = rng.integers(0, 256, images[rows].shape)
        splits[name] = dataclasses.replace(split, images=images)
    return dataclasses.replace(data, **splits)


def test_nothing_is_learned_or_chosen_from_images_of_unseen_classes(data, result):
    other = kerastl.zero_shot(
        scramble(data, HELD_OUT),
        make_table(),
        unseen=HELD_OUT,
        base="tiny",
        image_size=SIDE,
    )
    for mine, its in zip(result.model.weights, other.model.weights, strict=True):
        assert mine.numpy().tobytes() == its.numpy().tobytes()
    assert other.choice == result.choice
    assert other.scores.seen == result.scores.seen
    assert other.scores.zero_shot != result.scores.zero_shot  # the noise was looked at


def test_unseen_classes_may_have_no_images(data, result):
    labels = np.concatenate([split.labels for split in data.splits.values()])
    images = np.concatenate([split.images for split in data.splits.values()])
    kept = labels >= 2
    names = np.array(data.class_names)[labels[kept]]
    rest = kerastl.load_images(images[kept], labels=names)
    found = kerastl.zero_shot(rest, make_table(), base="tiny")
    assert found.unseen == tuple(HELD_OUT)
    assert found.scores.zero_shot is None
    assert "no images of unseen classes" in str(found)
    for mine, its in zip(result.head.classes, found.head.classes, strict=True):
        assert mine == its
    assert np.isfinite(found.scores.seen.value)


def test_without_validation_the_bias_is_left_and_said(data):
    rest = kerastl.load_images("digits", validation=0)
    found = kerastl.zero_shot(rest, make_table(), unseen=HELD_OUT, base="tiny", folds=2)
    assert found.choice.constant == 0
    assert found.scores.all_classes == found.scores.uncalibrated
    assert any("No validation split" in note for note in found.notes)


@pytest.mark.slow
def test_the_saved_model_is_plain_keras_and_answers_the_same(data, result, tmp_path):
    folder = result.save(tmp_path / "run")
    names = {path.name for path in folder.iterdir()} - {"lock"}
    assert names == {"model.keras", "labels.json", "attributes.csv", "metrics.json"}
    pixels = data.test.pixels(result.model.kerastl.image_size)[:50]
    expected = result.predict(pixels)
    loaded = kerastl.load_model(folder / "model.keras")
    assert loaded.kerastl.class_names == result.classes
    script = (
        "import sys, numpy as np, keras\n"
        "model = keras.models.load_model(sys.argv[1], compile=False)\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
        "assert 'kerastl' not in sys.modules\n"
    )
    np.save(tmp_path / "pixels.npy", pixels)
    paths = [folder / "model.keras", tmp_path / "pixels.npy", tmp_path / "out.npy"]
    subprocess.run([sys.executable, "-c", script, *paths], check=True, cwd=tmp_path)
    plain = np.load(tmp_path / "out.npy", allow_pickle=False)
    assert [result.classes[i] for i in plain.argmax(1)] == list(expected["label"])
    np.testing.assert_allclose(plain.max(1), expected["confidence"], rtol=1e-5)


def test_the_model_is_the_closed_form_on_its_features(data, result):
    table = make_table(result.classes).to_numpy(float)
    features = np.asarray(kerastl.extract_features(result.model, data.train), float)
    places = np.array([result.classes.index(name) for name in data.class_names])
    labels = places[data.train.labels]
    train, own = features[labels < 8], labels[labels < 8]
    standard = Standard.of(train)
    centered = (table - table[:8].mean(0)) / table[:8].std(0)
    encoded = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    gamma, lambda_ = result.choice.penalties
    found = solve_eszsl(
        standard.apply(train), own, encoded[:8], gamma=gamma, lambda_=lambda_
    )
    tests = np.asarray(kerastl.extract_features(result.model, data.test), float)
    scores = standard.apply(tests) @ found @ encoded.T
    scores[:, :8] -= result.choice.constant
    logits = result.choice.scale * scores
    soft = np.exp(logits - logits.max(1, keepdims=True))
    size = result.model.kerastl.image_size
    given = kerastl.predict_probabilities(result.model, data.test.pixels(size))
    np.testing.assert_allclose(given, soft / soft.sum(1, keepdims=True), atol=1e-4)


def test_unseen_alone_are_answered_where_asked(data, result):
    size = result.model.kerastl.image_size
    pixels = data.test.pixels(size)[:40]
    among = result.predict(pixels, "unseen")
    assert set(among["label"]) <= set(HELD_OUT)
    every = kerastl.predict_probabilities(result.model, pixels)[:, 8:]
    share = every.max(axis=1) / every.sum(axis=1)
    np.testing.assert_allclose(among["confidence"], share, rtol=1e-3)
    assert isinstance(result.classifier("unseen"), keras.Model)
    with pytest.raises(UsageError, match="classes='new' is not one of: all, unseen"):
        result.predict(pixels, "new")


def test_what_it_says_and_shows(result):
    text = str(result)
    assert "2 classes never trained ('0', '1') and 8 trained" in text
    assert "better than by chance" in text
    assert "not of other classes" in text
    assert "<table>" in result._repr_html_()
    assert repr(result) == text


def test_dap_on_real_scans(data):
    found = kerastl.zero_shot(
        data, make_table(), unseen=HELD_OUT, base="tiny", method="dap", folds=2
    )
    assert found.scores.zero_shot.low > found.scores.chance
    assert found.to_dict()["settings"].keys() == {"C"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "clip"}, "method='clip' is not one of: eszsl, dap"),
        ({"folds": 1}, "folds=1 must be"),
        ({"base": "tinny"}, "Did you mean 'tiny'"),
        ({"unseen": list("0123456")}, "3 classes are left to train on"),
    ],
)
def test_mistakes_are_one_sentence(data, settings, message):
    given = {"unseen": HELD_OUT, "base": "tiny", **settings}
    with pytest.raises(kerastl.KerastlError, match=message):
        kerastl.zero_shot(data, make_table(), **given)


def test_data_that_cannot_be_used_is_refused():
    data = kerastl.load_images("digits", test=0)
    with pytest.raises(UsageError, match=r"test=0\.2"):
        kerastl.zero_shot(data, make_table(), unseen=HELD_OUT)


def test_mistakes_are_found_before_tensorflow_is_imported(tmp_path):
    make_table(tuple("01234567")).to_csv(tmp_path / "a.csv")
    script = (
        "import sys\nfrom kerastl.__main__ import main\n"
        "code = main(['zero-shot', '--attributes', sys.argv[1], '--unseen', '0',\n"
        "    '--base', 'tiny'])\n"
        "assert 'tensorflow' not in sys.modules\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.csv")],
        capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == DataError.exit_code, done.stderr
    assert "no row for '8', '9'" in done.stderr
    assert not any((tmp_path / "runs").glob("*"))
