"""Where stores that are kept in step can be, and how one is set back to a backup by real means."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everlog import EventStore
from everlog.testing import PostgresServer
from tests.store.watched import Noted


@dataclass
class Place:
    """Stores by name: in memory, in files, or each in a database of its own."""

    kind: str
    folder: Path
    server: PostgresServer | None = None
    urls: dict[str, str] = field(default_factory=dict[str, str])

    def url(self, name: str) -> str:
        """Returns where a store is, which may be opened again; in memory it is a new one."""
        if name not in self.urls:
            self.urls[name] = self._new(name)
        return self.urls[name]

    def _new(self, name: str) -> str:
        if self.kind == "memory":
            return "memory:"
        if self.kind == "sqlite" or (self.kind == "sqlite to postgres" and name != "hub"):
            return f"sqlite:///{self.folder / name}.db"
        assert self.server is not None
        return self.server.new_database()

    @asynccontextmanager
    async def open(self, *names: str, **options: Any) -> AsyncGenerator[list[EventStore]]:
        """Opens stores, all with the same options."""
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    EventStore.open(self.url(name), events=[Noted], **options)
                )
                for name in names
            ]


class SetBack:
    """A store that is taken back to what it was, as by whoever restores a backup."""

    store: EventStore
    """As it is now; another one after each backup."""

    def __init__(self, place: Place, name: str, **options: Any) -> None:
        self._place = place
        self._name = name
        self._options = options
        self._backup: Any = None

    async def __aenter__(self) -> SetBack:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    async def _open(self) -> None:
        url = self._place.url(self._name)
        self.store = await EventStore.open(url, events=[Noted], **self._options)

    async def back_up(self) -> None:
        """Takes a backup of what it has now. It is closed meanwhile, but in memory."""
        url = self._place.url(self._name)
        if url == "memory:":
            self._backup = deepcopy(self._memory()._tables)
            return
        await self.store.close()
        if url.startswith("sqlite:///"):
            self._backup = url + ".backup"
            copy_file(url, self._backup)
        else:
            assert self._place.server is not None
            self._backup = self._place.server.new_database(template=url)
        await self._open()

    async def restore(self) -> None:
        """Puts the backup in its place."""
        url = self._place.url(self._name)
        if url == "memory:":
            self._memory()._tables = deepcopy(self._backup)
            return
        await self.store.close()
        if url.startswith("sqlite:///"):
            copy_file(self._backup, url)
        else:
            self._place.urls[self._name] = self._backup
        await self._open()

    def _memory(self) -> Any:
        return self.store.ledger


def copy_file(url: str, to: str) -> None:
    """Copies the file of a store that nobody has open, over another one."""
    source, target = (Path(each.removeprefix("sqlite:///")) for each in (url, to))
    assert not source.with_name(source.name + "-wal").exists()
    for file in target.parent.glob(f"{target.name}-*"):
        file.unlink()
    shutil.copyfile(source, target)
