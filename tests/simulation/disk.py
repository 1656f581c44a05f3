"""The disk: a ledger in memory whose tables can be copied, and put back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.memory.tables import Copy, Tables
from everlog.adapters.memory.upstreams import MemoryUpstreams
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Identity
from everlog.core.taking import Outside, UpstreamState
from everlog.ports.seams import Seams
from everlog.ports.upstreams import Offers
from tests.simulation.effects import Book


@dataclass(frozen=True)
class Backup:
    """All that a site has on its disk."""

    identity: Identity
    tables: Tables
    book: Book


class DiskLedger(MemoryLedger):
    """The real ledger, over tables that are given to it."""

    def __init__(self, seams: Seams, backup: Backup | None = None) -> None:
        super().__init__(seams=seams)
        if backup is not None:
            self._identity = backup.identity
            self._tables = copied(backup.tables)

    @property
    def tables(self) -> Tables:
        """What it holds."""
        return self._tables

    def backed_up(self, book: Book) -> Backup:
        """Returns a copy of all that it holds."""
        return Backup(self._identity, copied(self._tables), book.copied())


Pausing = Callable[[], Awaitable[None]]
"""Lets other things happen, sometimes."""


class WaitingLedger(MemoryLedger):
    """A ledger over the same tables, whose readers wait: others write around each look."""

    def __init__(self, seams: Seams, disk: DiskLedger, pause: Pausing) -> None:
        super().__init__(seams=seams)
        self._identity = disk.identity
        self._tables = disk.tables
        self._pause = pause

    @property
    def upstreams(self) -> MemoryUpstreams:
        return _WaitingUpstreams(lambda: self._tables, self._pause)

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        await self._pause()
        page = await super().read(selection, cursor=cursor, size=size)
        await self._pause()
        return page


class _WaitingUpstreams(MemoryUpstreams):
    def __init__(self, tables: Callable[[], Tables], pause: Pausing) -> None:
        super().__init__(tables)
        self._pause = pause

    async def state(self, upstream: str) -> UpstreamState | None:
        await self._pause()
        state = await super().state(upstream)
        await self._pause()
        return state

    async def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        await self._pause()
        offers = await super().unconfirmed(upstream, after=after, size=size)
        await self._pause()
        return offers

    async def outside(
        self, upstream: str, *, after: int, until: int, size: int
    ) -> Sequence[Outside]:
        await self._pause()
        found = await super().outside(upstream, after=after, until=until, size=size)
        await self._pause()
        return found

    async def chains(self, positions: Sequence[int]) -> Sequence[bytes | None]:
        await self._pause()
        chains = await super().chains(positions)
        await self._pause()
        return chains


def copied(tables: Tables) -> Tables:
    """Returns tables that are changed without changing these."""
    return replace(
        tables,
        records=[*tables.records],
        by_id={**tables.by_id},
        by_stream={stream: [*places] for stream, places in tables.by_stream.items()},
        late=[*tables.late],
        late_positions={*tables.late_positions},
        registers={**tables.registers},
        relations={relation: {*streams} for relation, streams in tables.relations.items()},
        revisions={**tables.revisions},
        snapshots={**tables.snapshots},
        unfolded={**tables.unfolded},
        aliases={first: [*ids] for first, ids in tables.aliases.items()},
        copies={
            upstream: Copy(copy.state, {**copy.entries}, {**copy.held})
            for upstream, copy in tables.copies.items()
        },
    )
