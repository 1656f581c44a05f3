"""Who waits in one process is woken by what is appended in another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.testing import PostgresServer
from tests.scenarios.processes import Process
from tests.scenarios.programs import EVENTS

PATIENCE_S = 30.0


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database() + kind.removeprefix("postgres")


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "postgres?pooler=transaction"])
def test_who_waits_is_woken_by_another_process_and_follows_it_without_a_gap(place: str) -> None:
    async def test() -> None:
        async with EventStore.open(place, events=EVENTS) as store:
            with Process("append_when_told", url=place) as writer:
                assert await asyncio.to_thread(writer.hear) == "ready"
                token = (await store.info()).token
                followed: list[int] = []
                for position in range(1, 11):
                    waiting = asyncio.create_task(store.wait(after=token, timeout_s=PATIENCE_S))
                    await asyncio.sleep(0.02)  # now it waits: else it is not woken, but not late
                    assert not waiting.done()
                    writer.say("append")
                    assert await waiting == position
                    async for record in store.read(after=token):
                        followed.append(record.position)
                        token = store.token(record)
                    assert await asyncio.to_thread(writer.hear) == position
                assert followed == [*range(1, 11)]

    asyncio.run(test())
