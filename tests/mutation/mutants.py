"""The small changes that are made to the product, one at a time, each of which a test should notice."""

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
SILENT: Final = ("log.", "logging.", "warnings.", "failpoints.")
"""Calls that change only what is logged, or what tests do: none has to notice that one is gone."""
LARGEST_CONSTANT: Final = 2
"""A larger one is a size or a limit somebody chose, and one more of it is as good."""


class Mutant(NamedTuple):
    """One change: the text between two places of a file is replaced."""

    path: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int

    def applied(self, source: str) -> str:
        """The source of the file with the change made."""
        return source[: self.start] + self.after + source[self.end :]


def of_file(root: Path, path: str) -> list[Mutant]:
    """Every change that can be made to one file, in the order of its lines."""
    source = (root / path).read_text()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    encoded = source.encode()
    found = []
    for kind, node, changed in _changes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = len(encoded[: starts[node.lineno - 1] + node.col_offset].decode())
        end = len(encoded[: starts[node.end_lineno - 1] + node.end_col_offset].decode())
        after = changed if isinstance(changed, str) else f"({ast.unparse(changed)})"
        found.append(Mutant(path, node.lineno, kind, source[start:end], after, start, end))
    return found


def sample(root: Path, packages: list[str], count: int, seed: int) -> list[Mutant]:
    """`count` changes, drawn evenly from all that can be made in these packages; a seed draws the same ones again."""
    found = [
        mutant
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
        for mutant in of_file(root, str(path.relative_to(root)))
    ]
    return sorted(random.Random(seed).sample(found, min(count, len(found))))


def is_in_function(source: str, line: int) -> bool:
    """Whether a line stands in the body of a function; what does not is executed when its file is imported."""
    return any(
        node.body[0].lineno <= line <= (node.end_lineno or 0)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.expr | ast.stmt, ast.AST | str]]:
    for node in _executed(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
            turned = COMPARISONS[type(node.ops[0])]()
            yield "comparison", node, ast.Compare(node.left, [turned], node.comparators)
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            yield "condition", node.test, ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.BoolOp):
            turned_bool = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield "and/or", node, ast.BoolOp(turned_bool, node.values)
        elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _is_text(node):
            yield "arithmetic", node, ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            if not ast.unparse(node).startswith(SILENT):
                yield "call dropped", node, "pass"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield "constant", node, ast.Constant(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) <= LARGEST_CONSTANT:
            yield "constant", node, ast.Constant(node.value + 1)
        elif isinstance(node, ast.Break):
            yield "break", node, "continue"
        elif isinstance(node, ast.Continue):
            yield "break", node, "break"


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that can change what the program does: no annotation, assertion, raise's text or type-only block."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Assert | ast.JoinedStr | ast.Raise):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Expr) and ast.unparse(child).startswith(SILENT):
            continue
        if isinstance(node, ast.ClassDef) and child in node.decorator_list:
            continue  # frozen and slots: nobody tries
        if isinstance(node, ast.arg | ast.AnnAssign) and child is node.annotation:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and child is node.returns:
            continue
        yield child
        yield from _executed(child)


def _is_text(node: ast.BinOp) -> bool:
    """Whether one side is a string or bytes: turned around it would only be a type error."""
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (node.left, node.right)
    )
