"""Group commit: all writes of a store pass one committer.

What is queued while a commit runs becomes the next commit, without a timer: an idle store commits
at once, a busy one in batches as large as its load. A commit is nobody's task: it goes on by
callbacks of the loop, where the cancellation of a caller cannot reach it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from everlog.core.record import content_length
from everlog.core.sequencer import Append, Import, Placed, ids_of
from everlog.core.taking import Hold, Purge, Restamp, Take
from everlog.errors import EverlogError, LedgerBusy, OutcomeUnknown, Unreachable
from everlog.ports.ledger import Ledger, Outcome, Request
from everlog.ports.owner import Owner

T = TypeVar("T")

BATCH_EVENTS = 500
BATCH_BYTES = 1024 * 1024

Then = Callable[[Outcome], None]
"""Called with what became of a request that was written, in commit order, before anybody waits."""


@dataclass(slots=True)
class Elsewhere:
    """A commit that is not the ledger's own: it takes its turn, so that hooks keep their order."""

    request: Append | None
    commit: Callable[[Append | None], Awaitable[Placed | None]]
    begun: bool = False
    """Whether it has had its turn: it cannot be taken back any more."""


class _Queued(NamedTuple):
    request: Request | Elsewhere
    then: Callable[[Any], None] | None
    future: asyncio.Future[Any]


class Committer:
    """Queues requests, and hands them to the ledger batch by batch."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owner = Owner("the store")
        self._queue: deque[_Queued] = deque()
        self._alone: deque[_Queued] = deque()
        """A batch that failed as a whole: each is tried again by itself, before all others."""
        self._busy = False
        """Whether something is being written, or is about to be in the next turn of the loop."""
        self._writing: asyncio.Future[Sequence[Any]] | None = None
        self._until_idle: list[asyncio.Future[None]] = []
        # Everything here serves many callers and must not keep one's variables.
        self._nobodys = Context()

    def commit(self, request: Request, then: Then | None = None) -> asyncio.Future[Outcome]:
        """Queues a request; returns what will become of it, or the error that it alone ends with.

        A future that is cancelled while the request is queued takes it back; once its batch has
        been handed over, the request is stored or refused whole without it.
        """
        self._owner.check()  # a future of another loop, queued here, would never be answered
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append(_Queued(request, then, future))
        if not self._busy:  # at once: through the queue, a lone writer would pay a turn of the loop
            self._busy = True
            self._begin()
        return future

    def commit_elsewhere(
        self, elsewhere: Elsewhere, then: Callable[[Placed | None], None]
    ) -> asyncio.Future[Placed | None]:
        """Queues a commit in somebody else's transaction; returns what will become of it.

        As with `commit`, cancelling the future takes it back while it is queued.
        """
        self._owner.check()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Queued(elsewhere, then, future))
        if not self._busy:
            self._busy = True
            self._begin()
        return future

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or being written."""
        return not self._busy

    async def drained(self) -> None:
        """Returns when nothing is queued or being written."""
        while self._busy:
            idle = asyncio.get_running_loop().create_future()
            self._until_idle.append(idle)
            await idle

    def _begin(self) -> None:
        """Hands the next batch to the ledger, if there is one."""
        batch = self._take()
        if not batch:
            self._end()
            return
        try:
            writing = _begun(self._commit(batch))
        except Exception as error:  # it did not even begin
            writing = asyncio.get_running_loop().create_future()
            writing.set_exception(error)
        self._writing = writing
        writing.add_done_callback(partial(self._written, batch), context=self._nobodys)

    def _commit(self, batch: Sequence[_Queued]) -> Awaitable[Sequence[Any]]:
        first = batch[0].request
        if isinstance(first, Elsewhere):
            first.begun = True
            return _as_one(first.commit(first.request))
        return self._ledger.commit([cast("Request", queued.request) for queued in batch])

    def _take(self) -> list[_Queued]:
        if self._alone:
            return [self._alone.popleft()]
        batch: list[_Queued] = []
        events = size = 0
        while self._queue:
            queued = self._queue[0]
            if queued.future.cancelled():
                self._queue.popleft()
                continue
            if isinstance(queued.request, (Elsewhere, Restamp, Purge)):  # alone
                return batch or [self._queue.popleft()]
            count, weight = _weight(queued.request)
            if batch and (events + count > BATCH_EVENTS or size + weight > BATCH_BYTES):
                break
            batch.append(self._queue.popleft())
            events, size = events + count, size + weight
        return batch

    def _written(self, batch: Sequence[_Queued], writing: asyncio.Future[Sequence[Any]]) -> None:
        """Answers a batch, and goes on with the next."""
        if writing.cancelled():  # the loop is ending: nobody will know
            for queued in [*batch, *self._alone, *self._queue]:
                _fail(queued, _unknown(queued.request))
            self._alone.clear()
            self._queue.clear()
            self._end()
            return
        error = writing.exception()
        if error is None:
            _answer_all(batch, writing.result())
        elif isinstance(error, OutcomeUnknown):
            for queued in batch:
                _fail(queued, _unknown(queued.request), cause=error)
        elif isinstance(error, (LedgerBusy, Unreachable)):
            # One by one, each would wait for the same lock or server again, for as long.
            for queued in [*batch, *self._alone]:
                _fail(queued, type(error)(str(error)), cause=error)
            self._alone.clear()
        elif len(batch) > 1:  # one by one, so that a bad neighbour costs nothing
            self._alone.extend(batch)
        else:  # the place failed; or it is a fault of ours, or a request that nobody foresaw
            _fail(batch[0], error)
        # In a turn of its own: those who have just been answered queue their next before it.
        asyncio.get_running_loop().call_soon(self._begin, context=self._nobodys)

    def _end(self) -> None:
        self._busy, self._writing = False, None
        for idle in self._until_idle:
            if not idle.done():
                idle.set_result(None)
        self._until_idle.clear()


