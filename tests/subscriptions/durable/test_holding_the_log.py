"""Read models in the log's own file: no handler keeps an append waiting for long."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from everlog import Projector, Record, Tx, blocking, to
from everlog.adapters.sqlite import file_hold
from everlog.adapters.sqlite.file_hold import FileHold
from everlog.errors import HandlerHeldTransaction
from tests.store.watched import Noted, run
from tests.subscriptions.durable.places import Place

HOLD_S = 1.2
"""For how long a handler tries to hold the file."""
LIMIT_S = 0.2
"""Longer than it is: a machine that is busy with other tests would fail handlers that did not."""
BUSY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "


@pytest.fixture
def same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    assert file_hold.LIMIT_S == 0.05
    monkeypatch.setattr(file_hold, "LIMIT_S", LIMIT_S)
    return Place("same", f"sqlite:///{tmp_path / 'log.db'}?views=same")


class Holding:
    """Handlers that hold the file with what number 13 says, and appends of another thread."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.held = threading.Event()
        self.released = threading.Event()
        self.took_s: list[float] = []
        """What each append took that returned while a handler tried to hold the file."""

    def append(self) -> None:
        """Appends as fast as it can, from the first moment that the file is held to the last."""
        with blocking.EventStore.open(self.place.url, events=[Noted]) as store:
            assert self.held.wait(30)
            while not self.released.is_set():
                began = time.perf_counter()
                store.append("aside", Noted(-1))
                if not self.released.is_set():
                    self.took_s.append(time.perf_counter() - began)

    def projector(self, how: str) -> Projector:
        place, projector = self.place, Projector()

        async def write(record: Record[Noted], tx: Tx) -> None:
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            await tx.fetch("SELECT count(*) FROM handled")
            if record.data.number != 13:
                return
            self.held.set()
            if how == "it waits":
                await asyncio.sleep(HOLD_S)
            elif how == "it blocks the event loop":
                time.sleep(HOLD_S)  # noqa: ASYNC251 - as somebody will
            else:
                try:
                    await tx.fetch(BUSY + "SELECT count(*) FROM n", (10**10,))
                finally:
                    self.released.set()
            self.released.set()

        def write_in_thread(record: Record[Noted], tx: Any) -> None:
            tx.execute(place.insert, (record.position, record.stream, record.data.number))
            tx.fetch("SELECT count(*) FROM handled")
            if record.data.number == 13:
                self.held.set()
                time.sleep(HOLD_S)
                self.released.set()

        if how == "its thread sleeps":
            projector.all(Noted)(write_in_thread)
        else:
            projector.all(Noted)(write)
        return projector


@pytest.mark.parametrize(
    "how", ["it waits", "it blocks the event loop", "its thread sleeps", "it asks for too much"]
)
def test_a_handler_that_holds_the_log_is_cut_off_and_appends_go_on(same: Place, how: str) -> None:
    holding = Holding(same)

    async def main() -> None:
        async with same.store() as store:
            await store.subscriptions.status()  # makes our tables
            same.ask(same.create)
            await store.append_many([to(f"s-{n}", Noted(n)) for n in range(30)])
            appending = asyncio.create_task(asyncio.to_thread(holding.append))
            projector = holding.projector(how)
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
                await appending
                await subscription.caught_up()
            if how != "it asks for too much":  # which ends with the limit
                judge()
            parked = await store.subscriptions.parked("view")
            assert [(each.stream, each.status) for each in parked] == [("s-13", "parked")]
            assert parked[0].error.startswith("HandlerHeldTransaction: ")
            [status] = await store.subscriptions.status()
            assert (status.lag, status.behind) == (0, 0)
            positions = [record.position async for record in store.read()]
            assert [row[0] for row in same.handled()] == [each for each in positions if each != 14]
            assert (await store.verify()).ok

    def judge() -> None:
        # What waits for who holds the file returns when that one is cut off, and not when it ends.
        took_s = sorted(holding.took_s)
        assert len(took_s) > 5
        print(f"{how}: {len(took_s)} appends, the longest took {took_s[-1] * 1000:.0f} ms")
        assert took_s[-1] < HOLD_S / 2

    run(main)


