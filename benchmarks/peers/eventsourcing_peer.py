"""eventsourcing (https://eventsourcing.readthedocs.io), 9.5: applications and aggregates. Blocks.

Events are those of an aggregate that stays in memory between saves, so an append loads nothing;
the default JSON transcoder; data and meta are fields of the event. Each aggregate begins with its
own `Created`, which is not counted. `log_section_size` 1000 instead of 10, for its log's sake.

It stores neither hash nor id of an event. The read model does what its ProjectionRunner does:
`process_event(event, tracking)` in a tracking recorder's transaction for each event, over the
notification log.

On SQLite its recorder turns to WAL by itself and leaves `synchronous` at SQLite's own default,
FULL; both are asked of a connection from its pool. There it has no subscriptions (`subscribe`
raises NotImplementedError): another process selects from the notification log every millisecond.

On PostgreSQL (psycopg) all settings are its defaults; so POSTGRES_ENABLE_DB_FUNCTIONS, which
inserts without the table lock that keeps readers from passing events by, is off. fsync and
synchronous_commit are asked of a connection from its pool. Another process has its subscription,
which listens.
"""

# Peers are not installed where types are checked.
# pyright: basic, reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import InfrastructureFactory, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from benchmarks import postgres, postgres_view, sqlite_view, workload
from benchmarks.peers.durable import require_full
from benchmarks.side import CannotDo, Seen

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


class SqliteBalances(SQLiteTrackingRecorder):
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
            cursor.execute(sqlite_view.UPSERT, (owner, number))


class PostgresBalances(PostgresTrackingRecorder):
    """The same in a schema of PostgreSQL."""

    def __init__(self, datastore: Any, **more: Any) -> None:
        super().__init__(datastore, **more)
        schema = Identifier(datastore.schema)
        self.sql_create_statements.append(
            SQL(
                "CREATE TABLE IF NOT EXISTS {}.balances ("
                "owner text PRIMARY KEY, total bigint NOT NULL, count bigint NOT NULL)"
            ).format(schema)
        )
        self._upsert = SQL(
            postgres_view.UPSERT.replace("INTO balances", "INTO {}.balances")
        ).format(schema)

    def add(self, owner: str, number: int, tracking: Tracking) -> None:
        """Adds a number."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self._upsert, (owner, number), prepare=True)


class Balancing(Projection):
    """Handles one event after the other."""

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Brings the read model up to date with an event."""
        if isinstance(domain_event, Account.Noted):
            view: Any = self.view  # which it takes for any tracking recorder
            view.add(domain_event.owner, domain_event.number, tracking)


class Peer:
    """An open application, on SQLite."""

    balances: type[Any] = SqliteBalances

    async def open(self, address: str) -> None:
        self._accounts = Accounts(self.environment(address))
        self._open: dict[str, Account] = {}
        self._fields = [workload.fields(index) for index in workload.INDICES]
        factory: Any = self._accounts.factory
        with factory.datastore.transaction(commit=True) as cursor:
            self.require_synced(cursor)

    def environment(self, address: str) -> dict[str, str]:
        """Returns what its settings are."""
        return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": address}

    def require_synced(self, cursor: Any) -> None:
        """Raises unless a connection of its syncs every commit."""
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

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        def worker(number: int) -> None:
            for index in range(each):
                self._append(f"{name}-{number}", (index,))

        with ThreadPoolExecutor(tasks) as threads:
            for done in [threads.submit(worker, number) for number in range(tasks)]:
                done.result()

    async def read_stream(self, stream: str) -> Seen:
        return _seen(self._accounts.events.get(Account.create_id(stream)))

    async def read_all(self) -> Seen:
        to_event = self._accounts.mapper.to_domain_event
        return _seen(to_event(found) for found in self._notifications(0))

    async def fold(self, stream: str) -> int:
        account: Any = self._accounts.repository.get(Account.create_id(stream))
        return account.total

    async def snapshot(self, stream: str) -> None:
        self._accounts.take_snapshot(Account.create_id(stream))

    async def project(self, view: str, events: int) -> str:
        environment = Environment("balances", self.environment(view))
        with InfrastructureFactory.construct(environment) as factory:
            balances = factory.tracking_recorder(self.balances)
            projection = Balancing(balances)
            name, to_event = self._accounts.name, self._accounts.mapper.to_domain_event
            for found in self._notifications(balances.max_tracking_id(name) or 0):
                event = to_event(found)
                projection.process_event(event, Tracking(name, found.id))
                events -= isinstance(event, Account.Noted)
                if not events:
                    break
        return view

    async def changes(self, after: int) -> list[tuple[int, int]]:
        found = self._accounts.notification_log.select(after, SECTION, inclusive_of_start=False)
        to_event = self._accounts.mapper.to_domain_event
        events = [(one.id, to_event(one)) for one in found]
        return [(at, event.number) for at, event in events if isinstance(event, Account.Noted)]

    async def take_in(self, source: str) -> int:
        raise CannotDo

    async def verify(self) -> int:
        raise CannotDo

    async def backup(self, address: str) -> None:
        raise CannotDo

    def _notifications(self, after: int) -> Iterator[Any]:
        log = self._accounts.notification_log
        while found := log.select(after, SECTION, inclusive_of_start=False):
            yield from found
            after = found[-1].id


class PostgresPeer(Peer):
    """An open application, on PostgreSQL."""

    balances = PostgresBalances
    _subscription: Any = None

    def environment(self, address: str) -> dict[str, str]:
        url, schema = postgres.split(address)
        parts = conninfo_to_dict(url)
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts.get("port", 5432)),
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": str(parts.get("password", "")),
            "POSTGRES_SCHEMA": schema,
            # Several processes that create at the same time run into each other.
            "CREATE_TABLE": "no" if postgres.has_table(url, schema, "accounts_events") else "yes",
        }

    def require_synced(self, cursor: Any) -> None:
        found: list[object] = []
        for setting in ("fsync", "synchronous_commit"):
            cursor.execute(f"SHOW {setting}")
            found += cursor.fetchone().values()
        postgres.require_synced(*found)

    async def close(self) -> None:
        if self._subscription is not None:
            self._subscription.__exit__(None, None, None)
        await super().close()

    async def changes(self, after: int) -> list[tuple[int, int]]:
        if self._subscription is None:
            self._subscription = self._accounts.recorder.subscribe(gt=after or None)
            self._subscription.__enter__()
        found = next(self._subscription)
        event = self._accounts.mapper.to_domain_event(found)
        return [(found.id, event.number)] if isinstance(event, Account.Noted) else []


on_sqlite = Peer
on_postgres = PostgresPeer


def _seen(events: Any) -> Seen:
    count = total = 0
    for event in events:
        if isinstance(event, Account.Noted):
            count += 1
            total += event.number
    return Seen(count, total)
