"""Finds the examples of docstrings and runs them, as `python -m asyncio` would."""

import ast
import asyncio
import doctest
import inspect
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

Namespace = dict[str, Any]
"""The names that an example begins with; what it assigns is added."""
Prepare = Callable[[], AbstractAsyncContextManager[Namespace]]
"""Makes the namespace of one docstring, in the event loop that its examples run in."""


class Docstring(NamedTuple):
    """The docstring of one module, class or function."""

    name: str
    """Its full name, such as `everlog.store.event_store.EventStore.append`."""
    path: Path
    line: int
    text: str

    @property
    def examples(self) -> list[doctest.Example]:
        """Its `>>>` examples, in order."""
        return doctest.DocTestParser().get_examples(self.text, self.name)

    def speaks_of(self, *names: str) -> bool:
        """Whether its examples use one of these names."""
        code = "".join(example.source for example in self.examples)
        used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        return not used.isdisjoint(names)


@asynccontextmanager
async def nothing() -> AsyncGenerator[Namespace, None]:
    """Prepares an empty namespace."""
    yield {}


def docstrings_below(root: Path) -> Iterator[Docstring]:
    """Returns the docstrings of all modules of the package whose folder this is."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield from _docstrings_in(ast.parse(path.read_text("utf-8")), module, path)


def _docstrings_in(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str, path: Path
) -> Iterator[Docstring]:
    text = ast.get_docstring(node)
    if text is not None:
        yield Docstring(name, path, node.body[0].lineno, text)
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings_in(child, f"{name}.{child.name}", path)


def without_example(names: Iterable[str], docstrings: Iterable[Docstring]) -> list[str]:
    """Returns those of the names whose docstring shows no example, or that have no docstring."""
    shown = {docstring.name for docstring in docstrings if docstring.examples}
    return sorted(name for name in set(names) if name not in shown)


def failures_of(docstring: Docstring, prepare: Prepare = nothing) -> list[str]:
    """Runs the examples of a docstring in one event loop, and returns what differs."""

    async def run() -> list[str]:
        async with prepare() as namespace:
            return [
                problem
                for example in docstring.examples
                if (problem := await _run(docstring, example, namespace)) is not None
            ]

    return asyncio.run(run())


async def _run(docstring: Docstring, example: doctest.Example, namespace: Namespace) -> str | None:
    checker, output, error = doctest.OutputChecker(), StringIO(), None
    try:
        code = compile(
            example.source,
            f"<{docstring.name}>",
            "single",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        with redirect_stdout(output):
            await _execute(code, namespace)
    except Exception as raised:
        error = raised
    if error is None and example.exc_msg is not None:
        told = f"Nothing was raised. Expected:\n    {example.exc_msg}"
    elif error is not None and example.exc_msg is not None:
        message = traceback.format_exception_only(error)[-1]
        if checker.check_output(example.exc_msg, message, FLAGS):
            return None
        told = f"Expected:\n    {example.exc_msg}Raised:\n    {message}"
    elif error is not None:
        told = "".join(traceback.format_exception(error))
    elif checker.check_output(example.want, output.getvalue(), FLAGS):
        return None
    else:
        told = checker.output_difference(example, output.getvalue(), FLAGS)
    line = docstring.line + example.lineno
    return f"{docstring.path}:{line}: {docstring.name}\n    {example.source}{told}"


async def _execute(code: CodeType, namespace: Namespace) -> None:
    """Runs one statement and prints what it evaluates to; only await makes it a coroutine."""
    result = eval(code, namespace)
    if code.co_flags & inspect.CO_COROUTINE:
        await result
