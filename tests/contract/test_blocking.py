"""`everlog.blocking` keeps the whole contract, over memory, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from everlog import blocking
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.store.event_store import EventStore
from everlog.store.opening import SnapshotPolicy
from everlog.testing.contract import Scene, StoreContract
from everlog.testing.contract.events import Noted
from everlog.testing.contract.following import FollowingRecords
from everlog.testing.contract.lifecycle import store_calls
from everlog.testing.contract.scene import contract_test
from tests.contract.awaited import Awaited, awaited_store, in_thread
from tests.contract.awaited import watched_calls as watched_calls  # a fixture, for all tests here
from tests.contract.on_schemas import OnTheNewest

NOT_HERE: Mapping[str, str] = {
    "test_another_event_loop_is_refused": (
        "a blocking store is for every thread, whatever loop runs there:"
        " test_any_thread_and_any_event_loop_is_welcome"
    ),
    **{
        name: "it calls off who follows, or waits beside it: tests/blocking/test_following.py"
        for name in dir(FollowingRecords)
        if name.startswith("test_")
    },
}
"""Tests of the contract that make no sense without `async`, and what stands in their place."""


class BlockingContract(StoreContract):
    def open_store(
        self,
        ledger: Ledger,
        *,
        events: Iterable[type[Any]],
        snapshots: SnapshotPolicy,
        seams: Seams,
    ) -> EventStore:
        return awaited_store(ledger, events=events, snapshots=snapshots, seams=seams)

    @contract_test
    async def test_any_thread_and_any_event_loop_is_welcome(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1))
        store: Any = scene.store

        def use_in_a_loop() -> int:
            async def use() -> int:
                blocking_store: blocking.EventStore = store.blocking
                blocking_store.append("a", Noted(2))
                return len(blocking_store.read().to_list())

            return asyncio.run(use())

        assert await in_thread(use_in_a_loop) == 2
        for name, call in store_calls(scene.store).items():
            if name in (
                "append_many",
                "snapshots.create",
                "backup",
            ):  # which refuse what they are given
                continue
            await call()


for name in NOT_HERE:
    setattr(BlockingContract, name, None)


class TestBlockingOverMemory(BlockingContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return MemoryLedger(seams=seams)


class TestBlockingOverSqlite(BlockingContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return await SqliteLedger.open(str(place), seams=seams)


@pytest.mark.once
class TestBlockingOverPostgres(OnTheNewest, BlockingContract):
    pass


def contract_tests_of(cls: type[object]) -> set[str]:
    return {name for name in dir(cls) if name.startswith("test_") and callable(getattr(cls, name))}


@pytest.mark.parametrize(
    "cls", [TestBlockingOverMemory, TestBlockingOverSqlite, TestBlockingOverPostgres]
)
def test_no_test_of_the_contract_is_left_out_but_those_that_are_named(cls: type[object]) -> None:
    assert contract_tests_of(StoreContract) - contract_tests_of(cls) == set(NOT_HERE)


def test_the_topics_call_the_blocking_store() -> None:
    async def made() -> object:
        ledger = MemoryLedger()
        return TestBlockingOverMemory().open_store(
            ledger, events=[], snapshots="manual", seams=Seams()
        )

    store: Any = asyncio.run(made())
    assert isinstance(store, Awaited)
    assert type(store.blocking) is blocking.EventStore
