"""Programs that the process tests run: `python -m tests.blocking.programs NAME PATH`.

They talk by lines on standard input and output.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable

from everlog.blocking import Appended, EventStore
from everlog.blocking import portal as portal_module
from everlog.blocking.portal import portal
from everlog.errors import ForkedConnection
from tests.blocking.notes import EVENTS, PATIENCE_S, Noted


def say(*words: object) -> None:
    print(*words, flush=True)


def hear() -> str:
    return sys.stdin.readline().strip()


class Gate:
    """A wall clock that holds the thread that commits, while it is shut."""

    def __init__(self) -> None:
        self.shut = False

    def __call__(self) -> int:
        if self.shut and threading.current_thread().name.startswith("everlog-writer"):
            self.shut = False
            say("in the commit")
            assert hear() == "go on"
        return time.time_ns() // 1_000_000


def interrupted_in_the_commit(path: str) -> None:
    """An append is interrupted while its transaction runs, and repeated with the same ids."""
    gate = Gate()
    with EventStore.open(f"sqlite:///{path}", events=EVENTS, clock=gate) as store:
        gate.shut = True
        try:
            store.append("a", Noted(1), Noted(2), ids=["x", "y"])
        except KeyboardInterrupt:
            say("interrupted")
        settle(store)


def interrupted_in_the_queue(path: str) -> None:
    """An append is interrupted while it waits behind another's transaction."""
    gate = Gate()
    with EventStore.open(f"sqlite:///{path}", events=EVENTS, clock=gate) as store:
        gate.shut = True
        first = threading.Thread(target=store.append, args=("b", Noted(0)), kwargs={"ids": ["b"]})
        first.start()
        try:
            while gate.shut:  # or both may come into one commit
                time.sleep(0.0005)
            store.append("a", Noted(1), Noted(2), ids=["x", "y"])
        except KeyboardInterrupt:
            say("interrupted", store.find("x"))
        first.join()
        settle(store)


def settle(store: EventStore) -> None:
    records = store.append("a", Noted(1), Noted(2), ids=["x", "y"], expect=0)
    say([record.position for record in records], store.info().position, store.verify().ok)


def interrupted_twice(path: str) -> None:
    """What is interrupted does not end; a second Ctrl-C does not wait for it."""

    async def stubborn() -> None:
        say("waiting")
        while True:
            try:
                await asyncio.sleep(3_600)  # never over: the program ends before
            except asyncio.CancelledError:
                say("cancelled, and it goes on")

    try:
        portal().run(stubborn)
    except KeyboardInterrupt:
        say("interrupted")


def forked(path: str) -> None:
    """A child is refused the store of its parent, opens its own, and harms nothing.

    The portal is busy at every fork, the file is not: SQLite itself does not let a child open a
    file on which its parent was in the middle of a transaction.
    """
    store = EventStore.open(f"sqlite:///{path}", events=EVENTS)
    memory = EventStore.open("memory:", events=EVENTS)
    store.append("a", Noted(0))
    reading, ended = store.read(), threading.Event()

    def write() -> None:
        while not ended.is_set():
            memory.append("w", Noted(1))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    calls: list[Callable[[], object]] = [
        lambda: store.append("a", Noted(1)),
        lambda: memory.append("a", Noted(1)),
        lambda: store.read("a"),
        store.info,
        reading.to_list,
        lambda: store.relations.add("r", "a"),
        store.verify,
    ]
    for _ in range(10):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            with vars(portal_module)["_opening"]:  # as if a thread were opening a portal just now
                child = os.fork()
                if child == 0:
                    os._exit(_child(path, store, calls))
        _, status = os.waitpid(child, 0)
        say("child", os.waitstatus_to_exitcode(status))
        store.append("a", Noted(2))
    ended.set()
    for writer in writers:
        writer.join()
    assert memory.verify().ok
    say("parent", len(store.read("a").to_list()), store.verify().ok)
    store.close()


def _child(path: str, store: EventStore, calls: list[Callable[[], object]]) -> int:
    try:
        refused = 0
        for call in calls:
            try:
                call()
            except ForkedConnection:
                refused += 1
        store.close()
        with EventStore.open(f"sqlite:///{path}", events=EVENTS) as own:
            own.append("c", Noted(3))
            own.read("c").to_list()
        return 0 if refused == len(calls) else 1
    except BaseException as error:
        say(repr(error))
        return 2


def forked_and_left(path: str) -> None:
    """A child ends as a program does, with all that it has inherited."""
    store = EventStore.open(f"sqlite:///{path}", events=EVENTS)
    store.append("a", Noted(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        return
    _, status = os.waitpid(child, 0)
    say("child", os.waitstatus_to_exitcode(status), store.append("a", Noted(1))[0].position)
    store.close()


def forked_and_replaced(path: str) -> None:
    """A child lets go of all that it has inherited; its parent's loop goes on."""
    store = EventStore.open(f"sqlite:///{path}", events=EVENTS)
    store.append("a", Noted(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        del store
        EventStore.open("memory:").close()
        gc.collect()
        return
    _, status = os.waitpid(child, 0)
    say("child", os.waitstatus_to_exitcode(status), store.append("a", Noted(1))[0].position)
    store.close()


def left_open(path: str) -> None:
    """The program ends, and nobody has closed its stores."""
    store = EventStore.open(f"sqlite:///{path}", events=EVENTS)
    memory = EventStore.open("memory:", events=EVENTS)
    memory.append("a", Noted(1))
    say(store.append("a", Noted(1))[0].position)


def left_open_with_a_handler_that_hangs(path: str) -> None:
    """The program ends while a handler waits for ever, and an append waits for the handler."""
    store = EventStore.open(f"sqlite:///{path}", events=EVENTS)
    entered = threading.Event()

    def hang(appended: Appended) -> None:
        entered.set()
        threading.Event().wait()

    store.on_appended(hang)
    threading.Thread(target=store.append, args=("a", Noted(1)), daemon=True).start()
    assert entered.wait(PATIENCE_S)
    say("entered")


def a_thread_outlives_the_main_one(path: str) -> None:
    """A thread that is no daemon goes on appending when the main one has ended."""
    store = EventStore.open(f"sqlite:///{path}", events=EVENTS)
    main = threading.main_thread()

    def go_on() -> None:
        main.join()
        for number in range(100):
            store.append("a", Noted(number))
        say("appended", len(store.read("a").to_list()))

    threading.Thread(target=go_on).start()
    say("main ends")


if __name__ == "__main__":
    # A shell that starts the tests in its background has all below it ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    globals()[sys.argv[1]](sys.argv[2])
