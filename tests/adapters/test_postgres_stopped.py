"""A process that is stopped in the middle of a commit holds the others up for a moment only."""

from __future__ import annotations

import asyncio

import pytest

from everlog import EventStore
from tests.adapters.schema import Schema
from tests.scenarios.processes import Process
from tests.scenarios.programs import Moved


@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_who_is_stopped_with_the_lock_in_its_hands_loses_it_and_goes_on_where_it_was(
    schema: Schema, pooler: str
) -> None:
    def url(timeout_s: float) -> str:
        return f"{schema.database}?schema={schema.name}&pooler={pooler}&timeout_s={timeout_s}"

    async def main() -> None:
        # It may be silent for a second; the other would wait for eight.
        async with EventStore.open(url(timeout_s=8), events=[Moved]) as store:
            with Process("stop_in_the_middle", url=url(timeout_s=0.5)) as process:
                await asyncio.to_thread(process.wait_until_stopped)
                [record] = await store.append("a", Moved(2, 1))
                assert record.position == 1
                process.go_on()
                position, told = await asyncio.to_thread(process.hear)
                assert (position, told) == (2, "OutcomeUnknown")
            assert [record.id async for record in store.read("stopped")] == ["stopped"]
            assert (await store.verify()).ok

    asyncio.run(main())
