"""Bases ranked and strategies advised: what is measured, looked up, opened and printed."""

import dataclasses
import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_images
from sources import CIFAR10, needs_cifar10

import kerastl
from kerastl.__main__ import main
from kerastl.advice import advising, rules
from kerastl.advice.advising import choose_batch_sizes
from kerastl.advice.commands import write_command
from kerastl.advice.ranking import Ranking
from kerastl.advice.rule_tables import describe_rules
from kerastl.advice.rules import RULES, choose_time, find_amount, find_level, find_rule
from kerastl.advice.samples import draw_sample, make_folds
from kerastl.advice.similarity import measure_distance
from kerastl.advice.timing import Speed, estimate_duration
from kerastl.bases import get_base
from kerastl.bases.operations import Network
from kerastl.cli.program import build_parser
from kerastl.data.dataset import Split
from kerastl.errors import DataError, UsageError
from kerastl.evaluation.intervals import Measure
from kerastl.finetuning.costs import estimate_stages
from kerastl.schedules import SCHEDULES, named_schedule


@pytest.fixture(scope="module")
def digits():
    return kerastl.load_images("digits")


@pytest.fixture
def few_images(monkeypatch):
    """Let `advise` look at few images, where what it finds does not matter."""
    monkeypatch.setattr(advising, "IMAGES", 100)


@pytest.fixture
def only_train(monkeypatch):
    """Let images be decoded or digested of the training split alone."""
    opened = []

    def watch(name):
        method = getattr(Split, name)

        def watched(split, *given):
            opened.append(split.name)
            return method(split, *given)

        monkeypatch.setattr(Split, name, watched)

    watch("pixels")
    watch("digests")
    return opened


# The sample


def test_a_sample_has_each_class_in_proportion_and_no_other_split(digits):
    sample = draw_sample(digits, 100, seed=0)
    assert sample.validation is None
    assert sample.test is None
    assert len(sample.train) == 100
    assert set(np.bincount(sample.train.labels)) <= {9, 10, 11}
    assert set(sample.train.names) <= set(digits.train.names)
    again, other = (draw_sample(digits, 100, seed=s).train.names for s in (0, 1))
    assert again == sample.train.names != other


def test_rare_classes_keep_two_images_each():
    images = np.random.default_rng(0).integers(0, 256, (210, 8, 8, 3), dtype="uint8")
    labels = np.repeat([0, 1, 2], [200, 7, 3])
    data = kerastl.load_images(images, labels=labels, validation=0, test=0)
    sample = draw_sample(data, 20, seed=0)
    assert np.bincount(sample.train.labels).tolist() == [16, 2, 2]
    assert len(make_folds(sample, 5, 0)) == 2


def test_all_images_are_looked_at_where_there_are_few(digits):
    assert draw_sample(digits, 5000, seed=0).train is digits.train


def test_classes_of_one_image_and_several_labels_are_refused():
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype="uint8")
    lonely = np.array([0] * 8 + [1])
    data = kerastl.load_images(images, labels=lonely, validation=0, test=0)
    with pytest.raises(DataError, match="Class '1' has 1 image"):
        draw_sample(data, 9, seed=0)
    several = np.eye(3, dtype="float32")[np.arange(9) % 3]
    data = kerastl.load_images(
        images, labels=several, multi_label=True, validation=0, test=0
    )
    with pytest.raises(UsageError, match="multi_label=True"):
        kerastl.rank_bases(data, ["tiny"])


# Ranking


@pytest.fixture(scope="module")
def ranking(digits):
    bases = ["vgg16", "Tiny", "tiny"]
    return kerastl.rank_bases(digits, bases, weights="auto", images=120, cache=False)


def test_the_ranking_has_each_base_once_and_the_best_first(ranking):
    assert sorted(row.base for row in ranking.rows) == ["tiny", "vgg16"]
    values = [row.probe.value for row in ranking.rows]
    assert values == sorted(values, reverse=True)
    tiny = next(row for row in ranking.rows if row.base == "tiny")
    assert (tiny.weights, tiny.features, tiny.parameters) == ("cifar10", 80, 207_904)
    assert tiny.image_size == (32, 32)
    assert tiny.probe.low < tiny.probe.value < tiny.probe.high
    assert (ranking.images, ranking.total) == (120, 1079)


