"""Sizes, names and habits that every file keeps."""

import ast
import re
import subprocess
import tomllib
from collections import Counter

import queuectl_client
import queuectld
from tests.architecture.sources import PACKAGES, ROOT, Source, everything, product

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FOLDER_FILES = 24

# architecture.md, "The house": the top level holds this and dot files, nothing else.
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "justfile",
    "queuectld",
    "queuectl_client",
    "systemd",
    "tests",
    "docs",
}

# Names that say nothing about what is inside, and so collect everything.
EMPTY_NAMES = {"util", "utils", "common", "helper", "helpers", "base", "manager", "misc"}

# Nothing polls. Who has to let time pass waits for a descriptor or a due time with a timeout.
SLEEPERS: dict[str, str] = {}


def calls(source: Source) -> list[tuple[str, ast.Call]]:
    """Every call with the dotted name it is made by."""
    return [(ast.unparse(node.func), node) for node in ast.walk(source.tree) if isinstance(node, ast.Call)]


def test_the_top_level_holds_what_the_architecture_lists() -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {path.partition("/")[0] for path in listed}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL
    assert len(listed) > 20


def test_no_file_is_too_long() -> None:
    long = {source.path: len(source.lines) for source in everything() if len(source.lines) > MAX_FILE_LINES}
    assert long == {}


def test_no_folder_of_the_product_is_too_full() -> None:
    files = Counter(source.path.rpartition("/")[0] for source in product())
    assert {folder: count for folder, count in files.items() if count > MAX_FOLDER_FILES} == {}


def test_no_function_is_too_long() -> None:
    long = {
        f"{source.path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for source in everything()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_no_module_has_an_empty_name() -> None:
    assert [source.path for source in everything() if EMPTY_NAMES & set(source.module.split("."))] == []


def test_every_module_says_what_it_owns() -> None:
    silent = [source.path for source in everything() if source.lines and not ast.get_docstring(source.tree)]
    assert silent == []


def test_nothing_sleeps() -> None:
    sleeping = {
        f"{source.path}:{call.lineno}"
        for source in product()
        for name, call in calls(source)
        if name.rpartition(".")[2] == "sleep" and source.path not in SLEEPERS
    }
    assert sleeping == set()


def test_nothing_evaluates_text_as_code() -> None:
    wrong = [
        f"{source.path}:{call.lineno} {name}"
        for source in product()
        for name, call in calls(source)
        if name in ("eval", "exec", "compile", "os.system", "os.popen") or name.endswith(".create_subprocess_shell")
    ]
    assert wrong == []


def test_no_failure_is_swallowed() -> None:
    """`except Exception: pass` hides what went wrong; so does a bare `except`."""
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (ast.unparse(node.type) in ("Exception", "BaseException") and isinstance(node.body[0], ast.Pass))
        )
    ]
    assert wrong == []


def test_nothing_is_left_for_later() -> None:
    marker = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [
        f"{source.path}:{number}"
        for source in everything()
        if not source.path.startswith("tests/architecture/")
        for number, line in enumerate(source.lines, 1)
        if marker.search(line)
    ]
    assert left == []


def test_no_test_is_skipped() -> None:
    marks = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b")
    left = [
        f"{source.path}:{number}"
        for source in everything()
        if source.path.startswith("tests/") and not source.path.startswith("tests/architecture/")
        for number, line in enumerate(source.lines, 1)
        if marks.search(line)
    ]
    assert left == []


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == queuectl_client.__version__ == queuectld.__version__


def test_there_are_two_packages() -> None:
    assert set(PACKAGES) == {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}


def test_nothing_goes_by_the_words_of_a_reason() -> None:
    """They are for people, and may change; `reason_code` is what decides."""
    parsing = {"startswith", "endswith", "partition", "split", "find", "removeprefix"}
    found = [
        f"{source.path}:{node.lineno}"
        for source in product()
        for name, node in calls(source)
        if name.rpartition(".")[2] in parsing and re.search(r"\breason\b", name)
    ]
    assert found == []
