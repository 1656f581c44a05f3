"""One queue per stream: its jobs run one by one in order, different streams side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context, ContextVar, copy_context
from typing import NamedTuple

from everlog.errors import MisusedStore

Job = Callable[[], Awaitable[None]]

_NOBODY: frozenset[tuple[StreamQueues, str]] = frozenset()

_waiting: ContextVar[frozenset[tuple[StreamQueues, str]]] = ContextVar(
    "everlog_waiting", default=_NOBODY
)
"""The streams whose handlers wait for what is running here."""


def nobody_waits() -> None:
    """Says that no handler waits for what is running here, though one may have started it."""
    _waiting.set(_NOBODY)


class StreamQueues:
    """Jobs by stream. A queue exists as long as it has something to do."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Queued]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, stream: str, job: Job) -> asyncio.Future[None]:
        """Queues a job behind those of its stream; the future ends as the job ends.

        The caller is taken to wait for it. If the caller is itself a job of this stream, or a job
        that such a one waits for, it would wait for ever: `MisusedStore`.
        """
        waiting = self._waiting_for([stream])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queued = _Queued(job, done, copy_context(), waiting | {(self, stream)})
        queue = self._queues.get(stream)
        if queue is not None:
            queue.append(queued)
        else:
            self._queues[stream] = deque([queued])
            task = asyncio.create_task(self._work(stream), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return done

    def put_across(self, streams: Iterable[str], job: Job) -> asyncio.Future[None]:
        """Queues a job behind those of several streams; it holds them all while it runs."""
        names = list(dict.fromkeys(streams))
        if len(names) == 1:
            return self.put(names[0], job)
        self._waiting_for(names)  # before any is queued: the others would wait for ever
        arrived = 0
        everybody = asyncio.Event()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def meet() -> None:
            nonlocal arrived
            arrived += 1
            if arrived < len(names):
                await everybody.wait()
                return
            try:
                await job()
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(None)
            finally:
                everybody.set()

        # Queued in one go, so two such jobs stand in the same order in every queue and never wait
        # for each other in a circle.
        for name in names:
            self.put(name, meet)
        return done

    def _waiting_for(self, streams: Iterable[str]) -> frozenset[tuple[StreamQueues, str]]:
        """Returns whose jobs wait for what is queued here; raises if one would wait for itself."""
        waiting = _waiting.get()
        for stream in streams:
            if (self, stream) in waiting:
                raise MisusedStore(
                    f"a handler of stream {stream!r} pushed a record of the same stream and would "
                    "wait for itself; append the event instead: its handlers run after this one"
                )
        return waiting

    async def _work(self, stream: str) -> None:
        queue = self._queues[stream]
        try:
            while queue:
                job, done, context, waiting = queue[0]
                context.run(_waiting.set, waiting)
                try:
                    # Each in the context it was put from, so that a request's variables reach it.
                    await asyncio.create_task(_as_coroutine(job), context=context)
                except Exception as error:
                    if not done.done():
                        done.set_exception(error)
                else:
                    if not done.done():
                        done.set_result(None)
                queue.popleft()
        finally:
            # Only a cancelled loop leaves some behind: whoever waits for them is told.
            for queued in queue:
                queued.done.cancel()
            del self._queues[stream]


class _Queued(NamedTuple):
    job: Job
    done: asyncio.Future[None]
    context: Context
    waiting: frozenset[tuple[StreamQueues, str]]


async def _as_coroutine(job: Job) -> None:
    await job()
