"""Rules that a syntax tree can see and no other tool here checks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REASON = re.compile(r"# sql: \w+ \w+")


class Finding(NamedTuple):
    """One place that breaks a rule."""

    path: Path
    line: int
    message: str


def sql_built_from_values(source: str, path: Path) -> Iterator[Finding]:
    """Finds SQL that is put together where it is run, instead of text with bound values.

    Seen as put together: f-strings, `+` and `%`, `.format(...)` and `.join(...)`, handed to an
    execute method directly or by way of a name that the same function assigned. A call that joins
    only fixed text says so, with its reason, on one of its lines: `# sql: the fragments are ours`.
    """
    lines = source.splitlines()
    tree = ast.parse(source, filename=str(path))
    for scope in scopes(tree):
        built = {
            target.id
            for node in nodes_of(scope)
            for target, value in assignments(node)
            if is_built(value)
        }
        for node in nodes_of(scope):
            if not (isinstance(node, ast.Call) and is_execute(node.func)):
                continue
            if any(REASON.search(line) for line in lines[node.lineno - 1 : node.end_lineno]):
                continue
            arguments = [*node.args[:1], *(word.value for word in node.keywords)]
            for argument in arguments:
                if is_built(argument) or (isinstance(argument, ast.Name) and argument.id in built):
                    yield Finding(path, node.lineno, f"SQL built from values: {ast.unparse(node)}")


def assignments(node: ast.AST) -> Iterator[tuple[ast.Name, ast.expr]]:
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
            yield target, value
        case ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.AugAssign(target=ast.Name() as target, op=op):
            yield target, ast.BinOp(target, op, node.value)
        case _:
            pass


def is_execute(function: ast.expr) -> bool:
    names = {"execute", "executemany", "executescript"}
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in names
        case _:
            return False


def is_built(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Add() | ast.Mod()):
            return not is_literal(node)
        case ast.Call(func=ast.Attribute(attr="format" | "format_map" | "join" | "replace")):
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return is_built(body) or is_built(orelse)
        case _:
            return False


def is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return is_literal(node.left) and is_literal(node.right)
    return isinstance(node, ast.Constant)


# What reads a clock or draws by chance, though its module is otherwise welcome in core.
IMPURE = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "uuid1", "uuid4", "uuid6", "uuid7",
}  # fmt: skip


def clocks_and_chance(source: str, path: Path) -> Iterator[Finding]:
    """Finds calls that answer differently each time; core is given the time and its random bits."""
    for node in ast.walk(ast.parse(source, filename=str(path))):
        if isinstance(node, ast.Call):
            name = ".".join(ast.unparse(node.func).split(".")[-2:])
            if name in IMPURE:
                yield Finding(path, node.lineno, f"core is not pure: {ast.unparse(node)}")
            elif name in ("open", "input", "print"):
                yield Finding(path, node.lineno, f"core does no I/O: {ast.unparse(node)}")


def scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """The module and each function in it."""
    yield tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def nodes_of(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the functions inside it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from nodes_of(child)
