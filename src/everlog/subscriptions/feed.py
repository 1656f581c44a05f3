"""The feed: what a ledger has of a selection and then what it gets, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from everlog.core.chain import GENESIS
from everlog.core.record import StoredRecord
from everlog.core.selection import Page, Selection, page_records
from everlog.core.token import ResumeToken
from everlog.errors import InvalidInput
from everlog.ports.ledger import Ledger

LOOK_AGAIN_S = 30.0
"""So long an idle feed goes, at most, without a look whether the log is still the same."""


class Feed:
    """The records of a selection in order of position: each once, without an end.

    It reads what there is, and waits at the head for what comes. A page is read when it is asked
    for and not before, nothing is kept between two of them, and one that was cancelled is given the
    next time: a slow reader slows nobody. Not for two readers at once.

    Every page is of the history in which the one before it ended: raises `LogDiverged` where the
    log was exchanged beneath it, and skips nothing. A relation's streams are those that it has when
    a page is read.
    """

    def __init__(self, ledger: Ledger, selection: Selection, *, size: int | None = None) -> None:
        """Begins behind the selection's `after`, and `seen` if it is given.

        `size`: how many records a page has at most; as many as a read's, if None. Raises
        `InvalidInput` for a selection that has an end or another order.
        """
        bare = Selection(
            streams=selection.streams,
            relation=selection.relation,
            types=selection.types,
            prefix=selection.prefix,
            after=selection.after,
            seen=selection.seen,
        )
        if selection != bare:
            raise InvalidInput(
                "what is followed has no end and is in order of position: pass streams, prefix, "
                "relation, types and after only"
            )
        if size is not None and size < 1:
            raise InvalidInput(f"size={size} must be at least 1")
        self._ledger = ledger
        self._selection = selection
        self._size = size
        self._page_records = page_records(selection)
        self._position = selection.after
        self._seen = selection.seen
        if self._seen is None and self._position == 0:
            identity = ledger.identity
            self._seen = ResumeToken(identity.ledger, identity.epoch, 0, GENESIS)
        self._caught_up = False
        self._read_at = 0.0

    @property
    def position(self) -> int:
        """Everything that is selected up to here was given."""
        return self._position

    @property
    def token(self) -> ResumeToken | None:
        """The place of `position`; None while nothing has been read behind a bare number."""
        seen = self._seen
        return seen if seen is not None and seen.position == self._position else None

    @property
    def caught_up(self) -> bool:
        """Whether the last page reached the head that the ledger had when it was read."""
        return self._caught_up

    async def next(self, timeout_s: float | None = None) -> Sequence[StoredRecord]:
        """Returns the next records, a page at most; at the head it waits until there are some.

        After `timeout_s` seconds without any it returns none; `position` has moved past what the
        selection left out all the same. Without a time it waits for ever. Raises `LogDiverged`,
        and what the ledger's `read` and `wait` raise; it can be called again then.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while True:
            left_s = None if deadline is None else max(0.0, deadline - loop.time())
            records = await self.step(left_s)
            if records or (deadline is not None and loop.time() >= deadline):
                return records

    async def step(self, timeout_s: float | None = None) -> Sequence[StoredRecord]:
        """Returns as `next`, but also when `position` has moved and nothing of it was selected.

        And now and then for no reason: for who tells others how far it has got.
        """
        now = asyncio.get_running_loop().time
        if self._caught_up:
            wait_s = LOOK_AGAIN_S if timeout_s is None else min(timeout_s, LOOK_AGAIN_S)
            head = await self._ledger.wait(self._position, timeout_s=wait_s)
            # A head that went back, or none for long: a read finds out if it is another log.
            if head == self._position and now() - self._read_at < LOOK_AGAIN_S:
                return ()
        # A read of its own for each page, and no cursor: it has the head and the streams of then.
        selection = self._selection._replace(after=self._position, seen=self._seen)
        began = now()
        page = await self._ledger.read(selection, size=self._size or self._page_records)
        self._turn(page)
        self._read_at = began
        return page.records

    def _turn(self, page: Page) -> None:
        """Takes in where a page ends; in one go, so that a cancellation comes before or after."""
        end = page.selection
        self._page_records = page_records(end)
        self._caught_up = page.cursor is None
        if page.cursor is None:
            assert end.until is not None, "a page says up to where it is the log"
            self._position = max(self._position, end.until)
            if end.seen is not None and end.seen.position == self._position:
                self._seen = end.seen
        elif page.records:
            last = page.records[-1]
            history = end.seen or self._ledger.identity
            self._position = last.position
            self._seen = ResumeToken(history.ledger, history.epoch, last.position, last.chain)
