"""`check` of a log with orphans and events that were stamped anew: no damage, and all damage."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.taking import Restamp, Take
from everlog.ports.ledger import Ledger, Problem, Request
from everlog.ports.seams import Seams
from everlog.testing import FakeClock, PostgresServer
from everlog.testing.contract.committing import append, new
from everlog.testing.contract.scene import NOON_MS
from everlog.testing.contract.synchronising import History, born_at

T = TypeVar("T")

POSITIONS = range(1, 15)
LATE = "its mark of having come late is wrong"
NEWEST = "the newest record of the ledger is wrong"
UNFOLDED = "that no fold has it is said of another record than there is"


class Log:
    """A log that can be opened, and changed behind its back."""

    def __init__(
        self, opened: Callable[[Seams], Awaitable[Ledger]], change: Callable[[str], None]
    ) -> None:
        self._opened = opened
        self.change = change

    def with_ledger(self, clock: FakeClock, work: Callable[[Ledger], Coroutine[Any, Any, T]]) -> T:
        async def main() -> T:
            ledger = await self._opened(Seams(now_ms=clock))
            try:
                return await work(ledger)
            finally:
                await ledger.close()

        return asyncio.run(main())

    def problems(self) -> list[Problem]:
        async def check(ledger: Ledger) -> list[Problem]:
            return list(await ledger.check())

        return self.with_ledger(FakeClock(NOON_MS), check)


def fill(log: Log) -> None:
    """Has orphans, also by a later piece of history, and what was stamped anew in both runs."""
    clock = FakeClock(NOON_MS)

    async def work(ledger: Ledger) -> None:
        async def commit(*requests: Request) -> None:
            for outcome in await ledger.commit(requests):
                assert not isinstance(outcome, Exception), outcome

        await commit(append(new("1"), new("2", "b")))
        hub = History()
        hub.append("h1", "h2")
        hub.add(Take((born_at("lost", 7),), strict=("a",), vouched=frozenset(["lost"])))
        await commit(hub.piece())  # 3 to 5
        later = History(epoch="next")
        later.add(Take(tuple(hub.records[:1])))
        back = (hub.records[2], hub.records[1])
        vouched = frozenset(record.id for record in back)
        later.add(Take(back, strict=("a",), vouched=vouched, versions=[2, None]))
        await commit(hub.back(3, 0, epoch="next"), later.piece())
        clock.set(NOON_MS + 3_600_000)
        await commit(append(new("ahead"), new("too", "b")))  # 6 and 7
        clock.set(NOON_MS + 20)
        await commit(Take((born_at("late", 9), born_at("early", -9, "b"))))  # 8 and 9
        await commit(Restamp(("ahead", "too"), NOON_MS + 21))  # 10 and 11
        await commit(append(new("after")))  # 12
        await commit(Take((born_at("between", 19), born_at("newest", 30))))  # 13 and 14

    log.with_ledger(clock, work)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    if request.param == "sqlite":
        path = tmp_path / "app.db"

        def change(statement: str) -> None:
            with closing(sqlite3.connect(path)) as file, file:
                for [name] in file.execute(
                    "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
                ).fetchall():
                    file.execute(f"DROP TRIGGER {name}")
                file.execute(statement)

        return Log(lambda seams: SqliteLedger.open(str(path), seams=seams), change)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()

    def change_there(statement: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("SET search_path TO everlog")
            connection.execute("ALTER TABLE records DISABLE TRIGGER ALL")
            here = statement.replace("UPDATE ledger ", "UPDATE ledger_head ")
            connection.execute(here.encode())

    return Log(lambda seams: PostgresLedger.open(url, seams=seams), change_there)


@pytest.fixture
def log(empty_log: Log) -> Log:
    fill(empty_log)
    return empty_log


def test_what_is_left_out_of_folds_is_no_damage(log: Log) -> None:
    assert log.problems() == []


def test_each_mark_of_having_come_late_is_checked(log: Log) -> None:
    for position in POSITIONS:
        log.change(f"UPDATE records SET late = NOT late WHERE position = {position}")
        assert Problem(position, LATE) in log.problems()
        log.change(f"UPDATE records SET late = NOT late WHERE position = {position}")
    assert log.problems() == []


def test_what_is_out_of_the_order_of_folds_is_found(log: Log) -> None:
    for position in (6, 7):
        log.change(f"DELETE FROM unfolded WHERE position = {position}")
        assert {each.position for each in log.problems() if each.what == LATE} == {12, 14}
        log.change(f"INSERT INTO unfolded VALUES ({position}, '1')")
    assert log.problems() == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE registers SET id = 'x' WHERE stream = 'a'",
        "UPDATE registers SET created = '0' WHERE stream = 'b'",
        "UPDATE registers SET created = '', id = '' WHERE stream = 'b'",
        "DELETE FROM registers WHERE stream = 'a'",
        "INSERT INTO registers VALUES ('a', 'other', 'x', 'x')",
        "INSERT INTO registers VALUES ('nobody', 't', '', '')",
        # Then what was left out of folds has been in one, or what was in folds has not.
        "DELETE FROM unfolded WHERE position = 7",
        "INSERT INTO unfolded VALUES (14, NULL)",
        "UPDATE registers SET (created, id) = (SELECT created, id FROM records WHERE position = 7) "
        "WHERE stream = 'b'",
    ],
)
def test_a_register_that_has_another_newest_record_than_folds_is_found(
    log: Log, statement: str
) -> None:
    log.change(statement)
    assert [each.what for each in log.problems() if each.what.startswith("the newest record of r")]


def test_another_newest_record_of_the_ledger_is_found(log: Log) -> None:
    for position in POSITIONS:
        log.change(
            "UPDATE ledger SET (newest_created, newest_id) = "
            f"(SELECT created, id FROM records WHERE position = {position})"
        )
        wanted = [] if position == POSITIONS[-1] else [NEWEST]
        assert [each.what for each in log.problems()] == wanted


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("INSERT INTO unfolded VALUES (99, NULL)", 99),
        ("INSERT INTO unfolded VALUES (0, 'x')", 0),
        ("UPDATE unfolded SET replacement = 'nobody' WHERE position = 6", 6),
    ],
)
def test_what_is_said_of_records_that_are_not_there_is_found(
    log: Log, statement: str, position: int
) -> None:
    log.change(statement)
    assert Problem(position, UNFOLDED) in log.problems()
