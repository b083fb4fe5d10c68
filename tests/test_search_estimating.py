"""What a search is said to cost, against what its trials do."""

import json

import pytest

from kerastl.bases.operations import Network
from kerastl.finetuning import loop
from kerastl.finetuning.costs import estimate_stages
from kerastl.options import Options
from kerastl.runs import RunFolder
from kerastl.search import trials
from kerastl.search.describing import describe_search
from kerastl.search.driver import Driver
from kerastl.search.estimating import SHARED, estimate_search
from kerastl.search.jobs import SearchJob, plan_search, resolve_job
from kerastl.search.records import Book
from kerastl.search.rounds import next_round
from kerastl.search.settings import SearchSettings
from kerastl.search.workshop import Workshop
from kerastl.spaces import Space
from kerastl.stages import Stage
from tests.engines import make_data

GB = 10**9
# space and options of searches that share this and that
CASES = {
    "one cut": ({"learning_rate": [0.1, 0.01], "batch_size": [8, 16]}, {}),
    "a common first stage": ({"2__unfreeze": [8, 15, 18]}, {"schedule": "hybrid"}),
    "optimizers": (
        {"optimizer": ["adam", "sgd"], "weight_decay": [0.0, 0.1], "dropout": [0.0, 0.5]},
        {},
    ),
    "nothing kept": ({"learning_rate": [0.1, 0.01]}, {"schedule": "full"}),
    "augmentation": (
        {"learning_rate": [0.1, 0.01], "batch_size": [8, 16], "1__epochs": [1, 2]},
        {"augment": ("flip",)},
    ),
    "a full one, then the head": (
        {"learning_rate": [0.1, 0.01]},
        {
            "stages": (
                {"name": "all", "unfreeze": "all", "learning_rate": 1e-4},
                {"name": "head", "unfreeze": "head"},
            )
        },
    ),
}


def make_job(space, mode="grid", settings=(), **options):
    return SearchJob(
        options=Options(
            base="tiny",
            **{
                "schedule": "feature-extraction",
                "epochs": 1,
                "cache_budget": GB,
                **options,
            },
        ),
        settings=SearchSettings(mode=mode, **dict(settings)),
        space=Space(space),
        data=make_data(),
    )


def estimate(*arguments, **options):
    job, _ = resolve_job(make_job(*arguments, **options))
    return estimate_search(plan_search(job, job.data), job.data)


@pytest.mark.parametrize("case", CASES)
def test_a_search_does_what_was_counted(case, tmp_path, monkeypatch):
    space, options = CASES[case]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(trials, "_workshop", Workshop())
    trained, run_stage = [], loop._run_stage
    monkeypatch.setattr(
        loop, "_run_stage", lambda *job: (trained.append(job), run_stage(*job))
    )
    job, _ = resolve_job(make_job(space, **options))
    plan = plan_search(job, job.data)
    with RunFolder.create("search", tmp_path / "out") as folder:
        driver = Driver(plan, job.data, Book(folder), plan.settings, print)
        for work in next_round(plan, driver.book):
            request = driver._describe(work, ())
            driver.images.sizes = {(32, 32)}
            arrays = {**driver.images._collect(), **request.arrays}
            trials.run_trial(json.loads(json.dumps(request.message)), arrays)
    cost = estimate_search(plan, job.data)
    kept = tmp_path / "cache" / "kerastl" / "activations"
    entries = len([*kept.iterdir()]) if kept.exists() else 0
    splits = 1 if cost.views else 2  # that are the same in every epoch
    assert splits * cost.cuts + cost.views == entries
    models = trials._workshop._kept.values()
    assert cost.programs == sum(len(model.programs._kept) for model in models)
    assert cost.stages.total() - cost.stages[SHARED] == len(trained)


NETWORK = Network("tiny", (32, 32), 3)
IMAGES = (49, 21)


def cost_of(*stages):
    return estimate_stages(NETWORK, stages, IMAGES, GB)


def test_a_cut_is_counted_once_and_epochs_each_time():
    found = estimate({"learning_rate": [0.1, 0.01], "batch_size": [8, 16]}, epochs=3)
    (cost,) = cost_of(Stage(name="head", epochs=3))
    assert found.total == cost.once + 4 * cost.count_epochs(3, cached=True)
    assert found.plain == 4 * cost.plain
    assert (found.cuts, found.programs, found.stages) == (1, 1, {"fits": 4})


