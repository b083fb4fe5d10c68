"""docs/recipes.md: each recipe is built from its own line, trained a step and checked."""

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from documents import (
    ROOT,
    find_blocks,
    read_section,
    shorten,
    write_cifar10,
    write_images,
    write_masks,
    write_photos,
)
from PIL import Image
from scipy.stats import uniform
from sklearn.model_selection import ParameterGrid, ParameterSampler

import kerastl
from kerastl.__main__ import main
from kerastl.advice.guidance import guide_search
from kerastl.cli.flags import collect_options
from kerastl.cli.program import build_parser
from kerastl.cli.search import read_job
from kerastl.data.augmentation import Augmentation
from kerastl.finetuning import training
from kerastl.finetuning.planning import load_data, read_schedule
from kerastl.models import get_info, layer_table
from kerastl.schedules import plan_freeze
from kerastl.search.candidates import apply_parameters
from kerastl.search.jobs import plan_search, run_search

RECIPES = ROOT / "docs" / "recipes.md"
SIDE = 32  # the smallest that VGG16 and ResNet50 take
VGG16_PARAMETERS = 14_714_688


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read_lines(recipe):
    """The options of each `kerastl finetune` line of a recipe, read by the program."""
    blocks = find_blocks(read_section(RECIPES, f"{recipe}:"), "bash")
    commands = [line[1:] for block in blocks for line in block.commands]
    lines = [line for line in commands if line[0] == "finetune"]
    return [collect_options(build_parser().parse_args(line), {}) for line in lines]


def build(options, data, **settings):
    """The model of a line, from random weights and small."""
    wanted = {
        "weights": None,
        "image_size": SIDE,
        "pooling": options.pooling,
        "hidden": options.hidden,
        "dropout": options.dropout,
        **settings,
    }
    return kerastl.build_model(options.base, num_classes=data.num_classes, **wanted)


def train(options, model, data):
    """One step of each stage of a line."""
    schedule = read_schedule(options, kerastl.get_base(get_info(model).base))
    return kerastl.finetune(
        model, data, schedule=schedule, epochs=1, batch_size=4, max_steps=1, verbose=0
    )


def make_line(recipe, number=0):
    options = read_lines(recipe)[number]
    data = load_data(options)
    model = build(options, data)
    return options, data, model


def settings_of(options):
    base = kerastl.get_base(options.base)
    return [
        (s.unfreeze, s.epochs, s.learning_rate, s.optimizer, s.batch_size)
        for s in read_schedule(options, base)
    ]


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def moved_layers(before, after):
    return {
        name
        for name, arrays in before.items()
        if any(not np.array_equal(a, b) for a, b in zip(arrays, after[name], strict=True))
    }


def trained_names(model):
    return [layer.name for layer in model.layers if layer.trainable and layer.weights]


def test_every_recipe_is_there_as_in_the_notes_and_on_real_images():
    text = RECIPES.read_text(encoding="utf-8")
    found = re.findall(r"^## (R\d+):", text, re.MULTILINE)
    assert found == [f"R{n}" for n in range(1, 20)]
    for recipe in found:
        blocks = find_blocks(read_section(RECIPES, f"{recipe}:"), "bash", "python")
        assert len(blocks) >= 2, recipe
        for block in blocks:
            assert len(block.code.strip().splitlines()) <= 2, recipe


def test_r1_trains_the_head_on_features_of_vgg16():
    options, data, model = make_line("R1")
    assert (len(data.train), len(data.test), data.validation) == (832, 168, None)
    assert options.image_size == (224, 224)
    assert settings_of(options) == [("head", 10, 0.001, "adam", 32)]
    before = weights_by_layer(model)
    run = train(options, model, data)
    assert moved_layers(before, weights_by_layer(model)) == {"hidden1", "predictions"}
    assert run.model.loss.get_config()["from_logits"] is False
    assert model.layers[-1].activation is keras.activations.softmax
    large = build(options, data, image_size=options.image_size)
    assert large.count_params() == VGG16_PARAMETERS + 512 * 256 + 256 + 256 * 10 + 10


def test_r1_a_second_softmax_cannot_be_sure():
    sure = keras.ops.convert_to_tensor(np.eye(10, dtype="float32"))
    largest = float(keras.ops.max(keras.activations.softmax(sure)))
    assert largest == pytest.approx(math.e / (math.e + 9), abs=1e-6)
    assert round(largest, 2) == 0.23


