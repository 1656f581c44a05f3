"""A thread of a worker's own, in which its `def` handlers run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeAlias

Job: TypeAlias = Callable[[], None]


class HandlerThread:
    """Runs one function after the other, in the context of whoever waits for it.

    Not a thread of a pool that all subscriptions share: handlers that wait for the turn of their
    transactions would hold all of its threads, and the one whose turn it is would find none. A
    daemon: a handler that hangs must not keep the interpreter from ending.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._future: asyncio.Future[Any] | None = None
        """Of what it was given last."""

    def run(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Returns, to be awaited, what the function returns; that raises what it raises."""
        loop = asyncio.get_running_loop()
        future = self._future = loop.create_future()
        context = copy_context()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():  # nobody waits any more
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def job() -> None:
            result, error = None, None
            try:
                result = context.run(function, *args)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settle, result, error)

        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(
                target=_work, args=(self._jobs,), name="everlog-handler", daemon=True
            )
            self._thread.start()
        return future

    def leave_behind(self) -> threading.Thread | None:
        """Leaves what runs in the thread to itself, as nothing can stop it; returns that thread.

        Whoever waits for it is raised `TimeoutError`. The thread ends when that has ended; what
        comes next has another one. None if nothing runs.
        """
        future, thread = self._future, self._thread
        if thread is None or future is None or future.done():
            return None
        self.stop()
        self._jobs = SimpleQueue()
        future.set_exception(TimeoutError("it was left behind"))
        return thread

    def stop(self) -> None:
        """Lets the thread end after what it has been given."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)


def _work(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # and what it holds, while there is nothing to do
