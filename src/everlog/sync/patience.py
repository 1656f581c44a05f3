"""Patience: a hub that does not answer is one that is not reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from everlog.core.sequencer import Append
from everlog.errors import EverlogError, OutcomeUnknown, TooBusy, TransportFailed
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Welcome
from everlog.wire.transport import Closable, Foreseeing, Telling, Transport

ANSWER_S = 60.0
"""So long is an answer waited for, in seconds. At a hub in the same process it is late as long as
the hub's hooks run."""
LONGEST_REST_S = 600.0
"""A hub that asks to be left alone is, for so many seconds at most."""


def rest_s(error: EverlogError | None) -> float:
    """Returns for how many seconds a hub asks to be left alone by an error; 0 if it does not."""
    if not isinstance(error, (TransportFailed, TooBusy)):
        return 0.0
    return min(error.retry_after_s, LONGEST_REST_S)


class Patient:
    """A transport that raises `TransportFailed` instead of waiting for ever, or an `OSError`."""

    def __init__(self, hub: Transport, *, answer_s: float | None = None) -> None:
        self._hub = hub
        self._answer_s = ANSWER_S if answer_s is None else answer_s

    async def hello(self, hello: Hello) -> Welcome:
        async with self._in_time():
            return await self._hub.hello(hello)

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        async with self._in_time():
            return await self._hub.pull(asked, size=size)

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        async with self._in_time():
            return await self._hub.push(asked, offers)

    async def append(self, hub: str, request: Append) -> Made:
        try:
            async with self._in_time():
                return await self._hub.append(hub, request)
        except TransportFailed as error:
            raise OutcomeUnknown([event.id for event in request.events]) from error

    async def wait(self, position: int, *, timeout_s: float) -> int:
        async with self._in_time():
            return await self._hub.wait(position, timeout_s=timeout_s)

    def heard(self, asked: Asked) -> Pulled | None:
        return self._hub.heard(asked) if isinstance(self._hub, Telling) else None

    def was_cut(self) -> bool:
        return isinstance(self._hub, Telling) and self._hub.was_cut()

    def show_to(self, look: Callable[[Asked, Pulled], None]) -> None:
        if isinstance(self._hub, Foreseeing):
            self._hub.show_to(look)

    async def close(self) -> None:
        if isinstance(self._hub, Closable):
            await self._hub.close()

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        limit = asyncio.timeout(self._answer_s)
        try:
            async with limit:
                yield
        except OSError as error:  # a `TimeoutError` is one, too
            if limit.expired():
                raise TransportFailed(
                    f"the hub has not answered for {self._answer_s:g} s"
                ) from error
            raise TransportFailed(f"the hub cannot be reached: {error}") from error
