"""Handlers: each is run for each of its records, wherever the call comes from."""

from __future__ import annotations

import asyncio
from typing import Any

from everlog import EventStore, Projector, Record
from everlog.subscriptions.handlers import Handlers
from everlog.subscriptions.time_limit import TimeLimit
from tests.store.watched import Noted, run


async def _no_state(*_: Any) -> Any: ...


def test_a_handler_is_run_also_where_there_is_no_task_whose_time_could_be_looked_at() -> None:
    async def main() -> None:
        projector, seen = Projector(), list[int]()

        @projector.all(Noted)
        async def note(record: Record[Noted]) -> None:
            seen.append(record.position)

        async with EventStore.open("memory:", events=[Noted]) as store:
            [record] = await store.append("a", Noted(1))
        handlers = Handlers(projector, _no_state, TimeLimit("view", 1.0))
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def outside_of_tasks() -> None:
            tx: Any = None
            work = handlers.batch([]).handle(record, tx)
            try:
                work.send(None)
            except StopIteration:
                ended.set_result(None)
            else:
                work.close()
                ended.set_exception(AssertionError("it waits for something"))

        loop.call_soon(outside_of_tasks)
        await ended
        handlers.close()
        assert seen == [1]

    run(main)
