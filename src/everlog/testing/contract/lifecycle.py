"""From opening to closing: one process, one event loop, and what stays."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from everlog.core.event import Registry
from everlog.core.record import Record
from everlog.core.selection import Selection
from everlog.core.snapshot import SnapshotKey
from everlog.errors import ForkedConnection, StoreClosed, WrongEventLoop, WrongVersion
from everlog.ports.ledger import Ledger
from everlog.store.event_store import EventStore
from everlog.testing.contract.events import Noted
from everlog.testing.contract.scene import (
    Contract,
    Gate,
    Scene,
    contract_test,
    history,
    positions_of,
)
from everlog.testing.contract.snapshotting import Counting

KEY = SnapshotKey("stream:a", "r", 1, "", "")

LEDGER_CALLS: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "commit": lambda ledger: ledger.commit([]),
    "read": lambda ledger: ledger.read(Selection()),
    "fold_from": lambda ledger: ledger.fold_from(Selection(), None),
    "find": lambda ledger: ledger.find(["x"]),
    "overtaken": lambda ledger: ledger.overtaken("s", "r", ("", "")),
    "streams_of": lambda ledger: ledger.streams_of(["r"]),
    "relations_of": lambda ledger: ledger.relations_of(["s"]),
    "find_snapshot": lambda ledger: ledger.find_snapshot(KEY),
    "head": lambda ledger: ledger.head(),
    "wait": lambda ledger: ledger.wait(0, timeout_s=0),
    "check": lambda ledger: ledger.check(),
    "backup": lambda ledger: ledger.backup("nowhere"),
}


def store_calls(store: EventStore) -> dict[str, Callable[[], Awaitable[object]]]:
    """Returns a call of every method of a store."""
    past = store.past("a", Noted(1), created="0" * 32)
    stored = Record[Any](past.stored._replace(position=1, chain=bytes(32)), Registry([]))
    reducer = Counting().reducer
    reading = store.read()

    async def read() -> object:
        return store.read("a")

    async def use_past() -> object:
        return store.past("a", Noted(1), created="0" * 32)

    async def token() -> object:
        return store.token(stored)

    async def append_many() -> object:
        return await store.append_many([])

    return {
        "append": lambda: store.append("a", Noted(1)),
        "append_many": append_many,
        "import_records": lambda: store.import_records([past]),
        "past": use_past,
        "read": read,
        "a reading begun before": reading.to_list,
        "token": token,
        "wait": lambda: store.wait(timeout_s=0),
        "status": lambda: store.status(past),
        "find": lambda: store.find("x"),
        "reduce": lambda: store.reduce(reducer, "a"),
        "relations.add": lambda: store.relations.add("r", "a"),
        "relations.streams_of": lambda: store.relations.streams_of("r"),
        "snapshots.create": lambda: store.snapshots.create(reducer, "a"),
        "snapshots.get": lambda: store.snapshots.get(reducer, "a"),
        "snapshots.delete": lambda: store.snapshots.delete(reducer, "a"),
        "info": store.info,
        "verify": store.verify,
        "backup": lambda: store.backup("nowhere"),
        "drained": store.drained,
    }


def all_calls(scene: Scene) -> dict[str, Callable[[], Awaitable[object]]]:
    """Returns a call of every method of a scene's store and ledger."""
    port = {f"ledger.{name}": partial(call, scene.ledger) for name, call in LEDGER_CALLS.items()}
    return {**store_calls(scene.store), **port}


