"""Writing: from a request to its answer, with the hooks that it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeAlias

from everlog.core.event import Registry
from everlog.core.record import Record, StoredRecord
from everlog.core.relation import Relate
from everlog.core.sequencer import Append, Import, Placed, Placing, check_import
from everlog.core.stream import check_name
from everlog.core.taking import Keeping, Restamp, Take, Taken
from everlog.errors import InvalidInput, NotSupported
from everlog.ports.ledger import Joined, Ledger, Outcome
from everlog.ports.owner import Owner
from everlog.ports.staying import to_its_end
from everlog.store.committer import Committer, Elsewhere
from everlog.store.hooks import Hooks
from everlog.store.observing import Observed
from everlog.store.own_thread import OwnThread
from everlog.subscriptions.causation import inside_handler
from everlog.subscriptions.projector import Appended
from everlog.sync.forwarding import Forwarding

Importable: TypeAlias = Record[Any] | StoredRecord

IMPORT_CHUNK = 500
"""Records of a streamed import that are taken in together, at most."""

IMPORT_CHUNK_BYTES = 2 * 1024 * 1024
"""Bytes of their data and meta, about and at most, but for a single record that has more."""

CHECK_IN_THREAD = 20
"""From so many records on, hashing them is work for a thread."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an import.

    >>> async with EventStore.open("memory:") as copy:
    ...     await copy.import_records(store.read())
    Imported(stored=2, known=0)
    """

    stored: int
    """Records that are new here."""
    known: int
    """Records that were here already."""


class Writing:
    """Hands requests to the committer, and starts the hooks of what is new."""

    def __init__(
        self,
        registry: Registry,
        committer: Committer,
        hooks: Hooks,
        observed: Observed,
        owner: Owner,
        forwarding: Forwarding,
        ledger: Ledger,
    ) -> None:
        self._ledger = ledger
        self._forwarding = forwarding
        self._registry = registry
        self._committer = committer
        self._hooks = hooks
        self._observed = observed
        self._owner = owner

    async def append(
        self, request: Append, *, emit: bool, batch: str | None
    ) -> tuple[list[Record[Any]], list[asyncio.Task[None]]]:
        """Returns the records of all events of the request, and the hooks to wait for."""
        if not self._forwarding.is_loaded:
            await self._forwarding.load()
        hub = self._forwarding.hub_of(event.stream for event in request.events)
        if hub is not None:
            return await self._forward(hub, request), []
        committing, records, hooks = self._begin(request, emit=emit, batch=batch)
        placed = await committing
        assert isinstance(placed, Placed)
        if not placed.new:  # a retry
            records = [Record(row, self._registry) for row in placed.records]
        return records, to_wait_for(hooks)

    async def _forward(self, hub: str, request: Append) -> list[Record[Any]]:
        """Appends at the hub, whose hooks are told of it as new, and ours as hydrated."""
        rows = await self._forwarding.append(hub, request)
        for row in rows:  # which may be nowhere here
            self._observed.take(row.created)
        if request.relations:
            await self._committer.commit(Relate(add=request.relations))
        return [Record(row, self._registry) for row in rows]

    async def take_in(
        self,
        records: Iterable[Importable] | AsyncIterable[Importable],
        *,
        max_offset_ms: int,
        emit: bool,
        batch: str | None,
    ) -> Imported:
        """Imports a list all or nothing, anything else that can be iterated by chunks."""
        stored = known = 0
        async with aclosing(_chunks(records)) as chunks, OwnThread() as thread:
            async for chunk in chunks:
                request = Import(tuple(chunk), max_offset_ms)
                if len(chunk) > CHECK_IN_THREAD:
                    await thread.run(check_import, request)
                else:
                    check_import(request)
                self._owner.check()  # a close would wait for every chunk that is still to come
                committing, _, hooks = self._begin(request, emit=emit, batch=batch)
                placed = await committing
                assert isinstance(placed, Placed)
                await run_out(to_wait_for(hooks))
                stored += len(placed.new)
                known += len(placed.records) - len(placed.new)
        return Imported(stored, known)

    async def take(self, request: Take, *, leave: asyncio.Event | None = None) -> Taken:
        """Takes in what another ledger gave, each record judged on its own; runs hooks of the new.

        Who is cancelled meanwhile leaves it to its end. `leave`: while it is set, hooks are not
        waited for: one of them waits for this.
        """
        committing, _, hooks = self._begin(request, emit=True, batch=None)
        taken = await committing
        assert isinstance(taken, Taken)
        await run_out(to_wait_for(hooks), leave=leave)
        return taken

    async def keep(self, request: Keeping | Restamp) -> int:
        """Changes what is known of an upstream; returns of how many records."""
        before = await self._ledger.head() if isinstance(request, Restamp) else None
        changed = await self._committer.commit(request)
        assert isinstance(changed, int)
        if before is not None:
            self._observed.set_back((await self._ledger.head()).clock, before.clock)
        return changed

    async def join(
        self,
        joined: Joined,
        request: Append | None,
        took_effect: Callable[[list[Record[Any]], bool], None],
        *,
        emit: bool,
    ) -> list[asyncio.Task[None]]:
        """Commits with somebody else's transaction, in its turn; returns the hooks to wait for.

        `took_effect` is told of the records and whether they are new, also if the caller has been
        cancelled meanwhile. Who is cancelled while it is queued takes it back; later, stays.
        """
        streams = [] if request is None else [event.stream for event in request.events]
        if streams and not self._forwarding.is_loaded:
            await self._forwarding.load()
        if self._forwarding.hub_of(streams) is not None:
            raise NotSupported(
                f"stream {streams[0]!r} is one to which only the hub appends: its events cannot "
                "join a transaction here; append them by `store.append`"
            )
        context = copy_context()
        hooks: list[asyncio.Task[None]] = []

        def then(placed: Placed | None) -> None:
            if placed is None:
                return
            records = [Record(row, self._registry) for row in placed.records]
            took_effect(records, bool(placed.new))
            if placed.new:
                self._observed.take(placed.new[-1].recorded)
                if emit and self._hooks.any:
                    hooks.extend(self._hooks.start(Appended(tuple(records), None), context))

        elsewhere = Elsewhere(request, joined.commit)
        committing = self._committer.commit_elsewhere(elsewhere, then)
        await to_its_end(committing, leave=lambda: not elsewhere.begun)
        return to_wait_for(hooks)

    def _begin(
        self, request: Placing, *, emit: bool, batch: str | None
    ) -> tuple[asyncio.Future[Outcome], list[Record[Any]], list[asyncio.Task[None]]]:
        """Returns what will become of the request; with it come new records and started hooks."""
        if batch is not None:
            check_name("batch key", batch)
        context = copy_context()
        records: list[Record[Any]] = []
        hooks: list[asyncio.Task[None]] = []

        def then(outcome: object) -> None:
            assert isinstance(outcome, (Placed, Taken))
            new = outcome.new
            if new:
                registry = self._registry
                told = emit and self._hooks.any
                if told or isinstance(outcome, Placed):  # nobody asks for those of a `Take`
                    records.extend([Record(row, registry) for row in new])
                self._observed.take(new[-1].recorded)
                if told:
                    hooks.extend(self._hooks.start(Appended(tuple(records), batch), context))

        return self._committer.commit(request, then), records, hooks


def to_wait_for(hooks: list[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
    """Returns the hooks, but none inside a hook or handler: it would wait for itself."""
    return [] if hooks and inside_handler() else hooks


async def run_out(
    hooks: Sequence[asyncio.Task[None]], *, leave: asyncio.Event | None = None
) -> None:
    """Waits for hooks, until `leave` is set.

    They are tasks of their own: a cancelled caller does not end them.
    """
    if hooks and leave is None:
        await asyncio.wait(hooks)
    elif hooks and leave is not None:
        ended = [asyncio.ensure_future(each) for each in (asyncio.wait(hooks), leave.wait())]
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ended:
                each.cancel()


async def _chunks(
    records: Iterable[Importable] | AsyncIterable[Importable],
) -> AsyncGenerator[list[StoredRecord], None]:
    if isinstance(records, (list, tuple)):
        if records:
            yield [_row_of(record) for record in records]
        return
    chunk: list[StoredRecord] = []
    size = 0
    async with aclosing(_each(records)) as each:
        async for record in each:
            row = _row_of(record)
            weight = _bytes_at_most(row.data) + _bytes_at_most(row.meta)
            if chunk and size + weight > IMPORT_CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
            chunk.append(row)
            size += weight
            if len(chunk) == IMPORT_CHUNK:  # now, and not when the next one comes
                yield chunk
                chunk, size = [], 0
    if chunk:
        yield chunk


def _bytes_at_most(text: object) -> int:
    if not isinstance(text, str):  # made by hand: it is refused when its chunk is checked
        return 0
    return len(text) if text.isascii() else 4 * len(text)


async def _each(
    records: Iterable[Importable] | AsyncIterable[Importable],
) -> AsyncGenerator[Importable, None]:
    if isinstance(records, AsyncIterable):
        iterator = aiter(records)
        try:
            async for record in iterator:
                yield record
        finally:
            # An import that ends early is the only one who knows: what the caller's generator
            # holds open would stay open until it is collected.
            close: Callable[[], Awaitable[None]] | None = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
    else:
        for record in records:
            yield record


def _row_of(record: object) -> StoredRecord:
    row: object = record.stored if isinstance(record, Record) else record
    if isinstance(row, StoredRecord):
        return row
    raise InvalidInput(
        f"import_records takes records, as store.read and store.past give them, not {row!r:.60}"
    )