def test_the_ranking_prints_every_column_and_a_conclusion(ranking):
    text = str(ranking)
    for word in ("probe accuracy", "LogME", "H-score", "parameters", "14,714,688"):
        assert word in text
        assert word in ranking._repr_html_()
    assert text.endswith(ranking.conclusion)
    values = json.loads(json.dumps(ranking.to_dict()))
    assert values["rows"][0]["probe"]["value"] == ranking.rows[0].probe.value


def test_bases_whose_intervals_overlap_are_not_told_apart(ranking):
    first = ranking.rows[0]
    sure = dataclasses.replace(first, base="first", probe=Measure(0.9, 0.88, 0.92))
    near = dataclasses.replace(first, base="near", probe=Measure(0.87, 0.85, 0.89))
    far = dataclasses.replace(first, base="far", probe=Measure(0.5, 0.45, 0.55))
    some = Ranking((sure, near, far), 900, 900)
    assert [row.base for row in some.rivals] == ["near"]
    assert "do not tell" in some.conclusion
    assert "far" not in some.conclusion
    clear = Ranking((sure, far), 900, 900)
    assert clear.conclusion == "first comes first on 900 images, beyond chance."


def test_ranking_opens_no_other_split(digits, only_train):
    data = dataclasses.replace(digits)
    kerastl.rank_bases(data, ["tiny"], images=60, folds=2, cache=False)
    assert set(only_train) == {"train"}


def test_ranking_depends_on_no_other_split(digits):
    broken = dataclasses.replace(digits, validation=None, test=None)
    rows = [
        kerastl.rank_bases(data, ["tiny"], images=60, folds=2, cache=False).rows[0]
        for data in (digits, broken)
    ]
    assert rows[0].probe == rows[1].probe
    assert rows[0].log_me == rows[1].log_me


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bases": ["resnet5"]}, r"resnet5.*Did you mean 'resnet50'"),
        ({"bases": []}, r"bases=\[\]: give a list"),
        ({"bases": "tiny"}, "bases='tiny': give a list"),
        ({"bases": ["tiny"], "image_size": 4}, "image_size=4 is too small for tiny"),
        ({"bases": ["tiny"], "images": 1}, "images=1 must be a whole number from 2"),
        ({"bases": ["tiny"], "folds": True}, "folds=True must be a whole number"),
        ({"bases": ["tiny"], "weights": "imagenet"}, "does not exist for tiny"),
    ],
)
def test_what_cannot_be_ranked_is_refused_before_images_are_opened(
    digits, only_train, given, message
):
    with pytest.raises(UsageError, match=message):
        kerastl.rank_bases(digits, **given)
    assert only_train == []


# Similarity


def cut_photographs(side=32):
    """Return tiles of the two photographs that ship with scikit-learn."""
    tiles = []
    for photo in load_sample_images().images:
        small = photo[::4, ::4]
        for top, left in itertools.product(range(0, 65, 16), range(0, 113, 16)):
            tiles.append(small[top : top + side, left : left + side])
    return np.stack(tiles)


@pytest.fixture(scope="module")
def tiny():
    return kerastl.build_model("tiny", num_classes=2)


def test_photographs_are_nearer_to_the_source_than_digits_and_noise(tiny, digits):
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype="uint8")
    sets = cut_photographs(), digits.train.pixels(32)[:100], noise
    photographs, scans, static = (measure_distance(tiny, pixels) for pixels in sets)
    assert photographs < scans < static


@pytest.mark.data
@needs_cifar10
def test_the_source_itself_is_next_to_no_distance_away(tiny):
    data = kerastl.load_images(Path(CIFAR10, "test"), validation=0, test=0)
    pixels = draw_sample(data, 300, seed=0).train.pixels(32)
    assert measure_distance(tiny, pixels) < 0.1


def test_statistics_of_the_source_are_at_distance_zero():
    model = kerastl.build_model("tiny", num_classes=2, weights=None)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype="uint8")
    layer = model.get_layer("block2_norm")
    import keras

    below = keras.Model(model.inputs[0], layer.input)
    maps = np.asarray(below(pixels.astype("float32")))
    mean, variance = maps.mean(axis=(0, 1, 2)), maps.var(axis=(0, 1, 2))
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance - layer.epsilon)
    assert measure_distance(model, pixels) == pytest.approx(0, abs=1e-3)
    layer.moving_mean.assign(mean + 2 * np.sqrt(variance))
    assert measure_distance(model, pixels) == pytest.approx(2, abs=1e-3)