class Lifecycle(Contract):
    """Opening, closing, and where a store must not be used."""

    @contract_test
    async def test_a_closed_store_refuses_everything(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1))
        calls = store_calls(scene.store)
        await scene.store.close()
        for name, call in calls.items():
            assert await _refusal(call()) is StoreClosed, f"{name} worked on a closed store"

    @contract_test
    async def test_a_closed_ledger_refuses_everything(self, scene: Scene) -> None:
        await scene.ledger.close()
        for name, call in LEDGER_CALLS.items():
            assert await _refusal(call(scene.ledger)) is StoreClosed, f"{name} worked when closed"

    @contract_test
    async def test_closing_twice_is_closing_once(self, scene: Scene) -> None:
        await scene.store.close()
        await scene.store.close()
        await scene.ledger.close()
        await scene.ledger.close()

    @contract_test
    async def test_a_store_is_closed_at_the_end_of_its_block(self, scene: Scene) -> None:
        with pytest.raises(ZeroDivisionError):
            async with scene.store:
                raise ZeroDivisionError
        with pytest.raises(StoreClosed):
            await scene.store.append("a", Noted(1))

    @contract_test
    async def test_closing_waits_for_what_is_being_written(self, scene: Scene) -> None:
        gate = Gate(scene.ledger)
        store = scene.over(gate.as_ledger)
        first = asyncio.create_task(store.append("a", Noted(1)))
        await gate.entered.wait()
        queued = asyncio.create_task(store.append("a", Noted(2)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        gate.open.set()
        await closing
        assert positions_of([*(await first), *(await queued)]) == [1, 2]

    @contract_test
    async def test_another_event_loop_is_refused(self, scene: Scene) -> None:
        calls = all_calls(scene)

        def elsewhere(call: Callable[[], Awaitable[object]]) -> BaseException | None:
            async def use() -> None:
                await call()

            try:
                asyncio.run(use())
            except WrongEventLoop as error:
                return error
            return None

        for name, call in calls.items():
            error = await asyncio.to_thread(elsewhere, call)
            assert isinstance(error, WrongEventLoop), f"{name} worked in another loop"
        await scene.store.append("a", Noted(1))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @contract_test
    async def test_a_forked_child_is_refused_and_its_parent_goes_on(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1))
        calls = all_calls(scene)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            child = os.fork()
        if child == 0:
            refused = 0
            try:
                refused = sum(_refused_in_child(call) for call in calls.values())
                _first_step(scene.store.close())
                _first_step(scene.ledger.close())
            finally:
                os._exit(0 if refused == len(calls) else 1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        [record] = await scene.store.append("a", Noted(2))
        assert record.position == 2
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_what_is_durable_is_there_when_opened_again(self, scene: Scene) -> None:
        await history(scene.store, 40)
        identity, head, rows = scene.ledger.identity, await scene.ledger.head(), await scene.rows()
        store = await scene.reopen()
        if not scene.capabilities.durable:
            assert scene.ledger.identity != identity
            assert await scene.rows() == []
            return
        assert scene.ledger.identity == identity
        assert await scene.ledger.head() == head
        assert await scene.rows() == rows
        [record] = await store.append("s1", Noted("on"))
        assert record.position == 41
        assert (await store.verify()).ok

    @contract_test
    async def test_every_ledger_is_somebody(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        one, two = scene.ledger.identity, other.ledger.identity
        assert [len(one.ledger), len(one.node), len(one.epoch)] == [32, 16, 16]
        for value in (one.ledger, one.node, one.epoch):
            assert set(value) <= set("0123456789abcdef")
        assert one.ledger != two.ledger
        assert one.node != two.node
        info = await scene.store.info()
        assert (info.ledger, info.node, info.epoch) == (one.ledger, one.node, one.epoch)

    @contract_test
    async def test_what_is_shared_is_one_ledger_for_all_that_hold_it_open(
        self, scene: Scene
    ) -> None:
        other = await scene.elsewhere("main")
        if not scene.capabilities.shared:
            await scene.store.append("a", Noted(1))
            assert await other.read().to_list() == []
            return
        assert other.ledger.identity == scene.ledger.identity

        async def write(store: EventStore, writer: int) -> int:
            won = 0
            for number in range(30):
                append = store.append("a", Noted([writer, number]), expect=number)
                refusal = await _refusal(append)
                assert refusal in (None, WrongVersion)
                won += refusal is None
                await store.append(f"w{writer}", Noted(number))
            return won

        won = await asyncio.gather(write(scene.store, 0), write(other, 1))
        rows = await scene.rows()
        assert positions_of(rows) == list(range(1, len(rows) + 1))
        assert len(rows) == 60 + sum(won)
        assert [row.version for row in rows if row.stream == "a"] == list(range(1, sum(won) + 1))
        assert [record.stored for record in await other.read().to_list()] == rows
        assert (await scene.store.verify()).ok


async def _refusal(awaitable: Awaitable[object]) -> type[Exception] | None:
    try:
        await awaitable
    except Exception as error:
        return type(error)
    return None


def _first_step(awaitable: Awaitable[Any]) -> None:
    """Runs a coroutine up to where it would wait: a forked child has no loop to run it in."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration:
        return


def _refused_in_child(call: Callable[[], Awaitable[object]]) -> bool:
    try:
        _first_step(call())
    except ForkedConnection:
        return True
    return False
