"""A hub that was restored, and the old one that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.errors import StaleUpstream
from tests.store.watched import Noted

Open = Callable[[str], Any]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(name: str) -> AsyncGenerator[EventStore]:
        async with EventStore.open(f"sqlite:///{tmp_path / name}.db", events=[Noted]) as store:
            yield store

    return opened


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


async def ids(store: EventStore) -> list[str]:
    return sorted([record.id async for record in store.read()])


@pytest.mark.parametrize("met", ["both", "the old one", "the new one", "neither"])
def test_of_two_hubs_the_one_that_began_its_epoch_later_is_the_hub(
    opened: Open, tmp_path: Path, met: str
) -> None:
    async def main() -> None:
        async with opened("old") as old, opened("one") as one:
            await old.append("a", Noted(1), ids=["e1"])
            if met in ("both", "the old one"):
                await one.sync(old).once()
            await old.backup(str(tmp_path / "new.db"))
            await old.append("a", Noted(2), ids=["tail"])
            async with opened("new") as new:
                await new.begin_epoch()
                await new.append("a", Noted(3), ids=["e3"])
                if met in ("both", "the new one"):
                    await one.sync(new).once()
                    with pytest.raises(StaleUpstream, match="import its records"):
                        await one.sync(old).once()
                else:
                    await one.sync(old).once()
                assert (await one.sync(new).once()).in_step
                with pytest.raises(StaleUpstream):
                    await one.sync(old).once()
                had = "tail" in await ids(one)
                assert had == (met not in ("both", "the new one"))
                # What only the old one has comes back by a store of its own.
                async with opened("tail") as tail:
                    await tail.import_records(old.read())
                    await tail.sync(new).once()
                await one.sync(new).once()
                assert await ids(one) == await ids(new) == ["e1", "e3", "tail"]
                for store in (one, new):
                    assert (await store.verify()).ok

    run(main)


def test_a_hub_that_was_restored_and_begins_an_epoch_gets_back_what_it_has_lost(
    opened: Open, tmp_path: Path
) -> None:
    async def main() -> None:
        async with opened("one") as one:
            async with opened("hub") as hub:
                await hub.append("a", Noted(1), ids=["e1"])
                await hub.backup(str(tmp_path / "again.db"))
                await hub.append("a", Noted(2), ids=["e2"])
                await one.sync(hub).once()
            async with opened("again") as hub:
                before = (await hub.info()).epoch
                epoch = await hub.begin_epoch()
                assert (await hub.info()).epoch == epoch > before
                await hub.append("a", Noted(3), ids=["e3"])
                assert (await one.sync(hub).once()).in_step
                assert await ids(hub) == await ids(one) == ["e1", "e2", "e3"]
                sync = one.sync(hub)
                await sync.once()
                assert (await sync.status()).epoch == epoch

    run(main)
