"""python-event-sourcery (https://github.com/Enforcer/python-event-sourcery): SQLAlchemy. Blocks.

A session and a backend for each unit of work, as in its quick start, with the expected version and
a commit; meta is a component of the event's context. `gap_retry_interval` is 10 ms, or reading
everything would end with half a second of sleep.

On SQLite WAL is set by an event hook of SQLAlchemy on every connection, as is `synchronous=FULL`.
On PostgreSQL the driver is psycopg2, which it brings, and the pool has 20 connections; fsync and
synchronous_commit are asked of one.

A snapshot would be an event of a type of its own, which the aggregate applies: not measured.
The read model is its `Projector` with `SqlAlchemyCursorsDao`, committed event by event in the read
model's own session, fed by its subscription. Another process takes the subscription.
"""

# Peers are not installed where types are checked.
# pyright: basic, reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar

from event_sourcery import StreamId, StreamUUID
from event_sourcery.event import Context, ContextComponent, Event, WrappedEvent
from event_sourcery.event_sourcing import Aggregate, Repository
from event_sourcery.read_model import Projector
from event_sourcery_sqlalchemy import SQLAlchemyBackend, SQLAlchemyConfig, configure_models
from event_sourcery_sqlalchemy.cursors_dao import SqlAlchemyCursorsDao
from event_sourcery_sqlalchemy.models.default import DefaultProjectorCursor
from sqlalchemy import create_engine, text
from sqlalchemy import event as hooks
from sqlalchemy.orm import DeclarativeBase, Session

from benchmarks import postgres, workload
from benchmarks.peers.durable import require_full
from benchmarks.side import CannotDo, Seen

PAGE = 1000
CATEGORY = "account"
CONFIG = SQLAlchemyConfig(gap_retry_interval=timedelta(milliseconds=10))


class Base(DeclarativeBase):
    """Its models are registered here."""


configure_models(Base)


class Said(ContextComponent):
    """What is said about an event."""

    __context_name__: ClassVar[str] = "said"
    auditor: str
    reason: str


class Noted(Event):
    """The event of the workload."""

    active: bool
    number: int
    owner: str
    text: str


