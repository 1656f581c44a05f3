"""A tombstone keeps its chain: who had read up to it, or past it, resumes as ever."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from everlog import EventStore
from everlog.testing import PostgresServer
from everlog.testing.contract.events import EVENTS, Noted

ERASE = "UPDATE records SET data = NULL, meta = NULL, nonce = NULL WHERE position = 3"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_tokens_of_a_record_that_was_erased_and_of_all_others_are_as_good_as_before(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, erase = _place(kind, tmp_path, request)

    async def test() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            records = await store.append("a", *map(Noted, range(6)))
            tokens = [store.token(record) for record in records]
        erase()
        async with EventStore.open(url, events=EVENTS) as store:
            for at, token in enumerate(tokens):
                if at >= 2:  # what is behind it; reading itself is another matter
                    assert await store.read(after=token).to_list() == records[at + 1 :]
                else:
                    assert await store.read(after=token, until=2).to_list() == records[at + 1 : 2]
                assert await store.wait(after=token, timeout_s=0) == 6

    asyncio.run(test())


def _place(
    kind: str, folder: Path, request: pytest.FixtureRequest
) -> tuple[str, Callable[[], None]]:
    if kind == "sqlite":
        path = folder / "log.db"

        def erase_in_file() -> None:
            connection = sqlite3.connect(path)
            with connection:
                assert connection.execute(ERASE).rowcount == 1
            connection.close()

        return f"sqlite:///{path}", erase_in_file
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.new_database()

    def erase_in_server() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("SET search_path = everlog")
            assert connection.execute(ERASE).rowcount == 1

    return url, erase_in_server
