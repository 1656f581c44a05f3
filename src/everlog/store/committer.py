"""Group commit: all writes of a store pass one committer.

What is queued while a commit runs becomes the next commit, without a timer: an idle store commits
at once, a busy one in batches as large as its load. The commit runs in a task of its own, where the
cancellation of a caller cannot reach it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import NamedTuple

from everlog.core.sequencer import Append, Import, ids_of
from everlog.errors import EverlogError, LedgerBusy, OutcomeUnknown, StorageError
from everlog.ports.ledger import Ledger, Outcome, Request
from everlog.ports.owner import Owner

BATCH_EVENTS = 500
BATCH_BYTES = 1024 * 1024

Then = Callable[[Outcome], None]
"""Called with what became of a request that was written, in commit order, before anybody waits."""


class _Queued(NamedTuple):
    request: Request
    then: Then | None
    future: asyncio.Future[Outcome]


class Committer:
    """Queues requests, and hands them to the ledger batch by batch."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owner = Owner("the store")
        self._queue: deque[_Queued] = deque()
        self._task: asyncio.Task[None] | None = None

    async def commit(self, request: Request, then: Then | None = None) -> Outcome:
        """Returns what became of the request; raises the error that it alone ended with.

        A caller that is cancelled while the request is queued takes it back; once its batch has
        been handed over, the request is stored or refused whole without it.
        """
        self._owner.check()  # a future of another loop, queued here, would never be answered
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.append(_Queued(request, then, future))
        if self._task is None:
            # An empty context: the task serves many callers and must not keep one's variables.
            self._task = asyncio.create_task(self._drain(), context=Context())
        return await future

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or being written."""
        return self._task is None

    async def drained(self) -> None:
        """Returns when nothing is queued or being written."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        batch: list[_Queued] = []
        try:
            while True:
                batch = self._take()
                if not batch:
                    return
                await self._write(batch)
                # One turn of the loop, for those who have just been answered to queue the next.
                await asyncio.sleep(0)
        finally:
            self._task = None
            for queued in [*batch, *self._queue]:  # only a cancelled loop leaves some behind
                if not queued.future.done():
                    queued.future.set_exception(_unknown(queued.request))
            self._queue.clear()

    def _take(self) -> list[_Queued]:
        batch: list[_Queued] = []
        events = size = 0
        while self._queue:
            queued = self._queue[0]
            if queued.future.cancelled():
                self._queue.popleft()
                continue
            count, weight = _weight(queued.request)
            if batch and (events + count > BATCH_EVENTS or size + weight > BATCH_BYTES):
                break
            batch.append(self._queue.popleft())
            events, size = events + count, size + weight
        return batch

    async def _write(self, batch: Sequence[_Queued]) -> None:
        try:
            outcomes = await self._ledger.commit([queued.request for queued in batch])
        except OutcomeUnknown as error:
            for queued in batch:
                _fail(queued, _unknown(queued.request), cause=error)
        except LedgerBusy as error:  # one by one, each would wait for the same lock again
            for queued in batch:
                _fail(queued, LedgerBusy(str(error)), cause=error)
        except StorageError as error:
            if len(batch) == 1:
                _fail(batch[0], error)
            else:  # one by one, so that a bad neighbour costs nothing
                for queued in batch:
                    await self._write([queued])
        except Exception as error:  # a fault of ours, or a request that nobody foresaw
            if len(batch) == 1:
                _fail(batch[0], error)
            else:
                for queued in batch:
                    await self._write([queued])
        else:
            for queued, outcome in zip(batch, outcomes, strict=True):
                _answer(queued, outcome)


def _answer(queued: _Queued, outcome: Outcome) -> None:
    if isinstance(outcome, EverlogError):
        _fail(queued, outcome)
        return
    # Hooks begin here, in commit order, and also for a caller who was cancelled meanwhile.
    if queued.then is not None:
        queued.then(outcome)
    if not queued.future.done():
        queued.future.set_result(outcome)


def _fail(queued: _Queued, error: Exception, *, cause: Exception | None = None) -> None:
    if cause is not None:
        error.__cause__ = cause
    if not queued.future.done():
        queued.future.set_exception(error)


def _unknown(request: Request) -> OutcomeUnknown:
    return OutcomeUnknown(ids_of([request]) if isinstance(request, (Append, Import)) else [])


def _weight(request: Request) -> tuple[int, int]:
    """Returns how many events a request has, and about how many bytes."""
    if isinstance(request, Append):
        events = request.events
        if len(events) == 1:  # by far the most
            [event] = events
            return 1, len(event.data) + len(event.meta)
        return len(events), sum(len(event.data) + len(event.meta) for event in events)
    if isinstance(request, Import):
        records = request.records
        return len(records), sum(len(record.data) + len(record.meta) for record in records)
    return 1, 0
