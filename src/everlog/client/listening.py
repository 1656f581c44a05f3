"""Listening: what a hub tells by itself, by server-sent events, kept until it is asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack
from typing import TypeVar

from everlog.client.http import Answer, Http, Query
from everlog.core.taking import Mark
from everlog.errors import EverlogError, InvalidMessage
from everlog.wire.messages import Pulled
from everlog.wire.pieces import EventReader, PieceReader
from everlog.wire.protocol import COMMENT_S

FIRST_S = 5.0
"""Within so many seconds a hub says something; otherwise somebody on the way keeps it back."""
SILENCE_S = 2 * COMMENT_S + 5
"""After so many seconds without a word the line is dead, or somebody keeps it back."""
MOST_PIECES = 32
MOST_CHARS = 16 * 1024 * 1024
"""So much is kept that was not asked for yet; then nothing more is read."""

T = TypeVar("T")


class Listener:
    """One stream of events, from a place in the hub's history on. It ends where it is cut."""

    def __init__(
        self, http: Http, path: str, *, query: Query, headers: Mapping[str, str], start: Mark
    ) -> None:
        self._http = http
        self._path = path
        self._query = query
        self._headers = headers
        self._told: deque[Pulled] = deque()
        self._chars = 0
        self._last: Pulled | None = None
        self._at = start
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.is_kept_back = False
        """Whether it was cut because nothing came, though the hub says something now and then."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def has_ended(self) -> bool:
        """Whether it was cut, or never stood."""
        return self._task.done()

    @property
    def has_begun(self) -> bool:
        """Whether the hub has told something."""
        return self._last is not None

    async def wait(self, position: int, *, timeout_s: float) -> int:
        """Returns the position of what was told last once that is past `position`.

        Or after the time, or when the line is cut.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._at.position <= position and not self.has_ended:
                    self._news.clear()
                    waits = [asyncio.ensure_future(self._news.wait()), self._task]
                    try:
                        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        waits[0].cancel()
        except TimeoutError:
            pass
        return self._at.position

    def next_behind(self, cursor: Mark) -> Pulled | None:
        """Returns the next piece behind a place; an empty one where there is nothing new.

        None where that is not known: the line is cut, or has told of other places.
        """
        told = self._told
        while told and told[0].end.position <= cursor.position:
            self._take()
        if told:
            return _from(cursor, self._take())
        last = self._last
        if self.has_ended or last is None or not last.up_to_date or self._at != cursor:
            return None
        return last._replace(start=cursor, records=(), receipts=(), end=cursor)

    def goes_on_from(self, place: Mark) -> bool:
        """Whether what comes behind a place of the hub's history is told, or was."""
        begin = self._told[0].start if self._told else self._at
        return begin.position <= place.position

    async def close(self) -> None:
        """Ends it."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _take(self) -> Pulled:
        piece = self._told.popleft()
        self._chars -= _chars(piece)
        self._room.set()
        return piece

    async def _run(self) -> None:
        try:
            await self._listen()
        except (EverlogError, TimeoutError):
            return  # whoever asks next finds out what it is
        finally:
            self._news.set()

    async def _listen(self) -> None:
        async with AsyncExitStack() as stack:
            answer = await self._in_time(
                stack.enter_async_context(
                    self._http.listen(
                        self._path,
                        query=self._query,
                        headers=self._headers,
                        silence_s=SILENCE_S + 5,
                    )
                )
            )
            if not isinstance(answer, Answer):  # otherwise the hub tells nothing, and says why
                await self._read(answer)

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        events, pieces = EventReader(), PieceReader()
        while (chunk := await self._in_time(anext(chunks, None))) is not None:
            for event in events.feed(chunk):
                if event.name != "message":
                    return
                piece = pieces.feed(event.data)
                if piece is not None:
                    await self._keep(piece)

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Returns what the work returns; notes it if nothing comes though something should."""
        limit = asyncio.timeout(SILENCE_S if self.has_begun else FIRST_S)
        try:
            async with limit:
                return await work
        finally:
            self.is_kept_back = limit.expired()

    async def _keep(self, piece: Pulled) -> None:
        if piece.start != self._at:
            raise InvalidMessage("event", "does not go on behind the one before")
        self._told.append(piece)
        self._chars += _chars(piece)
        self._last, self._at = piece, piece.end
        self._news.set()
        while len(self._told) > MOST_PIECES or self._chars > MOST_CHARS:
            self._room.clear()
            await self._room.wait()


def _chars(piece: Pulled) -> int:
    return sum(len(record.data) + len(record.meta) + 500 for record in piece.records)


def _from(cursor: Mark, piece: Pulled) -> Pulled | None:
    """Returns what of a piece comes behind a place in it; None if the place is not in it."""
    if piece.start == cursor:
        return piece
    for index, record in enumerate(piece.records, 1):
        if record.position == cursor.position and record.chain == cursor.chain:
            return piece._replace(
                start=cursor, records=piece.records[index:], receipts=piece.receipts[index:]
            )
    return None
