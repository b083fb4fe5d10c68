"""`TransferClassifier`: what scikit-learn asks of a classifier, on paths and on arrays."""

import copy
import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.utils import get_tags

from kerastl import Schedule, Stage, TransferClassifier
from kerastl.errors import DataError, UsageError
from kerastl.estimators.inputs import (
    apply_scale,
    find_scale,
    read_images,
    read_labels,
    split_images,
)
from kerastl.estimators.parameters import read_parameters
from kerastl.options import FIELDS, Options

ROOT = Path(__file__).parents[1]
QUICK = {"base": "tiny", "weights": None, "schedule": "feature-extraction", "epochs": 1}
OWN = {"validation_fraction", "random_state", "verbose"}


def make_images(count=20, side=8):
    """Return dark images of "ant" and bright ones of "bee", taking turns."""
    labels = np.array(["ant", "bee"] * (count // 2))
    noise = np.random.default_rng(0).integers(0, 60, (count, side, side, 3))
    return (noise + 180 * (labels == "bee")[:, None, None, None]).astype("uint8"), labels


def write_images(folder, images):
    """Write each image into a folder of its own and return the paths."""
    paths = [folder / str(row % 3) / f"deep{row}" / "x.png" for row in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.parent.mkdir(parents=True)
        Image.fromarray(image).save(path)
    return paths


def quick(**parameters):
    return TransferClassifier(**{**QUICK, "learning_rate": 0.02, **parameters})


def one_split():
    return StratifiedShuffleSplit(1, test_size=0.2, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    images, labels = make_images()
    return quick(epochs=3, random_state=3).fit(images, labels)


# Parameters


def test_every_option_of_model_and_training_is_a_parameter():
    fields = {n for n, f in FIELDS.items() if f.metadata["group"] in ("model", "training")}
    parameters = inspect.signature(TransferClassifier).parameters
    assert set(parameters) == fields - {"stages"} | OWN
    for name in set(parameters) - OWN:
        assert parameters[name].default == FIELDS[name].default
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


def test_parameters_are_kept_as_given_and_cloned():
    given = {"hidden": [8, 4], "epochs": np.int64(2), "base": "no such base"}
    classifier = TransferClassifier(**given)
    assert all(classifier.get_params()[name] is value for name, value in given.items())
    assert clone(classifier).get_params() == classifier.get_params()
    assert classifier.set_params(dropout=0.5).dropout == 0.5


def test_parameters_from_searches_become_plain_values():
    options = read_parameters(
        TransferClassifier(
            base=np.str_("vgg16"),
            epochs=np.array([1, 2]),
            learning_rate=np.float64(0.01),
            hidden=(np.int64(8),),
            train_batchnorm=np.True_,
            random_state=np.int64(7),
            image_size=(np.int32(48), 64),
        ).get_params()
    )
    assert options == Options(
        base="vgg16",
        epochs=(1, 2),
        learning_rate=0.01,
        hidden=(8,),
        train_batchnorm=True,
        seed=7,
        image_size=(48, 64),
        test=0.0,
    )
    assert json.dumps(options.hidden) == "[8]"


def test_schedules_may_be_names_stages_and_lists_of_them():
    def read(schedule):
        return read_parameters(TransferClassifier(schedule=schedule).get_params())

    one, two = Stage(name="one", epochs=2), Stage(name="two", unfreeze="all")
    assert (read("full").schedule, read("full").stages) == ("full", ())
    assert [stage["name"] for stage in read(one).stages] == ["one"]
    assert [stage["epochs"] for stage in read([one, two]).stages] == [2, 10]
    assert read(Schedule("mine", (one, two))).schedule == "mine"


def test_random_states_may_be_numbers_generators_or_none():
    def seed(state):
        return read_parameters(TransferClassifier(random_state=state).get_params()).seed

    assert seed(5) == 5
    assert seed(np.random.RandomState(1)) == seed(np.random.RandomState(1))
    assert len({seed(None) for _ in range(5)}) > 1


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"schedule": "hybird"}, "schedule='hybird'.*Did you mean 'hybrid'"),
        ({"schedule": 5}, "schedule=5"),
        ({"schedule": ["full"]}, "stages='full'"),
        ({"schedule": [Stage(name="x", unfreeze="block9")]}, "unfreeze='block9'"),
        ({"epochs": (1, 2)}, "epochs has 2 values"),
        ({"base": "tinny"}, "base='tinny'.*Did you mean 'tiny'"),
        ({"image_size": 4}, "image_size"),
        ({"hidden": 8}, "hidden=8"),
        ({"validation_fraction": 1}, "validation_fraction=1"),
        ({"random_state": -1}, "random_state=-1"),
        ({"random_state": True}, "random_state=True"),
    ],
)
def test_parameters_are_checked_before_an_image_is_decoded(parameters, match, tmp_path):
    paths = [tmp_path / "no-image.png"] * 4
    paths[0].write_bytes(b"broken")
    with pytest.raises(UsageError, match=match):
        quick(**parameters).fit(paths, [0, 1, 0, 1])


