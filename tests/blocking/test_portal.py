"""The portal: what a call returns and raises, in which context, and how it is interrupted."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any

import pytest

from everlog.blocking import EventStore, StoreClosed, WrongVersion
from everlog.blocking import portal as portal_module
from everlog.blocking.portal import Caller, portal
from everlog.errors import MisusedStore
from tests.blocking.notes import EVENTS, PATIENCE_S, Noted, Notes, in_threads

variable: ContextVar[str] = ContextVar("variable", default="nobody's")


def test_a_call_runs_in_a_copy_of_the_callers_context() -> None:
    async def look() -> str:
        seen = variable.get()
        variable.set("the portal's")
        return seen

    token = variable.set("the caller's")
    try:
        assert portal().run(look) == "the caller's"
        assert portal().call(variable.get) == "the caller's"
        assert variable.get() == "the caller's"
    finally:
        variable.reset(token)
    assert portal().run(look) == "nobody's"


def test_an_error_is_the_original_one_with_the_way_it_came() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        with pytest.raises(WrongVersion) as caught:
            store.append("a", Noted(1), expect=7)
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names[0] == "test_an_error_is_the_original_one_with_the_way_it_came"
        assert names.count("append") > 2, "the facade's, and on the portal the store's own"
        assert (caught.value.expected, caught.value.actual) == (7, 0)


def test_an_error_that_is_let_go_of_keeps_nothing_alive() -> None:
    class Argument:
        pass

    async def fail(argument: Argument) -> None:
        raise ValueError

    def fail_and_forget() -> weakref.ref[Argument]:
        argument = Argument()
        try:
            portal().run(fail, argument)
        except ValueError:
            return weakref.ref(argument)
        raise AssertionError("nothing was raised")

    gc.collect()
    gc.disable()  # without its help: what is kept in a circle stays until it comes
    try:
        found = fail_and_forget()
        portal().run(asyncio.sleep, 0)  # the portal has let go of the task, too
        assert found() is None
    finally:
        gc.enable()


def test_a_store_is_used_where_an_event_loop_runs() -> None:
    """As in a notebook, whose cells run inside one."""

    async def cell() -> list[int]:
        with EventStore.open("memory:", events=EVENTS) as store:
            store.append("a", Noted(1), Noted(2))
            return [record.data.number for record in store.read("a")]

    assert asyncio.run(cell()) == [1, 2]


def test_a_call_on_the_portals_own_thread_is_refused_and_does_not_hang() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:

        async def wrong() -> None:
            store.append("a", Noted(1))

        with pytest.raises(MisusedStore, match="a plain `def`"):
            portal().run(wrong)

        async def right() -> str:
            return store.new(Notes, id="notes-1").note(3).log.stream  # which waits for nothing

        assert portal().run(right) == "notes-1"


def test_a_closed_store_says_so_and_may_be_closed_again() -> None:
    store = EventStore.open("memory:", events=EVENTS)
    reading = store.read()
    store.close()
    store.close(timeout_s=1)
    for call in (store.info, store.read, reading.to_list, reading.first, store.drained):
        with pytest.raises(StoreClosed):
            call()
    with pytest.raises(StoreClosed), store:
        store.append("a", Noted(1))


def test_an_error_in_opening_is_raised_and_opens_nothing() -> None:
    from everlog.errors import InvalidInput

    for url, options in (("nowhere", {}), ("memory:", {"snapshots": "often"})):
        wrong: Any = options
        with pytest.raises(InvalidInput):
            EventStore.open(url, **wrong)


class Interrupted(BaseException):
    """What a signal handler raises."""


def interrupting(
    waits: Callable[[list[str]], Coroutine[Any, Any, None]],
) -> tuple[BaseException | None, list[str]]:
    """Raises in a thread that waits for a call, where a signal would; returns what came of it."""
    events: list[str] = []
    raised: list[BaseException] = []
    callers: list[Caller] = []
    begun = threading.Event()

    async def call(caller: Caller) -> None:
        callers.append(caller)
        begun.set()
        await waits(events)

    def work() -> None:
        try:
            portal().serve(call)
        except BaseException as error:
            events.append("raised")
            raised.append(error)

    def signal() -> None:
        raise Interrupted

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(PATIENCE_S)
    callers[0].tell(signal)
    thread.join(PATIENCE_S)
    return (raised[0] if raised else None), events


def test_an_interrupt_cancels_the_call_and_is_raised_when_it_has_ended() -> None:
    async def wait(events: list[str]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            await asyncio.sleep(0)
            events.append("ended")
            raise

    raised, events = interrupting(wait)
    assert isinstance(raised, Interrupted)
    assert events == ["cancelled", "ended", "raised"]


def test_an_interrupt_is_raised_whatever_the_cancelled_call_makes_of_it() -> None:
    async def goes_on(events: list[str]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("kept to itself")

    async def fails(events: list[str]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("nobody hears of it")

    for wait in (goes_on, fails):
        raised, _ = interrupting(wait)
        assert isinstance(raised, Interrupted)


def test_what_an_interrupted_call_asks_for_is_refused_and_not_waited_for() -> None:
    ran: list[str] = []
    caller_of: list[Caller] = []

    async def asks(caller: Caller) -> None:
        caller_of.append(caller)
        try:
            await caller.do(interrupt)
        finally:
            await caller.do(ran.append, "after the interrupt")

    def interrupt() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        portal().serve(asks)
    assert ran == []


def test_what_was_cancelled_by_somebody_else_is_an_ordinary_error() -> None:
    async def cancelled() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(concurrent.futures.CancelledError, match="somebody else"):
        portal().run(cancelled)


def test_an_interrupt_before_the_call_is_handed_over_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, ran = portal(), list[str]()
    loop: Any = vars(here)["_loop"]
    hand_over = loop.call_soon_threadsafe

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(loop, "call_soon_threadsafe", hand_over)
        raise Interrupted

    async def run() -> None:
        ran.append("ran")

    monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(Interrupted):
        here.run(run)
    assert ran == []


def test_an_interrupt_as_the_end_of_a_call_is_told_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[str] = []

    class Interrupting(SimpleQueue[Any]):
        """As a signal that comes when a wait is over: what was waited for is taken, and lost."""

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            got = super().get(timeout=PATIENCE_S)
            if not ended:
                ended.append("told")
                raise Interrupted
            return got

    async def run() -> str:
        return "stored"

    monkeypatch.setattr(portal_module, "SimpleQueue", Interrupting)
    with pytest.raises(Interrupted):
        portal().run(run)
    assert ended == ["told"]


def test_the_portal_is_one_for_all_threads_that_begin_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, asking = 8, threading.Semaphore(0)
    made: list[object] = []

    class Slow:
        """A portal that takes until all threads have asked for one."""

        forked = False

        def __init__(self) -> None:
            made.append(self)
            for _ in range(count if len(made) == 1 else 0):
                assert asking.acquire(timeout=PATIENCE_S)

    monkeypatch.setattr(portal_module, "_portal", None)
    monkeypatch.setattr(portal_module, "Portal", Slow)
    found: list[object] = []

    def look(_: int) -> None:
        asking.release()
        found.append(portal())

    in_threads(count, look)
    assert len(found) == count
    assert set(map(id, found)) == {id(made[0])}