def test_a_base_without_batchnorm_has_no_distance():
    model = kerastl.build_model("vgg16", num_classes=2, weights=None, image_size=32)
    assert measure_distance(model, np.zeros((2, 32, 32, 3), "uint8")) is None


# The rules, cell by cell


@pytest.mark.parametrize(
    ("amount", "similarity", "strategy", "schedule"),
    [
        ("few", "similar", "feature extraction", "feature-extraction"),
        ("few", "related", "feature extraction", "feature-extraction"),
        ("few", "different", "not advised", "feature-extraction"),
        ("enough", "similar", "fine-tune", "fine-tune"),
        ("enough", "related", "hybrid", "hybrid"),
        ("enough", "different", "fine-tune", "full"),
        ("many", "similar", "fine-tune", "lp-ft"),
        ("many", "related", "fine-tune", "full"),
        ("many", "different", "from scratch", "full"),
    ],
)
def test_each_cell_of_the_strategies(amount, similarity, strategy, schedule):
    rule = find_rule(amount, similarity)
    assert (rule.strategy, rule.schedule) == (strategy, schedule)
    assert rule.why
    assert rule.source
    assert rule.from_scratch == (strategy == "from scratch")
    assert rule.is_advised == (strategy != "not advised")


def test_the_strategies_have_each_cell_once():
    cells = [(rule.amount, rule.similarity) for rule in RULES]
    amounts, levels = ("few", "enough", "many"), ("similar", "related", "different")
    assert sorted(cells) == sorted(itertools.product(amounts, levels))
    assert {rule.schedule for rule in RULES} <= set(SCHEDULES)
    assert set(rules.CHEAPER) == set(rules.STRATEGIES) <= set(SCHEDULES)


@pytest.mark.parametrize(
    ("images", "per_class", "name"),
    [
        (0, 0, "few"),
        (800, 400, "few"),
        (801, 19, "few"),
        (801, 20, "enough"),
        (9_999, 5_000, "enough"),
        (10_000, 999, "enough"),
        (10_000, 1_000, "many"),
        (10**6, 1_000, "many"),
    ],
)
def test_each_edge_of_the_amounts(images, per_class, name):
    assert find_amount(images, per_class).name == name


@pytest.mark.parametrize(
    ("gain", "accuracy", "distance", "name"),
    [
        ((0.0, -0.5), 0.95, None, "similar"),
        ((0.0, -0.5), 0.949, None, "different"),
        ((0.34, 0.01), 0.5, None, "similar"),
        ((0.34, 0.01), 0.5, 9.0, "similar"),
        ((0.34, 0.0), 0.5, None, "different"),
        ((0.33, 0.01), 0.5, None, "related"),
        ((0.01, 0.001), 0.5, 9.0, "related"),
        ((0.2, -0.1), 0.5, 0.25, "related"),
        ((0.2, -0.1), 0.5, 0.26, "different"),
        ((-0.5, -0.9), 0.1, None, "different"),
    ],
)
def test_each_edge_of_the_levels(gain, accuracy, distance, name):
    assert find_level(gain, accuracy, distance).name == name


@pytest.mark.parametrize(
    ("minutes", "wanted", "cheaper", "what", "trials"),
    [
        (None, 5, "", "all trials", 5),
        (None, 1, "", "one run", 1),
        (10, 5, "", "all trials", 5),
        (5, 5, "", "all trials", 5),
        (4.99, 5, "", "fewer trials", 4),
        (2, 5, "", "fewer trials", 2),
        (1.99, 5, "hybrid", "one run", 1),
        (1, 5, "", "one run", 1),
        (60, 1, "", "one run", 1),
        (0.99, 5, "hybrid", "a cheaper run", 1),
        (0.99, 5, "", "too long", 1),
    ],
)
def test_each_row_of_the_times(minutes, wanted, cheaper, what, trials):
    found = choose_time(minutes, one=60, trial=60, wanted=wanted, cheaper=cheaper)
    assert found == (what, trials)
    assert what in dict(rules.TIMES)


def test_the_rules_that_are_printed_are_those_that_are_used(capsys):
    assert main(["advise", "--rules"]) == 0
    printed = capsys.readouterr().out
    assert printed == describe_rules() + "\n"
    texts = [text for rule in RULES for text in (rule.why, rule.source)]
    texts += [text for row in rules.LEVELS for text in (row.why, row.source)]
    texts += [row.source for row in rules.AMOUNTS] + [text for _, text in rules.TIMES]
    for text in texts:
        assert text in printed


