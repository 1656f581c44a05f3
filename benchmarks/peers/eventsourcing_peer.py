"""eventsourcing (https://eventsourcing.readthedocs.io), 9.5: applications and aggregates. Blocks.

Events are those of an aggregate that stays in memory between saves, so an append loads nothing;
the default JSON transcoder; data and meta are fields of the event. Each aggregate begins with its
own `Created`, which is not counted. `log_section_size` 1000 instead of 10, for its log's sake.

Its SQLite recorder turns to WAL by itself and leaves `synchronous` at SQLite's own default, FULL;
both are asked of a connection from its pool. It stores neither hash nor id of an event.

Its SQLite recorder has no subscriptions (`subscribe` raises NotImplementedError), and so neither
has its ProjectionRunner: the read model does what a runner does, `process_event(event, tracking)`
in a tracking recorder's transaction for each event, over the notification log. Another process
selects from the notification log every millisecond.
"""

# Peers are not installed where types are checked.
# pyright: basic, reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import InfrastructureFactory, Tracking
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment

from benchmarks import workload
from benchmarks.peers.durable import require_full
from benchmarks.side import CannotDo, Seen
from benchmarks.view import UPSERT

SECTION = 1000


class Account(Aggregate):
    """Adds up the numbers that it noted."""

    class Noted(Aggregate.Event):
        """The event of the workload."""

        active: bool
        number: int
        owner: str
        text: str
        meta: dict[str, str]

        def apply(self, aggregate: Account) -> None:
            """Folds this event onto the aggregate."""
            aggregate.total += self.number

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.total = 0

    @staticmethod
    def create_id(stream: str) -> UUID:
        """Returns the id that follows from a name."""
        return uuid5(NAMESPACE_URL, stream)


class Accounts(Application):
    """The log."""

    is_snapshotting_enabled = True
    log_section_size = SECTION


class Balances(SQLiteTrackingRecorder):
    """The read model: one UPSERT an event, in the transaction that records the tracking."""

    def construct_create_table_statements(self) -> list[str]:
        """Returns what is run when the recorder is made."""
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS balances ("
            "owner TEXT PRIMARY KEY, total INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID",
        ]

    def add(self, owner: str, number: int, tracking: Tracking) -> None:
        """Adds a number."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(UPSERT, (owner, number))


class Balancing(Projection):
    """Handles one event after the other."""

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Brings the read model up to date with an event."""
        if isinstance(domain_event, Account.Noted):
            self.view.add(domain_event.owner, domain_event.number, tracking)


def _environment(path: Path) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(path)}


class Peer:
    """An open application."""

    async def open(self, path: Path) -> None:
        self._accounts = Accounts(_environment(path))
        self._open: dict[str, Account] = {}
        self._fields = [workload.fields(index) for index in workload.INDICES]
        with self._accounts.factory.datastore.transaction(commit=True) as cursor:
            cursor.execute("PRAGMA journal_mode")
            [journal_mode] = cursor.fetchone()
            cursor.execute("PRAGMA synchronous")
            [synchronous] = cursor.fetchone()
        require_full(journal_mode, synchronous)

    async def close(self) -> None:
        self._accounts.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        self._append(stream, indices)

    def _append(self, stream: str, indices: Sequence[int]) -> None:
        account = self._open.get(stream)
        if account is None:
            account = self._open[stream] = Account(stream)
        for index in indices:
            account.trigger_event(Account.Noted, **self._fields[index], meta=workload.META)
        self._accounts.save(account)

    async def append_together(self, tasks: int, each: int) -> None:
        def worker(number: int) -> None:
            for index in range(each):
                self._append(f"task-{number}", (index,))

        with ThreadPoolExecutor(tasks) as threads:
            for done in [threads.submit(worker, number) for number in range(tasks)]:
                done.result()

    async def read_stream(self, stream: str) -> Seen:
        return _seen(self._accounts.events.get(Account.create_id(stream)))

    async def read_all(self) -> Seen:
        to_event = self._accounts.mapper.to_domain_event
        return _seen(to_event(found) for found in self._notifications(0))

    async def fold(self, stream: str) -> int:
        return self._accounts.repository.get(Account.create_id(stream)).total

    async def snapshot(self, stream: str) -> None:
        self._accounts.take_snapshot(Account.create_id(stream))

    async def project(self, view: Path, events: int) -> None:
        environment = Environment("balances", _environment(view))
        with InfrastructureFactory.construct(environment) as factory:
            balances = factory.tracking_recorder(Balances)
            projection = Balancing(balances)
            name, to_event = self._accounts.name, self._accounts.mapper.to_domain_event
            for found in self._notifications(balances.max_tracking_id(name) or 0):
                event = to_event(found)
                projection.process_event(event, Tracking(name, found.id))
                events -= isinstance(event, Account.Noted)
                if not events:
                    return

    async def changes(self, after: int) -> list[tuple[int, int]]:
        found = self._accounts.notification_log.select(after, SECTION, inclusive_of_start=False)
        to_event = self._accounts.mapper.to_domain_event
        events = [(one.id, to_event(one)) for one in found]
        return [(at, event.number) for at, event in events if isinstance(event, Account.Noted)]

    async def verify(self) -> int:
        raise CannotDo

    async def backup(self, path: Path) -> None:
        raise CannotDo

    def _notifications(self, after: int) -> Iterator[Any]:
        log = self._accounts.notification_log
        while found := log.select(after, SECTION, inclusive_of_start=False):
            yield from found
            after = found[-1].id


def _seen(events: Any) -> Seen:
    count = total = 0
    for event in events:
        if isinstance(event, Account.Noted):
            count += 1
            total += event.number
    return Seen(count, total)
