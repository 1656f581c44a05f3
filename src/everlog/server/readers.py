"""Readers: what those are answered who read the hub's log, and keep no copy of it."""

from __future__ import annotations

from dataclasses import replace

from everlog.core.record import StoredRecord
from everlog.core.selection import Page, Selection
from everlog.core.stamp import is_stamp
from everlog.core.stream import check_name
from everlog.errors import InvalidMessage, NotAllowed, NotFound, TooLarge
from everlog.ports.ledger import Ledger
from everlog.server.access import (
    Caller,
    check_selection,
    may_see,
    may_see_stream,
    relations_in,
)
from everlog.server.asking import Asking, check_scope_names, in_thread
from everlog.server.limits import Limits
from everlog.server.members import members_of
from everlog.server.sending import Answer
from everlog.wire.messages import Scope as EdgeScope
from everlog.wire.protocol import JSON, NDJSON
from everlog.wire.reads import (
    ReadText,
    StreamText,
    page_lines,
    read_ids,
    read_names,
    read_parameters,
    read_read,
    write_found,
    write_names,
    write_stream,
)

FOUND = 100
"""So many records are looked up at a time: each may have 1 MiB."""


class Readers:
    """Answers readers out of one ledger."""

    def __init__(self, ledger: Ledger, *, limits: Limits) -> None:
        self._ledger = ledger
        self._limits = limits

    async def read(self, asking: Asking) -> Answer:
        return await self._page(asking.caller, read_parameters(asking.query))

    async def read_page(self, asking: Asking) -> Answer:
        body = await asking.body()
        return await self._page(asking.caller, await in_thread(body, lambda: read_read(body)))

    async def _page(self, caller: Caller, read: ReadText) -> Answer:
        selection, cursor, size = read
        _check_selection_names(selection)
        if cursor is not None and cursor.late is not None:
            if not is_stamp(cursor.late[0]):
                raise InvalidMessage("cursor.late", "is no place: its stamp is none")
            check_name("event id", cursor.late[1])
        if cursor is not None and not selection.resolved:
            raise InvalidMessage("cursor", "goes with the selection that was given with it")
        check_selection(caller, selection, await members_of(self._ledger, caller.pull))
        size = min(size, self._limits.records)
        page = await self._ledger.read(selection, cursor=cursor, size=size)
        return Answer(b"".join(page_lines(_without_others(page))), NDJSON)

    async def find(self, asking: Asking) -> Answer:
        ids = read_ids(await asking.body())
        for id in ids:
            check_name("event id", id)
        if len(ids) > self._limits.records:
            raise InvalidMessage("body.ids", f"has over {self._limits.records} entries")
        members = await members_of(self._ledger, asking.caller.pull)
        pull = asking.caller.pull
        found: list[StoredRecord | None] = []
        size = 0
        for begin in range(0, len(ids), FOUND):
            for record in await self._ledger.find(ids[begin : begin + FOUND]):
                if record is not None and not may_see(pull, record.stream, record.type, members):
                    record = None
                found.append(record)
                size += 0 if record is None else len(record.data) + len(record.meta)
            if size > self._limits.body_bytes:
                raise TooLarge("what was found", size=size, limit=self._limits.body_bytes)
        return Answer(write_found(found), JSON)

    async def stream(self, asking: Asking) -> Answer:
        stream = check_name("stream", asking.path_value("stream"))
        members = await members_of(self._ledger, asking.caller.pull)
        if not may_see_stream(asking.caller, stream, members):
            # The same words whether it is there or not.
            raise NotAllowed(f"token {asking.caller.name!r} may not read all of stream {stream!r}")
        last = Selection(streams=(stream,), backwards=True, limit=1)
        records = (await self._ledger.read(last, size=1)).records
        if not records:
            raise NotFound(f"stream {stream!r} has no events")
        record = records[0]
        return Answer(
            write_stream(StreamText(stream, record.version, record.position, record.created)), JSON
        )

    async def streams_of(self, asking: Asking) -> Answer:
        relations = read_names("relations", await asking.body())
        for relation in relations:
            check_name("relation", relation)
        members = await members_of(self._ledger, asking.caller.pull)
        streams = await self._ledger.streams_of(relations)
        seen = [stream for stream in streams if may_see_stream(asking.caller, stream, members)]
        return Answer(write_names("streams", seen), JSON)

    async def relations_of(self, asking: Asking) -> Answer:
        streams = read_names("streams", await asking.body())
        for stream in streams:
            check_name("stream", stream)
        members = await members_of(self._ledger, asking.caller.pull)
        seen = [stream for stream in streams if may_see_stream(asking.caller, stream, members)]
        relations = await self._ledger.relations_of(seen) if seen else ()
        named = relations_in(asking.caller.pull)
        if not any(pattern.relation is None for pattern in asking.caller.pull):
            relations = [relation for relation in relations if relation in named]
        return Answer(write_names("relations", list(relations)), JSON)


# --- helpers ------------------------------------------------------------------------------------


def _check_selection_names(selection: Selection) -> None:
    for stream in selection.streams or ():
        check_name("stream", stream)
    check_scope_names(EdgeScope(selection.prefix, selection.relation, selection.types))


def _without_others(page: Page) -> Page:
    """Returns a page that names no streams of its relation but those that it can be of.

    The others may be none of the reader's business, who could not ask for the next page, either.
    """
    streams, prefix = page.selection.streams, page.selection.prefix
    if streams is None or prefix is None:
        return page
    meant = tuple(stream for stream in streams if stream.startswith(prefix))
    return replace(page, selection=page.selection._replace(streams=meant))
