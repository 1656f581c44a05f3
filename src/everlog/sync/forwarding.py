"""Forwarding: appends to streams that a hub alone appends to are made there, and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from everlog.core.record import StoredRecord
from everlog.core.selection import Selection
from everlog.core.sequencer import Append, NewEvent, retried
from everlog.core.stream import Expect, Expectation
from everlog.core.taking import Mark
from everlog.errors import (
    InvalidInput,
    LogDiverged,
    Offline,
    OutcomeUnknown,
    WrongVersion,
)
from everlog.ports.ledger import Ledger
from everlog.wire.messages import Scope
from everlog.wire.transport import Transport

_ALL = Scope()
_NEVER = 2**53
"""A version that no stream has."""


@dataclass(frozen=True, slots=True)
class Line:
    """A hub that can be reached now."""

    transport: Transport
    in_step: Callable[[], Awaitable[None]]
    """Returns when what the hub has now is here."""
    scope: Scope = _ALL
    """What comes here of all that the hub has."""


class Forwarding:
    """Knows which streams are appended to elsewhere, and how to get there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._strict: dict[str, tuple[str, ...]] = {}
        """Of each hub, how the names of its streams begin; first the hub that was reached last."""
        self._learned: set[str] = set()
        """The hubs that have said so since."""
        self._lines: dict[str, list[Line]] = {}
        self._loading = asyncio.Lock()
        self._loaded = False
        self._waiting = 0
        self.is_loaded = False
        """Whether `load` has been run, and nobody who came first is still about to go on."""

    async def load(self) -> None:
        """Learns what the ledger knows, once; those who wait for it go on in their order.

        By the first append and not when it is opened: who verifies a damaged ledger opens it, too.
        Raises what reading a ledger raises; then the next append tries again.
        """
        self._waiting += 1
        try:
            async with self._loading:
                if not self._loaded:
                    for state in await self._ledger.upstreams.states():
                        if state.strict and state.upstream not in self._learned:
                            self._strict[state.upstream] = state.strict
                    self._loaded = True
        finally:
            self._waiting -= 1
            self.is_loaded = self._loaded and not self._waiting

    def learn(self, hub: str, strict: tuple[str, ...]) -> None:
        """Takes a hub's word for which streams are its own."""
        self._learned.add(hub)
        if strict:
            self._strict[hub] = strict
        else:
            self._strict.pop(hub, None)

    @property
    def strict(self) -> Mapping[str, tuple[str, ...]]:
        """Of each hub, how the names of the streams begin that it alone appends to."""
        return self._strict

    def connect(self, hub: str, line: Line) -> None:
        """Notes that a hub can be reached: what another one said of its streams comes second."""
        self._lines.setdefault(hub, []).append(line)
        if hub in self._strict:
            self._strict = {hub: self._strict[hub], **self._strict}

    def disconnect(self, hub: str, line: Line) -> None:
        """Notes that it cannot be, by this line."""
        lines = self._lines.get(hub, [])
        if line in lines:
            lines.remove(line)

    def hub_of(self, streams: Iterable[str]) -> str | None:
        """Returns the hub to which an append to these streams goes; None: it is made here.

        Of several that say so, such as an old one and the one in its place, it is the one that was
        reached last. After `load`. Raises `InvalidInput` for streams that are not all of one
        ledger.
        """
        if not self._strict:
            return None
        found: dict[str | None, str] = {}
        for stream in streams:
            owners = (hub for hub, strict in self._strict.items() if stream.startswith(strict))
            found.setdefault(next(owners, None), stream)
        if len(found) > 1:
            one, other, *_ = found.values()
            raise InvalidInput(
                f"streams {one!r} and {other!r} are not appended to in the same ledger, so no call "
                "can do both: append to each by a call of its own"
            )
        return next(iter(found), None)

    async def append(self, hub: str, request: Append) -> list[StoredRecord]:
        """Appends at a hub, and returns the records as they are here, once they are.

        As the hub has them those of a stream that does not come here.

        Raises `Offline` before anything is written if the hub cannot be reached, what an append
        raises there, and `OutcomeUnknown` if the records do not come, as where the hub has lost
        them since. A retry of what is here is answered from here, whatever the hub has lost since.
        """
        ids = [event.id for event in request.events]
        known = await self._known(ids)
        if len(known) == len(ids):
            return [*(retried(request.events, known) or ())]
        lines = self._lines.get(hub)
        if not lines:
            raise Offline(request.events[0].stream, hub)
        line = lines[0]
        there = {each.id: each for each in await self._append_there(line, hub, request)}
        await self._come_in_step(line, ids)
        known = await self._known(ids)
        away = [record for id, record in there.items() if id not in known]
        if await self._are_outside(line, hub, request, away):
            known = {**there, **known}
        if not known.keys() >= {*ids}:
            raise OutcomeUnknown(ids)
        return [*(retried(request.events, known) or ())]  # also of what is out of the scope by now

    async def _append_there(self, line: Line, hub: str, request: Append) -> Sequence[StoredRecord]:
        """Appends at a hub; returns the records as it has them, or as an earlier try has."""
        try:
            return await self._send(line, hub, request)
        except _Elsewhere as conflict:
            # It may be in its own way: an earlier try whose answer was lost, and that is not here
            # yet. And whoever decides again has to find here what there is now.
            ids = [event.id for event in request.events]
            await self._come_in_step(line, ids)
            known = await self._known(ids)
            found: Sequence[StoredRecord] | None = retried(request.events, known)
            if found is None and not line.scope.whole:
                found = await self._made_before(line, hub, request)
            if found is not None:
                return found
            raise WrongVersion(
                conflict.stream,
                expected=conflict.version,
                actual=await self._version_here(conflict.stream),
            ) from None

    async def _made_before(
        self, line: Line, hub: str, request: Append
    ) -> Sequence[StoredRecord] | None:
        """Returns what the hub has of an earlier try, which need not have come here; None if it has
        not.

        It is asked by what can be nothing but a retry, as no stream is at the version it expects.
        """
        events = tuple(event._replace(expect=_NEVER) for event in request.events)
        try:
            return await self._ask(line, hub, Append(events, (), request.observed))
        except WrongVersion:
            return None

    async def _send(self, line: Line, hub: str, request: Append) -> Sequence[StoredRecord]:
        there = await self._as_there(hub, request)
        try:
            return await self._ask(line, hub, there)
        except LogDiverged:
            expecting = (each for each in request.events if isinstance(each.expect, int))
            event = next(expecting, request.events[0])
            raise _Elsewhere(event.stream, event.expect) from None

    async def _ask(self, line: Line, hub: str, request: Append) -> Sequence[StoredRecord]:
        """Returns the records of a hub that has got a request.

        Raises `OutcomeUnknown` if the answer is to another one, such as an earlier try: the history
        that it was asked about may be another by now.
        """
        made = await line.transport.append(hub, request)
        if made.at != request.at:
            raise OutcomeUnknown([event.id for event in request.events])
        return made.records

    async def _come_in_step(self, line: Line, ids: Sequence[str]) -> None:
        try:
            await line.in_step()
        except Exception as error:
            raise OutcomeUnknown(ids) from error

    async def _are_outside(
        self, line: Line, hub: str, request: Append, records: Sequence[StoredRecord]
    ) -> bool:
        """Whether records have not come because they are not wanted, and not as the hub lost them.

        `records`: some of those of the request, as the hub has told of them. Which streams are in a
        relation is not known here; there the hub is asked again. It appends nothing by that: where
        its history is still the one that it has told of, all of it is a retry.
        """
        if not any(line.scope._replace(relation=None).has(record) for record in records):
            return True
        if line.scope.relation is None:
            return False
        last = max(records, key=lambda record: record.position)
        at = Mark(last.position, last.chain)
        try:
            await self._ask(line, hub, Append(request.events, (), request.observed, at))
        except LogDiverged:
            return False
        except Exception as error:
            raise OutcomeUnknown([event.id for event in request.events]) from error
        return True

    async def _known(self, ids: Sequence[str]) -> dict[str, StoredRecord]:
        found = await self._ledger.find(ids)
        return {record.id: record for record in found if record is not None}

    async def _as_there(self, hub: str, request: Append) -> Append:
        """Returns the request with the versions that the hub's streams are expected at.

        Versions are of a ledger. They are the same in both while the hub's history was never
        another one. Raises `_Elsewhere` for who has not read all that is here of a stream, or has
        read what the hub may have lost of it.
        """
        before: dict[str, int] = {}
        there: list[NewEvent] = []
        at: Mark | None = None
        for event in request.events:
            expect: Expectation = event.expect
            if not isinstance(expect, Expect) and expect > 0:
                if at is None:
                    at = await self._cursor(hub)
                expect = await self._version_there(hub, event.stream, expect, before)
            before[event.stream] = before.get(event.stream, 0) + 1
            there.append(event._replace(expect=expect))
        if at is not None and at != await self._cursor(hub):
            return await self._as_there(hub, request)  # the sync has gone on between two looks
        return Append(tuple(there), (), request.observed, at)

    async def _cursor(self, hub: str) -> Mark | None:
        state = await self._ledger.upstreams.state(hub)
        return None if state is None else state.cursor

    async def _version_there(
        self, hub: str, stream: str, version: int, before: dict[str, int]
    ) -> int:
        ahead = min(before.get(stream, 0), version)
        if version == ahead:
            return version
        found = await self._ledger.upstreams.version(hub, stream, version - ahead)
        if found is None:
            raise _Elsewhere(stream, version)
        return found + ahead

    async def _version_here(self, stream: str) -> int:
        last = Selection(streams=(stream,), backwards=True, limit=1, tombstones=True)
        here = (await self._ledger.read(last, size=1)).records
        return here[0].version if here else 0


class _Elsewhere(Exception):
    """What was read of a stream is not what the hub has of it."""

    def __init__(self, stream: str, version: Expectation) -> None:
        self.stream = stream
        self.version = version