@pytest.mark.parametrize("query", [False, True], ids=["writing", "asking"])
def test_many_small_statements_are_nobodys_fault_and_batches_get_shorter(
    same: Place, query: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worked_s: list[float] = []
    to_commit = FileHold.to_commit

    def noting(hold: FileHold) -> None:
        left_s = hold.left_s()
        if left_s is not None:
            worked_s.append(LIMIT_S - left_s)
        to_commit(hold)

    monkeypatch.setattr(FileHold, "to_commit", noting)

    async def main() -> None:
        projector = Projector()
        # Some milliseconds each.
        insert = same.insert.split("VALUES")[0] + BUSY.replace("?", "10000")

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            values = (record.position, record.stream, record.data.number)
            await tx.execute(insert + "SELECT ?, ?, ? FROM n WHERE i = 10000", values)
            if query:
                [[count]] = await tx.fetch("SELECT count(*) FROM handled")
                assert count == record.position

        async with same.store() as store:
            await store.subscriptions.status()
            same.ask(same.create)
            await store.append_many([to(f"s-{n % 7}", Noted(n)) for n in range(300)])
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
            assert [row[0] for row in same.handled()] == list(range(1, 301))
            assert await store.subscriptions.parked("view") == []

    with caplog.at_level(logging.WARNING, "everlog"):
        run(main)
    assert not [record for record in caplog.records if "failed in try" in record.getMessage()]
    print(f"{len(worked_s)} transactions, the longest {max(worked_s) * 1000:.1f} ms")
    assert len(worked_s) > 3


def test_who_waits_before_it_asks_holds_nobody_up(same: Place) -> None:
    async def main() -> None:
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            await tx.execute(same.create)
            await asyncio.sleep(4 * LIMIT_S)
            await tx.execute(same.insert, (record.position, record.stream, record.data.number))
            assert await tx.fetch("SELECT count(*) FROM handled") == [(record.position,)]

        async with same.store() as store:
            await store.append("a", Noted(0), Noted(1), Noted(2))
            async with store.subscription("view", projector, on_error="stop") as subscription:
                await subscription.caught_up()
        assert [row[2] for row in same.handled()] == [0, 1, 2]

    run(main)


def test_a_handler_that_catches_it_commits_nothing_all_the_same(same: Place) -> None:
    async def main() -> None:
        projector = Projector()
        caught = 0

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            nonlocal caught
            await tx.execute(same.create)
            await tx.execute(same.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 1:
                await tx.fetch("SELECT 1")
                await asyncio.sleep(4 * LIMIT_S)
                try:
                    await tx.fetch("SELECT 1")
                except HandlerHeldTransaction as error:
                    caught += error.limit_s == LIMIT_S

        async with same.store() as store:
            await store.append_many([to(f"s-{n}", Noted(n)) for n in range(3)])
            async with store.subscription("view", projector, on_error="skip") as subscription:
                await subscription.caught_up()
            [trace] = await store.subscriptions.parked("view")
            assert "HandlerHeldTransaction" in trace.error
        assert caught >= 2
        assert [row[2] for row in same.handled()] == [0, 2]

    run(main)


def test_a_step_without_a_handlers_statement_is_made_again_and_fails_nobody(
    same: Place,
) -> None:
    async def main() -> None:
        projector, calls = Projector(), list[int]()

        @projector.all(Noted)
        async def see(record: Record[Noted]) -> None:
            calls.append(record.data.number)

        async with same.store() as store:
            await store.append("a", Noted(0))
            async with store.subscription("view", projector, on_error="stop") as subscription:
                # Whatever blocks the loop, again and again: some of it falls into a step.
                loop = asyncio.get_running_loop()
                for _ in range(3):
                    await store.append("a", Noted(1))
                    for pause_s in (0.0, 0.002, 0.005):
                        await asyncio.sleep(pause_s)
                        loop.call_soon(time.sleep, 1.5 * LIMIT_S)
                await subscription.caught_up()
                assert subscription.is_running
            assert set(calls) == {0, 1}

    run(main)
