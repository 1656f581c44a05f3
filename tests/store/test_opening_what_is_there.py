"""`create=False` opens what is there, and makes nothing where nothing is."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from everlog import EventStore, blocking
from everlog.errors import CannotOpen
from everlog.testing import PostgresServer
from tests.adapters.databases import NOTHING, picture
from tests.store.programs import EVENTS, Bare


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        for url in (path, f"sqlite:///{path}", tmp_path / "none" / "log.db"):
            with pytest.raises(CannotOpen, match="there is no ledger at"):
                await EventStore.open(url, create=False)
        assert os.listdir(tmp_path) == []
        (tmp_path / "empty.db").touch()
        with pytest.raises(CannotOpen, match="there is no ledger at"):
            await EventStore.open(tmp_path / "empty.db", create=False)
        assert (tmp_path / "empty.db").stat().st_size == 0
        async with EventStore.open(path, events=EVENTS) as store:
            await store.append("a", Bare("x"))
        async with EventStore.open(path, events=EVENTS, create=False) as store:
            await store.append("a", Bare("y"))
            assert (await store.info()).position == 2

    asyncio.run(main())


def test_a_schema_that_is_not_there_is_not_made(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()

    async def main() -> None:
        with pytest.raises(CannotOpen, match="holds no everlog ledger"):
            await EventStore.open(url, create=False)
        assert picture(url) == NOTHING
        async with EventStore.open(url, events=EVENTS) as store:
            await store.append("a", Bare("x"))
        async with EventStore.open(url, create=False) as store:
            assert (await store.info()).position == 1

    asyncio.run(main())


def test_a_blocking_store_does_the_same(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen):
        blocking.EventStore.open(tmp_path / "log.db", create=False)
    assert os.listdir(tmp_path) == []
    with blocking.EventStore.open("memory:", create=False) as store:
        assert store.info().position == 0
