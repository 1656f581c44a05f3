"""Programs that are interrupted at the end of a transaction.

`python -m tests.blocking.transaction_programs NAME URL`; they talk by lines.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from everlog.blocking import EventStore
from tests.blocking.notes import EVENTS, Noted
from tests.blocking.programs import hear, say


class Bought:
    """An order that is being bought when the interrupt comes."""

    def __init__(self, url: str) -> None:
        self.dsn = url
        self.store = EventStore.open(url, events=EVENTS)
        self.connection = psycopg.connect(url)
        self.direct = psycopg.connect(url, autocommit=True)

    def buy(self) -> None:
        with self.store.transaction(self.connection) as tx:
            self.connection.execute("INSERT INTO orders VALUES (1)")
            tx.append("a", Noted(1), ids=["one"])

    @contextmanager
    def locked(self, released: threading.Event) -> Generator[None]:
        """Holds the ledger's lock until it is to be released."""
        held = threading.Event()

        def hold() -> None:
            with psycopg.connect(self.dsn) as holder:
                ledger: Any = self.store.ledger
                key = ledger._ledger.place.lock_key
                holder.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
                held.set()
                released.wait()

        holding = threading.Thread(target=hold)
        holding.start()
        held.wait()
        try:
            yield
        finally:
            released.set()
            holding.join()

    def waiting(self) -> bool:
        """Whether somebody waits for the lock."""
        return bool(
            self.direct.execute(
                "SELECT true FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            ).fetchall()
        )

    def queued(self) -> bool:
        """Whether somebody waits for a turn in the committer."""
        store: Any = self.store
        return bool(store._store._committer._queue)

    def tell(self) -> None:
        """Says what is there, and whether the connection is free."""
        free = self.connection.info.transaction_status == TransactionStatus.IDLE
        orders = self.direct.execute("SELECT number FROM orders").fetchall()
        say(free, orders, [record.id for record in self.store.read("a")])

    def close(self) -> None:
        self.store.close()
        self.connection.close()
        self.direct.close()


def when(true: Callable[[], bool], act: Callable[[], object]) -> None:
    """Acts in another thread as soon as something is so."""

    def watch() -> None:
        while not true():
            time.sleep(0.002)
        act()

    threading.Thread(target=watch).start()


def interrupted_in_the_commit(url: str) -> None:
    """The interrupt comes when the commit waits for the lock: it is waited for to its end."""
    bought, released = Bought(url), threading.Event()

    def go_on() -> None:
        say("in the commit")
        assert hear() == "go on"
        released.set()

    with bought.locked(released):
        when(bought.waiting, go_on)
        try:
            bought.buy()
        except KeyboardInterrupt:
            say("interrupted, and the lock was", "released" if released.is_set() else "held")
    bought.tell()
    bought.close()


def interrupted_in_the_queue(url: str) -> None:
    """The interrupt comes when somebody else has the turn: nothing is waited for."""
    bought, released = Bought(url), threading.Event()
    appending = threading.Thread(target=bought.store.append, args=("b", Noted(2)))
    with bought.locked(released):
        appending.start()
        while not bought.waiting():
            time.sleep(0.002)
        when(bought.queued, lambda: say("in the queue"))
        try:
            bought.buy()
        except KeyboardInterrupt:
            say("interrupted, and the lock was", "released" if released.is_set() else "held")
    appending.join()
    bought.tell()
    bought.close()


def interrupt(number: int, frame: object) -> None:
    say("a signal")
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupt)
    globals()[sys.argv[1]](sys.argv[2])
