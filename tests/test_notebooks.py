"""The notebooks: committed without outputs, and every cell runs in a fast mode."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 24  # lines; what is longer is logic, which belongs in the package
LONG = ("02", "03", "04", "05")  # run by `make test-all`, the others by `make test`, too
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# in a process of its own: Jupyter's machinery raises warnings, which are errors here
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": "."}}).execute()
finally:
    nbformat.write(notebook, "executed.ipynb")
"""


def mark_long(paths):
    for path in paths:
        long = [pytest.mark.slow] if path.name.startswith(LONG) else []
        yield pytest.param(path, marks=long)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(notebook):
    """All text that the cells of an executed notebook show."""
    texts = []
    for output in (o for cell in code_cells(notebook) for o in cell["outputs"]):
        texts += ["".join(output.get("text", ""))]
        texts += ["".join(output.get("data", {}).get("text/plain", ""))]
    return "\n".join(texts)


def run_notebook(path, folder):
    """Run a notebook with one epoch of two steps per stage."""
    fast = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "2"}
    environment = {
        **os.environ,
        **fast,
        "PYTHONPATH": str(ROOT),
        "JUPYTER_PLATFORM_DIRS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    finished = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    return read(folder / "executed.ipynb"), folder


def test_all_notebooks_are_there():
    names = [path.name for path in NOTEBOOKS]
    assert names == [
        "01_quickstart.ipynb",
        "02_hybrid_finetuning.ipynb",
        "03_search.ipynb",
        "04_compare_and_choose.ipynb",
        "05_why_is_validation_falling.ipynb",
    ]


@every_notebook
def test_it_is_a_valid_notebook_without_outputs(path):
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@every_notebook
def test_it_is_thin(path):
    for cell in code_cells(read(path)):
        code = "".join(cell["source"])
        assert "def " not in code or "keras.callbacks.Callback" in code
        assert len(code.splitlines()) <= LONGEST_CELL


def check_quick_start(notebook, folder):
    assert (folder / "runs/digits/model.keras").is_file()
    assert "test accuracy" in shown(notebook)
    assert "digit.png" in shown(notebook)


def check_resumed_run(notebook, folder):
    assert "the power is gone" in shown(notebook)
    compared = [c for c in code_cells(notebook) if "whole.model" in "".join(c["source"])]
    assert compared[0]["outputs"][-1]["data"]["text/plain"] == ["True"]


def check_resumed_search(notebook, folder):
    """What was not run before the search went on is run."""
    assert "not run" in shown(notebook)
    results = sorted((folder / "runs/grid/trials").glob("*/result.json"))
    assert len(results) == 2
    assert (folder / "runs/grid/best/model.keras").is_file()
    assert "test accuracy" in shown(notebook)


def check_comparison(notebook, folder):
    found = read(folder / "runs/compare/comparison.json")
    assert [row["status"] for row in found["rows"]] == ["done"] * 3
    assert found["conclusion"][0].split(".")[0] in shown(notebook)
    assert "strategy" in shown(notebook)
    assert "LogME" in shown(notebook)


def check_diagnoses(notebook, folder):
    """The shift shows after two steps of training; that of over-fitting takes all of it."""
    assert "over-fitting: " in shown(notebook)
    assert "Look at this first: distribution shift." in shown(notebook)


CHECKS = {
    "01_quickstart": check_quick_start,
    "02_hybrid_finetuning": check_resumed_run,
    "03_search": check_resumed_search,
    "04_compare_and_choose": check_comparison,
    "05_why_is_validation_falling": check_diagnoses,
}


@pytest.mark.parametrize("path", list(mark_long(NOTEBOOKS)), ids=lambda path: path.stem)
def test_every_cell_runs_and_shows_what_the_text_says(path, tmp_path):
    notebook, folder = run_notebook(path, tmp_path)
    for cell in code_cells(notebook):
        assert cell["execution_count"] is not None
        assert not [o for o in cell["outputs"] if o["output_type"] == "error"]
    CHECKS[path.stem](notebook, folder)
