"""The shape of the package: who imports whom, what is exported, how long things are."""

import ast
import importlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kerastl"
# each imports only from those above it (and from its own package)
LADDER = (
    "errors",
    "seeds",
    "startup",
    "stages",
    "schedules",
    "options",
    "spaces",
    "runs",
    "evaluation",
    "diagnosis",
    "reporting",
    "weights",
    "networks",
    "bases",
    "models",
    "data",
    "predicting",
    "finetuning",
    "advice",
    "zeroshot",
    "estimators",
    "search",
    "comparing",
    "pretraining",
    "cli",
    "__main__",
)
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc"}
MAX_FILE, MAX_FUNCTION, MAX_MEDIAN = 400, 60, 10
# only kerastl.runs writes files; module -> why it may write as well
WRITERS = {
    "data/archives.py": "unpacks a zip into a cache folder, which is no result",
    "data/pixels.py": "decoded pixels in a memory-mapped cache, which is no result",
    "weights/download.py": "streams into the temporary file that runs.write_atomic renames",
    "weights/fetching.py": "locks the cache of weights and removes what kills left there",
    "finetuning/entries.py": "removes entries of that cache",
    "finetuning/storing.py": "activations in a memory-mapped cache, which is no result",
    "models/saving.py": "writes to the temporary file that runs.write_atomic renames",
    "reporting/canvas.py": "draws into memory",
    "pretraining.py": "packs weights in memory",
    "cli/printing.py": "points a closed stdout at the null device",
    "search/children.py": "resets the system's record of a process's peak memory",
    "search/sharing.py": "images of a search in temporary files all workers map",
    "search/worker.py": "replies through a pipe",
}
WRITING_MODES = set("wax+")
WRITING_CALLS = {
    "copy", "copy2", "copyfile", "copytree", "makedirs", "memmap", "mkdir", "mkdtemp",
    "mkstemp", "move", "NamedTemporaryFile", "open_memmap", "remove", "rename", "replace",
    "rmdir", "rmtree", "save", "save_weights", "savefig", "savetxt", "savez",
    "savez_compressed", "symlink_to", "TemporaryDirectory", "touch", "unlink",
}  # fmt: skip
UNPICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "yaml"}
# joblib for its `Parallel` alone: what goes to a worker and back is this package's own
PARALLEL = {"search/backends.py", "search/executors.py"}
PARALLEL_NAMES = {
    "joblib.Parallel",
    "joblib.delayed",
    "joblib.externals.loky.process_executor.ProcessPoolExecutor",
    "joblib.parallel.ParallelBackendBase",
}
HEAVY = (
    *("tensorflow", "keras", "keras_hub"),
    *("pandas", "matplotlib", "scipy", "sklearn", "numpy"),
)


def list_modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def rung(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    commands = parts[-1] == "__main__.py"  # a package's own is the command line's, too
    return "__main__" if commands else parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, those inside functions too."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)}:{node.lineno}: write the whole name"
            yield from (
                (node.lineno, f"{node.module}.{alias.name}") for alias in node.names
            )


def own_rungs(path: Path) -> Iterator[tuple[int, str]]:
    for line, name in imported(path):
        parts = name.split(".")
        if parts[0] == "kerastl" and len(parts) > 1:
            yield line, parts[1]


def list_functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def count_code_lines(path: Path, function: ast.FunctionDef) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    inside = lines[body[0].lineno - 1 : function.end_lineno]
    code = [line.strip() for line in inside]
    return sum(bool(line) and not line.startswith("#") for line in code)


# Names, sizes, imports


def test_every_module_has_its_place_on_the_ladder():
    assert {rung(path) for path in list_modules()} <= {*LADDER, "__init__", "assets"}


def test_imports_go_downward_only():
    wrong = []
    for path in list_modules():
        if rung(path) == "__init__":  # the table of contents names everything, lazily
            continue
        allowed = {*LADDER[: LADDER.index(rung(path))], rung(path), "__version__"}
        wrong += [
            f"{shown(path)}:{line} imports {name}"
            for line, name in own_rungs(path)
            if name not in allowed
        ]
    assert wrong == []


def test_no_module_is_a_drawer_for_everything():
    paths = [Path(shown(path)).with_suffix("") for path in list_modules()]
    names = {part for path in paths for part in path.parts}
    assert names & FORBIDDEN_NAMES == set()


def test_files_are_short():
    sizes = {shown(path): len(path.read_text().splitlines()) for path in list_modules()}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE} == {}


def test_functions_are_short():
    sizes = {
        f"{shown(path)}:{function.name}": count_code_lines(path, function)
        for path in list_modules()
        for function in list_functions(path)
    }
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION} == {}
    assert statistics.median(sizes.values()) <= MAX_MEDIAN


