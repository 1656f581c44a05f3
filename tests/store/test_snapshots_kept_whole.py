"""A snapshot that is not what was stored, or would not be what was folded, answers nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, event
from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.core.snapshot import Snapshot, SnapshotKey, is_whole, seal, unseal
from everlog.errors import SnapshotError
from everlog.store import folding
from everlog.store.folding import every


@event("counted")
@dataclass
class Counted:
    by: int


@dataclass
class Sum:
    total: int = 0
    count: int = 0


def add(state: Sum, record: Record[Any]) -> Sum:
    return Sum(state.total + record.data.by, state.count + 1)


SUM: Reducer[Sum] = Reducer("sum", add, initial=Sum)
RIGHT = Sum(total=1111, count=4)
STREAM = "a"


def change(path: Path, column: str, value: str) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        # sql: only fixed text is joined, every value is bound
        file.execute(f"UPDATE snapshots SET {column} = {value}")


OTHER_TIME = (
    "substr(created, 1, 5) || CASE substr(created, 6, 1) WHEN '0' THEN '1' ELSE '0' END"
    " || substr(created, 7)"
)
"""Another one whatever time it is: a digit is replaced by one that it is not."""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("state", "replace(state, '111', '112')"),
        ("state", "replace(state, '3', '5')"),
        ("state", "substr(state, 65)"),
        ("state", "''"),
        ("state", """'{"total":5,"count":1}'"""),
        ("position", "4"),
        ("position", "1"),
        ("count", "2"),
        ("version", "2"),
        ("id", "id || 'x'"),
        ("created", OTHER_TIME),
    ],
)
def test_a_fold_from_a_snapshot_that_was_changed_in_the_file_answers_as_without_one(
    tmp_path: Path, column: str, value: str
) -> None:
    path = tmp_path / "ledger.db"

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=[Counted]) as store:
            await store.append(STREAM, Counted(1), Counted(10), Counted(100))
            await store.snapshots.create(SUM, STREAM)
            await store.append(STREAM, Counted(1000))
        change(path, column, value)
        async with EventStore.open(f"sqlite:///{path}", events=[Counted]) as store:
            assert await store.snapshots.get(SUM, STREAM) is None
            assert await store.reduce(SUM, STREAM) == RIGHT

    asyncio.run(main())


def test_a_changed_state_that_is_not_compared_with_its_digest_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trusting(snapshot: Snapshot) -> str:
        return snapshot.state[64:]

    monkeypatch.setattr(folding, "unseal", trusting)
    monkeypatch.setattr("everlog.store.snapshots.unseal", trusting)
    for number, (column, value) in enumerate(
        [("state", "replace(state, '111', '112')"), ("position", "4")]
    ):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(AssertionError):
            test_a_fold_from_a_snapshot_that_was_changed_in_the_file_answers_as_without_one(
                tmp_path / str(number), column, value
            )


def test_a_sealed_snapshot_is_whole_and_changed_anywhere_it_is_not() -> None:
    key = SnapshotKey("stream:a", "sum", 1, "shape", "")
    snapshot = Snapshot(key, 3, "2rrvthnxts-00000", "id-1", 3, 3, 0, '{"total":111}')
    sealed = seal(snapshot)
    assert is_whole(sealed)
    assert unseal(sealed) == snapshot.state
    changed = [
        snapshot,
        replace(sealed, position=4),
        replace(sealed, created="2rrvthnxts-00001"),
        replace(sealed, id="id-2"),
        replace(sealed, version=4),
        replace(sealed, count=4),
        replace(sealed, revision=1),
        replace(sealed, key=replace(key, scope="stream:b")),
        *(
            replace(sealed, state=sealed.state[:at] + "~" + sealed.state[at + 1 :])
            for at in range(len(sealed.state))
        ),
    ]
    for each in changed:
        assert not is_whole(each)
        with pytest.raises(SnapshotError):
            unseal(each)


# --- aliases ------------------------------------------------------------------------------------


@dataclass
class Order:
    id: str
    paid: int = 0


@dataclass
class Orders:
    orders: list[Order] = field(default_factory=list[Order])
    by: dict[str, Order] = field(default_factory=dict[str, Order])


def place(state: Orders, record: Record[Any]) -> Orders:
    if not state.orders:
        state.orders.append(Order("one"))
        state.by["one"] = state.orders[0]
    state.by["one"].paid += record.data.by
    return state


def test_a_snapshot_changes_no_answer_where_a_state_holds_one_object_twice() -> None:
    orders: Reducer[Orders] = Reducer("orders", place, initial=Orders)

    async def main() -> None:
        async with EventStore.open("memory:", events=[Counted], snapshots=every(1)) as store:
            paid = 0
            for by in (1, 10, 100):
                await store.append(STREAM, Counted(by))
                paid += by
                order = Order("one", paid)
                assert await store.reduce(orders, STREAM) == Orders([order], {"one": order})
            with pytest.raises(SnapshotError, match=r"Orders\.by\['one'\] is the very Order that"):
                await store.snapshots.create(orders, STREAM)

    asyncio.run(main())


def test_verify_names_a_damaged_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def main() -> None:
        async with EventStore.open(path, events=[Counted]) as store:
            await store.append("a", Counted(1), Counted(2))
            await store.snapshots.create(SUM, "a")
            assert (await store.verify()).ok
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            changed = "UPDATE snapshots SET state = replace(state, '\"total\":3', '\"total\":4')"
            assert connection.execute(changed).rowcount == 1
        async with EventStore.open(path, events=[Counted]) as store:
            assert await store.reduce(SUM, "a") == Sum(3, 2)
            found = await store.verify()
            assert "the snapshot of 'sum' over 'stream:a' is damaged" in found.problems[0].what

    asyncio.run(main())
