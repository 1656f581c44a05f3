"""Threads for `def` hooks and handlers, which may wait for each other by way of the portal."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Job = Callable[[], None]


class HandlerThreads(ThreadPoolExecutor):
    """Runs so many functions at once, not counting those that wait for the portal.

    A handler that pushes to another projector waits for handlers that need a thread, too. With a
    fixed number of threads, enough such handlers would hold them all and wait for ever.

    It is a `ThreadPoolExecutor` as event loops want one, and has nothing of it but the name.
    Threads are daemons: a handler that hangs must not keep the interpreter from ending.
    """

    def __init__(self, limit: int | None = None) -> None:
        """`limit`: how many run at once; by default what `asyncio.to_thread` would allow."""
        super().__init__(1)
        self._limit = min(32, (os.cpu_count() or 1) + 4) if limit is None else limit
        self._change = threading.Lock()
        self._jobs: deque[Job] = deque()
        """What waits for a thread; in order."""
        self._resting: list[SimpleQueue[Job]] = []
        """The doors of threads that have nothing to do."""
        self._busy = 0
        """How many run a function that does not wait for the portal."""
        self._here = threading.local()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs a function in one of the threads; the future tells what became of it."""
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = fn(*args, **kwargs)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        with self._change:
            self._jobs.append(job)
            self._hand_out()
        return future

    @property
    def run_this(self) -> bool:
        """Whether the current thread is one of these."""
        return getattr(self._here, "is_one", False)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Says that the current thread, one of these, waits for the portal inside."""
        with self._change:
            self._busy -= 1
            self._hand_out()
        try:
            yield
        finally:
            with self._change:
                self._busy += 1

    def _hand_out(self) -> None:
        while self._jobs and self._busy < self._limit:
            job = self._jobs.popleft()
            self._busy += 1
            if self._resting:
                self._resting.pop().put(job)
            else:
                threading.Thread(
                    target=self._work, args=(job,), name="everlog-handler", daemon=True
                ).start()

    def _work(self, job: Job) -> None:
        self._here.is_one = True
        door: SimpleQueue[Job] = SimpleQueue()
        while True:
            job()
            with self._change:
                if self._jobs and self._busy <= self._limit:
                    job = self._jobs.popleft()
                    continue
                self._busy -= 1
                if len(self._resting) >= self._limit:
                    return
                self._resting.append(door)
            del job  # and what it holds, while there is nothing to do
            job = door.get()
