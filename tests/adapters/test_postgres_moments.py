"""A read sees the log and the relations as of one moment, though it runs no transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from everlog import EventStore, to
from everlog.adapters.postgres.executing import Executor
from everlog.core.record import StoredRecord
from everlog.core.selection import Order, Selection
from everlog.ports.ledger import Ledger
from tests.adapters.schema import Schema
from tests.store.watched import Noted


class Meanwhile:
    """Something that is done behind the first step of what is run next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._act: Callable[[], Awaitable[None]] | None = None
        take = vars(Executor)["_take"]

        async def taken(executor: Executor, *step: Any) -> Any:
            rows = await take(executor, *step)
            act, self._act = self._act, None
            if act is not None:
                await act()
            return rows

        monkeypatch.setattr(Executor, "_take", taken)

    def do(self, act: Callable[[], Awaitable[None]]) -> None:
        self._act = act

    @property
    def done(self) -> bool:
        return self._act is None


async def read(ledger: Ledger, selection: Selection) -> Sequence[StoredRecord]:
    return (await ledger.read(selection)).records


async def fold(ledger: Ledger, selection: Selection) -> Sequence[StoredRecord]:
    start = await ledger.fold_from(selection._replace(order=Order.CREATED), None)
    return start.page.records


@pytest.mark.parametrize("reading", [read, fold])
def test_a_read_of_a_relation_never_mixes_the_streams_of_one_moment_with_the_log_of_another(
    schema: Schema,
    reading: Callable[[Ledger, Selection], Awaitable[Sequence[StoredRecord]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            await store.append_many([to("before", Noted(), relations=["r"])])

            async def change() -> None:
                await other.append_many([to("behind", Noted(), relations=["r"])])
                await other.relations.remove_many([("r", "before")])

            meanwhile = Meanwhile(monkeypatch)
            meanwhile.do(change)
            during = await streams(store, reading)
            assert meanwhile.done
            behind = await streams(store, reading)
            assert behind == ["behind"]
            assert during in (["before"], ["behind"], ["before", "behind"])

    async def streams(store: EventStore, reading: Any) -> list[str]:
        return [record.stream for record in await reading(store.ledger, Selection(relation="r"))]

    asyncio.run(main())
