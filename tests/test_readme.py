"""README.md and docs/*.md: every Python block runs, every command line is one."""

import contextlib
import dataclasses
import io
import re

import pytest
from documents import (
    DOCUMENTS,
    ROOT,
    find_blocks,
    patch_fast,
    read_section,
    read_table,
    write_cifar10,
    write_masks,
    write_photos,
)

import kerastl
from kerastl.__main__ import main
from kerastl.cli.compare import read_job as read_comparison
from kerastl.cli.flags import collect_options
from kerastl.cli.program import COMMANDS, build_parser
from kerastl.cli.search import read_job
from kerastl.comparing.jobs import settle_job
from kerastl.errors import KerastlError
from kerastl.search.jobs import check_job, resolve_job

README = ROOT / "README.md"
SOME_FAILED = 4  # a search that ended, with failed trials
WITH_PYTHON = [
    path for path in DOCUMENTS if find_blocks(path.read_text(encoding="utf-8"), "python")
]
LONG = (
    "advice.md", "comparing.md", "learning-rate.md", "search.md", "seeing.md", "trust.md",
    "zero-shot.md",
)  # fmt: skip
every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def all_subclasses(kind):
    return {kind}.union(*(all_subclasses(child) for child in kind.__subclasses__()))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the images that the documents speak of, as current folder."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    write_cifar10(tmp_path / "cifar10")
    write_masks(tmp_path / "masks")
    patch_fast(monkeypatch)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    # the longest guides are run by `make test-all`
    [
        pytest.param(p, marks=[pytest.mark.slow] if p.name in LONG else [])
        for p in WITH_PYTHON
    ],
    ids=lambda path: path.name,
)
def test_every_python_block_runs(path, workplace):
    text, names = path.read_text(encoding="utf-8"), {}
    for block in find_blocks(text, "python"):
        padded = "\n" * (block.line - 1) + block.code  # so that a traceback has its line
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(padded, str(path), "exec"), names)


def test_the_quick_start_is_six_lines():
    first = find_blocks(README.read_text(encoding="utf-8"), "python")[0]
    assert len(first.code.splitlines()) == 6
    for step in ("load_images", "build_model", "finetune", "evaluate", "save"):
        assert f"{step}(" in first.code


@every_document
def test_every_kerastl_line_is_one_that_the_program_takes(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = path.read_text(encoding="utf-8")
    for block in find_blocks(text, "toml"):
        (tmp_path / "space.toml").write_text(block.code, encoding="utf-8")
    parser = build_parser()
    for block in find_blocks(text, "bash", "sh"):
        for program, *arguments in block.commands:
            if program != "kerastl":
                continue
            given, unknown = parser.parse_known_args(arguments)
            assert not unknown, arguments
            check_values(given)


def check_values(given):
    """Raise where a value is not allowed, or names a candidate that cannot run."""
    if given.command == "finetune":
        collect_options(given, {})
    if given.command == "compare" and given.resume is None:
        settle_job(without_weights(read_comparison(given)))
    if given.command == "search" and given.resume is None:
        job = without_weights(read_job(given))
        check_job(resolve_job(job)[0])


def without_weights(job):
    """The job on random weights, so that none are asked for over the network."""
    base = "resnet50" if job.options.base == "auto" else job.options.base
    options = dataclasses.replace(job.options, base=base, weights=None)
    return dataclasses.replace(job, options=options)


def test_the_check_of_command_lines_would_notice():
    given, unknown = build_parser().parse_known_args(["finetune", "--dta", "photos/"])
    assert unknown == ["--dta", "photos/"]
    given, _ = build_parser().parse_known_args(["finetune", "--schedule", "hybird"])
    with pytest.raises(KerastlError, match="hybird"):
        check_values(given)
    given, _ = build_parser().parse_known_args(["search", "--param", "bach_size=16"])
    with pytest.raises(KerastlError, match="bach_size"):
        check_values(given)


@every_document
def test_every_make_target_and_variable_exists(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    blocks = [block.commands for block in find_blocks(text, "bash", "sh")]
    lines = [line for commands in blocks for line in commands if line[0] == "make"]
    for word in (word for _, *words in lines for word in words):
        name, is_variable, _ = word.partition("=")
        assert re.search(rf"\b{name}\b", makefile) if is_variable else name in targets, word


def test_inline_commands_and_flags_exist():
    parser = build_parser()
    text = README.read_text(encoding="utf-8")
    for line in re.findall(r"`kerastl ([^`\n]+)`", text):
        words = line.partition(" > ")[0].split()
        assert words[0] in {*COMMANDS, "COMMAND"}, line
    known = {
        flag for each in parser.commands.values() for flag in each._option_string_actions
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


@every_document
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_the_table_of_schedules_is_that_of_the_code():
    blocks = kerastl.get_base("resnet50").blocks
    expected = [
        [f"`{name}`", what, ", ".join(map(describe, kerastl.named_schedule(name, blocks)))]
        for name, what in kerastl.SCHEDULES.items()
    ]
    assert read_table(read_section(README, "What each schedule trains")) == expected


def test_the_rates_of_heads_are_those_that_it_says():
    bases = map(kerastl.get_base, kerastl.base_names())
    assert {base.head_rate for base in bases if base.name != "tiny"} == {0.001}
    assert kerastl.get_base("tiny").head_rate == 0.01


def describe(stage):
    if stage.solver == "exact":
        return f"{stage.name}: exact"
    return f"{stage.name}: {stage.epochs} at {stage.learning_rate:.2g}"


def test_the_table_of_commands_is_that_of_the_program():
    rows = read_table(read_section(README, "On the command line"))
    assert [row[0] for row in rows] == [f"`kerastl {name}`" for name in COMMANDS]


def test_the_exit_codes_are_those_of_the_errors():
    rows = read_table(read_section(README, "Exit codes"))
    codes = {int(code) for row in rows for code in row[0].split(",")}
    raised = {kind.exit_code for kind in all_subclasses(KerastlError) - {KerastlError}}
    assert codes == raised | {0, SOME_FAILED, 130, 143}


@pytest.fixture
def quickstart(workplace):
    code = find_blocks(README.read_text(encoding="utf-8"), "python")[0].code
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, {})
    return workplace / "runs/quickstart"


def test_the_table_of_files_is_what_a_saved_run_holds(quickstart, capsys):
    rows = read_table(read_section(README, "A run folder"))
    listed = {row[0].strip("`") for row in rows}
    assert listed == {path.name for path in quickstart.iterdir()}
    config = str(quickstart / "config.toml")
    assert main(["finetune", "--config", config, "--dry-run"]) == 0
    assert "digits: 1079 train, 359 validation, 359 test" in capsys.readouterr().out
