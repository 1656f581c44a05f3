"""Pages ahead: the next page of a feed is read while the one before it is dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from everlog.core.record import StoredRecord
from everlog.core.token import ResumeToken
from everlog.subscriptions.feed import Feed


class FeedPage(NamedTuple):
    """Records of a feed, and where it stood behind them."""

    records: Sequence[StoredRecord]
    position: int
    """Everything that is selected up to here was given."""
    token: ResumeToken | None
    """The place of `position`; None while nothing has been read behind a bare number."""


class PagesAhead:
    """The pages of a feed in their order, one ahead at most, and none behind the head.

    While a log is caught up with, reading takes as long as writing a read model does, and each in a
    thread of its own: in turns, one of them always waits. `end` is to be awaited.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._step: asyncio.Task[FeedPage] | None = None

    def step(self, timeout_s: float) -> asyncio.Task[FeedPage]:
        """Returns the task that has the next page or will have it: see `Feed.step`.

        The same one until it was taken. One that was begun ahead does not wait.
        """
        if self._step is None:
            self._step = asyncio.create_task(self._read(timeout_s))
        return self._step

    def take(self) -> FeedPage:
        """Returns the page that `step` has, and begins with the one behind it, unless it waits.

        Raises what the feed has raised; `step` begins anew then.
        """
        step, self._step = self._step, None
        assert step is not None, "a page is taken when it is there"
        page = step.result()
        if not self._feed.caught_up:
            self._step = asyncio.create_task(self._read(0.0))
        return page

    def end(self) -> Iterable[asyncio.Task[Any]]:
        """Calls off what is read ahead; returns what is to be waited for."""
        step, self._step = self._step, None
        if step is None:
            return ()
        step.cancel()  # also if it has failed: nobody is told then that nobody looked
        return (step,)

    async def _read(self, timeout_s: float) -> FeedPage:
        records = await self._feed.step(timeout_s)
        return FeedPage(records, self._feed.position, self._feed.token)
