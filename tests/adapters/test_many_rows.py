"""Many rows by few statements: all of them, in their order, and not a step for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing

import pytest

from everlog.adapters.sqlite.many_rows import SIZES, Insert, insert_all

INSERT = Insert(
    "INSERT INTO things",
    "(?, ?)",
    "ON CONFLICT (name) DO UPDATE SET number = excluded.number",
)


@pytest.fixture
def connection() -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY, number INTEGER)")
        yield connection


def found(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    return connection.execute("SELECT name, number FROM things ORDER BY rowid").fetchall()


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 49, 50, 59, 499, 500, 501, 1_278])
def test_all_rows_are_there_in_their_order(connection: sqlite3.Connection, count: int) -> None:
    rows = [(f"thing {number}", number) for number in range(count)]
    insert_all(connection, INSERT, rows)
    assert found(connection) == rows


def test_what_all_rows_share_is_given_once(connection: sqlite3.Connection) -> None:
    insert = Insert("INSERT INTO things (number, name)", "(?1, ?)")
    insert_all(connection, insert, [(f"thing {number}",) for number in range(57)], 7)
    assert found(connection) == [(f"thing {number}", 7) for number in range(57)]


def test_a_row_that_comes_twice_in_one_statement_is_the_later(
    connection: sqlite3.Connection,
) -> None:
    insert_all(connection, INSERT, [(f"thing {number % 3}", number) for number in range(50)])
    assert found(connection) == [("thing 0", 48), ("thing 1", 49), ("thing 2", 47)]


def test_no_row_has_a_step_of_its_own_but_the_last_few(connection: sqlite3.Connection) -> None:
    """Around each step another thread of the program may get its turn, for 5 ms."""
    steps: list[str] = []
    connection.set_trace_callback(steps.append)
    insert_all(connection, INSERT, [(f"thing {number}", number) for number in range(1_278)])
    # 2 of 500, 5 of 50, 5 of 5, and 3 of one.
    assert len(steps) == 2 + 5 + 5 + 3


def test_no_statement_has_more_values_than_sqlite_takes() -> None:
    columns = 19  # of a record
    with closing(sqlite3.connect(":memory:")) as connection:
        most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    assert max(SIZES) * columns < min(most, 32_766)
