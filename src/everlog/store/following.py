"""Following: what `store.follow` returns."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar

from everlog.core.event import Registry
from everlog.core.record import Record, StoredRecord
from everlog.core.selection import Selection
from everlog.core.token import ResumeToken, encode
from everlog.errors import MisusedStore, StoreClosed
from everlog.ports.ledger import Ledger
from everlog.store.reading import Observe, whole
from everlog.subscriptions.feed import Feed

E = TypeVar("E")

_HOW_TO_FOLLOW = "write `async for record in store.follow(...)`"


class Following(AsyncIterator[Record[E]], Generic[E]):
    """Records as they are stored, without an end: those that are there, then those that come.

    Iterate over it in one task at a time; `MisusedStore` is raised where two do at once. Left and
    iterated again it goes on behind the last record that it has handed out. It holds nothing of the
    store between two pages and one page at most itself, so it may be left anywhere, cancelled
    anywhere, and be as slow as it likes: writers never wait for it. After an error it can be
    iterated again, too.

    >>> following = store.follow(types=[EmailSet])
    >>> async for record in following:
    ...     print(record.position, record.data.root)
    ...     break
    2 jane@work.com
    """

    def __init__(
        self, ledger: Ledger, registry: Registry, selection: Selection, observe: Observe
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._observe = observe
        self._feed = Feed(ledger, selection)
        self._rows: deque[StoredRecord] = deque()
        """What is left of the page."""
        self._position = self._feed.position
        self._token = self._feed.token
        self._filling = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._waiting: dict[asyncio.Future[None], int] = {}
        """Who waits until it is caught up, and up to where."""
        self._closed: StoreClosed | None = None

    @property
    def position(self) -> int:
        """Everything that is followed up to this position has been handed out.

        That of the last record, or beyond it: past what is not followed.

        >>> following = store.follow(stream="user-1")
        >>> record = await anext(following)
        >>> following.position
        1
        """
        return self._position

    @property
    def token(self) -> str | None:
        """The resume token of `position`: `store.follow(after=...)` goes on behind it.

        Keep it with what is made of the records. None only where `after` was a number above 0 and
        nothing has been read yet.

        >>> following = store.follow()
        >>> record = await anext(following)
        >>> following.token == store.token(record)
        True
        """
        return None if self._token is None else encode(self._token)

    @property
    def is_caught_up(self) -> bool:
        """Whether all that the log had when it was last read has been handed out.

        >>> following = store.follow()
        >>> [(await anext(following)).position, following.is_caught_up]
        [1, False]
        >>> [(await anext(following)).position, following.is_caught_up]
        [2, True]
        """
        return self._feed.caught_up and not self._rows

    async def caught_up(self, position: int | None = None) -> None:
        """Returns when everything up to a position has been handed to whoever iterates.

        The position is that of the log's last record at the call, if None. Handed out is not worked
        through: what the loop does with the last record may still be under way. To be awaited
        beside the loop, in another task: where nobody iterates, it waits. Raises what the loop is
        ended with by the store meanwhile, `StoreClosed` when that is closed, and `InvalidInput` for
        what is no position.

        >>> following = store.follow()
        >>> async def work() -> None:
        ...     async for record in following:
        ...         _ = record.data
        >>> working = asyncio.create_task(work())
        >>> [record] = await store.append("user-1", EmailSet("jane@acme.com"))
        >>> await following.caught_up(record.position)
        >>> following.position
        3
        >>> working.cancel()
        True
        """
        wanted = None if position is None else whole("position", position)
        if wanted is None:
            wanted = (await self._ledger.head()).position
        if self._closed is not None:
            raise self._closed
        future: asyncio.Future[None] = self._loop.create_future()
        # First it waits and then it looks: a thread may be handing out meanwhile.
        self._waiting[future] = wanted
        try:
            if self._position < wanted:
                await future
        finally:
            del self._waiting[future]

    def __aiter__(self) -> AsyncIterator[Record[E]]:
        return self

    async def __anext__(self) -> Record[E]:
        if not self._rows:
            await self._fill()
        return self._take()

    if not TYPE_CHECKING:  # a type checker says it better

        def __iter__(self) -> object:
            raise TypeError(f"{_HOW_TO_FOLLOW}: it waits for what comes")

        def __await__(self) -> object:
            raise TypeError(f"a following is not awaited itself: {_HOW_TO_FOLLOW}")

    async def _fill(self) -> None:
        if self._filling:
            raise MisusedStore(
                "two tasks iterate over one following, and each would miss what the other gets; "
                "call store.follow() once for each"
            )
        self._filling = True
        try:
            while not self._rows:
                rows = await self._feed.step()
                if rows:
                    # recorded ascends with position, and is never before created
                    self._observe(rows[-1].recorded)
                    self._rows.extend(rows)
                else:
                    self._reach(self._feed.position, self._feed.token)
        except Exception as error:
            self._fail(error)
            raise
        finally:
            self._filling = False

    def _take(self) -> Record[E]:
        row = self._rows.popleft()
        if self._rows:
            history = self._feed.token or self._ledger.identity
            token = ResumeToken(history.ledger, history.epoch, row.position, row.chain)
            self._reach(row.position, token)
        else:
            self._reach(self._feed.position, self._feed.token)
        return Record(row, self._registry)

    def _close(self, error: StoreClosed) -> None:
        self._closed = error
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)

    def _reach(self, position: int, token: ResumeToken | None) -> None:
        self._position, self._token = position, token
        if not self._waiting:
            return
        if threading.get_ident() == self._thread:
            self._tell()
        else:
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        for future, position in self._waiting.items():
            if position <= self._position and not future.done():
                future.set_result(None)


# --- in two halves, for who crosses threads once a page and not once a record ---


async def fill(following: Following[E]) -> None:
    """Returns when there is something to be taken; at once where there is already."""
    if not following._rows:  # pyright: ignore[reportPrivateUsage]  # its friend
        await following._fill()  # pyright: ignore[reportPrivateUsage]  # its friend


def take(following: Following[E]) -> Record[E] | None:
    """Returns the next record of the page, in any thread; None if it has to be filled first."""
    if not following._rows:  # pyright: ignore[reportPrivateUsage]  # its friend
        return None
    return following._take()  # pyright: ignore[reportPrivateUsage]  # its friend


def close(following: Following[E], error: StoreClosed) -> None:
    """Raises the error where somebody waits until it is caught up, now or later."""
    following._close(error)  # pyright: ignore[reportPrivateUsage]  # its friend
