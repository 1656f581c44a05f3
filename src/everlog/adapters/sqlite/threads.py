"""Threads that do what an event loop hands them, and answer to it."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Threads:
    """A few threads over one queue. They begin with the first job, and end when they are told to.

    Instead of `ThreadPoolExecutor`: with `run_in_executor` a job has two futures, a condition and a
    further turn of the event loop, which is a third of what a lone append waits for besides the
    disk, and half of a small read.
    """

    def __init__(self, count: int, *, name: str) -> None:
        self.name = name
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def run(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> asyncio.Future[T]:
        """Begins a job, in the order of the calls; returns the running loop's future of its result.

        A job whose future was cancelled before a thread came to it is not done.
        """
        if self._stopped:
            raise RuntimeError(f"the threads {self.name!r} have been stopped")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if len(self._threads) < self._count:
            self._start()
        self._jobs.put((loop, future, lambda: function(*args, **kw)))
        return future

    def stop(self, *, wait: bool = False) -> None:
        """Ends the threads after what they have been handed."""
        if not self._stopped:
            self._stopped = True
            for _ in self._threads:
                self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _start(self) -> None:
        # Daemons: a program may end without closing its store. It then ends them first, see below.
        number = len(self._threads)
        thread = threading.Thread(
            target=_work, args=(self._jobs,), name=f"{self.name}_{number}", daemon=True
        )
        thread.start()
        self._threads.append(thread)
        _running.add(self)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        loop, future, function = job
        if not future.cancelled():
            _answer(loop, future, function)
        del job, loop, future, function  # while it waits it keeps nothing alive


def _answer(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], Any]
) -> None:
    try:
        result = function()
    except BaseException as error:
        _tell(loop, _fail, future, error)
    else:
        _tell(loop, _succeed, future, result)


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(tell, *args)
    except RuntimeError:  # the loop was closed before its answer came: nobody waits
        return


def _succeed(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


_running: weakref.WeakSet[Threads] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    """Lets threads finish what they have been handed, as the interpreter ends under them."""
    for threads in list(_running):
        threads.stop(wait=True)
