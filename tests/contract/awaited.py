"""A blocking store that can be awaited, so that the topics of the contract suite can call it.

The topics run in an event loop of their own, and so does the ledger. The blocking store lives on
the portal, and gets a `Bridge`: a ledger whose methods hop to the test's loop. Each call of a topic
runs the blocking method in a thread. Cancelling the call does to that thread what Ctrl-C does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import copy_context
from typing import Any, cast

import pytest

from everlog import blocking
from everlog.blocking import portal as portal_module
from everlog.blocking.ledger import Ledger as BlockingLedger
from everlog.ports.ledger import Ledger
from everlog.ports.upstreams import Upstreams
from everlog.store.event_store import EventStore
from everlog.store.relations import Relations
from everlog.store.snapshots import Snapshots


class Bridge:
    """A ledger of one event loop, or its upstreams, as another loop sees it."""

    def __init__(
        self, ledger: Ledger | Upstreams, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        """`loop`: that of the ledger; by default the running one."""
        self._ledger = ledger
        self._loop = loop or asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._ledger, name)
        if name == "upstreams":
            return Bridge(member, self._loop)
        if not callable(member):
            return member
        method: Callable[..., Any] = member

        async def called(*args: Any, **kw: Any) -> Any:
            return await method(*args, **kw)

        async def there(*args: Any, **kw: Any) -> Any:
            future = asyncio.run_coroutine_threadsafe(called(*args, **kw), self._loop)
            return await asyncio.wrap_future(future)

        return there


class Awaited:
    """A blocking object with the methods of the async one."""

    def __init__(self, there: Any, theirs: type[Any]) -> None:
        self.blocking = there
        self._theirs = theirs

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.blocking, name)
        if name == "relations":
            return Awaited(member, Relations)
        if name == "snapshots":
            return Awaited(member, Snapshots)
        if name == "ledger":
            return Awaited(member, Ledger)
        if name == "upstreams":
            return Awaited(member, Upstreams)
        if not callable(member):
            return member
        method: Callable[..., Any] = member
        # Of the ledger port, `commit` alone may begin before it is awaited.
        if name == "commit" or inspect.iscoroutinefunction(getattr(self._theirs, name)):

            async def awaited(*args: Any, **kw: Any) -> Any:
                plain = [_plain(arg) for arg in args]
                return await in_thread(lambda: method(*plain, **kw))

            return awaited

        def direct(*args: Any, **kw: Any) -> Any:
            result = method(*args, **kw)
            return AwaitedReading(result) if isinstance(result, blocking.Reading) else result

        return direct

    async def __aenter__(self) -> Any:
        return await in_thread(self.blocking.__enter__)

    async def __aexit__(self, *error: Any) -> None:
        await in_thread(lambda: self.blocking.__exit__(*error))


class AwaitedReading:
    """A blocking reading with the methods of the async one."""

    def __init__(self, reading: Any) -> None:
        self.reading = reading

    async def __aiter__(self) -> AsyncIterator[Any]:
        iterator: Iterator[Any] = iter(self.reading)
        end = object()
        while (record := await in_thread(lambda: next(iterator, end))) is not end:
            yield record

    async def to_list(self) -> Any:
        return await in_thread(self.reading.to_list)

    async def first(self) -> Any:
        return await in_thread(self.reading.first)


def _plain(argument: Any) -> Any:
    """Returns an argument as a blocking program would pass it."""
    if isinstance(argument, AwaitedReading):
        return argument.reading
    if issubclass(type(argument), AsyncIterator):
        return _iterated(argument, asyncio.get_running_loop())
    return argument


def _iterated(records: AsyncIterator[Any], loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
    async def next_one() -> Any:
        return await anext(records)

    while True:
        try:
            yield asyncio.run_coroutine_threadsafe(next_one(), loop).result()
        except StopAsyncIteration:
            return


class Caller:
    """A thread that calls a blocking method, and the calls through the portal that it waits for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.begun = threading.Event()
        """Set when the portal has taken the first step of the call, or the method has ended."""

    def interrupt(self) -> None:
        """Raises KeyboardInterrupt in the thread, as Ctrl-C does: where it waits."""

        def raise_it() -> None:
            raise KeyboardInterrupt

        for call in self.calls[-1:]:
            call._mailbox.put(vars(portal_module)["_Asked"](raise_it, None))


_here = threading.local()


async def in_thread(method: Callable[[], Any]) -> Any:
    """Returns what the method returns, called in a thread; cancelling it interrupts the thread.

    Its first step is up to where the portal waits for the ledger, as with a coroutine.
    """
    caller = Caller()
    outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def work() -> None:
        _here.caller = caller
        try:
            outcome.set_result(method())
        except BaseException as error:
            outcome.set_exception(error)
        finally:
            caller.begun.set()

    threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
    caller.begun.wait()  # the portal needs nothing of this loop for a first step
    if outcome.done():
        return outcome.result()
    waiting = asyncio.wrap_future(outcome)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        caller.interrupt()
        await asyncio.wait([waiting])
        waiting.exception()
        raise


@pytest.fixture(autouse=True)
def watched_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `in_thread` see how far the calls of its threads have got."""
    kind: Any = vars(portal_module)["_Call"]
    start, result = kind._start, kind.result

    def watched_result(self: Any) -> Any:
        caller: Caller | None = getattr(_here, "caller", None)
        if caller is None:
            return result(self)
        self.caller = caller
        caller.calls.append(self)
        try:
            return result(self)
        finally:
            caller.calls.remove(self)

    def watched_start(self: Any) -> None:
        start(self)
        caller: Caller | None = getattr(self, "caller", None)
        if caller is not None:  # behind the first step of the task
            self._loop.call_soon(caller.begun.set)

    monkeypatch.setattr(kind, "result", watched_result)
    monkeypatch.setattr(kind, "_start", watched_start)


def awaited_store(
    ledger: Ledger, *, events: Iterable[type[Any]], snapshots: Any, seams: Any
) -> EventStore:
    """Makes a blocking store over a ledger of the running loop, as the topics call it."""
    bridge = cast(Ledger, Bridge(ledger))
    there = BlockingLedger(portal_module.portal(), bridge)
    store = blocking.EventStore(there, events=events, snapshots=snapshots, seams=seams)
    return cast(EventStore, Awaited(store, EventStore))
