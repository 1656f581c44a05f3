"""A real store whose writer stops where a test wants it to, and a caller who is gone by then."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.sqlite import writing
from everlog.adapters.sqlite.connections import Place, connect_writer
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.ports.ledger import Ledger, Outcome, Request
from tests.store.watched import Noted

QUEUED = "queued"
BEFORE_BEGIN = "before BEGIN"
AFTER_BEGIN = "after BEGIN"
AFTER_INSERT = "after INSERT"
COMMIT_SENT = "with COMMIT sent"
ANSWER_PENDING = "with the answer pending"

PATIENCE_S = 60.0
"""For a thread that waits for a test which has failed meanwhile."""


class Held:
    """One stop of the writer, to come."""

    def __init__(self, point: str, loop: asyncio.AbstractEventLoop) -> None:
        self.point = point
        self._loop = loop
        self._reached = asyncio.Event()
        self._go = threading.Event()
        self._went = asyncio.Event()

    async def reached(self) -> None:
        """Returns when the writer has stopped here."""
        await self._reached.wait()

    def release(self) -> None:
        """Lets the writer go on."""
        self._go.set()
        self._went.set()

    def hold(self) -> None:
        """Called in the writer's thread: stops it."""
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._go.wait(PATIENCE_S), "the test never let the writer go on"

    async def hold_task(self) -> None:
        """Called in the writer's task, where there is no thread: stops it."""
        self._reached.set()
        await self._went.wait()


class Stops:
    """Where the writer of a store stops: in turn, each place once."""

    def __init__(self) -> None:
        self._ahead: list[Held] = []
        self._begun = self._inserted = False
        self.path = ""
        self.connection: sqlite3.Connection | None = None
        """The writer's own, if it has one."""
        self.on_statement: Callable[[], None] = lambda: None
        """Called in the writer's thread at the beginning of every statement."""

    def at(self, point: str) -> Held:
        """Makes the writer stop the next time that it gets to a point, behind earlier stops."""
        held = Held(point, asyncio.get_running_loop())
        self._ahead.append(held)
        return held

    def release_all(self) -> None:
        """Lets the writer run, whatever was still to come."""
        while self._ahead:
            self._ahead.pop(0).release()

    def watch(self, connection: sqlite3.Connection) -> None:
        """Follows the statements of the connection that writes."""
        self.connection = connection
        # SQLite calls this when a statement begins to run, in the thread that runs it.
        connection.set_trace_callback(self._statement)

    def next_at(self, point: str) -> Held | None:
        """Returns the stop that is due at a point, if any; it is used up by that."""
        if self._ahead and self._ahead[0].point == point:
            return self._ahead.pop(0)
        return None

    def thread_at(self, point: str) -> None:
        """Stops the writer's thread if a stop is due."""
        held = self.next_at(point)
        if held is not None:
            held.hold()

    async def task_at(self, point: str) -> None:
        """Stops the writer's task if a stop is due."""
        held = self.next_at(point)
        if held is not None:
            await held.hold_task()

    def _statement(self, statement: str) -> None:
        self.on_statement()
        words = " ".join(statement.split()[:3]).upper()
        if words.startswith("BEGIN"):
            self._begun, self._inserted = True, False
            self.thread_at(BEFORE_BEGIN)
        elif self._begun:
            self._begun = False
            self.thread_at(AFTER_BEGIN)
        elif words.startswith("INSERT INTO RECORDS"):
            self._inserted = True
        elif self._inserted and not words.startswith("--"):  # triggers are traced as comments
            self._inserted = False
            self.thread_at(AFTER_INSERT)
        if words.startswith("COMMIT"):
            self.thread_at(COMMIT_SENT)

    # --- what may come between, while the writer is stopped: each by real means ---

    def interrupt(self) -> None:
        """Makes the statement that is about to run fail, and its transaction with it."""
        assert self.connection is not None
        self.connection.interrupt()

    @contextmanager
    def no_room(self) -> Generator[None]:
        """Makes writes behind the end of the WAL fail: the disk's I/O error of a real COMMIT."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Python ignores SIGXFSZ, so the write itself fails.
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(self.path + "-wal"), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @contextmanager
    def locked(self) -> Generator[None]:
        """Holds the write lock of the file as another program does, for as long as the block."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                other.execute("ROLLBACK")