def test_public_functions_are_annotated():
    bare = []
    for path in list_modules():
        for function in list_functions(path):
            if function.name.startswith("_"):
                continue
            arguments = function.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            missing = [
                argument.arg
                for argument in named
                if argument.annotation is None and argument.arg not in ("self", "cls")
            ]
            if function.returns is None:
                missing.append("return")
            if missing:
                bare.append(f"{shown(path)}:{function.lineno} {function.name}: {missing}")
    assert bare == []


# Writing and reading


def writes(node: ast.Call) -> bool:
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in ("open", "ZipFile", "TarFile", "fdopen"):
        return bool(WRITING_MODES & set(read_mode(node)))
    if name in ("write_text", "write_bytes"):  # a RunFolder's take a name as well
        return len(node.args) == 1
    if name == "replace":  # of text and of dataclasses
        return isinstance(node.func, ast.Attribute) and is_name(node.func.value, "os")
    if name in ("copy", "move", "remove", "save"):  # of arrays, lists and run folders
        return isinstance(node.func, ast.Attribute) and any(
            is_name(node.func.value, owner) for owner in ("shutil", "os", "np", "model")
        )
    return name in WRITING_CALLS


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def read_mode(node: ast.Call) -> str:
    given = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
    given += node.args
    texts = [item.value for item in given if isinstance(item, ast.Constant)]
    short = [text for text in texts if isinstance(text, str) and len(text) <= 3]
    flags = [ast.unparse(item) for item in node.args if "O_" in ast.unparse(item)]
    return (short[0] if short else "") + ("w" if "O_WRONLY" in "".join(flags) else "")


def find_writers() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for path in list_modules():
        if rung(path) == "runs":
            continue
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and writes(node):
                found.setdefault(shown(path), []).append(node.lineno)
    return found


def test_only_runs_opens_files_for_writing():
    found = find_writers()
    assert {name: lines for name, lines in found.items() if name not in WRITERS} == {}


def test_every_exception_to_the_one_writer_is_in_use():
    assert [name for name in WRITERS if name not in find_writers()] == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "path.open('ab')",
        "open(path, mode='x')",
        "path.write_text(text)",
        "np.save(path, array)",
        "np.savez(path, a=array)",
        "os.replace(a, b)",
        "zipfile.ZipFile(path, 'w')",
        "shutil.copy(a, b)",
        "figure.savefig(path)",
        "path.mkdir()",
    ],
)
def test_the_search_for_writers_finds(line):
    assert writes(ast.parse(line).body[0].value)


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('rb')",
        "text.replace('a', 'b')",
        "folder.write_text('a', b)",
    ],
)
def test_the_search_for_writers_leaves(line):
    assert not writes(ast.parse(line).body[0].value)


def allows_pickle(node: ast.AST) -> bool:
    """Whether something may unpickle: anything but a literal `allow_pickle=False`."""
    if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
        return not (isinstance(node.value, ast.Constant) and node.value.value is False)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
        return "allow_pickle" not in {keyword.arg for keyword in node.keywords}
    unsafe = "enable_unsafe_deserialization"
    return isinstance(node, ast.Attribute) and node.attr == unsafe


def test_nothing_is_unpickled():
    found = [
        f"{shown(path)}:{line}"
        for path in list_modules()
        for line, name in imported(path)
        if name.split(".")[0] in UNPICKLING
        and not (shown(path) in PARALLEL and name in PARALLEL_NAMES)
    ]
    found += [
        f"{shown(path)}: {ast.unparse(node)}"
        for path in list_modules()
        for node in ast.walk(parse(path))
        if allows_pickle(node)
    ]
    assert found == []


@pytest.mark.parametrize("line", ["np.load(path)", "read(path, allow_pickle=flag)"])
def test_the_search_for_pickle_finds(line):
    assert any(allows_pickle(node) for node in ast.walk(ast.parse(line)))


# Exports


def packages() -> list[str]:
    names = [path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")]
    return sorted(".".join(name.parts) for name in names)


@pytest.mark.parametrize("name", packages())
def test_exports_are_sorted_and_resolve(name):
    module = importlib.import_module(name)
    exports = getattr(module, "__all__", [])
    assert list(exports) in (sorted(exports), sorted(exports, key=str.isupper))
    for export in exports:
        assert getattr(module, export) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018


def test_the_table_of_contents_lists_exactly_what_it_offers():
    import kerastl

    assert kerastl.__all__ == sorted(kerastl._HOMES)
    assert set(kerastl.__all__) < set(dir(kerastl))
    assert kerastl.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_the_version_is_that_of_the_project():
    import tomllib

    import kerastl

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == kerastl.__version__


# What is imported when


def list_imported(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return {name.split(".")[0] for name in result.stderr.split()} & set(HEAVY)


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import kerastl; kerastl.Stage; kerastl.Options", set()),
        ("from kerastl.__main__ import main; main(['bases'])", {"numpy"}),
        ("import kerastl.data, kerastl.models, kerastl.finetuning", set(HEAVY[3:])),
        ("import kerastl; kerastl.load_images('digits')", set(HEAVY[3:])),
    ],
)
def test_imports_stay_light(code, allowed):
    assert list_imported(code) <= allowed
