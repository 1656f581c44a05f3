"""Reads and commits do not hold up the event loop: others get their turns meanwhile.

Nothing is timed. What runs off the loop is held there until the loop has turned so many times; on
the loop itself it would wait for ever for turns that it prevents.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

from everlog import EventStore, EverlogError
from everlog.adapters.sqlite.connections import open_or_create
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.adapters.sqlite.threads import Threads
from everlog.adapters.sqlite.writing import Writer
from everlog.core.sequencer import check_import
from everlog.store import verifying
from tests.store.programs import EVENTS, MOMENT, Data, names
from tests.store.watched import run

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")

TURNS = 50
PATIENCE_S = 20.0
"""Longer than anything here takes: who waits so long waits for ever."""

Work = Callable[[EventStore], Awaitable[object]]


# --- while another connection holds the lock ---


@contextmanager
def write_transaction(path: Path) -> Generator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def side_lock(path: Path) -> Generator[None]:
    lock = FileLock(f"{path}-lock")
    try:
        with lock.held(0):
            yield
    finally:
        lock.close()


LOCKS = {"a write transaction": write_transaction, "the side lock": side_lock}
Hold = Callable[[Path], AbstractContextManager[None]]


def signalling(reached: asyncio.Event, function: Callable[P, T]) -> Callable[P, T]:
    """Tells the loop when a thread comes by."""
    loop = asyncio.get_running_loop()

    def signal(*args: P.args, **kw: P.kwargs) -> T:
        loop.call_soon_threadsafe(reached.set)
        return function(*args, **kw)

    return signal


async def waits_off_the_loop(path: Path, hold: Hold, *, timeout_s: float) -> None:
    """Appends while another holds the lock: the loop turns, and readers are served."""
    ledger = await SqliteLedger.open(str(path), timeout_s=timeout_s, guard_checkpoints=True)
    async with EventStore(ledger, events=EVENTS) as store:
        await store.append("thing-1", Data("first"))
        reached = asyncio.Event()
        with pytest.MonkeyPatch.context() as watch:
            watch.setattr(Writer, "commit", signalling(reached, Writer.commit))
            with hold(path):
                appending = asyncio.create_task(store.append("thing-1", Data("second")))
                try:
                    await reached.wait()
                    for _ in range(TURNS):
                        await asyncio.sleep(0)
                        assert not appending.done(), "the lock is held, and the loop turns"
                    assert [record.version async for record in store.read("thing-1")] == [1]
                    assert await store.reduce(names, "thing-1") == ["first"]
                    assert not appending.done()
                except AssertionError:
                    appending.cancel()
                    await asyncio.gather(appending, return_exceptions=True)
                    raise
            [record] = await appending
            assert record.version == 2


@pytest.mark.parametrize("lock", LOCKS)
def test_the_loop_turns_while_an_append_waits_for_anothers_lock(tmp_path: Path, lock: str) -> None:
    run(lambda: waits_off_the_loop(tmp_path / "log.db", LOCKS[lock], timeout_s=PATIENCE_S))


@pytest.mark.parametrize("lock", LOCKS)
def test_an_append_that_waits_on_the_loop_is_noticed(
    tmp_path: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_on_the_loop(monkeypatch, WRITER)
    with pytest.raises((AssertionError, EverlogError)) as caught:
        run(lambda: waits_off_the_loop(tmp_path / "log.db", LOCKS[lock], timeout_s=0.05))
    print(f"goes red: {caught.value!r}")


READER, WRITER, CHECKER = "everlog-reader", "everlog-writer", "everlog-check"


def work_on_the_loop(planted: pytest.MonkeyPatch, thread: str) -> None:
    """Plants the fault: what belongs in threads of this name is done at once."""
    original: Any = asyncio.BaseEventLoop.run_in_executor
    original_run: Any = Threads.run

    def at_once(function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def run_in_executor(
        self: asyncio.BaseEventLoop, executor: Any, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        if getattr(executor, "_thread_name_prefix", None) == thread:
            return at_once(function, *args)
        handed_over: asyncio.Future[Any] = original(self, executor, function, *args)
        return handed_over

    def run(self: Threads, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        if self.name == thread:
            return at_once(function, *args)
        handed_over: asyncio.Future[Any] = original_run(self, function, *args)
        return handed_over

    planted.setattr(asyncio.BaseEventLoop, "run_in_executor", run_in_executor)
    planted.setattr(Threads, "run", run)


def test_the_loop_turns_while_an_opening_waits_for_anothers_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"

    async def main() -> None:
        reached = asyncio.Event()
        monkeypatch.setattr(
            "everlog.adapters.sqlite.ledger.open_or_create", signalling(reached, open_or_create)
        )
        with write_transaction(path):

            async def open_it() -> EventStore:
                return await EventStore.open(path, events=EVENTS, timeout_s=PATIENCE_S)

            opening = asyncio.create_task(open_it())
            await reached.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
                assert not opening.done(), "the lock is held, and the loop turns"
        store = await opening
        await store.append("thing-1", Data("first"))
        await store.close()

    run(main)


# --- while much is read, written and computed ---

RECORDS = 4_100
"""Five pages; three of those that are verified at once."""


class HeldUp(Exception):
    """Of no kind that anything here would take for damage in a ledger, and answer."""


class Turnstile:
    """Holds up what passes until the loop has turned."""

    def __init__(self, patience_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s
        self.passed = Counter[str]()

    def before(
        self, name: str, function: Callable[Concatenate[S, P], T]
    ) -> Callable[Concatenate[S, P], T]:
        """Returns the function, behind the turnstile."""

        def wait_and_call(first: S, /, *args: P.args, **kw: P.kwargs) -> T:
            turned = threading.Event()
            self._loop.call_soon_threadsafe(self._turn, TURNS, turned)
            if not turned.wait(self._patience_s):
                raise HeldUp(f"{name} held up the loop")
            self.passed[name] += 1
            return function(first, *args, **kw)

        return wait_and_call

    def _turn(self, left: int, turned: threading.Event) -> None:
        if left:
            self._loop.call_soon(self._turn, left - 1, turned)
        else:
            turned.set()


async def _read(store: EventStore) -> int:
    return len([record.data async for record in store.read()])


async def _import(store: EventStore) -> int:
    records = [
        store.past("thing-3", Data(f"{number}"), created=MOMENT, id=f"late-{number}")
        for number in range(100)
    ]
    return (await store.import_records(records)).stored


async def _backup(store: EventStore) -> None:
    ledger = store.ledger
    assert isinstance(ledger, SqliteLedger)
    await store.backup(f"{ledger.path}.backup")


READ, WRITTEN, VERIFIED, CHECKED = "a read", "a commit", "a page of hashes", "a list of hashes"
THREADS = {READ: READER, WRITTEN: WRITER, VERIFIED: CHECKER, CHECKED: CHECKER}

# And how often each part of it passes by, at least.
WORKS: dict[str, tuple[Work, dict[str, int]]] = {
    "reading": (_read, {READ: 5}),
    "reducing": (lambda store: store.reduce(names), {READ: 5}),
    "appending": (lambda store: store.append("thing-2", Data("x")), {WRITTEN: 1}),
    "importing": (_import, {WRITTEN: 1, CHECKED: 1}),
    # The head, three pages, and what the file contradicts in itself.
    "verifying": (lambda store: store.verify(), {READ: 5, VERIFIED: 3}),
    "looking for an id": (lambda store: store.find("x"), {READ: 1}),
    "asking for relations": (lambda store: store.relations.streams_of("all"), {READ: 1}),
    "backing up": (_backup, {READ: 1}),
}


async def works_off_the_loop(folder: Path, work: Work, *, patience_s: float) -> dict[str, int]:
    """Works on a big ledger, each part of it held until the loop has turned; returns the parts."""
    async with EventStore.open(folder / "log.db", events=EVENTS) as store:
        await store.append("thing-1", *[Data("x")] * RECORDS, relations=["all"])
        turnstile = Turnstile(patience_s)
        check = verifying._Check  # pyright: ignore[reportPrivateUsage]
        reader = SqliteLedger._reader  # pyright: ignore[reportPrivateUsage]
        with pytest.MonkeyPatch.context() as held:
            # Every read asks for its connection first, in the thread that it runs in.
            held.setattr(SqliteLedger, "_reader", turnstile.before(READ, reader))
            held.setattr(Writer, "commit", turnstile.before(WRITTEN, Writer.commit))
            held.setattr(check, "page", turnstile.before(VERIFIED, check.page))
            held.setattr(
                "everlog.store.writing.check_import", turnstile.before(CHECKED, check_import)
            )
            await work(store)
        return dict(turnstile.passed)


@pytest.mark.parametrize("work", WORKS)
def test_the_loop_turns_during_every_part_of_long_work(tmp_path: Path, work: str) -> None:
    async def main() -> None:
        doing, parts = WORKS[work]
        passed = await works_off_the_loop(tmp_path, doing, patience_s=PATIENCE_S)
        assert passed.keys() == parts.keys()
        assert [name for name, count in parts.items() if passed[name] < count] == []

    run(main)


@pytest.mark.parametrize("work", WORKS)
def test_work_on_the_loop_is_noticed(
    tmp_path: Path, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing, parts = WORKS[work]
    for part in parts:
        folder = tmp_path / part
        folder.mkdir()

        async def main(folder: Path = folder) -> None:
            await works_off_the_loop(folder, doing, patience_s=0.2)

        with monkeypatch.context() as planted:
            work_on_the_loop(planted, THREADS[part])
            with pytest.raises(HeldUp, match=f"{part} held up the loop"):
                run(main)