@pytest.mark.parametrize(
    ("images", "sizes"),
    [
        ((160, 40), (16,)),
        ((319, 40), (16,)),
        ((320, 40), (16, 32)),
        ((20, 5), (16,)),
        ((20_000, 5_000), (16, 32, 64)),
    ],
)
def test_batches_leave_ten_steps_per_epoch(images, sizes):
    assert choose_batch_sizes(images) == sizes


# Durations


def test_a_duration_is_the_arithmetic_over_the_rate():
    base = get_base("tiny")
    network = Network("tiny", (32, 32), 10)
    stages = named_schedule("fine-tune", base.blocks).stages
    costs = estimate_stages(network, stages, (1000, 250), 10**9)
    found = estimate_duration(costs, Speed(rate=1e9, setup=2.0))
    once, total = (sum(getattr(cost, n) for cost in costs) for n in ("once", "total"))
    assert found.once == pytest.approx(20 + 2 * 2.0 + once / 1e9)
    assert found.each == pytest.approx((total - once) / 1e9)
    faster = estimate_duration(costs, Speed(rate=2e9, setup=2.0))
    assert faster.each == pytest.approx(found.each / 2)
    assert found.count(3) == pytest.approx(found.once + 3 * found.each)


# Advice


@pytest.fixture(scope="module")
def advice(digits):
    return kerastl.advise(digits, base="tiny", cache=False)


def test_digits_have_enough_images_and_features_that_serve(advice):
    evidence = advice.evidence
    assert (evidence.images, evidence.classes, evidence.per_class) == (1079, 10, 108)
    assert evidence.looked_at == 1000
    assert (evidence.amount, evidence.similarity) == ("enough", "similar")
    assert evidence.gain.low > 0
    assert evidence.frozen.value > evidence.random.value > 0.8
    assert 0.3 < evidence.distance < 0.8
    assert (advice.strategy, advice.schedule) == ("fine-tune", "fine-tune")
    assert advice.learning_rates == (0.01, 0.001)
    assert advice.batch_sizes == (16, 32)
    assert advice.n_iter == 10


def test_every_decision_has_its_reason_and_source(advice):
    assert [reason.what for reason in advice.reasons] == [
        "strategy",
        "learning rates",
        "batch size",
        "trials",
    ]
    printed = str(advice)
    for reason in advice.reasons:
        for text in (reason.choice, reason.why, reason.source):
            assert text
            assert text in printed
    assert printed.endswith(advice.command)
    assert json.loads(json.dumps(advice.to_dict()))["strategy"] == "fine-tune"


def test_the_command_is_one_that_the_program_takes(advice):
    program, *words = shlex.split(advice.command)
    given, unknown = build_parser().parse_known_args(words)
    assert (program, unknown, given.command) == ("kerastl", [], "search")
    assert (given.base, given.schedule, given.n_iter) == ("tiny", "fine-tune", 10)
    assert given.param == ["batch_size=16,32", "learning_rate=loguniform(0.0033,0.03)"]


def test_less_time_means_fewer_trials_then_a_cheaper_schedule(digits, advice, monkeypatch):
    measured = advice.evidence, Speed(rate=2e10, setup=1.0)
    monkeypatch.setattr(advising, "gather_evidence", lambda *_, **__: measured)
    found = [
        kerastl.advise(digits, base="tiny", minutes=m) for m in (100, 4, 1.5, 0.5, 0.1)
    ]
    assert found[0].n_iter == 10
    assert 1 < found[1].n_iter < 10
    assert [one.n_iter for one in found[2:]] == [1, 1, 1]
    assert [one.schedule for one in found[:3]] == ["fine-tune"] * 3
    assert [one.schedule for one in found[3:]] == ["feature-extraction"] * 2
    assert found[3].strategy == "feature extraction"
    assert "for want of time" in str(found[3])
    assert "take a smaller base" in str(found[4])
    assert found[0].minutes > found[1].minutes > found[2].minutes > found[3].minutes
    assert found[1].minutes <= 4
    assert found[3].minutes <= 0.5
    assert found[2].command.startswith("kerastl finetune --data digits --base tiny")


def test_noise_is_not_advised_and_leads_to_other_bases(capsys):
    found = kerastl.advise(kerastl.load_images("random"), base="tiny", cache=False)
    assert (found.evidence.similarity, found.strategy) == ("different", "not advised")
    assert found.n_iter == 1
    assert found.command.startswith("kerastl rank --data random --bases tiny,")


