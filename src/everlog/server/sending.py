"""Sending: answers in small pieces, none of which waits for its reader for ever."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

from everlog.server.asking import Gone
from everlog.wire.problems import Problem
from everlog.wire.protocol import PROBLEM

CHUNK_BYTES = 64 * 1024
"""So much is handed on at a time: what a slow reader leaves lying takes about twice as much."""
ABORT = "everlog.abort"
"""Where the scope of a connection of ours has what cuts it off at once."""

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(slots=True)
class Answer:
    """What a request is answered with, as a whole."""

    body: bytes
    media: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class Streaming:
    """What a request is answered with, bit by bit; who has asked may go meanwhile."""

    chunks: AsyncGenerator[bytes]
    media: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def answer_of(problem: Problem, headers: Mapping[str, str]) -> Answer:
    """Returns a problem as an answer."""
    more = dict(headers)
    if problem.retry_after_s is not None:
        more["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    if problem.status == 401:
        more["WWW-Authenticate"] = "Bearer"
    return Answer(problem.body, PROBLEM, problem.status, more)


def unless_known(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Returns an answer to a GET; if who asks has it by its ETag, says 304 in its place.

    As RFC 9110 has it (13.1.2, 15.4.5): weak tags compare as strong ones, and `*` is any.
    """
    tag, known = answer.headers.get("ETag"), headers.get("if-none-match")
    if tag is None or known is None or answer.status != 200:
        return answer
    if known.strip() != "*" and tag.removeprefix("W/") not in _tags(known):
        return answer
    return Answer(b"", answer.media, 304, answer.headers)


def _tags(text: str) -> set[str]:
    """Returns the tags of a list, without what says that they are weak."""
    return {each.removeprefix("W/") for each in _TAG.findall(text)}


_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


class Sender:
    """Sends one answer."""

    def __init__(self, scope: Scope, send: Send, *, write_s: float) -> None:
        self._scope = scope
        self._send = send
        self._write_s = write_s
        self.has_begun = False

    async def whole(self, answer: Answer, *, close: bool = False) -> None:
        """Sends an answer; raises `Gone` where its reader is too slow.

        `close`: and nothing more is read on the connection, such as the rest of a body.
        """
        headers = {**_ALWAYS, **answer.headers}
        if close:
            headers["Connection"] = "close"
        if answer.status == 304:  # has no body, and its length would be that of what it stands for
            await self._begin(answer.status, None, headers)
        else:
            headers["Content-Length"] = str(len(answer.body))
            await self._begin(answer.status, answer.media, headers)
        await self.part(answer.body, more=False)

    async def stream(self, answer: Streaming, receive: Receive) -> None:
        """Sends what comes, until it ends or nobody is there; raises `Gone` as above."""
        headers = {**_ALWAYS, **answer.headers, "X-Accel-Buffering": "no"}
        await self._begin(200, answer.media, headers)
        sending = asyncio.ensure_future(self._parts(answer.chunks))
        going = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait([sending, going], return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise Gone
            sending.result()
        finally:
            for task in (sending, going):
                task.cancel()
            await asyncio.gather(sending, going, return_exceptions=True)

    async def part(self, body: bytes, *, more: bool) -> None:
        """Sends a part of a body."""
        view = memoryview(body)
        at = 0
        while True:
            rest = len(body) > at + CHUNK_BYTES
            chunk = bytes(view[at : at + CHUNK_BYTES])
            await self._hand_on(
                {"type": "http.response.body", "body": chunk, "more_body": rest or more}
            )
            at += CHUNK_BYTES
            if not rest:
                return

    async def _parts(self, chunks: AsyncGenerator[bytes]) -> None:
        async with aclosing(chunks):  # so that it ends with its reader
            async for chunk in chunks:
                await self.part(chunk, more=True)
        await self.part(b"", more=False)

    async def _begin(self, status: int, media: str | None, headers: Mapping[str, str]) -> None:
        self.has_begun = True
        raw = [] if media is None else [(b"content-type", media.encode())]
        raw += [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ]
        await self._hand_on({"type": "http.response.start", "status": status, "headers": raw})

    async def _hand_on(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._write_s):
                await self._send(message)
        except TimeoutError:
            abort = self._scope.get(ABORT)
            if abort is not None:
                abort()
            raise Gone from None
        except OSError:
            raise Gone from None


async def _until_gone(receive: Receive) -> None:
    """Returns when nobody is there, or when they send what nobody reads: a body has no end here."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or message.get("body"):
            return
