"""Waking those who follow the log: NOTIFY as a hint, a look at the head as the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context

import psycopg

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.connections import Place, connect
from everlog.adapters.postgres.executing import Statement
from everlog.adapters.postgres.tries import Tries
from everlog.errors import StoreClosed
from everlog.ports.waiting import Waiting

QUIET_S = 0.005
"""So much later comes the next NOTIFY, at the earliest: of many commits, some carry one."""

MUTED_S = 60.0
"""So long no commit carries a NOTIFY after the server had no room for one: polls find it, too."""

POLL_LISTENING_S = 1.0
"""How long followers go without a look while they listen: for hints that were lost."""

POLL_S = 0.05
"""The same where nothing is listened to."""

_NOBODYS = Context()

LONGEST_PAUSE_S = 5.0
"""The longest pause before a lost listener is connected again."""


class Waker:
    """Tells other processes of commits, and hears of theirs."""

    def __init__(
        self,
        place: Place,
        look: Callable[[], Awaitable[int]],
        notify: Callable[[Statement], Awaitable[object]],
    ) -> None:
        """`notify` runs the statement of a NOTIFY that no commit has carried, if it can."""
        self._place = place
        self._channel = place.channel
        self._notify = notify
        self._waiting = Waiting(look, poll_s=self._poll_s)
        self._listening = False
        self._listener: asyncio.Task[None] | None = None
        self._sent_at = -QUIET_S
        self._carried = False
        self._muted_until = 0.0
        self._committed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    def statements(self, changed: bool) -> list[Statement]:
        """Returns what a commit has to say to others, in its own transaction: mostly nothing."""
        self._carried = changed and self._is_due()
        return [self.notification] if self._carried else []

    def hint(self) -> dict[str, object]:
        """Returns the same as values: whether a commit tells others, and on which channel."""
        self._carried = self._is_due()
        return {"tell": self._carried, "channel": self._channel}

    def _is_due(self) -> bool:
        return time.monotonic() - self._sent_at >= QUIET_S and not self.muted

    @property
    def muted(self) -> bool:
        """Whether commits are not to carry a NOTIFY for a while: it would make them fail."""
        return time.monotonic() < self._muted_until

    def mute(self) -> bool:
        """Says that the server takes no NOTIFY; returns whether the last commit carried one."""
        carried, self._carried = self._carried, False
        self._muted_until = time.monotonic() + MUTED_S
        return carried

    @property
    def notification(self) -> Statement:
        """The NOTIFY, without a payload: of many, PostgreSQL delivers one."""
        return Statement(schema.NOTIFY, {"channel": self._channel})

    def committed(self, changed: bool) -> None:
        """Says that a commit has taken effect: followers here look at once, others are told."""
        if not changed:
            return
        if self._waiting.anybody:
            self._waiting.hint()
        self._committed_at = time.monotonic()
        if self._carried:
            self._sent_at = self._committed_at
        elif self._timer is None:
            # The last of many commits must be told too, if no other comes to carry it.
            self._timer = asyncio.get_running_loop().call_later(
                QUIET_S, self._tell_if_quiet, context=_NOBODYS
            )

    def found_committed(self, changed: bool) -> None:
        """Says the same of a commit that was lost and found: nobody knows what it has told."""
        self._carried = False
        self.committed(changed)

    def committed_elsewhere(self, changed: bool) -> None:
        """Says that a commit which carried its own NOTIFY has taken effect."""
        if changed:
            self._waiting.hint()

    async def wait(self, position: int, timeout_s: float) -> int:
        """Returns the position of the head once it is past `position`, or after the time."""
        if self._place.pooler == "none" and (self._listener is None or self._listener.done()):
            loop = asyncio.get_running_loop()
            self._listener = loop.create_task(self._listen(), context=Context())
        return await self._waiting.wait(position, timeout_s)

    async def close(self) -> None:
        """Stops listening and waiting."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            await asyncio.wait([listener])
        await self._waiting.close(StoreClosed(f"the store on {self._place} was closed meanwhile"))

    async def settle(self) -> None:
        """Tells at once what was to be told later; to be called behind all commits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sent_at < self._committed_at:
            self._sent_at = time.monotonic()
            await self._notify(self.notification)
        elif self._telling is not None:
            await asyncio.wait([self._telling])

    def _poll_s(self) -> float:
        return POLL_LISTENING_S if self._listening else POLL_S

    def _tell_if_quiet(self) -> None:
        self._timer = None
        if self._sent_at >= self._committed_at:
            return
        loop = asyncio.get_running_loop()
        left_s = self._committed_at + QUIET_S - time.monotonic()
        if left_s > 0:  # commits go on: the next one carries it
            self._timer = loop.call_later(left_s, self._tell_if_quiet, context=_NOBODYS)
        else:
            self._sent_at = time.monotonic()
            self._telling = loop.create_task(self._tell(), context=Context())

    async def _tell(self) -> None:
        await self._notify(self.notification)

    async def _listen(self) -> None:
        tries = Tries(first_s=0.05, longest_s=LONGEST_PAUSE_S)
        while True:
            with suppress(psycopg.Error, OSError):
                connection = await connect(self._place)
                try:
                    await connection.execute(schema.LISTEN.format(channel=self._channel).encode())
                    connection.silence_s = None  # nobody may have anything to say
                    self._listening = True
                    tries.succeeded()
                    self._waiting.hint()  # of what was said meanwhile nothing was heard
                    async for _ in connection.notifies():
                        self._waiting.hint()
                finally:
                    self._listening = False
                    self._waiting.hint()
                    await connection.close()
            await tries.pause()
