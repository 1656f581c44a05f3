"""The how-tos of moving to everlog are true: each is followed to the letter."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from everlog.blocking import EventStore, Record, reducer
from everlog.testing import PostgresServer
from tests.docs.following import ROOT, Run, reader, steps_of

pytestmark = [pytest.mark.once, pytest.mark.timeout(240)]

HOW_TO = ROOT / "docs" / "how-to"
PAGES = ["moving-from-a-table", "moving-from-eventsourcing", "moving-from-the-original"]
URL = "postgresql://localhost/shop"


@pytest.mark.parametrize("page", PAGES)
def test_a_reader_sees_what_the_page_shows(
    page: str, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with reader(tmp_path, replaced={URL: postgres_server.new_database()}) as someone:
        someone.follow(HOW_TO / f"{page}.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_says_something(page: str) -> None:
    steps = [step for step in steps_of(HOW_TO / f"{page}.md") if isinstance(step, Run)]
    assert any(step.said for step in steps)
    assert "" not in [step.said for step in steps]


def test_what_was_in_one_millisecond_there_is_folded_in_its_order_here(tmp_path: Path) -> None:
    @reducer("deposits", initial=list[int])
    def deposits(state: list[int], record: Record) -> list[int]:
        data: Any = record.json
        return [*state, data["cents"]] if "cents" in data else state

    with reader(tmp_path) as someone:
        for step in steps_of(HOW_TO / "moving-from-eventsourcing.md"):
            if not isinstance(step, Run):
                someone.take(step)
        for command in ("work.py", "move.py"):
            assert someone.say(f"python {command}")[1] == 0
    with EventStore.open(tmp_path / "bank.db") as store:
        streams = {record.stream for record in store.read()}
        assert len({record.created_at for record in store.read()}) < store.info().position / 2
        folded = [store.reduce(deposits, stream) for stream in streams]
    assert sorted(map(str, folded)) == sorted(map(str, [[], *[[*range(1, 101)]] * 3]))


def test_rows_that_change_between_two_moves_end_as_they_are(tmp_path: Path) -> None:
    changes = [
        "UPDATE customers SET name = 'Jim' WHERE id = 2",
        "DELETE FROM customers WHERE id = 1",
        "INSERT INTO customers VALUES (1, 'Jane', 'jane@doe.com')",  # removed, and there again
        "UPDATE customers SET email = 'x@doe.com'",
        "UPDATE customers SET email = email",
    ]
    with reader(tmp_path) as someone:
        for step in steps_of(HOW_TO / "moving-from-a-table.md"):
            if not isinstance(step, Run):
                someone.take(step)
        for command in ("crm.py begin", "freeze.py", "crm.py work", "move.py"):
            someone.say(f"python {command}")
        for change in changes:
            with closing(sqlite3.connect(tmp_path / "crm.db")) as crm, crm:
                crm.execute(change)
            someone.say("python move.py")
        assert someone.say("python compare.py") == ("3 rows, the same\n", 0)
        moved = someone.say("everlog tail sqlite:///customers.db --json -n 100")[0]
        types = [json.loads(line)["type"] for line in moved.splitlines()]
        assert types.count("customer:removed") == 2
