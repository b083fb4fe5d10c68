"""docs/recipes.md: the networks trained from scratch, and ResNet18 against VGG16."""

import dataclasses

import keras
import numpy as np
import pytest
from documents import find_blocks, read_section, write_cifar10, write_photos
from test_recipes import (
    RECIPES,
    _change_options,
    build,
    make_line,
    moved_layers,
    read_lines,
    settings_of,
    train,
    weights_by_layer,
)

import kerastl
from kerastl.cli.compare import read_job as read_comparison
from kerastl.cli.flags import collect_options
from kerastl.cli.program import build_parser
from kerastl.comparing.jobs import run_comparison, settle_job
from kerastl.finetuning.planning import load_data, read_schedule
from kerastl.finetuning.rates import compute_rate
from kerastl.models.views import make_views
from kerastl.predicting import predict_paths


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path / "cifar10")
    write_photos(tmp_path / "photos")


def read_comparisons():
    """The job of each `kerastl compare` line of R2, on random weights."""
    blocks = find_blocks(read_section(RECIPES, "R2:"), "bash")
    lines = [line[1:] for block in blocks for line in block.commands]
    jobs = [read_comparison(build_parser().parse_args(line)) for line in lines]
    return [_change_options(job, weights=None) for job in jobs]


def test_r2_compares_the_two_on_the_same_images():
    job = read_comparisons()[0]
    data = load_data(job.options)
    assert (len(data.train), len(data.validation), data.test) == (799, 201, None)
    assert any("is chance" in note for note in data.notes)
    entries = settle_job(job).entries
    assert [entry.name for entry in entries] == ["resnet18", "vgg16"]
    for options in (entry.options for entry in entries):
        assert settings_of(options) == [("head", 10, 0.0001, "adam", 32)]
        model = build(options, data)
        before = weights_by_layer(model)
        train(options, model, data)
        assert moved_layers(before, weights_by_layer(model)) == {"predictions"}


def test_r2_on_real_images_has_three_seeds():
    settled = settle_job(read_comparisons()[1])
    assert [entry for entry, _ in settled.list_runs()] == settled.entries * 3


@pytest.mark.slow
def test_r2_says_that_the_images_cannot_tell_the_two_apart(tmp_path):
    job = read_comparisons()[0]
    entrants = dataclasses.replace(job.entrants, bases=("vgg_small", "tiny"), epochs=1)
    job = dataclasses.replace(job, entrants=entrants)
    result = run_comparison(job, out=tmp_path / "out", verbose=0)
    assert "are not distinguishable on 201 images" in result.conclusion
    assert "None of them is distinguishable from always answering" in result.conclusion


def test_r15_is_trained_whole():
    options, data, model = make_line("R15")
    assert settings_of(options) == [("all", 100, 0.001, "adam", 32)]
    shapes = [w.shape for w in model.trainable_variables if len(w.shape) > 1]
    convolutions = [(3, 3, *pair) for pair in [
        (3, 16), (16, 32), (32, 64), (64, 128), (128, 128), (128, 256)
    ]]  # fmt: skip
    assert shapes == [*convolutions, (4096, 2048), (2048, 256), (256, 3)]
    before = weights_by_layer(model)
    train(options, model, data)
    assert moved_layers(before, weights_by_layer(model)) == set(before)


def test_r17_is_trained_whole_its_statistics_included():
    options, data, _ = make_line("R17")
    assert settings_of(options) == [("all", 30, 0.0001, "adam", 32)]
    assert (options.augment, options.normalize) == (("flip", "crop"), "data")
    assert options.hidden == (2048, 512)
    model = build(options, data, hidden=(32,))
    before = weights_by_layer(model)
    train(options, model, data)
    assert moved_layers(before, weights_by_layer(model)) == set(before)


def test_r18_is_alexnet_with_the_settings_of_the_paper():
    options = read_lines("R18")[0]
    data = load_data(options)
    assert settings_of(options) == [("all", 90, 0.01, "sgd", 128)]
    assert (options.hidden, options.dropout, options.pooling) == (
        (4096, 4096), 0.5, "flatten",
    )  # fmt: skip
    assert (options.momentum, options.weight_decay) == (0.9, 0.0005)
    model = build(options, data, hidden=(16, 16), image_size=67)
    before = weights_by_layer(model)
    train(options, model, data)
    assert "conv1" in moved_layers(before, weights_by_layer(model))


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_r18_averages_ten_views_of_each_image(tmp_path):
    model = kerastl.build_model("alexnet", num_classes=3, weights=None, image_size=67)
    kerastl.save_model(model, tmp_path / "model.keras")
    lines = [line[1:] for block in find_blocks(read_section(RECIPES, "R18:"), "bash")
             for line in block.commands]  # fmt: skip
    given = build_parser().parse_args(lines[-1])
    table = predict_paths(tmp_path / "model.keras", given.paths, tta=given.tta, top_k=3)
    first = kerastl.load_images("photos/").train.pixels(67)[:1]
    assert len(list(make_views(first, given.tta))) == 10
    assert len(table) == 30
    plain = predict_paths(model, given.paths, top_k=3)
    assert not np.allclose(table["confidence"], plain["confidence"], atol=1e-7)


def test_r19_has_the_settings_of_the_notes():
    options, _, model = make_line("R19")
    assert settings_of(options) == [("all", 25, 0.001, "sgd", 100)]
    (stage,) = read_schedule(options, kerastl.get_base(options.base))
    assert (stage.momentum, stage.restore_best) == (0.9, True)
    rates = [compute_rate(stage, epoch, steps_per_epoch=1) for epoch in (0, 6, 7, 13, 14)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
    modules = [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Concatenate)
        and layer.name.startswith("inception_")
    ]
    assert len(modules) == 9


def test_r19_trains_its_heads_and_keeps_none(monkeypatch):
    from kerastl.finetuning import auxiliaries

    started = []
    start = auxiliaries.list_head_weights

    def note(model):
        found = start(model)
        started.extend(weight.path.split("/")[0] for weight in found)
        return found

    monkeypatch.setattr(auxiliaries, "list_head_weights", note)
    options, data, model = make_line("R19")
    names = [layer.name for layer in model.layers]
    run = train(options, model, data)
    assert {f"auxiliary_inception_4{part}_predictions" for part in "ad"} <= set(started)
    assert [layer.name for layer in run.model.layers] == names
    assert not [name for name in names if name.startswith("auxiliary")]


@pytest.mark.parametrize("recipe", ["R15", "R17", "R18", "R19"])
def test_the_lines_need_no_weights_or_say_which(recipe):
    for options in read_lines(recipe):
        row = kerastl.get_base(options.base)
        assert (options.weights is None) == (row.pretrained is None), options.base


def test_the_two_lines_of_r19_differ_in_what_trains():
    lines = [line[1:] for block in find_blocks(read_section(RECIPES, "R19:"), "bash")
             for line in block.commands]  # fmt: skip
    first, second = (collect_options(build_parser().parse_args(line), {}) for line in lines)
    assert [settings_of(options)[0][0] for options in (first, second)] == ["all", "head"]
