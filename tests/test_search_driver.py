"""The driver: plan, rounds, records, failures, and what a kill leaves behind."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kerastl.errors import (
    FolderInUseError,
    NothingSucceededError,
    ResumeRefusedError,
    UsageError,
)
from kerastl.runs import RunFolder
from kerastl.search import load_search
from kerastl.search.plans import Plan
from tests.fake_trials import KILLED, SPACE, make_job, run_fake, run_in_fork

TIMES = ["fit_seconds", "peak_memory_mb"]


def table(path) -> pd.DataFrame:
    return load_search(path).leaderboard().drop(columns=TIMES)


def started(log) -> list[int]:
    return [int(line.split()[0]) for line in log.read_text().splitlines()]


# What a search leaves


def test_the_plan_is_written_before_the_first_trial(tmp_path):
    seen = {}

    class Stop(Exception):
        pass

    def run(requests, **settings):
        seen["plan"] = json.loads((tmp_path / "out" / "search.json").read_text())
        seen["trials"] = (tmp_path / "out" / "trials").exists()
        raise Stop
        yield

    from kerastl.search import driver
    from kerastl.search.jobs import run_search

    before, driver.run_requests = driver.run_requests, run
    try:
        with pytest.raises(Stop):
            run_search(make_job(), out=tmp_path / "out", verbose=0)
    finally:
        driver.run_requests = before
    assert next(t["params"] for t in seen["plan"]["trials"]) == {
        "batch_size": 16,
        "learning_rate": 0.1,
    }
    assert len(seen["plan"]["trials"]) == 6
    assert seen["trials"] is False


def test_a_finished_search_reads_back_the_same(tmp_path):
    result = run_fake(tmp_path / "out", make_job())
    again = load_search(tmp_path / "out")
    pd.testing.assert_frame_equal(again.leaderboard(), result.leaderboard())
    assert again.best_params_ == {"batch_size": 16, "learning_rate": 0.01}
    assert (
        Plan.from_dict(json.loads((tmp_path / "out/search.json").read_text())) == again.plan
    )


def test_cv_results_have_the_names_and_ranks_of_scikit_learn(tmp_path):
    from sklearn.dummy import DummyClassifier
    from sklearn.model_selection import GridSearchCV

    theirs = GridSearchCV(DummyClassifier(), {"strategy": ["prior"]}, cv=2)
    names = set(theirs.fit([[0]] * 8, [0, 1] * 4).cv_results_)
    ours = run_fake(tmp_path / "out", make_job()).cv_results_
    # nothing is scored after training, so there are no score times
    expected = {n for n in names if "score_time" not in n and "strategy" not in n}
    expected -= {"split1_test_score"}
    assert set(ours) == expected | {"param_batch_size", "param_learning_rate"}
    assert ours["rank_test_score"].dtype == "int32"
    assert ours["rank_test_score"].tolist() == [3, 1, 3, 5, 2, 5]
    assert ours["params"][1] == {"batch_size": 16, "learning_rate": 0.01}


def test_the_best_score_stands_beside_its_interval_and_the_cheapest_near_it(tmp_path):
    result = run_fake(tmp_path / "out", make_job())
    best = result.summary["best"]
    assert best["score"]["low"] < best["score"]["value"] < best["score"]["high"]
    assert best["selected_on"] == "validation (hold-out)"
    near = [s for s in result.cv_results_["mean_test_score"] if s >= best["score"]["low"]]
    assert result.summary["within_interval"]["count"] == len(near)
    assert result.summary["within_interval"]["cheapest"]["score"] >= best["score"]["low"]


def test_repeats_and_folds_are_trained_and_averaged(tmp_path):
    result = run_fake(tmp_path / "out", make_job(repeats=2, cv=3))
    record = result.book.last(1)
    assert len(record.fits) == 6
    assert len({fit["weights"] for fit in record.fits}) == 2  # seeds
    assert "split5_test_score" in result.cv_results_
    assert result.summary["best"]["selected_on"] == "3 folds, 2 repeats"


# Failures


def test_failed_trials_are_rows_with_reasons_and_never_best(tmp_path):
    space = {"momentum": [0.5, 0.6, 0.7, 0.8, 0.9], "learning_rate": [0.01]}
    board = run_fake(tmp_path / "out", make_job(space=space)).leaderboard()
    assert board["status"].tolist() == ["done"] + ["failed"] * 4
    assert board["momentum"].iloc[0] == 0.9
    reasons = board.set_index("momentum")["reason"]
    assert reasons[0.5] == "ValueError: no"
    assert reasons[0.6] == "killed by signal 9"
    assert reasons[0.7] == "ended after 6 s"
    assert "not finite" in reasons[0.8]
    assert board["rank"].tolist() == [1, 2, 2, 2, 2]


def test_a_killed_trial_has_one_more_try_alone(tmp_path):
    log = tmp_path / "log"
    space = {"momentum": [0.5, 0.6, 0.9], "learning_rate": [0.01]}
    run_fake(tmp_path / "out", make_job(space=space), log=log)
    assert started(log) == [1, 2, 3, 2]


def test_when_all_trials_fail_the_first_cause_is_named(tmp_path):
    job = make_job(space={"momentum": [0.5, 0.7], "learning_rate": [0.01]})
    with pytest.raises(NothingSucceededError, match=r"All 2 trials failed.*ValueError: no"):
        run_fake(tmp_path / "out", job)
    assert (tmp_path / "out/report.html").exists()
    assert load_search(tmp_path / "out").leaderboard()["status"].tolist() == ["failed"] * 2


# Time


def test_trials_that_do_not_start_in_time_are_run_on_resume(tmp_path, monkeypatch):
    from kerastl.search import driver

    two_done = lambda self: len(self.book.records) >= 2  # noqa: E731
    monkeypatch.setattr(driver.Driver, "_is_late", two_done)
    result = run_fake(tmp_path / "out", make_job(max_minutes=5.0))
    assert result.summary["trials"]["not_run"] == 4
    monkeypatch.undo()
    log = tmp_path / "log"
    whole = run_fake(tmp_path / "out", make_job(), resume=True, log=log)
    assert started(log) == [3, 4, 5, 6]
    assert whole.summary["trials"]["not_run"] == 0


def test_however_short_the_time_one_trial_runs(tmp_path):
    result = run_fake(tmp_path / "out", make_job(max_minutes=0.001))
    assert result.summary["trials"]["done"] >= 1


# Halving


def halving_job():
    return make_job(
        "halving",
        {"learning_rate": [0.1, 0.01, 0.001], "batch_size": [16, 32, 64]},
        n_iter=9,
    )


def test_survivors_go_on_from_where_they_were_paused(tmp_path):
    log = tmp_path / "log"
    result = run_fake(tmp_path / "out", halving_job(), log=log)
    starts = [line.split() for line in log.read_text().splitlines()]
    assert [epochs for _, epochs in starts] == ["None"] * 9 + ["1"] * 3 + ["3"]
    assert result.plan.rungs == ((9, 1), (3, 3), (1, 9))
    board = result.leaderboard()
    assert (
        board["status"].tolist()
        == ["done"] + ["stopped at rung 2"] * 2 + ["stopped at rung 1"] * 6
    )
    assert board["epochs_run"].tolist() == [9, 3, 3] + [1] * 6
    trained = sum(f["epochs_trained"] for r in result.book.records.values() for f in r.fits)
    assert trained == 9 * 1 + 3 * 2 + 6
    assert not list((tmp_path / "out").rglob("state-*.npz"))


def test_a_trial_whose_state_is_damaged_starts_again(tmp_path, caplog):
    out = tmp_path / "out"
    status = run_in_fork("75:kill", lambda: run_fake(out, halving_job()))
    assert status == KILLED
    states = list(out.rglob("state-0.npz"))
    assert states
    for state in states:
        state.write_bytes(state.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        run_fake(out, halving_job(), resume=True)
    golden = run_fake(tmp_path / "golden", halving_job())
    pd.testing.assert_frame_equal(table(out), golden.leaderboard().drop(columns=TIMES))


# Interrupted


@pytest.mark.parametrize("step", [1, 2, 7, 14, 15, 22, 30, 37])
def test_a_kill_at_a_write_point_loses_nothing_that_was_finished(tmp_path, step):
    check_kill(tmp_path, make_job(), step)


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_job, halving_job], ids=["grid", "halving"])
def test_a_kill_at_every_write_point_gives_the_same_table(tmp_path, make):
    step = 1
    while check_kill(tmp_path / str(step), make(), step):
        shutil.rmtree(tmp_path / str(step))
        step += 1
    assert step > 60


def check_kill(folder, job, step) -> bool:
    """Kill a search at a write point, go on, and compare; False when it ended before."""
    folder.mkdir(exist_ok=True)
    out, log, golden = folder / "out", folder / "log", folder.parent / "golden"
    if not golden.exists():
        run_fake(golden, job)
    status = run_in_fork(f"{step}:kill", lambda: run_fake(out, job, log=log))
    if status == 0:
        return False
    assert status == KILLED
    finished = count_finished(out)
    planned = (out / "search.json").exists()
    before = len(started(log)) if log.exists() else 0
    run_fake(out, job, resume=planned, log=log)
    pd.testing.assert_frame_equal(table(out), table(golden))
    assert plain_results(out) == plain_results(golden)
    again = len(started(log)) - before
    whole = count_finished(golden)
    assert again == whole - finished
    assert not list(out.rglob(".tmp-*"))
    return True


def count_finished(out) -> int:
    """Trials, or rungs of them, that are marked finished."""
    records = {
        (path.parent.name, json.loads(path.read_text())["rung"])
        for path in [*out.glob("trials/*/result.json"), *out.glob("trials/*/rung-*.json")]
    }
    return len(records)


def plain_results(out) -> dict:
    """The content of every result file but for where and how fast it ran."""
    found = {}
    for path in out.glob("trials/*/*.json"):
        values = json.loads(path.read_text())
        del values["work"]
        found[path.relative_to(out).as_posix()] = values
    return found


@pytest.mark.parametrize("size", [0, 1, 40, -2])
def test_a_cut_result_is_named_and_its_trial_done_again(tmp_path, caplog, size):
    golden = run_fake(tmp_path / "out", make_job())
    path = tmp_path / "out/trials/3/result.json"
    path.write_bytes(path.read_bytes()[:size])
    log = tmp_path / "log"
    with caplog.at_level(logging.WARNING):
        run_fake(tmp_path / "out", make_job(), resume=True, log=log)
    assert started(log) == [3]
    assert "trials/3/result.json is damaged" in caplog.text
    pd.testing.assert_frame_equal(
        table(tmp_path / "out"), golden.leaderboard().drop(columns=TIMES)
    )


def test_a_finished_search_is_not_run_again(tmp_path):
    run_fake(tmp_path / "out", make_job())
    log = tmp_path / "log"
    again = run_fake(tmp_path / "out", make_job(), resume=True, log=log)
    assert not log.exists()
    assert again.best_params_["learning_rate"] == 0.01


# Refusals


def test_another_space_data_or_seed_is_refused_with_the_difference(tmp_path):
    run_fake(tmp_path / "out", make_job())
    other = make_job(space={**SPACE, "batch_size": [16, 64]})
    with pytest.raises(
        ResumeRefusedError, match=r"space batch_size: \[16, 32\] in the sea.*\[16, 64\]"
    ):
        run_fake(tmp_path / "out", other, resume=True)
    job = make_job()
    seeded = replace(job, options=replace(job.options, seed=1))
    with pytest.raises(ResumeRefusedError, match="seed: 0 in the search, 1 now") as caught:
        run_fake(tmp_path / "out", seeded, resume=True)
    assert "data fingerprint" in str(caught.value)
    with pytest.raises(ResumeRefusedError, match="repeats: 1 in the search, 2 now"):
        run_fake(tmp_path / "out", make_job(repeats=2), resume=True)
    assert caught.value.exit_code == 7


def test_jobs_and_minutes_may_change(tmp_path):
    run_fake(tmp_path / "out", make_job())
    changed = make_job(jobs=4, max_minutes=1.0, executor="dask")
    assert run_fake(tmp_path / "out", changed, resume=True).best_score_ > 0.5


def test_resuming_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ResumeRefusedError, match="holds no search to go on with"):
        run_fake(tmp_path, make_job(), resume=True)


def test_a_second_search_in_the_folder_names_the_first(tmp_path):
    in_use = pytest.raises(FolderInUseError, match="is in use by process")
    with RunFolder.create("search", tmp_path / "out"), in_use as caught:
        run_fake(tmp_path / "out", make_job())
    assert caught.value.exit_code == 6


def test_data_without_validation_needs_folds(tmp_path):
    job = make_job()
    job = replace(job, options=replace(job.options, validation=0.0))
    with pytest.raises(UsageError, match="no validation split to score trials on.*cv=5"):
        run_fake(tmp_path / "out", job)
    folds = replace(job, settings=replace(job.settings, cv=2))
    assert len(run_fake(tmp_path / "out", folds).book.last(1).fits) == 2


def test_a_candidate_that_cannot_run_is_refused_before_anything_is_written(tmp_path):
    job = make_job(space={"unfreeze": [2, 5000]})
    with pytest.raises(UsageError, match="candidate unfreeze=5000 cannot run"):
        run_fake(tmp_path / "out", job)
    assert not (tmp_path / "out").exists()


# TPE


def test_tpe_goes_on_as_it_would_have(tmp_path):
    pytest.importorskip("optuna")
    job = make_job("tpe", {"learning_rate": "loguniform(1e-4, 1)"}, n_iter=12)
    golden = run_fake(tmp_path / "golden", job)
    out = tmp_path / "out"
    assert run_in_fork("40:kill", lambda: run_fake(out, job)) == KILLED
    finished = count_finished(out)
    assert 0 < finished < 12
    log = tmp_path / "log"
    run_fake(out, job, resume=True, log=log)
    assert started(log) == list(range(finished + 1, 13))
    pd.testing.assert_frame_equal(table(out), golden.leaderboard().drop(columns=TIMES))
    rates = np.log10([p["learning_rate"] for p in golden.cv_results_["params"]])
    assert np.abs(rates[-4:] + 2).mean() < np.abs(rates[:4] + 2).mean()  # it learns


def test_ranks_are_scikit_learn_s_and_further_rungs_come_first():
    from kerastl.search.leaderboards import rank_records
    from kerastl.search.records import Record

    def record(number, score, rung=0, complete=True, status="done"):
        fit = {"score": score, "complete": complete}
        return Record(number=number, params={}, rung=rung, status=status, fits=(fit,))

    failed = Record(number=9, params={}, status="failed")
    records = [
        record(1, 0.5), record(2, 0.9), record(3, 0.9), None, failed,
        record(4, 0.99, 0, complete=False, status="stopped"),
        record(5, 0.95, 1, complete=False),
    ]  # fmt: skip
    assert rank_records(records) == [3, 1, 1, 7, 6, 5, 4]