def test_shared_stages_are_counted_once():
    found = estimate({"2__unfreeze": [8, 15]}, schedule="hybrid")
    first, low, high = cost_of(
        Stage(name="a", unfreeze=4, epochs=1),
        Stage(name="b", unfreeze=8, epochs=1),
        Stage(name="c", unfreeze=15, epochs=1),
    )
    assert found.total == first.total + low.total + high.total
    assert found.plain == 2 * first.plain + low.plain + high.plain
    assert found.stages == {"fits": 3, "shared": 1}


def test_folds_and_repeats_count_each_time():
    space = {"learning_rate": [0.1, 0.01]}
    found = estimate(space, settings={"cv": 5, "repeats": 2})
    (cost,) = estimate_stages(NETWORK, [Stage(name="head", epochs=1)], (56, 14), GB)
    # pretrained features are the same in both repeats
    assert found.total == 5 * cost.once + 2 * 5 * 2 * cost.count_epochs(1, cached=True)
    assert found.cuts == 5
    random = estimate(space, settings={"cv": 5, "repeats": 2}, weights=None)
    assert random.cuts == 10


def test_halving_counts_those_that_go_on():
    space = {"learning_rate": [0.1, 0.03, 0.01, 0.003]}
    settings = {"factor": 2, "min_epochs": 1}
    found = estimate(space, "halving", {**settings, "n_iter": 4}, epochs=4)
    (cost,) = cost_of(Stage(name="head", epochs=4))
    epochs = 4 * 1 + 2 * 1 + 1 * 2
    assert found.total == cost.once + epochs * cost.count_epochs(1, cached=True)


def test_over_the_budget_nothing_is_kept():
    found = estimate({"learning_rate": [0.1, 0.01]}, cache_budget=1000)
    assert found.total == found.plain
    assert (found.cuts, found.stages) == (0, {"over": 2})


def test_a_plan_says_it():
    text = describe_search(make_job({"2__unfreeze": [8, 15]}, schedule="hybrid"))
    assert "          3 of 4 with frozen layers run once: 3 cuts of up to 3.4 MB" in text
    assert "stages    1 of 4 trained by an earlier trial" in text
    assert "programs  3 to trace in each worker, for 4 stages of 2 trials" in text
    drawn = describe_search(
        make_job({"learning_rate": [0.1, 0.01]}, "tpe", {"n_iter": 2}, augment=("flip",))
    )
    words = "with frozen layers run once, of augmented images in each epoch: 1 cut of"
    assert f"2 of 2 of trials drawn at random {words}" in drawn


def test_augmented_images_are_counted_once_per_epoch_and_batch_size():
    space = {"learning_rate": [0.1, 0.01], "batch_size": [8, 16]}
    found = estimate(space, augment=("flip",), epochs=3)
    stage = Stage(name="head", epochs=3, augment=("flip",))
    (cost,) = estimate_stages(NETWORK, [stage], IMAGES, GB, shared=True)
    below, each = cost.cut.below, cost.count_epochs(3, cached=True)
    assert found.total == below * 21 + 2 * 3 * below * 49 + 4 * each
    assert found.views == 6


def test_trials_of_all_depths_take_one_pass_to_the_deepest():
    space = {"unfreeze": [8, "head", "block2"], "learning_rate": [0.1, 0.01]}
    found = estimate(space)
    depths = [Stage(name="s", unfreeze=u, epochs=1) for u in (8, "head", "block2")]
    costs = [cost_of(stage)[0] for stage in depths]
    below = [cost.cut.below for cost in costs]
    assert below[1] == max(below)
    # the head's is below a trial's own cut, and is known after the first pass
    epochs = sum(2 * cost.count_epochs(1, cached=True) for cost in costs)
    assert found.total == 70 * max(below) + epochs
    assert (found.cuts, found.passes) == (3, 1)


def test_what_does_not_fit_together_takes_passes_of_its_own():
    space = {"unfreeze": ["head", 8, "block2"]}
    costs = [cost_of(Stage(name="s", unfreeze=u))[0] for u in space["unfreeze"]]
    sizes = [cost.choice.size for cost in costs]
    assert sizes[0] + sizes[1] < sizes[2]
    found = estimate(space, cache_budget=sizes[2])
    assert (found.cuts, found.passes) == (3, 2)
    belows = [cost.cut.below for cost in costs]
    epochs = sum(cost.count_epochs(1, cached=True) for cost in costs)
    assert found.total == 70 * (belows[0] + belows[2]) + epochs


def test_a_search_says_in_how_many_passes():
    job = make_job({"unfreeze": ["head", "block2"]})
    assert "2 cuts of up to 3.4 MB in 1 pass, each at most" in describe_search(job)
