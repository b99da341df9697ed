"""The project's source files as syntax trees, and what each of them imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("queuectld", "queuectl_client")


class Source(NamedTuple):
    """One file: its path below the repository, its dotted name, its lines and its tree."""

    path: str
    module: str
    lines: list[str]
    tree: ast.Module


class Import(NamedTuple):
    """One imported module, as `importer` names it in `line`; `target` is absolute."""

    importer: str
    target: str
    line: int
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@cache
def product() -> list[Source]:
    """Every file of the two packages."""
    return [source for package in PACKAGES for source in _read(package)]


@cache
def everything() -> list[Source]:
    """Every file of the two packages and of the tests."""
    return product() + _read("tests")


def imports(sources: list[Source]) -> Iterator[Import]:
    """Every import, also the lazy ones inside functions; `from x import y` names both x and x.y."""
    for source in sources:
        typing_lines = _typing_lines(source.tree)
        for node in ast.walk(source.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for target in _targets(node, source.module):
                    yield Import(source.module, target, node.lineno, node.lineno in typing_lines)


def within(module: str, package: str) -> bool:
    """Whether a dotted name is this package or something in it."""
    return module == package or module.startswith(package + ".")


def _read(folder: str) -> list[Source]:
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        path = file.relative_to(ROOT)
        text = file.read_text()
        parts = path.with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Source(str(path), module, text.splitlines(), ast.parse(text, str(path))))
    return found


def _targets(node: ast.AST, importer: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{importer}: relative import in line {node.lineno}"
        assert node.module is not None
        # A name may be a module or something in one; `__version__` is never a module.
        names = [alias.name for alias in node.names if not alias.name.startswith("__")]
        return [node.module, *(f"{node.module}.{name}" for name in names)]
    return []


def _typing_lines(tree: ast.Module) -> set[int]:
    """Lines below `if TYPE_CHECKING:`, which import nothing at run time."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                lines.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    return lines