def read_searches(recipe):
    """The job of each `kerastl search` line of a recipe, on random weights."""
    blocks = find_blocks(read_section(RECIPES, f"{recipe}:"), "bash")
    lines = [line[1:] for block in blocks for line in block.commands]
    jobs = [read_job(build_parser().parse_args(line)) for line in lines]
    return [_change_options(job, weights=None) for job in jobs]


def _change_options(job, **changes):
    return dataclasses.replace(job, options=dataclasses.replace(job.options, **changes))


def plan(job):
    return plan_search(job, load_data(job.options))


@pytest.mark.parametrize("recipe", ["R3", "R4"])
def test_r3_and_r4_search_the_model_and_data_of_the_notes(recipe):
    job = read_searches(recipe)[0]
    data = load_data(job.options)
    assert [len(split) for split in data.splits.values()] == [639, 160, 201]
    for params in plan_search(job, data).candidates:
        options = apply_parameters(job.options, params)
        assert (options.base, options.image_size, options.hidden) == (
            "resnet50", (32, 32), (1024,),
        )  # fmt: skip
        expected = ("head", 10, params["learning_rate"], "adam", params["batch_size"])
        assert settings_of(options) == [expected]


def test_r3_is_the_grid_of_the_notes():
    space = {"learning_rate": [0.001, 0.01, 0.1], "batch_size": [16, 32, 64]}
    for job in read_searches("R3")[:1]:
        assert list(plan(job).candidates) == list(ParameterGrid(space))


def test_r3_the_best_of_nine_guesses_is_above_chance():
    scores = np.random.default_rng(0).binomial(200, 0.1, (10_000, 9)).max(axis=1) / 200
    assert round(scores.mean(), 2) == 0.13


def test_r4_draws_what_the_notes_draw():
    space = {"learning_rate": uniform(0.001, 0.1), "batch_size": [16, 32, 64]}
    expected = list(ParameterSampler(space, 5, random_state=42))
    assert list(plan(read_searches("R4")[0]).candidates) == expected
    assert uniform(0.001, 0.1).sf(0.01) == pytest.approx(0.91)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tiny", "resnet50"])
