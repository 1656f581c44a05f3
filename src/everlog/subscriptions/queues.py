"""One queue per stream: its jobs run one by one in order, different streams side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context, ContextVar, copy_context

from everlog.errors import MisusedStore

Job = Callable[[], Awaitable[None]]

_waiting: ContextVar[tuple[_Turn, ...]] = ContextVar("everlog_waiting", default=())
"""The jobs that may wait for what is running here."""


def nobody_waits() -> None:
    """Says that no job waits for what is running here, though one may have started it."""
    _waiting.set(())


class StreamQueues:
    """Jobs by stream. A queue exists as long as it has something to do.

    Each event loop has queues of its own: what was left behind by one that died holds up nobody.
    """

    def __init__(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, dict[str, _Queue]] = {}

    def put(self, stream: str, job: Job) -> asyncio.Future[None]:
        """Queues a job behind those of its stream; the future ends as the job ends.

        Cancelling the future cancels the job, as with a task: one that has begun holds its stream
        until it has ended. Raises as `refuse_inside_jobs`, as the caller is taken to wait.
        """
        self.refuse_inside_jobs()
        loop = asyncio.get_running_loop()
        turn = _Turn(self, job, loop)
        queues = self._queues_of(loop)
        queue = queues.get(stream)
        if queue is None:
            queue = queues[stream] = _Queue()
            queue.turns.append(turn)
            queue.worker = loop.create_task(self._work(loop, stream, queue), context=Context())
            queue.worker.add_done_callback(lambda _: self._forget(loop, stream, queue))
        else:
            queue.turns.append(turn)
        return turn

    def put_across(self, streams: Iterable[str], job: Job) -> asyncio.Future[None]:
        """Queues a job behind those of several streams; it holds them all while it runs.

        If one of them drops out, by cancellation, the job is cancelled and the others go on.
        """
        names = list(dict.fromkeys(streams))
        if len(names) == 1:
            return self.put(names[0], job)
        meeting = _Meeting(job, len(names))
        # Queued in one go, so two such jobs stand in the same order in every queue and never wait
        # for each other in a circle.
        return _Together([self.put(name, meeting.join) for name in names])

    def refuse_inside_jobs(self) -> None:
        """Raises `MisusedStore` if one of these jobs may wait for what is running here.

        Jobs that wait for each other, or for what waits behind them, would wait for ever.
        """
        if any(turn.queues is self and not turn.done() for turn in _waiting.get()):
            raise MisusedStore(
                "a record cannot be pushed inside a handler of the same projector, which could "
                "wait for ever; append the event instead: its handlers run behind this one"
            )

    def _queues_of(self, loop: asyncio.AbstractEventLoop) -> dict[str, _Queue]:
        queues = self._loops.get(loop)
        if queues is None:
            for other in list(self._loops):
                if other.is_closed():
                    self._loops.pop(other, None)
            queues = self._loops[loop] = {}
        return queues

    async def _work(self, loop: asyncio.AbstractEventLoop, stream: str, queue: _Queue) -> None:
        worker = asyncio.current_task()
        assert worker is not None
        while queue.turns:
            await queue.turns[0].run()
            queue.turns.popleft()
            if worker.cancelling():  # and not the job alone
                raise asyncio.CancelledError
        self._forget(loop, stream, queue)

    def _forget(self, loop: asyncio.AbstractEventLoop, stream: str, queue: _Queue) -> None:
        """Lets go of a queue whose worker has ended."""
        queues = self._loops.get(loop, {})
        if queues.get(stream) is queue:
            del queues[stream]
            if not queues:
                del self._loops[loop]
        # Only a worker that was cancelled leaves some behind: whoever waits for them is told.
        for turn in queue.turns:
            turn.cancel()


class _Turn(asyncio.Future[None]):
    """The place of a job in a queue. It ends as the job ends, and cancelling it cancels the job."""

    def __init__(self, queues: StreamQueues, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.queues = queues
        self._job = job
        # Each runs in the context it was put from, so that a request's variables reach it.
        self._context = copy_context()
        waiting = tuple(turn for turn in _waiting.get() if not turn.done())
        self._context.run(_waiting.set, (*waiting, self))
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Runs the job, unless it was cancelled before it began; raises nothing that it raises."""
        if self.done():
            return
        self._task = asyncio.create_task(_as_coroutine(self._job), context=self._context)
        try:
            await self._task
        except asyncio.CancelledError:
            super().cancel()
        except GeneratorExit:  # the loop died, and with it whoever waits
            raise
        except BaseException as error:
            self.set_exception(error)
        else:
            self.set_result(None)

    def cancel(self, msg: object = None) -> bool:
        if self._task is None:
            return super().cancel()
        return self._task.cancel()


class _Together(asyncio.Future[None]):
    """Several turns as one: it ends when they all have, and they are cancelled together."""

    def __init__(self, turns: Sequence[asyncio.Future[None]]) -> None:
        super().__init__(loop=turns[0].get_loop())
        self._turns = turns
        self._running = len(turns)
        self._error: BaseException | None = None
        self._cancelled = False
        for turn in turns:
            turn.add_done_callback(self._one_ended)

    def cancel(self, msg: object = None) -> bool:
        asked = [turn.cancel() for turn in self._turns]
        return any(asked)

    def _one_ended(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            if not self._cancelled:
                self._cancelled = True
                self.cancel()
        elif self._error is None:
            self._error = turn.exception()
        self._running -= 1
        if self._running:
            return
        if self._error is not None:
            self.set_exception(self._error)
        elif self._cancelled:
            super().cancel()
        else:
            self.set_result(None)


class _Queue:
    """The turns of a stream, and the task that gives them."""

    def __init__(self) -> None:
        self.turns: deque[_Turn] = deque()
        self.worker: asyncio.Task[None] | None = None


class _Meeting:
    """A job for which several queues meet: the last one to come runs it, the others wait."""

    def __init__(self, job: Job, queues: int) -> None:
        self._job = job
        self._missing = queues
        self._running: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    async def join(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._running = asyncio.current_task()
            assert self._running is not None
            self._running.add_done_callback(lambda _: self._over.set())
            await self._job()
            return
        try:
            await self._over.wait()
        except asyncio.CancelledError:
            if self._running is not None:  # and this stream is held until it has ended
                if not self._running.cancelling():
                    self._running.cancel()
                await self._over.wait()
            raise


async def _as_coroutine(job: Job) -> None:
    await job()
