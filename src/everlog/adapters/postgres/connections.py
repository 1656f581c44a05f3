"""Connections: how a server is reached, what is set on each, and the pool of those that read."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import psycopg
from psycopg import conninfo, pq
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Executor, OurConnection, WatchedConnection, ask
from everlog.adapters.postgres.failures import as_opening_error
from everlog.adapters.postgres.silence import Attempts
from everlog.errors import InvalidUrl

Pooler = Literal["none", "transaction"]
"""What stands between us and the server: `transaction` is a proxy such as PgBouncer that gives each
transaction another connection, so that nothing may be set or prepared on one, and LISTEN hears
nothing."""

# What ends a connection whose other end is gone without a word, in some 30 s and not in 2 hours.
_PATIENCE: dict[str, Any] = {
    "connect_timeout": 10,  # for each of several hosts
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
    "application_name": "everlog",
}

# The plans of prepared statements are made once, perhaps while the log is empty and a scan of all
# of it looks cheap; and none of ours is worth compiling.
_SESSION = (
    "SELECT set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false), "
    "set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('default_transaction_isolation', 'read committed', false), "
    "set_config('client_min_messages', 'warning', false), "
    # The same patience at the other end: who is gone without a word holds no lock for hours.
    "set_config('tcp_keepalives_idle', '10', false), "
    "set_config('tcp_keepalives_interval', '5', false), "
    "set_config('tcp_keepalives_count', '4', false)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A schema of a database, and how to treat it."""

    parameters: dict[str, Any]
    """What libpq is told, without what is ours. May hold a password: never to be shown."""
    schema: str = "everlog"
    timeout_s: float = 30.0
    pooler: Pooler = "none"
    readers: int = 4

    def __str__(self) -> str:
        """Names the place without what could be secret."""
        told = {name: self.parameters.get(name) or _default(name) for name in _NAMING}
        name = told["dbname"] or told["user"] or "its default"
        host = told["host"] or told["hostaddr"] or "localhost"
        return f"schema {self.schema!r} of database {name!r} on {host}:{told['port']}"

    __repr__ = __str__

    @property
    def connecting(self) -> dict[str, Any]:
        """What a connection is made with."""
        # In UTF-8, whatever PGCLIENTENCODING says: what is stored is any text.
        return {**_PATIENCE, **self.parameters, "client_encoding": "utf8", "autocommit": True}

    @property
    def lock_key(self) -> int:
        """The advisory lock of this schema's commits, within its database."""
        return _key("commits", self.schema)

    @property
    def migration_key(self) -> int:
        """The advisory lock of this schema's migrations, within its database."""
        return _key("migrations", self.schema)

    def claims_key(self, subscription: str) -> int:
        """The advisory lock of the claims of a subscription, within its database."""
        return _key(f"claims of {subscription}", self.schema)

    @property
    def patience(self) -> dict[str, object]:
        """How long to wait for the lock, and to hold it in silence, as PostgreSQL has it."""
        timeout_ms = max(1, int(self.timeout_s * 1000))
        return {"timeout": f"{timeout_ms}ms", "idle": f"{max(timeout_ms, 1000)}ms"}

    @property
    def margin_s(self) -> float:
        """How much later than `timeout_s` it is known that a server says nothing.

        Once more so long it may take to look for what was written then.
        """
        return max(1.0, self.timeout_s / 4)

    @property
    def silence_s(self) -> float:
        """How long a server may say nothing, besides what it is asked to wait for a lock."""
        return self.timeout_s + self.margin_s

    @property
    def channel(self) -> str:
        """The channel on which the committers of this schema wake those who follow."""
        # A digest: with the schema's name it could be longer than an identifier may be.
        return "everlog_" + hashlib.sha256(self.schema.encode()).hexdigest()[:24]


_NAMING = ("host", "hostaddr", "port", "dbname", "user")


def _default(name: str) -> str:
    """Returns what libpq takes for a parameter that it is not told, as from the environment."""
    values = [o.val for o in pq.Conninfo.get_defaults() if o.keyword == name.encode()]
    return values[0].decode(errors="replace") if values and values[0] else ""


