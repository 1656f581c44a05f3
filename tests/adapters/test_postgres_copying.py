"""What goes by COPY: imports, very many events and many bytes. It is stored as all else is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from everlog import EventStore, to
from everlog.adapters.postgres.executing import Copy, Executor
from everlog.adapters.postgres.writing import COPY_FROM
from tests.adapters.schema import Schema
from tests.store.watched import Noted, Said, run

Write = Callable[[EventStore], Awaitable[object]]


async def an_import(store: EventStore) -> object:
    async with EventStore.open("memory:", events=[Noted]) as other:
        await other.append("a", Noted())
        return await store.import_records(await other.read().to_list())


async def very_many(store: EventStore) -> object:
    return await store.append_many([to("a", Noted(number)) for number in range(COPY_FROM)])


async def one_less(store: EventStore) -> object:
    return await store.append_many([to("a", Noted(number)) for number in range(COPY_FROM - 1)])


async def many_bytes(store: EventStore) -> object:
    return await store.append_many([to("a", Said("x" * 1_000_000)) for _ in range(3)])


@pytest.mark.parametrize("settled", [False, True], ids=["at first", "by a writer that is alone"])
@pytest.mark.parametrize(
    ("write", "copies"), [(an_import, 1), (very_many, 1), (many_bytes, 1), (one_less, 0)]
)
def test_imports_and_what_is_much_go_by_copy_and_nothing_else(
    schema: Schema, write: Write, copies: int, settled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    take: Any = vars(Executor)["_take"]

    async def watched(self: Executor, connection: Any, step: Any) -> Any:
        nonlocal seen
        seen += isinstance(step, Copy)
        return await take(self, connection, step)

    monkeypatch.setattr(Executor, "_take", watched)

    async def main() -> None:
        async with schema.store() as store:
            for number in range(4 if settled else 0):
                await store.append("warm", Noted(number))
            await write(store)
            assert seen == copies
            await store.append("a", Noted())  # the head is where it has to be
            verification = await store.verify()
            assert verification.ok, verification.problems

    run(main)