def test_random_weights_teach_nothing(digits, few_images):
    found = kerastl.advise(digits, base="tiny", weights=None, cache=False)
    assert found.evidence.gain.value == 0
    assert found.evidence.distance is None
    assert (found.evidence.similarity, found.schedule) == ("different", "full")
    assert "--weights none" in found.command


def test_advice_opens_no_other_split(digits, only_train, few_images):
    kerastl.advise(dataclasses.replace(digits), base="tiny", cache=False)
    assert set(only_train) == {"train"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"base": "resnet5"}, r"resnet5.*Did you mean 'resnet50'"),
        ({"base": "tiny", "minutes": 0}, "minutes"),
        ({"base": "tiny", "image_size": 4}, "too small for tiny"),
        ({"base": "auto", "weights": "cifar10"}, "needs the name of a base"),
    ],
)
def test_what_cannot_be_advised_on_is_refused_before_images_are_opened(
    digits, only_train, given, message
):
    with pytest.raises(UsageError, match=message):
        kerastl.advise(digits, **given)
    assert only_train == []


# Commands


def command_of(data, n_iter=1, settings=None, weights="pretrained", **more):
    base = get_base("tiny")
    schedule = named_schedule("full", base.blocks)
    sizes = (16, 32) if n_iter > 1 else (32,)
    given = (data, base, weights, (48, 48), schedule, settings or {}, sizes, n_iter)
    return write_command(*given, **more)


def test_commands_repeat_how_the_images_were_loaded(image_folder):
    folder = image_folder({"my cats": 6, "dogs": 6})
    data = kerastl.load_images(folder, test=0.25, on_bad_image="skip", seed=3)
    words = shlex.split(command_of(data, settings=rules.SCRATCH_SETTINGS, weights=None))
    given, unknown = build_parser().parse_known_args(words[1:])
    assert unknown == []
    assert (given.data, given.test, given.seed) == (str(folder), 0.25, 3)
    assert given.on_bad_image == "skip"
    assert (given.weights, given.image_size) == ("none", (48, 48))
    assert (given.train_batchnorm, given.epochs, given.learning_rate) == (True, 30, 0.001)
    assert not hasattr(given, "validation")


def test_images_in_memory_get_python():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype="uint8")
    data = kerastl.load_images(images, labels=np.arange(40) % 2)
    run = command_of(data, settings=rules.SCRATCH_SETTINGS, weights=None)
    assert run == (
        "kerastl.finetune(kerastl.build_model('tiny', num_classes=data.num_classes, "
        "weights=None, image_size=(48, 48)), data, schedule='full', train_batchnorm=True, "
        "epochs=30, learning_rate=0.001, batch_size=32)"
    )
    search = command_of(data, n_iter=7)
    assert search.startswith("kerastl.random_search(data, {'batch_size': [16, 32], ")
    for line in (run, search):
        compile(line, "advice", "eval")


# On the command line


def call(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_rank_prints_a_table(capsys, image_folder):
    folder = image_folder({"cat": 12, "dog": 12})
    given = ("rank", "--data", folder, "--bases", "tiny", "--folds", 2)
    code, out, _ = call(capsys, *given)
    assert code == 0
    assert re.search(r"^tiny +cifar10 +32x32 +[01]\.\d+ \(", out, re.M)
    code, out, _ = call(capsys, *given, "--json", "--weights", "none")
    assert code == 0
    assert json.loads(out)["rows"][0]["weights"] == "random"


def test_advise_prints_a_page(capsys, image_folder):
    folder = image_folder({"cat": 12, "dog": 12})
    given = ("advise", "--data", folder, "--base", "tiny", "--minutes", 5)
    code, out, _ = call(capsys, *given)
    assert code == 0
    for word in ("similarity", "strategy:", "learning rates:", "trials:", "next\n"):
        assert word in out
    code, out, _ = call(capsys, *given, "--json")
    assert code == 0
    assert json.loads(out)["evidence"]["images"] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rank", "--bases", "tiny,vgg61"], "vgg61"),
        (["rank", "--bases", "tiny", "--images", "x"], "images='x' must be"),
        (["rank", "--bases", "tiny", "--data", "nowhere/"], "nowhere"),
        (["advise", "--base", "tiny", "--minutes", "soon"], "minutes='soon'"),
        (["advise", "--base", "resnet5"], "Did you mean 'resnet50'"),
        (["advise", "--batch-size", "3"], "no flag --batch-size"),
    ],
)
def test_mistakes_are_sentences(capsys, arguments, message):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
