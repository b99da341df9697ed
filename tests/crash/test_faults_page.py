"""docs/faults.md names a test for every fault. Here: that each of them is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "faults.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+|\*)`", PAGE)
NUMBER = re.compile(r"^\| (\d+) \|", re.MULTILINE)
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, functions))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_the_page_names_is_there(file: str, name: str) -> None:
    found = {each for each in names_in(TESTS / file) if each.startswith("test_")}
    assert found
    assert name == "*" or name in found


def test_every_fault_has_a_row_with_a_test() -> None:
    listed, _, found = (part.partition("## Security")[0] for part in PAGE.partition("## Found by an adversary"))
    assert [int(number) for number in NUMBER.findall(listed)] == list(range(1, 43))
    assert NUMBER.findall(found) == sorted(NUMBER.findall(found), key=int)
    assert all("::test_" in row for row in ROWS)
    security = PAGE.partition("## Security")[2]
    assert all("`" in line for line in security.splitlines() if line.startswith("| ") and "promise" not in line)