def _begun(writing: Awaitable[T]) -> asyncio.Future[T]:
    """Returns a commit as a future, which a ledger may give itself, to spare a turn of the loop."""
    if isinstance(writing, asyncio.Future):
        return writing

    async def wait() -> T:
        return await writing

    return asyncio.create_task(wait(), context=Context())


def _answer_all(batch: Sequence[_Queued], outcomes: Sequence[Any]) -> None:
    if len(outcomes) != len(batch):  # of an adapter that does not keep its contract
        wrong = RuntimeError(f"the ledger answered {len(outcomes)} of {len(batch)} requests")
        for queued in batch:
            _fail(queued, _unknown(queued.request), cause=wrong)
        return
    for queued, outcome in zip(batch, outcomes, strict=True):
        _answer(queued, outcome)


async def _as_one(committing: Awaitable[Placed | None]) -> Sequence[Placed | None]:
    return [await committing]


def _answer(queued: _Queued, outcome: Any) -> None:
    if isinstance(outcome, EverlogError):
        _fail(queued, outcome)
        return
    # Hooks begin here, in commit order, and also for a caller who was cancelled meanwhile.
    if queued.then is not None:
        try:
            queued.then(outcome)
        except Exception as error:  # a fault of ours: it must not hold up the others
            _fail(queued, error)
    if not queued.future.done():
        queued.future.set_result(outcome)


def _fail(queued: _Queued, error: BaseException, *, cause: BaseException | None = None) -> None:
    if cause is not None:
        error.__cause__ = cause
    if not queued.future.done():
        queued.future.set_exception(error)


def _unknown(request: Request | Elsewhere) -> OutcomeUnknown:
    asked = request.request if isinstance(request, Elsewhere) else request
    return OutcomeUnknown(ids_of([asked]) if isinstance(asked, (Append, Import, Take)) else [])


def _weight(request: Request) -> tuple[int, int]:
    """Returns how many events a request has, and about how many bytes."""
    if isinstance(request, Append):
        events = request.events
        if len(events) == 1:  # by far the most
            [event] = events
            return 1, len(event.data) + len(event.meta)
        return len(events), sum(len(event.data) + len(event.meta) for event in events)
    if isinstance(request, (Import, Take)):
        records = request.records
        return len(records), content_length(records)
    if isinstance(request, Hold):
        return len(request.held), sum(len(held.record or "") for held in request.held)
    return 1, 0
