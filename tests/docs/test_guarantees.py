"""`docs/guarantees.md` names tests and mutants that exist, and each mutant beside what kills it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from everlog.testing.contract import StoreContract
from tests.contract import test_memory, test_sqlite
from tests.contract.checkpoints.suite import SharedCheckpointsContract
from tests.mutants.all_mutants import MUTANTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
FIELDS = ("Promise", "Defence", "Not survived", "Mutants killed", "Tests")


@dataclass(frozen=True)
class Row:
    """One promise, as the page tells it."""

    title: str
    fields: dict[str, str]

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`([^`]+::[^`]+)`", self.fields.get("Tests", ""))

    @property
    def mutants(self) -> list[str]:
        text = " ".join(self.fields.get("Mutants killed", "").split())
        return re.findall(r"\*([^*]+)\*", text)


def rows_of(page: str) -> list[Row]:
    """Returns the promises of a page, in its order."""
    rows: list[Row] = []
    for section in re.split(r"^## (?=\d+\. )", page, flags=re.M)[1:]:
        title, _, body = re.split(r"^## ", section, flags=re.M)[0].partition("\n")
        parts = re.split(r"^- \*\*([^*]+)\.\*\*", body, flags=re.M)
        rows.append(Row(title, dict(zip(parts[1::2], parts[2::2], strict=True))))
    return rows


def problems_of(page: str) -> list[str]:
    """Returns what is not true on a page."""
    rows = rows_of(page)
    found = [problem for row in rows for problem in _problems_of(row)]
    overview = re.findall(r"^\| \[(\d+\. [^\]]+)\]", page, re.M)
    if overview != [row.title for row in rows]:
        found.append("the table at the top does not list the promises in their order")
    named = {name for row in rows for name in row.mutants}
    found += [f"mutant {each.name!r} is on no row" for each in MUTANTS if each.name not in named]
    return found


def _problems_of(row: Row) -> Iterator[str]:
    for field in FIELDS:
        if not row.fields.get(field, "").strip():
            yield f"{row.title}: says nothing of {field!r}"
    if not row.tests:
        yield f"{row.title}: names no test"
    for test in row.tests:
        if not exists(test):
            yield f"{row.title}: there is no test {test}"
    mutants = {mutant.name: mutant for mutant in MUTANTS}
    for name in row.mutants:
        if name not in mutants:
            yield f"{row.title}: there is no mutant {name!r}"
        elif not {_on_the_page(test) for test in mutants[name].killed_by} & {*row.tests}:
            yield f"{row.title}: no test of this row kills {name!r}"


def exists(test: str) -> bool:
    """Whether there is a test of this name: a function, or a method of the contract suite."""
    path, _, name = test.partition("::")
    place = ROOT / "src" / path if path.startswith("everlog/") else ROOT / path
    if not name.startswith("test_") or not place.is_file():
        return False
    if path.startswith("everlog/"):  # of the suite, and so run for every adapter
        bindings = (test_memory.TestMemory, test_sqlite.TestSqlite)
        bound = all(hasattr(each, name) for each in (StoreContract, *bindings))
        return bound and name in _functions_in(place)
    return name in _functions_in(place)


@cache
def _functions_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def _on_the_page(test: str) -> str:
    """Returns how the page names a test: without its case, one of the contract where it is told."""
    test = test.partition("[")[0]
    path, _, name = test.partition("::")
    if not path.startswith("tests/contract/"):
        return test
    of_checkpoints = path.startswith("tests/contract/checkpoints/")
    suite = SharedCheckpointsContract if of_checkpoints else StoreContract
    method = getattr(suite, name.rpartition("::")[2])
    topic = method.__module__.replace(".", "/")
    return f"{topic}.py::{method.__name__}"


def test_every_promise_says_all_and_every_name_on_the_page_exists() -> None:
    page = PAGE.read_text("utf-8")
    assert len(rows_of(page)) >= 20
    assert problems_of(page) == []


# --- tests of the test ---


@pytest.mark.parametrize(
    ("was", "becomes", "seen"),
    [
        ("::test_", "::test_no_", "there is no test"),
        ("- `tests/store/", "- `tests/shop/", "there is no test"),
        ("*the lock*", "*the luck*", "there is no mutant 'the luck'"),
        ("*the lock*", "", "mutant 'the lock' is on no row"),
        ("*the lock*", "*the lock*, *the sync*", "no test of this row kills 'the sync'"),
        ("**Not survived.** Nothing", "**Not said.** Nothing", "says nothing of 'Not survived'"),
        ("| [3. ", "| [33. ", "does not list the promises"),
        ("## 3. ", "## ", "does not list the promises"),
    ],
)
def test_what_is_not_true_on_the_page_is_told(was: str, becomes: str, seen: str) -> None:
    page = PAGE.read_text("utf-8")
    assert was in page
    assert any(seen in problem for problem in problems_of(page.replace(was, becomes, 1)))


def test_a_promise_without_tests_is_told() -> None:
    page = re.sub(r"^  - `.*`\n", "", PAGE.read_text("utf-8"), flags=re.M)
    assert sum("names no test" in problem for problem in problems_of(page)) == len(rows_of(page))