def _key(what: str, schema: str) -> int:
    digest = hashlib.sha256(f"everlog:{what}:{schema}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def parameters_of(url: str) -> dict[str, Any]:
    """Returns what a URL says to libpq; raises `InvalidUrl`, which never quotes it."""
    with suppress(psycopg.Error):
        return conninfo.conninfo_to_dict(url)
    # Not inside an `except`: what libpq says may quote the password, and would stay in the chain.
    raise InvalidUrl(
        "the PostgreSQL URL cannot be understood; write "
        "postgresql://user:password@host:5432/database?schema=everlog, with special characters "
        "in the password as %XX, and of other parameters only those that libpq knows"
    )


async def connect_writer(place: Place, *, within_s: float | None = None) -> OurConnection:
    """Returns a connection that writes; raises `psycopg.Error`, also if it takes too long."""
    connection = await connect(place, within_s=within_s)
    if place.pooler == "none":
        try:
            await Executor(place.schema).run(
                connection, ask(schema.SET_FOR_WRITING, place.patience)
            )
        except BaseException:
            await connection.close()
            raise
    return connection


async def connect(place: Place, *, within_s: float | None = None) -> OurConnection:
    """Returns a connection of our own; raises `psycopg.Error`, also if it takes too long."""
    within_s = place.silence_s if within_s is None else within_s
    connection = await OurConnection.connect(**place.connecting, attempts=Attempts(within_s))
    try:
        await prepare(place, connection, silence_s=within_s)
    except BaseException:
        await connection.close()
        raise
    return connection


async def prepare(
    place: Place, connection: OurConnection, *, silence_s: float | None = None
) -> None:
    """Sets what all our connections have."""
    connection.silence_s = place.silence_s if silence_s is None else silence_s
    if place.pooler == "transaction":
        connection.prepare_threshold = None
        return
    connection.prepare_threshold = 1
    await connection.execute(_SESSION)


C = TypeVar("C", bound=WatchedConnection)

ASK_AGAIN_S = 2.0
"""How long the pool is waited for, in seconds, before it is asked again."""


class Pool(Generic[C]):
    """Connections, of which each call borrows one."""

    def __init__(self, pool: AsyncConnectionPool[C], attempts: Attempts) -> None:
        self._pool = pool
        self._attempts = attempts
        self._returning: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def one(self, *, timeout_s: float | None = None) -> AsyncGenerator[C]:
        """Lends a connection; the pool says with an error of its own where none is to be had."""
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        connection = await self._borrowed(timeout_s)
        try:
            # Of Python 3.11 `asyncio.wait_for`, by which the pool waits, forgets that it was called
            # off as it was given something; and whoever is called off is so once.
            if task.cancelling() > before:
                raise asyncio.CancelledError
            yield connection
        finally:
            # Nearly always at once, and nothing is left to be done. Otherwise in nobody's task:
            # the pool waits for a lock, and who is cancelled meanwhile would take the connection
            # along: it is neither closed then nor ever lent again.
            giving_back = self._pool.putconn(connection)
            try:
                waits_for = Context().run(giving_back.send, None)
            except StopIteration:
                pass
            else:
                loop = asyncio.get_running_loop()
                returning = loop.create_task(_rest(giving_back, waits_for), context=Context())
                self._returning.add(returning)
                returning.add_done_callback(self._returning.discard)
                await asyncio.shield(returning)

    async def _borrowed(self, timeout_s: float | None) -> C:
        # The pool gives up to connect after some seconds, and begins again when it is asked: who
        # waits since before would wait for nothing while the server is there again.
        now = asyncio.get_running_loop().time
        deadline = now() + (self._pool.timeout if timeout_s is None else timeout_s)
        while True:
            left_s = deadline - now()
            try:
                return await self._pool.getconn(min(left_s, ASK_AGAIN_S))
            except PoolTimeout:
                if left_s <= ASK_AGAIN_S:
                    raise

    async def close(self) -> None:
        """Closes them all, those that are lent as soon as they come back."""
        self._attempts.call_off()  # the pool would wait for them
        await self._pool.close()
        if self._returning:
            await asyncio.wait(self._returning)


async def _rest(begun: Coroutine[Any, Any, None], waits_for: Any) -> None:
    """Goes on with a coroutine that has been begun, from what it waits for."""
    await _Rest(begun, waits_for)


class _Rest:
    def __init__(self, begun: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._begun = begun
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    answer = yield waits_for
                except BaseException as error:
                    waits_for = self._begun.throw(error)
                else:
                    waits_for = self._begun.send(answer)
        except StopIteration:
            return


async def open_pool(
    place: Place,
    kind: type[C],
    configure: Callable[[C], Awaitable[None]],
    *,
    least: int = 1,
    most: int,
) -> Pool[C]:
    """Returns connections of a kind; so many are kept, and others made when they are needed."""
    # One that is stuck keeps a place in the pool.
    attempts = Attempts(min(10.0, max(1.0, place.timeout_s)))

    async def configured(connection: C) -> None:
        try:
            await attempts.make(configure(connection))
        except BaseException:
            await connection.close()  # the pool does not
            raise

    pool = AsyncConnectionPool(
        connection_class=kind,
        kwargs={**place.connecting, "attempts": attempts},
        min_size=least,
        max_size=most,
        configure=configured,
        timeout=place.timeout_s,
        # Those that are not needed go soon, those that are kept do not grow old.
        max_idle=60.0,
        reconnect_timeout=5.0,
        open=False,
        name=f"everlog-{place.schema}",
    )
    await pool.open()
    return Pool(pool, attempts)


async def open_readers(place: Place, most: int) -> Pool[OurConnection]:
    """Returns connections of ours, up to so many."""

    async def configure(connection: OurConnection) -> None:
        await prepare(place, connection)

    return await open_pool(place, OurConnection, configure, most=most)


async def first_connection(place: Place) -> OurConnection:
    """Returns a connection; raises `CannotOpen` with what to do."""
    try:
        return await connect_writer(place)
    except psycopg.Error as error:
        raise as_opening_error(error, str(place)) from None
