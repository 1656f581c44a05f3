"""Ledgers with a fault planted, for the gap torture to find: it opens them as `module:function`."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from everlog.connect import connect
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Append
from everlog.errors import LedgerBusy
from everlog.ports.ledger import Ledger, Outcome, Request
from everlog.ports.seams import Seams

FAULT = 0.3
"""So often it happens."""


class Faulty:
    """A ledger that does as the one in it does, but for the fault."""

    def __init__(self, ledger: Ledger, spare: Ledger) -> None:
        """`spare` is another, empty one."""
        self._ledger = ledger
        self._spare = spare
        self._rng = Random()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def happens(self) -> bool:
        return self._rng.random() < FAULT


class Swallowing(Faulty):
    """Acknowledges what it does not store."""

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        if self.happens() and all(isinstance(request, Append) for request in requests):
            return await self._spare.commit(requests)
        return await self._ledger.commit(requests)


class Refusing(Faulty):
    """Says that nothing was stored of what it stores."""

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        outcomes = await self._ledger.commit(requests)
        if self.happens():
            raise LedgerBusy("it was a moment ago")
        return outcomes


class Halving(Faulty):
    """Stores some calls without their last event."""

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        if self.happens():
            requests = [
                request._replace(events=request.events[:-1])
                if isinstance(request, Append) and len(request.events) > 1
                else request
                for request in requests
            ]
        return await self._ledger.commit(requests)


class Skipping(Faulty):
    """Passes over a record at the end of a page."""

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        page = await self._ledger.read(selection, cursor=cursor, size=size)
        if len(page.records) > 1 and self.happens():
            return Page([*page.records[:-2], page.records[-1]], page.selection, page.cursor)
        return page


class Repeating(Faulty):
    """Gives a record of a page once more."""

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        page = await self._ledger.read(selection, cursor=cursor, size=size)
        if page.records and self.happens():
            return Page([*page.records, page.records[-1]], page.selection, page.cursor)
        return page


class Swapping(Faulty):
    """Gives two records of a page in the wrong order."""

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        page = await self._ledger.read(selection, cursor=cursor, size=size)
        if len(page.records) > 1 and self.happens():
            first, second, *rest = page.records
            return Page([second, first, *rest], page.selection, page.cursor)
        return page


async def _opened(url: str, kind: type[Faulty]) -> Any:
    seams = Seams()
    spare = await connect("memory:", seams=seams, options={})
    return kind(await connect(url, seams=seams, options={}), spare)


async def swallowing(url: str) -> Any:
    return await _opened(url, Swallowing)


async def refusing(url: str) -> Any:
    return await _opened(url, Refusing)


async def halving(url: str) -> Any:
    return await _opened(url, Halving)


async def skipping(url: str) -> Any:
    return await _opened(url, Skipping)


async def repeating(url: str) -> Any:
    return await _opened(url, Repeating)


async def swapping(url: str) -> Any:
    return await _opened(url, Swapping)


# --- everlog's own adapter for PostgreSQL, without what keeps its commits apart ---


async def without_lock(url: str) -> Ledger:
    """Opens a ledger whose commits do not wait for each other."""
    from everlog.adapters.postgres import schema

    lock, nothing = "pg_advisory_xact_lock(%(key)s)", "%(key)s::bigint"
    for name, statement in vars(schema).items():
        if isinstance(statement, str) and lock in statement:
            setattr(schema, name, statement.replace(lock, nothing))
    assert nothing in schema.LOCK
    return await connect(url, seams=Seams(), options={})
