"""The portal: one thread with one event loop per process, where all blocking stores live."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from everlog.blocking.handler_threads import HandlerThreads
from everlog.errors import ForkedConnection, MisusedStore
from everlog.ports.owner import acting_for

P = ParamSpec("P")
T = TypeVar("T")


def portal() -> Portal:
    """Returns the portal of this process; it is opened on first use, and anew after a fork.

    >>> portal() is portal()
    True
    """
    global _portal
    found = _portal
    if found is None or found.forked:
        with _opening:
            found = _portal
            if found is None or found.forked:
                found = _portal = Portal()
    return found


class Portal:
    """A thread that runs an event loop, and what other threads have it do.

    Nothing of a caller runs in it but what must be pure anyway, such as reducers: functions that a
    caller hands over, such as `decide` of `retrying`, run in the caller's thread while it waits
    (`serve`), and `def` handlers in threads of their own. So no thread waits for itself.
    """

    def __init__(self) -> None:
        """Use `portal()`: all stores of a process share one."""
        self._pid = os.getpid()
        # Of the standard library, whatever policy the program has set. It is never closed: in a
        # forked child that would unhook the parent's loop, whose selector is one with the child's.
        self._loop = asyncio.SelectorEventLoop()
        self._handlers = HandlerThreads()
        self._loop.set_default_executor(self._handlers)
        # A daemon: a store that nobody closed must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._work, name="everlog-portal", daemon=True)
        self._thread.start()

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one in which the portal works."""
        return os.getpid() != self._pid

    def run(self, function: Callable[P, Awaitable[T]], *args: P.args, **kw: P.kwargs) -> T:
        """Returns what the function gives to await, run on the loop in the caller's context.

        Raises what it raises. A `KeyboardInterrupt` (or whatever a signal raises in the waiting
        thread) cancels it, waits until it has ended, as `asyncio.run` does, and is raised; a second
        one does not wait. Raises `ForkedConnection` in a child, and `MisusedStore` on the portal's
        own thread, which would wait for itself.
        """
        return self._wait_for(_Call(self._loop, partial(function, *args, **kw)))

    def serve(self, function: Callable[[Caller], Awaitable[T]]) -> T:
        """As `run`, for a coroutine that has the caller's thread run functions meanwhile."""
        caller = Caller(self._loop)
        return self._wait_for(_Call(self._loop, partial(function, caller), caller.mailbox))

    def call(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> T:
        """Returns what a plain function returns, run on the portal's thread.

        What does not wait can be called there, too.
        """
        if threading.get_ident() == self._thread.ident:
            return function(*args, **kw)

        async def called() -> T:
            return function(*args, **kw)

        return self._wait_for(_Call(self._loop, called))

    def here(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> T:
        """Returns what a function of a store returns, run in the caller's own thread.

        For those that wait for nothing and change nothing in the store but its source of ids.
        """
        with acting_for(self._loop):
            return function(*args, **kw)

    def _wait_for(self, call: _Call[T]) -> T:
        if self.forked:
            raise ForkedConnection(
                f"the store was opened by process {self._pid} and is used in its child "
                f"{os.getpid()}; open the store again after the fork"
            )
        if threading.get_ident() == self._thread.ident:
            raise MisusedStore(
                "a blocking store was used on the thread that it needs itself: inside an "
                "`async def` hook or handler, a reducer or an aggregate's apply. Make a hook or "
                "handler a plain `def`, which runs in a thread of its own; or use the async store"
            )
        if not self._handlers.run_this:
            return call.result()
        with self._handlers.waiting():
            return call.result()

    def _work(self) -> None:
        while True:
            # What a handler raises to end the program ends what waits for that handler. The loop
            # goes on: other threads are waiting, too.
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue


class Caller:
    """The thread that waits for a call, as the call sees it: it can be given functions to run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.mailbox: Mailbox = SimpleQueue()

    async def do(self, function: Callable[P, T], *args: P.args, **kw: P.kwargs) -> T:
        """Returns what the function returns, run in the caller's thread."""
        answer: asyncio.Future[T] = self._loop.create_future()
        self.mailbox.put(_Asked(partial(function, *args, **kw), answer))
        return await answer

    def tell(self, function: Callable[P, object], *args: P.args, **kw: P.kwargs) -> None:
        """Has the caller's thread run a function, and does not wait for it.

        If it raises, the call is cancelled and the caller gets the error.
        """
        self.mailbox.put(_Asked(partial(function, *args, **kw), None))


class _Asked:
    """A function that a call asks its caller's thread to run."""

    def __init__(self, function: Callable[[], Any], answer: asyncio.Future[Any] | None) -> None:
        self._function = function
        self._answer = answer

    def run(self) -> None:
        if self._answer is None:
            self._function()
            return
        try:
            result = self._function()
        except StopIteration as error:  # a future cannot hold it: the call would wait for ever
            failure = RuntimeError("a function that was handed over raised StopIteration")
            failure.__cause__ = error
            self._fail(failure)
        except Exception as error:
            self._fail(error)
        else:
            self._settle(partial(self._answer.set_result, result))

    def refuse(self) -> None:
        """Answers in the place of a caller that was interrupted."""
        if self._answer is not None:
            self._settle(self._answer.cancel)

    def _fail(self, error: Exception) -> None:
        assert self._answer is not None
        self._settle(partial(self._answer.set_exception, error))

    def _settle(self, settle: Callable[[], object]) -> None:
        answer = self._answer
        assert answer is not None

        def settle_unless_cancelled() -> None:
            if not answer.done():
                settle()

        answer.get_loop().call_soon_threadsafe(settle_unless_cancelled)


Mailbox: TypeAlias = "SimpleQueue[_Asked | None]"
"""What the thread that waits is to do next; None: the call has ended."""


class _Call(Generic[T]):
    """A coroutine on its way through the portal, and the thread that waits for it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        function: Callable[[], Awaitable[T]],
        mailbox: Mailbox | None = None,
    ) -> None:
        self._loop = loop
        self._function = function
        self._mailbox: Mailbox = SimpleQueue() if mailbox is None else mailbox
        self._task: asyncio.Task[T] | None = None

    def result(self) -> T:
        """Starts it and waits, running what it asks for; returns or raises its outcome."""
        try:
            # In a copy of the caller's context, as every callback: what is appended for it has
            # its causes, and knows of its handlers.
            self._loop.call_soon_threadsafe(self._start)
            while (asked := self._mailbox.get()) is not None:
                asked.run()
        except BaseException:
            self._give_up()
            raise
        # An error that is kept keeps the frames that it came through, and they this call: without
        # the task, which has the error, that is no circle.
        task, self._task = self._task, None
        assert task is not None
        try:
            return task.result()
        except asyncio.CancelledError as error:
            # Not by this caller, who would have been told above. A plain program does not expect
            # asyncio's own error, which is no Exception.
            raise concurrent.futures.CancelledError(
                "what this call waited for was cancelled by somebody else"
            ) from error
        finally:
            del task

    def _start(self) -> None:
        self._task = self._loop.create_task(_awaited(self._function))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._mailbox.put(None)

    def _give_up(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)
        while (asked := self._mailbox.get()) is not None:
            asked.refuse()

    def _cancel(self) -> None:
        # Before it was handed over, or when it had ended: what told so may have been taken out of
        # the mailbox by the very wait that was interrupted.
        if self._task is None or self._task.done():
            self._mailbox.put(None)
        if self._task is not None:
            self._task.cancel()
            self._task.add_done_callback(_retrieve)


async def _awaited(function: Callable[[], Awaitable[T]]) -> T:
    return await function()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Looks at the error of a call that nobody waits for any more, so that nobody is told of it."""
    if not task.cancelled():
        task.exception()


_portal: Portal | None = None
_opening = threading.Lock()


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.Lock()  # another thread may have held it at the fork


if sys.platform != "win32":  # where no process forks
    os.register_at_fork(after_in_child=_after_fork_in_child)
