"""Predicting better: views, several models, temperatures and thresholds, on real runs."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from PIL import Image

import kerastl
from kerastl.__main__ import main
from kerastl.errors import DataError, UsageError
from kerastl.evaluation import Calibration
from kerastl.evaluation.temperature import apply_temperature
from kerastl.models import check_views, divide_logits
from kerastl.models.views import VIEWS, make_views
from kerastl.predicting import average_members, check_weights, read_threshold


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


class Runs(NamedTuple):
    photos: Path
    data: kerastl.Data
    folders: list[Path]


def write_photos(root: Path, names=("ant", "bee"), count: int = 60) -> Path:
    """Images whose class shows in their shade, not always clearly."""
    noise = np.random.default_rng(0)
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for index in range(count):
            shade = 90 + 40 * number + noise.normal(0, 25)
            pixels = np.clip(shade + noise.normal(0, 30, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype("uint8")).save(root / name / f"{index}.png")
    return root


def train(data: kerastl.Data, out: Path, seed: int) -> kerastl.Run:
    names = data.class_names
    model = kerastl.build_model("tiny", num_classes=len(names), weights=None, seed=seed)
    settings = {"epochs": 4, "learning_rate": 0.05, "verbose": 0}
    run = kerastl.finetune(
        model, data, schedule="feature-extraction", out=out, evaluate=True, **settings
    )
    assert run.folder is not None
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Runs:
    root = tmp_path_factory.mktemp("runs")
    photos = write_photos(root / "photos")
    data = kerastl.load_images(photos, validation=0.4, test=0.3)
    folders = [root / "a", root / "b"]
    for seed, folder in enumerate(folders):
        train(data, folder, seed)
    return Runs(photos, data, folders)


@pytest.fixture
def copy(trained, tmp_path) -> Callable[[int], Path]:
    """A copy of a trained run, which may be written to."""
    import shutil

    def make(number: int = 0) -> Path:
        target = tmp_path / trained.folders[number].name
        shutil.copytree(trained.folders[number], target)
        return target

    return make


# views


def test_views_are_mirrors_and_crops_of_the_right_places():
    image = np.arange(16 * 16 * 3, dtype="float32").reshape(1, 16, 16, 3) % 251
    assert [each.tolist() for each in make_views(image, ())] == [image.tolist()]
    same, mirrored = make_views(image, ("flip",))
    assert (same == image).all()
    assert (mirrored == image[:, :, ::-1]).all()
    crops = list(make_views(image, ("crops",)))
    corners = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    assert len(crops) == 5
    for (top, left), crop in zip(corners, crops, strict=True):
        part = image[:, top : top + 14, left : left + 14]
        expected = keras.ops.image.resize(part, (16, 16), interpolation="bilinear")
        assert crop == pytest.approx(np.asarray(expected))
    ten = list(make_views(image, VIEWS))
    assert len(ten) == 10
    assert (ten[1] == ten[0][:, :, ::-1]).all()


def test_views_are_named_like_augmentations():
    assert check_views("flip") == ("flip",)
    assert check_views(("crops", "flip", "flip")) == ("flip", "crops")
    with pytest.raises(UsageError, match=r"tta='crop' is not one of.*'crops'"):
        check_views(["crop"])


@pytest.mark.parametrize("views", [("flip",), ("crops",), VIEWS])
def test_probabilities_are_the_mean_over_views(views):
    model = kerastl.build_model("tiny", num_classes=3, weights=None)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype="uint8")
    found = kerastl.predict_probabilities(model, pixels, batch_size=3, views=views)
    each = [model.predict_on_batch(view) for view in make_views(pixels, views)]
    assert found == pytest.approx(np.mean(each, axis=0), abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    again = kerastl.predict_probabilities(model, pixels, batch_size=3, views=views)
    assert (found == again).all()
    if "flip" in views:  # a model that averages over mirrors does not see them
        mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
        turned = kerastl.predict_probabilities(model, mirrored, views=("flip",))
        plain = kerastl.predict_probabilities(model, pixels, views=("flip",))
        assert turned == pytest.approx(plain, abs=1e-5)


# temperature inside a plain model


def test_a_divided_model_is_plain_keras_with_the_calibrated_probabilities(tmp_path):
    model = kerastl.build_model("tiny", num_classes=4, weights=None, hidden=[8], seed=3)
    pixels = np.random.default_rng(1).integers(0, 256, (9, 32, 32, 3), dtype="uint8")
    before = kerastl.predict_probabilities(model, pixels)
    layers = [layer.name for layer in model.layers]
    divide_logits(model, 2.5)
    path = kerastl.save_model(model, tmp_path / "model.keras")
    plain = keras.models.load_model(path)
    assert [layer.name for layer in plain.layers] == layers
    after = plain.predict(pixels.astype("float32"), verbose=0)
    assert after == pytest.approx(apply_temperature(before, 2.5), abs=1e-5)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    assert after.max() < before.max()


def test_sigmoids_are_divided_as_well():
    model = kerastl.build_model("tiny", num_classes=2, weights=None, multi_label=True)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype="uint8")
    before = kerastl.predict_probabilities(model, pixels)
    divide_logits(model, 0.5)
    after = kerastl.predict_probabilities(model, pixels)
    expected = apply_temperature(before, 0.5, multi_label=True)
    assert after == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf")])
def test_a_temperature_is_above_0(temperature):
    model = kerastl.build_model("tiny", num_classes=2, weights=None)
    with pytest.raises(UsageError, match=f"temperature={temperature!r}"):
        divide_logits(model, temperature)


# calibrating a run


def test_calibrating_measures_and_leaves_the_model(copy, trained, capsys):
    folder = copy()
    before = (folder / "model.keras").read_bytes()
    found = kerastl.load_run(trained.folders[0], trained.data)
    found.folder = None
    found = found.calibrate()
    code, out, err = call(capsys, "calibrate", folder)
    assert (code, out) == (0, f"{found}\n")
    assert "report.html has the reliability diagram" in err
    assert [split.split for split in found.splits] == ["validation", "test"]
    assert (folder / "model.keras").read_bytes() == before
    stored = json.loads((folder / "calibration.json").read_text())
    assert Calibration.from_dict(stored).to_dict() == found.to_dict()
    assert "Calibration" in (folder / "report.html").read_text()
    assert (folder / "reliability.png").is_file()
    again = kerastl.load_run(folder, trained.data)
    assert str(again.calibration) == str(found)


def test_applying_keeps_the_answers_and_cannot_be_done_twice(copy, trained, capsys):
    folder = copy()
    test = kerastl.load_run(folder, trained.data).evaluate()
    code, out, err = call(capsys, "calibrate", folder, "--apply", "--json")
    assert code == 0, err
    run = kerastl.load_run(folder, trained.data)
    found, scores = run.calibration, run.evaluate()
    assert found.applied
    assert found.to_dict() == json.loads(out)
    assert scores.accuracy == test.accuracy
    assert (scores.confusion == test.confusion).all()
    assert scores.log_loss == pytest.approx(found.splits[1].after.log_loss, abs=1e-5)
    code, _, err = call(capsys, "calibrate", folder)
    assert (code, "calibrated already" in err) == (2, True)
    plain = keras.models.load_model(folder / "model.keras")
    pixels = trained.data.test.pixels(32)
    assert plain.predict(pixels.astype("float32"), verbose=0) == pytest.approx(
        run.probabilities["test"], abs=1e-5
    )
    assert "has this temperature built in" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_applying_again_after_a_cut_does_not_divide_twice(copy, trained):
    """Killed once the model was written: its predictions on disk are the old ones."""
    folder = copy()
    old = (folder / "predictions.csv").read_bytes()
    kerastl.load_run(folder, trained.data).calibrate(apply=True)
    (folder / "calibration.json").unlink()
    (folder / "predictions.csv").write_bytes(old)
    again = kerastl.load_run(folder, trained.data).calibrate(apply=True)
    assert again.temperature.value == pytest.approx(1, abs=1e-3)


def test_without_validation_there_is_nothing_to_choose_on(trained):
    data = dataclasses.replace(trained.data, validation=None)
    run = kerastl.load_run(trained.folders[0], trained.data)
    run.data = data
    with pytest.raises(UsageError, match="no validation split"):
        run.calibrate()
    with pytest.raises(UsageError, match="no validation split"):
        run.find_threshold()


def test_a_damaged_calibration_is_named_in_the_report(copy, trained):
    from kerastl.reporting import render_report

    folder = copy()
    (folder / "calibration.json").write_text("{}")
    assert "calibration.json cannot be read" in render_report(folder)


# thresholds


def test_a_threshold_of_a_run_is_that_of_its_folder(trained):
    run = kerastl.load_run(trained.folders[0], trained.data)
    found = run.find_threshold(accuracy=0.6)
    assert [split.split for split in found.splits] == ["validation", "test"]
    assert read_threshold(trained.folders[0], 0.6).to_dict() == found.to_dict()
    with pytest.raises(UsageError, match="is a model file"):
        read_threshold(trained.folders[0] / "model.keras", 0.6)


def test_predict_marks_what_it_is_not_sure_of(trained, capsys):
    run, photos = trained.folders[0], trained.photos
    code, out, err = call(capsys, "predict", run, photos, "--json", "--not-sure", 0.6)
    rows = json.loads(out)
    value = read_threshold(run, 0.6).value
    assert (code, len(rows)) == (0, 120)
    for row in rows:
        sure = row["confidence"] >= value
        assert row["answer"] == (row["label"] if sure else "not sure")
    assert "On the test split" in err
    flags = ("--json", "--threshold", 0.999999)
    _, out, _ = call(capsys, "predict", run, photos, *flags)
    assert "not sure" in {row["answer"] for row in json.loads(out)}
    _, out, _ = call(capsys, "predict", run, photos, "--json")
    assert "answer" not in json.loads(out)[0]


def test_a_threshold_that_cannot_be_promised_is_refused(trained, capsys):
    command = ("predict", trained.folders[0], trained.photos)
    code, _, err = call(capsys, *command, "--not-sure", 0.999)
    assert (code, "No threshold can promise an accuracy of 0.999" in err) == (3, True)
    for flags in (("--threshold", 0.5), ("--tta", "flip"), ("--with", trained.folders[1])):
        code, _, err = call(capsys, *command, "--not-sure", 0.6, *flags)
        assert (code, "--not-sure chooses" in err) == (2, True)
    code, _, err = call(capsys, *command, "--threshold", 95)
    assert (code, "threshold=95 must be a confidence from 0 to 1" in err) == (2, True)


def test_sets_of_labels_have_no_threshold():
    model = kerastl.build_model("tiny", num_classes=2, weights=None, multi_label=True)
    with pytest.raises(UsageError, match="several labels per image"):
        kerastl.predict_paths(model, __file__, threshold=0.5)


# several models


def test_an_ensemble_is_the_mean_and_says_whether_it_gains(trained):
    both = kerastl.Ensemble(trained.folders)
    runs = [kerastl.load_run(folder, trained.data) for folder in trained.folders]
    each = [run.probabilities["test"] for run in runs]
    assert both.predict_split("test") == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    weighted = kerastl.Ensemble(runs, weights=[3, 1]).predict_split("test")
    assert weighted == pytest.approx(0.75 * each[0] + 0.25 * each[1], abs=1e-5)
    labels = trained.data.test.labels
    right = both.predict_split("test").argmax(axis=1) == labels
    assert both.evaluate().accuracy.value == right.mean()
    compared = both.compare()
    assert set(compared.accuracies) == {"ensemble", "a", "b"}
    assert [pair.first for pair in compared.pairs] == ["ensemble", "ensemble"]
    assert compared.accuracies["ensemble"].value == right.mean()
    assert both.evaluate(tta="flip").n == len(labels)
    table = both.predict(trained.photos / "ant" / "0.png", threshold=0.0)
    assert table["answer"].tolist() == table["label"].tolist()


def test_members_must_know_the_same_classes(trained, tmp_path, capsys):
    first, names = trained.folders[0], ["ant", "cow"]
    model = kerastl.build_model("tiny", num_classes=2, weights=None, class_names=names)
    other = kerastl.load_run(first, trained.data)
    other.model = model
    with pytest.raises(UsageError, match="tells ant, bee apart, another ant, cow"):
        kerastl.Ensemble([first, other])
    path = kerastl.save_model(model, tmp_path / "other.keras")
    code, _, err = call(capsys, "predict", first, trained.photos, "--with", path)
    assert (code, "tells ant, bee apart, another ant, cow" in err) == (2, True)
    with pytest.raises(UsageError, match="1 run: an ensemble takes two"):
        kerastl.Ensemble([first])
    with pytest.raises(UsageError, match=r"weights=\[1\] for 2 models"):
        kerastl.Ensemble(trained.folders, weights=[1])


def test_members_must_have_seen_the_same_split(trained, copy, capsys):
    """What one is tested on another may have trained on."""
    first, moved = trained.folders[0], copy(1)
    data = kerastl.load_images(trained.photos, validation=0.4, test=0.3, seed=5)
    source = json.loads((moved / "data.json").read_text())
    source["fingerprint"] = data.fingerprint
    (moved / "data.json").write_text(json.dumps(source))
    run = kerastl.load_run(moved, data)
    with pytest.raises(DataError, match="different images or splits"):
        kerastl.Ensemble([first, run])
    code, _, err = call(capsys, "evaluate", first, "--with", moved)
    assert (code, "was trained on other images or splits" in err) == (3, True)
    code, _, err = call(capsys, "evaluate", first, "--with", first)
    assert (code, "is given twice" in err) == (2, True)


def test_weights_of_models():
    assert check_weights(None, 4).tolist() == [0.25] * 4
    one = np.random.default_rng(0).random((3, 2), "float32")
    assert (average_members([one]) == one).all()
    for wrong in ([1, 0], [1, float("nan")], [1, 2, 3]):
        with pytest.raises(UsageError, match="for 2 models"):
            check_weights(wrong, 2)


def test_models_of_different_sizes_are_averaged(trained):
    models = [
        kerastl.build_model("tiny", num_classes=2, weights=None, image_size=side)
        for side in (32, 48)
    ]
    path = trained.photos / "ant" / "1.png"
    each = [kerastl.predict_paths(model, path, top_k=2) for model in models]
    both = kerastl.predict_paths(models, path, top_k=2)
    label = both["label"][0]
    given = [
        table["confidence" if table["label"][0] == label else "confidence_2"][0]
        for table in each
    ]
    assert both["confidence"][0] == pytest.approx(np.mean(given), abs=1e-6)


# the command line


def test_predict_averages_over_views_and_models(trained, capsys):
    first, second = trained.folders
    path = trained.photos / "bee" / "3.png"
    flags = ("--json", "--tta", "flip,crops", "--with", second)
    code, out, err = call(capsys, "predict", first, path, *flags)
    expected = kerastl.predict_paths([first, second], path, tta=("flip", "crops"))
    assert (code, err) == (0, "")
    row = json.loads(out)[0]
    assert row["confidence"] == pytest.approx(expected["confidence"][0], abs=1e-6)


def test_evaluate_averages_and_compares(trained, copy, capsys):
    first, second = copy(0), copy(1)
    flags = ("--with", second, "--tta", "flip")
    code, out, err = call(capsys, "evaluate", first, *flags, "--json")
    assert code == 0, err
    shown = json.loads(out)
    both = kerastl.Ensemble([first, second])
    assert shown["accuracy"] == both.evaluate(tta="flip").accuracy.to_dict()
    assert shown["comparison"]["pairs"][0]["first"] == "the mean of all"
    (look,) = json.loads((first / "test_log.json").read_text())
    assert (look["tta"], look["with"]) == (["flip"], [str(second)])
    code, out, _ = call(capsys, "evaluate", first, "--with", second)
    assert "the mean of all" in out
    assert "test accuracy" in out


def test_the_scores_of_a_run_stay_those_without_views(trained):
    run = kerastl.load_run(trained.folders[0], trained.data)
    before = run.evaluate()
    views = run.evaluate(tta=("flip", "crops"))
    assert views.n == before.n
    assert run.evaluate() is before
    assert run.score_views("validation", "flip").split == "validation"
    table = run.predict(trained.photos / "ant", tta="flip")
    assert len(table) == 60


@pytest.mark.parametrize(
    "flags",
    [
        ["predict", "RUN", "x.png", "--tta", "flips"],
        ["predict", "RUN", "x.png", "--threshold", "2"],
        ["predict", "RUN", "x.png", "--not-sure", "1.5"],
        ["predict", "RUN", "x.png", "--with", "no-such-run"],
        ["evaluate", "RUN", "--tta", "flips"],
        ["evaluate", "RUN", "--with", "no-such-run"],
        ["calibrate", "no-such-run"],
    ],
)
def test_mistakes_are_found_before_tensorflow_is_loaded(trained, flags):
    flags = [str(trained.folders[0]) if flag == "RUN" else flag for flag in flags]
    script = (
        "import sys\nfrom kerastl.__main__ import main\ncode = main(sys.argv[1:])\n"
        "print(code, 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", script, *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.stdout.split()[-2:] == ["2", "False"], result.stderr