def test_r4_runs_to_its_one_test_score(base, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_MAX_STEPS_PER_EPOCH", "1")  # for the processes of trials
    monkeypatch.setattr(training, "finetune", shorten(training.finetune))
    job = _change_options(read_searches("R4")[0], base=base, epochs=1)
    job = dataclasses.replace(job, settings=dataclasses.replace(job.settings, n_iter=2))
    result = run_search(job, out=tmp_path / "out", verbose=0)
    assert result.leaderboard()["status"].tolist() == ["done", "done"]
    assert result.summary["best"]["selected_on"] == "validation (hold-out)"
    assert result.test["n"] == 201
    assert "it is optimistic" in repr(result)


def test_r5_the_trials_and_batch_sizes_are_those_of_the_notes(tmp_path):
    planned = plan(read_searches("R5")[0])
    assert planned.count == 5
    assert planned.space.parameters["batch_size"] == (16, 32)
    assert "799 images: 5 to 10 trials and batches of 16 or 32, because" in planned.notes[0]
    trials = [guide_search(n).n_iter_range for n in (1000, 10_001, 100_001)]
    assert trials == [(5, 10), (20, 50), (50, 100)]
    assert guide_search(100_001).batch_sizes == (32, 64)
    assert guide_search(1_000_001).batch_sizes[:2] == (64, 128)


@pytest.mark.parametrize("recipe", ["R3", "R4", "R5"])
def test_the_searches_of_real_images_can_be_planned(recipe, tmp_path):
    write_photos(tmp_path / "photos")
    real = [job for job in read_searches(recipe) if Path(job.options.data).name == "photos"]
    assert [plan(job).count for job in real] == [{"R3": 9}.get(recipe, 5)]


def test_r6_the_summary_shows_the_layers_of_vgg16():
    lines = []
    model = kerastl.build_model("vgg16", image_size=224, weights=None)
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    convolutions = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    assert len(convolutions) == 13
    assert all(layer.name in text for layer in convolutions)
    assert model.count_params() == VGG16_PARAMETERS + 512 * 10 + 10


def test_r7_trains_the_last_four_layers_which_are_the_head():
    data = kerastl.load_images("random")
    stage = kerastl.Stage(name="last-4", unfreeze=4)
    model = kerastl.build_model(
        "vgg16", weights=None, image_size=SIDE, pooling="flatten", hidden=[256]
    )
    last = [layer.name for layer in model.layers[-4:]]
    assert last == ["block5_pool", "pooling", "hidden1", "predictions"]
    before = weights_by_layer(model)
    kerastl.finetune(model, data, schedule=stage, epochs=1, max_steps=1, verbose=0)
    assert trained_names(model) == ["hidden1", "predictions"]
    assert moved_layers(before, weights_by_layer(model)) == {"hidden1", "predictions"}


def test_r7_on_real_images_reaches_the_last_block():
    stages = settings_of(read_lines("R7")[0])
    assert [unfreeze for unfreeze, *_ in stages] == ["head", "block5"]


def test_r8_trains_four_layers_then_fifteen():
    options, data, model = make_line("R8")
    assert (len(data.train), len(data.validation), len(data.test)) == (631, 201, 168)
    stages = settings_of(options)
    assert stages == [(4, 10, 0.001, "adam", 32), (15, 10, 0.0001, "adam", 32)]
    before = weights_by_layer(model)
    run = train(options, model, data)
    expected = [layer.name for layer in model.layers[-15:] if layer.weights]
    assert expected[0] == "block3_conv1"
    assert trained_names(model) == expected
    assert {"block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"}.isdisjoint(
        moved_layers(before, weights_by_layer(model))
    )
    head = 512 * 256 + 256 + 256 * 10 + 10
    below_block3 = 1_792 + 36_928 + 73_856 + 147_584
    counts = [stage["trainable_parameters"] for stage in run.stages]
    assert counts == [head, VGG16_PARAMETERS - below_block3 + head]


def test_r8_both_stages_can_have_the_same_rate():
    options = dataclasses.replace(read_lines("R8")[0], learning_rate=(0.001, 0.001))
    assert [stage[2] for stage in settings_of(options)] == [0.001, 0.001]


def test_r8_one_hot_labels_are_the_same_data():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype="uint8")
    labels = np.arange(40) % 4
    plain = kerastl.load_images(images, labels=labels)
    one_hot = kerastl.load_images(images, labels=keras.utils.to_categorical(labels, 4))
    assert np.array_equal(plain.train.labels, one_hot.train.labels)
    assert plain.fingerprint == one_hot.fingerprint


def test_hybrid_leaves_batch_normalisation_frozen():
    model = kerastl.build_model("resnet50", weights=None, image_size=SIDE, hidden=[256])
    layers = layer_table(model)
    normalising = {layer.name for layer in layers if layer.is_batchnorm}
    for stage in kerastl.named_schedule("hybrid", kerastl.get_base("resnet50").blocks):
        last = {layer.name for layer in model.layers[-stage.unfreeze :]}
        plan = plan_freeze(layers, stage)
        chosen = {name for name, trains in plan.items() if trains}
        assert chosen == (last - normalising) | {"pooling", "hidden1", "predictions"}


def test_r9_trains_a_new_output_on_resnet50():
    options, data, model = make_line("R9")
    assert settings_of(options) == [("head", 10, 0.001, "adam", 32)]
    run = train(options, model, data)
    assert trained_names(model) == ["predictions"]
    assert run.stages[0]["trainable_parameters"] == 2048 * 10 + 10


@pytest.fixture
def masks(tmp_path):
    write_masks(tmp_path / "masks")
    return load_data(read_lines("R13")[0])


def person_of(name):
    return name.split("/")[0].split("_")[0]


ANIMALS = {  # hooves, stripes, spots
    "deer": (1, 0, 1),
    "horse": (1, 0, 0),
    "leopard": (0, 0, 1),
    "lion": (0, 0, 0),
    "tiger": (0, 1, 0),
    "zebra": (1, 1, 0),
}


def draw_animal(hooves, stripes, spots, noise):
    picture = np.full((SIDE, SIDE, 3), (200, 200, 200) if hooves else (210, 140, 40))
    if stripes:
        picture[:, noise.integers(0, 4) :: 4] = picture[:, 1::4][:, :1] // 8
    if spots:
        for row, column in noise.integers(2, SIDE - 6, (8, 2)):
            picture[row : row + 4, column : column + 4] = (90, 30, 10)
    return np.clip(picture + noise.normal(0, 12, picture.shape), 0, 255).astype("uint8")