class Account(Aggregate):
    """Adds up the numbers that it noted."""

    category = CATEGORY

    def __init__(self) -> None:
        self.total = 0

    def __apply__(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.total += event.number


META = Context().with_component(Said(**workload.META))


class Peer:
    """An engine, and a session for each unit of work; on SQLite."""

    async def open(self, address: str) -> None:
        self._engine = self.engine(address)
        Base.metadata.create_all(self._engine)
        self._versions: dict[str, int] = {}
        self._fields = [workload.fields(index) for index in workload.INDICES]
        with self._engine.connect() as connection:
            self.require_synced(connection)

    def engine(self, address: str) -> Any:
        """Returns an engine for a log or a read model."""
        engine = create_engine(f"sqlite:///{address}", pool_size=64, connect_args={"timeout": 60})

        @hooks.listens_for(engine, "connect")
        def _set(connection: Any, _: object) -> None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")

        return engine

    def require_synced(self, connection: Any) -> None:
        """Raises unless a connection of its syncs every commit."""
        require_full(
            connection.execute(text("PRAGMA journal_mode")).scalar(),
            connection.execute(text("PRAGMA synchronous")).scalar(),
        )

    async def close(self) -> None:
        self._engine.dispose()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        self._append(stream, indices)

    def _append(self, stream: str, indices: Sequence[int]) -> None:
        version = self._versions.get(stream, 0)
        events = [
            WrappedEvent.wrap(Noted(**self._fields[index]), version + number, context=META)
            for number, index in enumerate(indices, 1)
        ]
        with self._backend() as (backend, session):
            backend.event_store.append(
                *events,
                stream_id=StreamId(name=stream, category=CATEGORY),
                expected_version=version,
            )
            session.commit()
        self._versions[stream] = version + len(events)

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        def worker(number: int) -> None:
            for index in range(each):
                self._append(f"{name}-{number}", (index,))

        with ThreadPoolExecutor(tasks) as threads:
            for done in [threads.submit(worker, number) for number in range(tasks)]:
                done.result()

    async def read_stream(self, stream: str) -> Seen:
        with self._backend() as (backend, _):
            found = backend.event_store.load_stream(StreamId(name=stream, category=CATEGORY))
            return Seen(len(found), sum(wrapped.event.number for wrapped in found))

    async def read_all(self) -> Seen:
        count = total = 0
        for recorded in self._recorded(0):
            count += 1
            total += recorded.wrapped_event.event.number
        return Seen(count, total)

    async def fold(self, stream: str) -> int:
        if stream == workload.SNAPSHOTTED:
            raise CannotDo  # a snapshot is an event of its own type, for the aggregate to apply
        account = Account()
        with self._backend() as (backend, _):
            repository = Repository(backend.event_store)
            with repository.aggregate(StreamUUID(name=stream), account):
                return account.total

    async def snapshot(self, stream: str) -> None:
        raise CannotDo

    async def project(self, view: str, events: int) -> str:
        engine = self.engine(view)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.execute(
                text(
                    "CREATE TABLE balances ("
                    "owner TEXT PRIMARY KEY, total INTEGER NOT NULL, count INTEGER NOT NULL)"
                )
            )
            session.commit()
            upsert = text(
                "INSERT INTO balances AS b VALUES (:owner, :number, 1) ON CONFLICT (owner) "
                "DO UPDATE SET total = b.total + excluded.total, count = b.count + 1"
            )

            def add(wrapped: Any, _: object) -> None:
                fields = {"owner": wrapped.event.owner, "number": wrapped.event.number}
                session.execute(upsert, fields)

            with self._backend() as (backend, _):
                cursors = SqlAlchemyCursorsDao(session, DefaultProjectorCursor)
                projector = Projector(backend.event_store, "balances", cursors, add)
                for recorded in islice(self._recorded(0), events):
                    projector.project(recorded.wrapped_event, recorded.stream_id)
                    session.commit()
        engine.dispose()
        return view

    async def changes(self, after: int) -> list[tuple[int, int]]:
        with self._backend() as (backend, _):
            found = next(backend.subscriber.start_from(after).build_batch(size=1, timelimit=0.1))
            return [(one.position, one.wrapped_event.event.number) for one in found]

    async def take_in(self, source: str) -> int:
        raise CannotDo

    async def verify(self) -> int:
        raise CannotDo

    async def backup(self, address: str) -> None:
        raise CannotDo

    @contextmanager
    def _backend(self) -> Iterator[tuple[SQLAlchemyBackend, Session]]:
        with Session(self._engine) as session:
            yield SQLAlchemyBackend().configure(session, CONFIG), session

    def _recorded(self, after: int) -> Iterator[Any]:
        with self._backend() as (backend, _):
            last = backend.event_store.position or 0
            batches = backend.subscriber.start_from(after).build_batch(size=PAGE, timelimit=0.1)
            while after < last:
                for recorded in next(batches):
                    yield recorded
                    after = recorded.position


class PostgresPeer(Peer):
    """The same on PostgreSQL."""

    def engine(self, address: str) -> Any:
        url, schema = postgres.split(address)
        return create_engine(
            url.replace("postgresql:", "postgresql+psycopg2:", 1),
            pool_size=20,
            max_overflow=0,
            pool_timeout=60,
            connect_args={"options": f"-c search_path={schema}"},
        )

    def require_synced(self, connection: Any) -> None:
        postgres.require_synced(
            connection.execute(text("SHOW fsync")).scalar(),
            connection.execute(text("SHOW synchronous_commit")).scalar(),
        )


on_sqlite = Peer
on_postgres = PostgresPeer
