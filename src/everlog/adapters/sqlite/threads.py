"""Threads that do what an event loop hands them, and answer to it."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[
    asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], None], Callable[[], Any]
]
"""A loop, its future of the result, what the loop calls with the answer, and what is to be done."""


class Alarm(Protocol):
    """What a thread has to do at a time, unless there is a job for it before."""

    def left_s(self) -> float | None:
        """Returns in how many seconds, 0 or more; None for no time."""
        ...

    def ring(self) -> None:
        """Does it."""
        ...


class Threads:
    """A few threads over one queue. They begin when there is a job and none is free for it, so that
    a program that asks for one thing at a time keeps to one thread, and one connection; and they
    end when they are told to.

    Instead of `ThreadPoolExecutor`: with `run_in_executor` a job has two futures, a condition and a
    further turn of the event loop, which is a third of what a lone append waits for besides the
    disk, and half of a small read.
    """

    def __init__(self, count: int, *, name: str, alarm: Alarm | None = None) -> None:
        """`alarm`: looked at by each thread, when it has no job."""
        self.name = name
        self._alarm = alarm
        self._count = count
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unanswered = 0
        """Jobs handed over whose answer has not come: counted by the loop, which calls `run`."""
        self._stopped = False
        # A store that nobody closed and nobody has any more, as in a loop that has ended.
        weakref.finalize(self, _end, self._jobs, self._threads).atexit = False

    def run(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> asyncio.Future[T]:
        """Begins a job, in the order of the calls; returns the running loop's future of its result.

        A job whose future was cancelled before a thread came to it is not done.
        """
        if self._stopped:
            raise RuntimeError(f"the threads {self.name!r} have been stopped")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if len(self._threads) < min(self._unanswered + 1, self._count):
            self._start()
        self._unanswered += 1
        self._jobs.put((loop, future, self._answered, lambda: function(*args, **kw)))
        return future

    def stop(self, *, wait: bool = False) -> None:
        """Ends the threads after what they have been handed."""
        if not self._stopped:
            self._stopped = True
            _end(self._jobs, self._threads)
        if wait:
            for thread in self._threads:
                thread.join()

    def _answered(self) -> None:
        self._unanswered -= 1

    def _start(self) -> None:
        # Daemons: a program may end without closing its store. It then ends them first, see below.
        number = len(self._threads)
        thread = threading.Thread(
            target=_work, args=(self._jobs, self._alarm), name=f"{self.name}_{number}", daemon=True
        )
        thread.start()
        self._threads.append(thread)
        _running.add(self)


def _end(jobs: SimpleQueue[_Job | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None], alarm: Alarm | None) -> None:
    while True:
        try:
            job = jobs.get(timeout=None if alarm is None else alarm.left_s())
        except Empty:
            assert alarm is not None
            alarm.ring()
            continue
        if job is None:
            return
        _do(*job)
        del job  # while it waits it keeps nothing alive


def _do(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    answered: Callable[[], None],
    function: Callable[[], Any],
) -> None:
    result: object = None
    if not future.cancelled():
        try:
            result = function()
        except StopIteration as error:  # a future cannot hold it: who waits would wait for ever
            failure = RuntimeError("a job raised StopIteration")
            failure.__cause__ = error
            _tell(loop, _fail, answered, future, failure)
            return
        except BaseException as error:
            _tell(loop, _fail, answered, future, error)
            return
    _tell(loop, _succeed, answered, future, result)


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(tell, *args)
    except RuntimeError:  # the loop was closed before its answer came: nobody waits
        return


def _succeed(answered: Callable[[], None], future: asyncio.Future[Any], result: object) -> None:
    answered()
    if not future.done():
        future.set_result(result)


def _fail(answered: Callable[[], None], future: asyncio.Future[Any], error: BaseException) -> None:
    answered()
    if not future.done():
        future.set_exception(error)


_running: weakref.WeakSet[Threads] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    """Lets threads finish what they have been handed, as the interpreter ends under them."""
    for threads in list(_running):
        threads.stop(wait=True)