@pytest.mark.parametrize("number", [0, 1])
def test_r10_a_zebra_is_a_horse_with_stripes(number, tmp_path, capsys):
    noise = np.random.default_rng(0)
    for name, marks in ANIMALS.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for picture in range(20 if name != "zebra" or number else 0):
            image = Image.fromarray(draw_animal(*marks, noise))
            image.save(tmp_path / "photos" / name / f"{picture}.png")
    if not number:  # no images, not even a folder
        (tmp_path / "photos" / "zebra").rmdir()
    rows = [",".join(map(str, (name, *marks))) for name, marks in ANIMALS.items()]
    header = "animal,hooves,stripes,spots"
    (tmp_path / "attributes.csv").write_text("\n".join([header, *rows]))
    blocks = find_blocks(read_section(RECIPES, "R10:"), "bash")
    _, *line = blocks[number].commands[0]
    assert main([*line, "--base", "tiny", "--image-size", str(SIDE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["unseen"], len(found["seen"])) == (["zebra"], 5)
    zebras = [draw_animal(*ANIMALS["zebra"], noise) for _ in range(20)]
    model = kerastl.load_model("runs/zero-shot-1/model.keras")
    given = kerastl.predict_probabilities(model, np.stack(zebras)).argmax(axis=1)
    right = np.mean([get_info(model).class_names[index] == "zebra" for index in given])
    assert right > 0.5  # chance is a sixth
    if number:
        assert found["scores"]["all_classes"]["unseen"]["low"] > 1 / 6
        assert found["scores"]["all_classes"]["seen"]["low"] > 1 / 6


def test_r11_says_why_validation_is_below_training(capsys):
    from kerastl.__main__ import main

    write_photos(Path("photos"))
    blocks = find_blocks(read_section(RECIPES, "R11:"), "bash")
    (plain,), (training, diagnosis) = (block.commands for block in blocks)
    assert plain[:2] == diagnosis[:2] == ["kerastl", "diagnose"]
    small = ["--base", "tiny", "--epochs", "1", "--fast-dev-run", "--quiet"]
    assert main([*training[1:], *small]) == 0
    assert main(diagnosis[1:]) == 0
    shown = capsys.readouterr().out
    causes = ("leakage", "distribution shift", "label noise", "learning rate")
    for cause in (*causes, "under-fitting", "over-fitting"):
        assert f"\n{cause}: " in shown
    assert Path("runs/photos/diagnosis.json").is_file()


def test_r13_has_18_classes_and_nobody_in_two_splits(masks):
    parts = ("incorrect", "mask", "normal"), ("female", "male"), ("<30", "30-59", "60+")
    assert set(masks.class_names) == {
        "-".join(names) for names in itertools.product(*parts)
    }
    people = [{person_of(name) for name in s.names} for s in masks.splits.values()]
    assert len(people) == 3
    assert sum(map(len, people)) == len(set.union(*people)) == 24


def test_r13_labels_come_from_the_folder_and_the_file(masks):
    ages = {"18": "<30", "29": "<30", "30": "30-59", "59": "30-59", "60": "60+"}
    for split in masks.splits.values():
        for name, label in zip(split.names, split.labels, strict=True):
            folder, file = name.split("/")
            _, gender, _, age = folder.split("_")
            wear = next(w for w in ("incorrect", "mask", "normal") if file.startswith(w))
            assert masks.class_names[label] == f"{wear}-{gender}-{ages[age]}"


def test_r13_system_files_are_no_samples(masks):
    names = [name for split in masks.splits.values() for name in split.names]
    assert len(names) == 24 * 7
    assert not [name for name in names if "._" in name or ".ipynb" in name]
    assert {name.rpartition(".")[2] for name in names} == {"jpg", "jpeg", "png"}


def test_r13_without_groups_people_are_in_several_splits(masks, tmp_path):
    rule = read_lines("R13")[0].label_rule
    loose = kerastl.load_images(tmp_path / "masks", label_rule=rule)
    people = [{person_of(name) for name in s.names} for s in loose.splits.values()]
    assert people[0] & people[2]


def test_r13_trains_everything(masks):
    options = read_lines("R13")[0]
    assert (options.base, settings_of(options)) == (
        "resnet50",
        [("all", 5, 0.0001, "adam", 32)],
    )
    model = build(dataclasses.replace(options, base="tiny"), masks)  # seconds, not a minute
    run = train(options, model, masks)
    normalising = {layer.name for layer in layer_table(model) if layer.is_batchnorm}
    weighted = {layer.name for layer in model.layers if layer.weights}
    assert set(trained_names(model)) == weighted - normalising
    assert 0 <= run.evaluate().macro_f1.value <= 1


def test_r13_in_python_is_the_same_data(masks):
    block = find_blocks(read_section(RECIPES, "R13:"), "python")[0]
    names = {"kerastl": kerastl}
    exec(block.code.splitlines()[0], names)
    assert names["data"].fingerprint == masks.fingerprint


def test_r14_normalises_by_the_images_own_statistics(tmp_path):
    write_cifar10(tmp_path / "cifar10")
    options = read_lines("R14")[0]
    data = load_data(options)
    assert options.augment == ("flip", "crop")
    assert len(data.test) == 6
    model = build(dataclasses.replace(options, base="tiny"), data)
    train(options, model, data)
    pixels = data.train.pixels(SIDE).reshape(-1, 3) / 255
    saved = get_info(model).normalization
    assert saved["mean"] == pytest.approx(pixels.mean(axis=0))
    assert saved["std"] == pytest.approx(pixels.std(axis=0))
    statistics = data.channel_statistics()
    assert (statistics.mean, statistics.std) == (saved["mean"], saved["std"])


def test_r14_nine_samples_are_shown(tmp_path):
    write_cifar10(tmp_path / "cifar10")
    figure = kerastl.load_images("cifar10/").preview(9, augment=("flip", "crop"))
    assert len([axes for axes in figure.axes if axes.images]) == 9


def test_r14_the_crop_moves_an_image_by_up_to_four_pixels():
    white = np.full((200, 32, 32, 3), 255, dtype="uint8")
    moved = Augmentation(["crop"])(white, seed=0)
    black_rows = (moved[:, :, :, 0] == 0).all(axis=2).sum(axis=1)
    black_columns = (moved[:, :, :, 0] == 0).all(axis=1).sum(axis=1)
    assert set(black_rows) == set(black_columns) == {0, 1, 2, 3, 4}


def test_r16_has_the_large_classifier():
    options = read_lines("R16")[0]
    model = kerastl.build_model(
        options.base,
        weights=None,
        image_size=options.image_size,
        pooling=options.pooling,
        hidden=options.hidden,
        dropout=options.dropout,
    )
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    shapes = [tuple(layer.kernel.shape) for layer in dense]
    assert shapes == [(25088, 4096), (4096, 4096), (4096, 10)]
    dropped = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropped] == [0.5, 0.5]
    assert f"{model.count_params():,} parameters" in read_section(RECIPES, "R16:")


def test_r16_trains_everything(tmp_path):
    write_cifar10(tmp_path / "cifar10")
    options, data, _ = make_line("R16")
    assert settings_of(options) == [("all", 30, 0.0001, "adam", 32)]
    model = build(options, data, hidden=(64, 64))
    before = weights_by_layer(model)
    train(options, model, data)
    assert moved_layers(before, weights_by_layer(model)) == set(before)


def test_every_line_for_real_images_has_a_schedule_that_fits_its_base():
    recipes = ("R1", "R7", "R8", "R9", "R14", "R16")
    real = [o for r in recipes for o in read_lines(r) if o.data == "photos/"]
    counts = {options.schedule: len(settings_of(options)) for options in real}
    assert counts == {"feature-extraction": 1, "fine-tune": 2, "hybrid": 2, "full": 1}
    assert len(real) == len(recipes)


@pytest.mark.parametrize("recipe", ["R7", "R8"])
def test_the_lines_for_real_images_train_on_them(recipe, tmp_path):
    write_photos(tmp_path / "photos")
    options = next(o for o in read_lines(recipe) if o.data == "photos/")
    data = load_data(options)
    model = build(options, data, image_size=SIDE)
    assert len(train(options, model, data).stages) == 2


def test_a_folder_of_masks_with_a_name_of_another_kind_is_refused(tmp_path):
    write_masks(tmp_path / "masks")
    write_images(tmp_path / "masks", ["000099_unknown_Asian_40/mask1.jpg"])
    with pytest.raises(kerastl.DataError, match="000099_unknown_Asian_40/mask1.jpg"):
        load_data(read_lines("R13")[0])