# What fit and predict are given


def test_paths_come_in_any_list(tmp_path, monkeypatch):
    images, _ = make_images(4)
    paths = write_images(tmp_path, images)
    texts = list(map(str, paths))
    monkeypatch.chdir(tmp_path)
    relative = [path.relative_to(tmp_path) for path in paths]
    frame = pd.DataFrame({"path": texts})
    for given in (
        paths, texts, tuple(texts), np.array(texts), np.array(paths, object),
        pd.Series(texts, index=[7, 8, 9, 5]), frame, relative,
    ):  # fmt: skip
        assert read_images(given) == tuple(paths)


def test_links_are_followed(tmp_path):
    images, _ = make_images(2)
    paths = write_images(tmp_path, images)
    (tmp_path / "link.png").symlink_to(paths[0])
    assert read_images([tmp_path / "link.png"]) == (tmp_path / "link.png",)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("photos/", "X of type str is neither"),
        ([], "X of type list is neither"),
        (None, "X of type NoneType is neither"),
        (np.zeros((5, 4)), r"X of type ndarray and shape \(5, 4\) is neither a list of"),
        (np.zeros((0, 8, 8, 3)), r"shape \(0, 8, 8, 3\) is neither"),
        ([[1, 2], [3]], "X of type list is neither"),
        ([Path(__file__), 5], r"X\[1\] is 5, not a path"),
        ([Path(__file__), None], r"X\[1\] is None, not a path"),
    ],
)
def test_what_is_neither_paths_nor_images_is_refused(given, match):
    with pytest.raises(UsageError, match=match):
        read_images(given)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"X\[1\]: there is no file 'no/such.png'"):
        read_images([str(Path(__file__)), "no/such.png"])
    with pytest.raises(DataError, match=rf"X\[0\]: there is no file '{tmp_path}'"):
        read_images([tmp_path])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 1, 3], [1, 3]),
        (["b", "a", "b"], ["a", "b"]),
        (pd.Series(["b", "a", "b"], dtype="category"), ["a", "b"]),
        (np.array(["b", "a", "b"], object), ["a", "b"]),
        ([True, False, True], [False, True]),
        ([-1, -5, -1], [-5, -1]),
    ],
)
def test_labels_are_numbers_or_texts(labels, classes):
    found, codes = read_labels(labels)
    assert found.tolist() == classes
    assert codes.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        ([0.5, 1.5, 2.5], "y is continuous"),
        ([[0, 1], [1, 1], [0, 0]], "y is multilabel-indicator: give one class per image"),
        (None, "y is None"),
    ],
)
def test_labels_of_another_kind_are_refused(labels, match):
    with pytest.raises(UsageError, match=match):
        read_labels(labels)


def test_images_and_labels_must_be_as_many():
    images, labels = make_images()
    with pytest.raises(UsageError, match="X has 20 images and y 19 labels"):
        quick().fit(images, labels[1:])


def test_a_class_too_small_is_named():
    images, labels = make_images()
    labels[0] = "cat"
    with pytest.raises(DataError, match="The class 'cat' has 1 image: too few"):
        quick().fit(images, labels)
    with pytest.raises(DataError, match="only one class, 'ant'"):
        quick().fit(images[::2], ["ant"] * 10)


def test_paths_drawn_twice_stay_on_one_side(tmp_path):
    images, _ = make_images(10)
    paths = tuple(write_images(tmp_path, images)) * 2
    options = Options(validation=0.3, test=0.0)
    data = split_images(paths, np.array([0, 1] * 10), ["ant", "bee"], options)
    assert len(data.train) + len(data.validation) == 20
    held = set(data.validation.paths)
    assert not held & set(data.train.paths)
    names = [name for split in data.splits.values() for name in split.names]
    assert len(set(names)) == 20
    assert "0/deep0/x.png" in names
    assert "0/deep0/x.png (X[10])" in names


def test_classes_keep_the_order_of_labels_not_of_texts():
    images = np.zeros((12, 8, 8), "uint8") + np.arange(12, dtype="uint8")[:, None, None]
    classes, codes = read_labels([-1, 2, 10] * 4)
    data = split_images(images, codes, list(map(str, classes)), Options(test=0.0))
    assert data.class_names == ("-1", "2", "10")
    values = data.train.pixels(8)[:, 0, 0, 0] % 3
    assert values.tolist() == data.train.labels.tolist()


def test_floats_are_read_on_the_scale_of_fit():
    dark = np.full((1, 2, 2, 3), 0.6)
    assert apply_scale(dark, find_scale(dark)) is dark
    assert apply_scale(dark, find_scale(dark * 300)).tolist() == np.ones_like(dark).tolist()
    assert apply_scale(dark, None) is dark
    assert find_scale(dark.astype("uint8")) is None
    with pytest.raises(UsageError, match="X goes up to 180, but was within 0-1 in fit"):
        apply_scale(dark * 300, 255)
    with pytest.raises(DataError, match="NaN"):
        apply_scale(dark * np.nan, 1)