class StoppedMemory(MemoryLedger):
    """Memory writes in one go: there is a before and an after, and nothing between."""

    stops: Stops

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        await self.stops.task_at(BEFORE_BEGIN)
        outcomes = await super().commit(requests)
        await self.stops.task_at(ANSWER_PENDING)
        return outcomes


@asynccontextmanager
async def stopping(
    kind: str, path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncGenerator[tuple[Ledger, Stops]]:
    """Opens a ledger of a kind, with a writer that stops."""
    stops = Stops()
    if kind == "memory":
        memory = StoppedMemory()
        memory.stops = stops
        try:
            yield memory, stops
        finally:
            stops.release_all()
        return
    commit = writing.Writer.commit

    def watched(place: Place) -> sqlite3.Connection:
        connection = connect_writer(place)
        stops.watch(connection)
        return connection

    def committed(self: writing.Writer, requests: Sequence[Request]) -> list[Outcome]:
        outcomes = commit(self, requests)
        stops.thread_at(ANSWER_PENDING)
        return outcomes

    with monkeypatch.context() as patched:
        patched.setattr(writing, "connect_writer", watched)
        patched.setattr(writing.Writer, "commit", committed)
        ledger = await SqliteLedger.open(str(path), **options)
        stops.path = ledger.path
        try:
            yield ledger, stops
        finally:
            stops.release_all()


@asynccontextmanager
async def stopping_store(
    kind: str, path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncGenerator[tuple[EventStore, Stops]]:
    """Opens a store over such a ledger."""
    async with (
        stopping(kind, path, monkeypatch, **options) as (ledger, stops),
        EventStore(ledger, events=[Noted]) as store,
    ):
        try:
            yield store, stops
        finally:
            stops.release_all()  # or closing would wait for it


# --- callers, and how each is called off ---


class Boom(Exception):
    """What a sibling in a task group fails with."""


CallOff = Callable[[], None]


def by_cancel(call: Callable[[], Awaitable[Any]]) -> tuple[asyncio.Task[Any], CallOff]:
    """A task that is cancelled."""

    async def caller() -> Any:
        return await call()

    task = asyncio.create_task(caller())
    return task, lambda: _called_off(task.cancel())


def by_timeout(call: Callable[[], Awaitable[Any]]) -> tuple[asyncio.Task[Any], CallOff]:
    """A caller whose timeout expires, when the test says so."""
    timeout = asyncio.timeout(None)

    async def caller() -> Any:
        async with timeout:
            return await call()

    return asyncio.create_task(caller()), lambda: timeout.reschedule(
        asyncio.get_running_loop().time()
    )


def by_sibling(call: Callable[[], Awaitable[Any]]) -> tuple[asyncio.Task[Any], CallOff]:
    """A member of a task group whose sibling fails."""
    fails = asyncio.Event()

    async def sibling() -> None:
        await fails.wait()
        raise Boom

    async def caller() -> Any:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(sibling())
            called = group.create_task(_awaited(call))
            await asyncio.wait([called])
            waiting.cancel()
        return called.result()

    return asyncio.create_task(caller()), fails.set


MODES: dict[str, Callable[[Callable[[], Awaitable[Any]]], tuple[asyncio.Task[Any], CallOff]]] = {
    "cancelled": by_cancel,
    "timed out": by_timeout,
    "its task group failed": by_sibling,
}


async def called_off(task: asyncio.Task[Any], mode: str) -> None:
    """Waits until the caller has been told, and asserts that it was told what the mode says."""
    await asyncio.wait([task])
    if mode == "cancelled":
        assert task.cancelled()
        return
    error = task.exception()
    if mode == "timed out":
        assert type(error) is TimeoutError
    else:
        assert type(error) is ExceptionGroup
        assert "Boom()" in repr(error)


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


def _called_off(taken: bool) -> None:
    assert taken, "there was nothing left to cancel"
