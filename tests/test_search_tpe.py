"""Search by TPE: pure, resumable, and it learns."""

import math
import sys

import numpy as np
import pytest
from scipy import stats

from kerastl.errors import UsageError
from kerastl.search.sampling import check_tpe, suggest_tpe
from kerastl.spaces import Space

optuna = pytest.importorskip("optuna")

TPE_SPACE = {
    "learning_rate": stats.loguniform(1e-5, 1e-2),
    "dropout": stats.uniform(0.1, 0.4),
    "batch_size": stats.randint(8, 65),
    "hidden": [(), (256,), (512, 256)],
    "class_weight": [None, "balanced"],
}


def score(params):
    """Best at a rate of 1e-3 and the largest layers."""
    return -abs(math.log10(params["learning_rate"]) + 3) + 0.1 * len(params["hidden"])


def run_tpe(count, random_state=0, finished=()):
    finished = list(finished)
    for number in range(len(finished) + 1, count + 1):
        params = suggest_tpe(Space(TPE_SPACE), finished, number, random_state)
        failed = number % 7 == 0
        finished.append((params, None if failed else score(params)))
    return finished


def test_tpe_draws_allowed_plain_values():
    for params, _ in run_tpe(12):
        assert 1e-5 <= params["learning_rate"] <= 1e-2
        assert 0.1 <= params["dropout"] <= 0.5
        assert 8 <= params["batch_size"] <= 64
        assert params["hidden"] in TPE_SPACE["hidden"]
        assert params["class_weight"] in TPE_SPACE["class_weight"]
        kinds = [type(params[name]) for name in ("learning_rate", "dropout", "batch_size")]
        assert kinds == [float, float, int]


def test_tpe_goes_on_as_it_would_have_gone_on():
    whole = run_tpe(14)
    assert run_tpe(14, finished=whole[:9]) == whole
    assert run_tpe(14, random_state=1) != whole


def test_tpe_takes_parameters_and_space_as_they_come_out_of_json():
    finished = run_tpe(9)
    lists = [({**params, "hidden": list(params["hidden"])}, s) for params, s in finished]
    again = Space.from_dict(Space(TPE_SPACE).to_dict())
    there, here = (
        suggest_tpe(again, lists, 10, 0),
        suggest_tpe(Space(TPE_SPACE), finished, 10, 0),
    )
    assert there == here


def test_tpe_learns_from_scores():
    late = [math.log10(params["learning_rate"]) for params, _ in run_tpe(40)[25:]]
    assert np.mean(np.abs(np.array(late) + 3)) < 0.5  # a blind draw: 0.92


def test_trials_of_one_round_differ():
    points = [suggest_tpe(Space(TPE_SPACE), [], number, 0) for number in range(1, 6)]
    assert len({point["learning_rate"] for point in points}) == 5


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
def test_a_failed_trial_counts_as_a_failure(bad):
    finished = run_tpe(6)
    failed = [*finished, (finished[0][0], bad)]
    none = [*finished, (finished[0][0], None)]
    assert suggest_tpe(Space(TPE_SPACE), failed, 8, 0) == (
        suggest_tpe(Space(TPE_SPACE), none, 8, 0)
    )


def test_tpe_tries_every_point_of_a_small_space():
    space = Space({"batch_size": [16, 32, 64], "class_weight": [None, "balanced"]})
    finished = []
    for number in range(1, 7):
        params = suggest_tpe(space, finished, number, 0)
        finished.append((params, 1.0 if params["batch_size"] == 16 else 0.0))
    points = {tuple(params.values()) for params, _ in finished}
    assert len(points) == 6
    assert suggest_tpe(space, finished, 7, 0)["batch_size"] in (16, 32, 64)


def test_tpe_draws_again_from_whole_numbers_that_were_all_tried():
    space = Space({"batch_size": stats.randint(16, 18)})
    finished = [({"batch_size": 16}, 0.5), ({"batch_size": 17}, 0.6)]
    assert suggest_tpe(space, finished, 3, 0)["batch_size"] in (16, 17)


def test_tpe_names_every_distribution_it_cannot_draw():
    space = Space(
        {
            "dropout": stats.truncnorm(-1, 1, 0.3, 0.1),
            "learning_rate": stats.loguniform(1e-5, 1e-2, loc=1e-3),
            "weight_decay": stats.loguniform(1e-5, 1e-2, 1e-3),
            "momentum": stats.uniform(0.5, 0.4),
            "label_smoothing": stats.reciprocal(0.01, 0.1),
        }
    )
    with pytest.raises(UsageError) as caught:
        check_tpe(space)
    lines = str(caught.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "dropout",
        "learning_rate",
        "weight_decay",
    ]
    with pytest.raises(UsageError, match="draws from lists"):
        suggest_tpe(space, [], 1, 0)


def test_tpe_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install 'kerastl\[optuna\]'"):
        check_tpe(Space({"batch_size": [16]}))


def test_tpe_is_silent_and_leaves_optunas_logging(capfd):
    before = optuna.logging.get_verbosity()
    run_tpe(3)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