# Fitting and predicting


def test_it_learns_and_answers_with_the_labels_it_was_given(fitted):
    images, labels = make_images()
    assert fitted.classes_.tolist() == ["ant", "bee"]
    probabilities = fitted.predict_proba(images)
    assert probabilities.shape == (20, 2)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    best = fitted.classes_[probabilities.argmax(axis=1)]
    assert fitted.predict(images).tolist() == best.tolist()
    assert fitted.score(images, labels) == np.mean(best == labels) > 0.8
    assert fitted.model_.kerastl.class_names == ("ant", "bee")
    assert len(fitted.run_.history) == 3


def test_it_is_finetune_behind_another_door(fitted):
    import kerastl

    images, labels = make_images()
    data = kerastl.load_images(images, labels=labels, test=0, seed=3)
    model = kerastl.build_model("tiny", num_classes=2, weights=None, seed=3)
    kerastl.finetune(
        model, data, schedule="feature-extraction", epochs=3, learning_rate=0.02, seed=3,
        verbose=0,
    )  # fmt: skip
    for one, other in zip(model.get_weights(), fitted.model_.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()


def test_paths_and_their_pixels_predict_the_same(fitted, tmp_path):
    images, labels = make_images()
    paths, before = write_images(tmp_path, images), fitted.predict_proba(images).tobytes()
    assert fitted.predict_proba(paths).tobytes() == before
    refitted = clone(fitted).fit(list(map(str, paths)), labels)
    assert refitted.predict_proba(images).tobytes() == before


def test_a_broken_file_is_named(fitted, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="broken.png"):
        fitted.predict([tmp_path / "broken.png"])
    with pytest.raises(NotFittedError, match="not fitted"):
        quick().predict([tmp_path / "broken.png"])


def test_a_pickled_classifier_predicts_the_same_without_the_images(fitted):
    images, _ = make_images()
    before = fitted.predict_proba(images).tobytes()
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        assert again.predict_proba(images).tobytes() == before
        assert again.model_.kerastl == fitted.model_.kerastl
        assert not hasattr(again, "run_")
    assert hasattr(fitted, "run_")


def test_scikit_learn_sees_a_classifier_of_images(fitted):
    tags = get_tags(TransferClassifier())
    assert is_classifier(fitted)
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.sparse
    assert not tags.classifier_tags.multi_label
    assert tags.target_tags.required
    assert "TransferClassifier" in fitted._repr_html_()


# Inside scikit-learn's validation and searches


def test_cross_val_score_on_paths(tmp_path):
    images, labels = make_images()
    paths = write_images(tmp_path, images)
    scores = cross_val_score(quick(epochs=3), paths, labels, cv=2)
    assert scores.shape == (2,)
    assert (scores > 0.5).all()


def test_grid_search():
    images, labels = make_images()
    grid = {"dropout": [0.0, 0.9], "schedule": ["feature-extraction"]}
    search = GridSearchCV(quick(), grid, cv=one_split()).fit(images, labels)
    assert len(search.cv_results_["params"]) == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.predict(images[:2]).shape == (2,)


def test_randomized_search():
    images, labels = make_images()
    space = {"learning_rate": loguniform(1e-3, 1e-1), "batch_size": [4, 8]}
    search = RandomizedSearchCV(
        quick(), space, n_iter=2, cv=one_split(), random_state=0, refit=False
    )
    search.fit(images, labels)
    rates = search.cv_results_["param_learning_rate"]
    assert len(set(rates)) == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_halving_search_over_epochs():
    images, labels = make_images()
    search = HalvingRandomSearchCV(
        quick(), {"learning_rate": loguniform(1e-3, 1e-1)}, resource="epochs",
        n_candidates=2, factor=2, min_resources=1, max_resources=2, cv=one_split(),
        random_state=0, refit=False,
    )  # fmt: skip
    search.fit(images, labels)
    assert search.n_resources_ == [1, 2]
    assert search.n_candidates_ == [2, 1]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_candidate_that_cannot_be_is_a_score_of_nan():
    images, labels = make_images()
    search = GridSearchCV(quick(), {"epochs": [1, 0]}, cv=one_split(), refit=False)
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.warns(FitFailedWarning, match="epochs=0"),
    ):
        search.fit(images, labels)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


@pytest.mark.slow
def test_two_processes_score_as_one():
    images, labels = make_images()
    scores = []
    for jobs in (1, 2):
        search = GridSearchCV(quick(), {"dropout": [0.0, 0.5]}, cv=2, n_jobs=jobs)
        scores.append(search.fit(images, labels).cv_results_["mean_test_score"].tolist())
    assert scores[0] == scores[1]
    assert np.isfinite(scores).all()


def test_importing_it_needs_no_tensorflow():
    code = (
        "import sys; from kerastl import TransferClassifier as C; C(epochs=2).get_params();"
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT)
