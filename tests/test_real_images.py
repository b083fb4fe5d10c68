"""Every question about a run, asked of scans of digits and of photographs."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from sources import CIFAR10, HYMENOPTERA, needs_cifar10, needs_hymenoptera

import kerastl
from kerastl.__main__ import main

pytestmark = pytest.mark.slow
EACH = 60  # images of each class of CIFAR-10
TRAINING = "--base tiny --image-size 32 --schedule feature-extraction --epochs 4 --quiet"
ATTRIBUTES = {  # of CIFAR-10's classes, from what anyone knows of them
    "animal": "bird cat deer dog frog horse",
    "fur": "cat deer dog horse",
    "wings": "airplane bird",
    "wheels": "airplane automobile truck",
    "engine": "airplane automobile ship truck",
    "on water": "frog ship",
    "larger than a man": "airplane automobile deer horse ship truck",
    "ridden or driven on land": "automobile horse truck",
    "kept at home": "cat dog",
    "works with people": "dog horse",
    "carries loads": "airplane horse ship truck",
}


@pytest.fixture(
    scope="module",
    params=[
        "digits",
        pytest.param("hymenoptera", marks=[pytest.mark.data, needs_hymenoptera]),
        pytest.param("cifar10", marks=[pytest.mark.data, needs_cifar10]),
    ],
)
def source(request, tmp_path_factory) -> str:
    """What `--data` is given."""
    if request.param == "digits":
        return "digits"
    if request.param == "hymenoptera":
        return HYMENOPTERA
    folder = tmp_path_factory.mktemp("cifar10")
    for kind in sorted(Path(CIFAR10, "train").iterdir()):
        (folder / kind.name).mkdir()
        for path in sorted(kind.iterdir())[:EACH]:
            shutil.copy(path, folder / kind.name)
    return str(folder)


@pytest.fixture(scope="module")
def runs(source, tmp_path_factory) -> list[str]:
    """Two run folders of different seeds, on the same splits."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        line = f"finetune {TRAINING} --seed {seed} --split-seed 0"
        assert (
            main([*line.split(), "--data", source, "--out", str(folder / f"{seed}")]) == 0
        )
    return [str(folder / "0"), str(folder / "1")]


@pytest.fixture(scope="module")
def images(source, tmp_path_factory) -> list[str]:
    """Files of a few of the test images."""
    folder = tmp_path_factory.mktemp("images")
    pixels = kerastl.load_images(source).test.pixels(64)[:5]
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{number}.png")
    return sorted(map(str, folder.iterdir()))


def ask(capsys, *words: str) -> str:
    """Run a command and return what it prints."""
    capsys.readouterr()
    code = main([*map(str, words)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_advise_names_a_strategy_and_a_command(source, capsys):
    said = ask(capsys, "advise", "--data", source, "--base", "tiny", "--json")
    assert re.search("kerastl (finetune|search)", json.loads(said)["command"])


def test_rank_orders_bases(source, capsys):
    line = (
        "rank --bases tiny,mobilenetv2 --weights auto --image-size 32 --images 200 --json"
    )
    said = json.loads(ask(capsys, *line.split(), "--data", source))
    assert {row["base"] for row in said["rows"]} == {"tiny", "mobilenetv2"}
    probes = [row["probe"]["value"] for row in said["rows"]]
    assert probes == sorted(probes, reverse=True)


def test_a_learning_rate_is_found(source, capsys, tmp_path):
    line = (
        f"lr-find --base tiny --image-size 32 --steps 60 --out {tmp_path / 'rates'} --json"
    )
    said = json.loads(ask(capsys, *line.split(), "--data", source))
    rate = said["suggestion"]
    assert 1e-6 < rate < 1 if source == "digits" else rate is None or 1e-6 < rate < 1
    assert list((tmp_path / "rates").glob("*.png"))


def test_two_schedules_are_compared(source, capsys, tmp_path):
    line = "compare --bases tiny --schedules feature-extraction,hybrid --epochs 4 --quiet"
    ask(capsys, *line.split(), "--data", source, "--out", tmp_path / "compared")
    found = kerastl.load_comparison(tmp_path / "compared")
    assert found.table["status"].tolist() == ["done", "done"]
    assert re.search("distinguishable|better", found.conclusion)


def test_a_run_is_diagnosed(runs, capsys):
    said = json.loads(ask(capsys, "diagnose", runs[0], "--json"))
    assert len(said["verdicts"]) == 6


def test_a_run_is_calibrated(runs, capsys):
    said = json.loads(ask(capsys, "calibrate", runs[0], "--json"))
    assert said["temperature"]["low"] < said["temperature"]["value"]
    assert {each["split"] for each in said["splits"]} == {"validation", "test"}


def test_views_and_several_runs_are_scored_together(runs, capsys):
    words = ["evaluate", runs[0], "--with", runs[1], "--tta", "flip,crops", "--json"]
    accuracy = json.loads(ask(capsys, *words))["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]


def test_images_are_predicted_or_not_sure(runs, images, capsys):
    words = ["predict", runs[0], *images, "--with", runs[1], "--tta", "flip", "--json"]
    said = json.loads(ask(capsys, *words, "--threshold", "1.0"))
    assert len(said) == len(images)
    assert json.dumps(said).count("not sure") == len(images)


def test_images_are_explained(runs, images, capsys, tmp_path):
    ask(capsys, "explain", runs[0], *images, "--out", tmp_path / "maps")
    maps = list((tmp_path / "maps").glob("*.png"))
    assert len(maps) == len(images)


@pytest.mark.data
@needs_cifar10
@pytest.mark.parametrize("source", ["cifar10"], indirect=True)
@pytest.mark.parametrize("method", ["eszsl", "dap"])
def test_classes_never_trained_are_recognised(source, method, capsys, tmp_path):
    """Not without any knowledge of them: `tiny` was pretrained on CIFAR-10."""
    names = sorted(path.name for path in Path(source).iterdir())
    table = tmp_path / "attributes.csv"
    with table.open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["class", *ATTRIBUTES])
        for name in names:
            write.writerow([name, *(int(name in of.split()) for of in ATTRIBUTES.values())])
    line = f"zero-shot --base tiny --image-size 32 --method {method} --unseen deer,truck"
    said = json.loads(
        ask(capsys, *line.split(), "--data", source, "--attributes", table, "--json")
    )
    scores = said["scores"]
    assert 0 <= scores["all_classes"]["harmonic"]["value"] <= 1
    assert {row["class"] for row in scores["recalls"] if not row["seen"]} == {
        "deer",
        "truck",
    }
