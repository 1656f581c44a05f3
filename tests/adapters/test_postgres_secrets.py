"""Canaries: passwords and data, planted everywhere, that stand in no error and no log line."""

from __future__ import annotations

import asyncio
import logging
import traceback
import warnings
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import BaseModel

from everlog import EventStore, blocking, event, migrate, migration_script, to
from everlog.adapters.postgres.connections import Place, parameters_of
from everlog.errors import EverlogError, OutcomeUnknown
from everlog.testing import PostgresServer, postgres
from tests.adapters.databases import as_user, ask, encoded, role
from tests.store.programs import names

PASSWORD = "canary-url-password"
OTHER_PASSWORD = "canary-environment-password"
DATA = "canary-data"
META = "canary-meta"
SECRETS = (PASSWORD, OTHER_PASSWORD, DATA, META, "canary")


class Told(BaseModel):
    name: str


@event("test:secret", meta=Told)
class Secret(BaseModel):
    """An event that nobody but its reader may see."""

    name: str


EVENTS = [Secret]
SECRET, WHO = Secret(name=DATA), Told(name=META)


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    """A server of its own: it is killed, and asks for a password."""
    with postgres(durable=True, password=PASSWORD) as server:
        yield server


@dataclass
class Heard:
    """All that anybody could have read of what went wrong."""

    lines: list[str]
    errors: int = 0

    def error(self, error: BaseException) -> None:
        """Takes an error to pieces: itself, its traceback, and all that it came from."""
        self.errors += 1
        self.lines += traceback.format_exception(error)
        for each in chain_of(error):
            self.lines += [str(each), repr(each), repr(each.args), repr(vars(each))]
            self.lines += traceback.format_exception(each, chain=False)

    def leaks(self) -> list[str]:
        """Returns the lines in which a secret stands."""
        return [line for line in self.lines if any(secret in line for secret in SECRETS)]


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Gives an error, what it was raised from, and what it was raised in the middle of."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
            if isinstance(each, BaseExceptionGroup):
                waiting += each.exceptions  # pyright: ignore[reportUnknownMemberType]  # of any


class Listening(logging.Handler):
    """Writes down every record of every logger, as a file would have it."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.lines += [self.format(record), repr(record.args)]


@contextmanager
def listening() -> Generator[Heard]:
    """Hears all loggers from DEBUG on, and warnings."""
    heard = Heard([])
    handler = Listening(heard)
    root = logging.getLogger()
    named = [logging.getLogger(name) for name in ("psycopg", "psycopg.pool", "asyncio", "everlog")]
    levels = [(logger, logger.level) for logger in (root, *named)]
    root.addHandler(handler)
    for logger, _ in levels:
        logger.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield heard
        heard.lines += [str(warning) for warning in warned]
    finally:
        root.removeHandler(handler)
        for logger, level in levels:
            logger.setLevel(level)


async def provoked(heard: Heard, kind: type[BaseException], call: Awaitable[object]) -> None:
    with pytest.raises(kind) as caught:
        await call
    heard.error(caught.value)


async def secretly(url: str, **options: Any) -> EventStore:
    return await EventStore.open(url, events=EVENTS, **options)


def append(store: EventStore, count: int = 1) -> Awaitable[object]:
    return store.append("s-1", *(SECRET for _ in range(count)), meta=WHO)


def judged(heard: Heard, *provoked: str) -> None:
    """Asserts that these things went wrong, in these words, and that no secret was told of them."""
    said = "\n".join(heard.lines)
    for words in provoked:
        assert words in said, f"{words!r} was to be provoked"
    assert heard.leaks() == []


# --- connecting ---


def test_who_is_not_let_in_finds_no_password_in_what_is_said(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database()
    port = urlsplit(url).port
    monkeypatch.setenv("PGPASSWORD", OTHER_PASSWORD)
    place = f"127.0.0.1:{port}/app"
    wrong = [
        as_user(url, "postgres", f"{PASSWORD}-not"),
        as_user(url, "nobody", PASSWORD),
        url.replace(f":{PASSWORD}@", "@"),
        f"{url}_not",
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/app",
        f"postgresql://me:{PASSWORD}@nowhere.invalid/app",
        f"postgresql://127.0.0.1:1/app?user=me&password={PASSWORD}",
        f"postgresql://127.0.0.1:1,127.0.0.1:1/app?user=me&password={PASSWORD}",
        f"postgresql://me:x@{PASSWORD}@{place}",
        f"postgresql://me:x/{PASSWORD}@{place}",
        f"postgresql://me:x?{PASSWORD}@127.0.0.1:1/app",
        f"postgresql://me:%zz{PASSWORD}@{place}",
        f"postgresql://me:{PASSWORD}@[::1/app",
        f"postgresql://me:{PASSWORD}@{place}?sslmode=wrong",
        f"postgresql://me:{PASSWORD}@{place}?connect_timeout=soon",
        f"postgresql://me:{PASSWORD}@127.0.0.1:port/app",
        f"postgresql://me:{PASSWORD}@127.0.0.1:99999/app",
        f"postgresql://me:{PASSWORD}@{place}?colour=red",
        f"postgresql://me:{PASSWORD}@{place}?password",
        f"postgresql://me:{PASSWORD}@{place}?readers=0",
        f"postgresql://me:{PASSWORD}@{place}?schema={PASSWORD}@x",
        f"postgresql://me:{PASSWORD}@{place}\n",
        f"postgresql+psycopg://me:{PASSWORD}@{place}",
        f"postgresql:me:{PASSWORD}@{place}",
        f"host=127.0.0.1 port=1 user=me password={PASSWORD}",
        f" password={PASSWORD} host=127.0.0.1 options='-c a:b'",
        f"user=me:{PASSWORD}",
    ]

    async def main(heard: Heard) -> None:
        for url in wrong:
            for call in (secretly, migrate, migration_script):
                await provoked(heard, EverlogError, call(url))
        await provoked(heard, EverlogError, secretly(wrong[0], password=PASSWORD))

    with listening() as heard:
        asyncio.run(main(heard))
        for each in wrong[:5]:
            with pytest.raises(EverlogError) as caught:
                blocking.EventStore.open(each)
            heard.error(caught.value)
    assert heard.errors == 3 * len(wrong) + 1 + 5
    judged(heard, "authentication failed", "does not exist", "refused", "invalid sslmode", "%40")
    assert any("psycopg DEBUG" in line for line in heard.lines), "the loggers were heard"


def test_an_open_store_shows_no_password_in_any_repr(server: PostgresServer) -> None:
    url = server.new_database()

    async def main(heard: Heard) -> None:
        async with await secretly(url) as store:
            [record] = await store.append("s-1", Secret(name="x"), meta=Told(name="y"))
            following = asyncio.create_task(store.ledger.wait(1, timeout_s=30))
            await store.append("s-1", Secret(name="x"), meta=Told(name="y"))
            await following
            shown: list[object] = [store, store.ledger, store.capabilities, record, following]
            shown += [await store.info(), getattr(store.ledger, "place", None)]
            shown += [*vars(store).values(), *vars(store.ledger).values()]
            heard.lines += [text for each in shown for text in (repr(each), str(each))]
            heard.lines += map(repr, asyncio.all_tasks())
        await provoked(heard, EverlogError, store.info())

    with listening() as heard:
        asyncio.run(main(heard))
        heard.lines += [repr(Place(parameters_of(url))), str(Place(parameters_of(url)))]
        heard.lines += [repr(server)]
    judged(heard, "database 'everlog_test", "AsyncConnectionPool", "the store is closed")


# --- what the server says of what is stored ---

PLANTED = {
    "a check": "ALTER TABLE everlog.records ADD CHECK (length(data::text) < 5)",
    "a check of meta": "ALTER TABLE everlog.records ADD CHECK (length(meta::text) < 5)",
    "a type": "ALTER TABLE everlog.records ALTER COLUMN data TYPE varchar(5)",
    "a cast": "ALTER TABLE everlog.records ADD n int GENERATED ALWAYS AS "
    "((data ->> 'name')::int) STORED",
    "a trigger": "CREATE FUNCTION everlog.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE EXCEPTION 'no' USING DETAIL = NEW.data::text, HINT = NEW.meta::text; END $$; "
    "CREATE TRIGGER tell BEFORE INSERT ON everlog.records FOR EACH ROW "
    "EXECUTE FUNCTION everlog.tell()",
    "a notice": "CREATE FUNCTION everlog.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE WARNING '%', NEW.data; RETURN NEW; END $$; "
    "CREATE TRIGGER tell BEFORE INSERT ON everlog.records FOR EACH ROW "
    "EXECUTE FUNCTION everlog.tell(); ALTER TABLE everlog.records ADD CHECK (position < 1)",
    "a lost column": "ALTER TABLE everlog.records RENAME COLUMN data TO other",
    "a lost table": "ALTER TABLE everlog.records RENAME TO other",
    "a moved head": "CREATE FUNCTION everlog.keep() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RETURN NULL; END'; CREATE TRIGGER keep BEFORE UPDATE ON everlog.ledger_head "
    "FOR EACH ROW EXECUTE FUNCTION everlog.keep()",
}


@pytest.mark.parametrize("what", PLANTED)
@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_what_the_server_refuses_it_quotes_to_nobody(
    server: PostgresServer, what: str, pooler: str
) -> None:
    url = server.new_database()

    async def main(heard: Heard) -> None:
        async with await secretly(url, pooler=pooler, timeout_s=1) as store:
            ask(url, PLANTED[what])
            for count in (1, 3, 300):  # one statement, a batch, COPY
                await provoked(heard, EverlogError, append(store, count))
            await provoked(
                heard, EverlogError, store.append_many([to("s-2", SECRET, meta=WHO)] * 2)
            )
            async with await EventStore.open("memory:", events=EVENTS) as other:
                await append(other, 150)
                records = [record async for record in other.read()]
            await provoked(heard, EverlogError, store.import_records(records))
            for autocommit in (True, False):
                connection = await psycopg.AsyncConnection.connect(url, autocommit=autocommit)
                async with connection:
                    await provoked(heard, EverlogError, in_transaction(store, connection))

    with listening() as heard:
        asyncio.run(main(heard))
    assert heard.errors == 7
    judged(heard)


async def in_transaction(store: EventStore, connection: psycopg.AsyncConnection[Any]) -> None:
    async with store.transaction(connection) as transaction:
        transaction.append("s-1", SECRET, meta=WHO)


def test_a_snapshot_that_the_server_refuses_is_quoted_to_nobody(server: PostgresServer) -> None:
    url = server.new_database()

    async def main(heard: Heard) -> None:
        async with await secretly(url) as store:
            await append(store)
            ask(url, "ALTER TABLE everlog.snapshots ADD CHECK (length(state) < 5)")
            await provoked(heard, EverlogError, store.snapshots.create(names, "s-1"))

    with listening() as heard:
        asyncio.run(main(heard))
    judged(heard, "violates check constraint")


def test_who_lacks_a_right_or_a_lock_is_quoted_nothing(server: PostgresServer) -> None:
    url = server.new_database()

    async def main(heard: Heard, theirs: str) -> None:
        async with await secretly(theirs, timeout_s=0.05) as store:
            await provoked(heard, EverlogError, append(store))
            await provoked(heard, EverlogError, append(store, 300))
            await provoked(heard, EverlogError, store.relations.add("group", "s-1"))
        async with await secretly(url, timeout_s=0.05) as store:
            with psycopg.connect(url) as holder:
                holder.execute("SELECT pg_advisory_xact_lock(%s)", (Place({}).lock_key,))
                await provoked(heard, EverlogError, append(store))
                await provoked(heard, EverlogError, append(store, 300))
            ask(url, "DROP SCHEMA everlog CASCADE")
            await provoked(heard, EverlogError, append(store))
            await provoked(heard, EverlogError, store.info())
            await provoked(heard, EverlogError, store.read().first())

    with listening() as heard, role(url) as (name, theirs):
        asyncio.run(migrate(url))
        ask(url, f"GRANT USAGE ON SCHEMA everlog TO {name}")
        ask(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA everlog TO {name}")
        asyncio.run(main(heard, theirs))
        # The name of a test's own role and its password are no canary; this one is.
        with encoded(url, "SQL_ASCII") as ascii_url:
            for call in (secretly, migrate, migration_script):
                with pytest.raises(EverlogError) as caught:
                    asyncio.run(call(ascii_url))
                heard.error(caught.value)
    judged(heard, "permission denied", "lock timeout", "is damaged", "encoding")


# --- a server that goes away ---


def test_a_server_that_is_killed_again_and_again_leaves_no_secret_in_what_is_said(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", OTHER_PASSWORD)
    url = server.new_database()

    async def main(heard: Heard) -> None:
        async with await secretly(url, timeout_s=0.2) as store:
            await append(store)
            following = asyncio.create_task(store.ledger.wait(10**9, timeout_s=600))
            for end in (server.kill, server.stop):
                writing = [asyncio.ensure_future(append(store, count)) for count in (1, 3, 300)]
                await asyncio.to_thread(end)
                heard_of = await asyncio.gather(*writing, return_exceptions=True)
                for error in heard_of:
                    if isinstance(error, BaseException):
                        heard.error(error)
                try:
                    await provoked(heard, EverlogError, append(store))
                    await provoked(heard, EverlogError, store.info())
                    await provoked(heard, EverlogError, store.read().first())
                    await provoked(heard, EverlogError, store.relations.add("group", "s-1"))
                    await provoked(heard, EverlogError, secretly(url))
                finally:
                    await asyncio.to_thread(server.start)
                async with asyncio.timeout(60):
                    while True:
                        try:
                            await append(store)
                            break
                        except EverlogError as error:
                            heard.error(error)
            connection = await psycopg.AsyncConnection.connect(url)
            async with connection:
                with pytest.raises(EverlogError) as caught:  # noqa: PT012 - at the block's end
                    async with store.transaction(connection) as transaction:
                        transaction.append("s-1", SECRET, meta=WHO)
                        ask(url, END_OTHERS)
                heard.error(caught.value)
            following.cancel()
            await asyncio.wait([following])

    with listening() as heard:
        asyncio.run(main(heard))
    judged(heard, "cannot be reached", "psycopg.pool WARNING", "refused")
    assert heard.errors >= 10


END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


# --- tests of the test ---


def raised_with(cause: BaseException | None, context: BaseException | None) -> BaseException:
    error = OutcomeUnknown(["id-1"])
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    "leaking",
    [
        ValueError(f"a password: {PASSWORD}"),
        raised_with(ValueError(DATA), None),
        raised_with(None, ValueError(META)),
        raised_with(raised_with(None, KeyError(OTHER_PASSWORD)), None),
        ExceptionGroup("several", [ValueError(DATA)]),
    ],
    ids=["itself", "its cause", "its context", "the context of its cause", "a group"],
)
def test_an_error_that_tells_a_secret_is_noticed(leaking: BaseException) -> None:
    heard = Heard([])
    heard.error(leaking)
    assert heard.leaks()


def test_a_log_line_a_traceback_in_a_log_and_a_warning_that_tell_a_secret_are_noticed() -> None:
    def warn() -> None:
        warnings.warn(f"a warning: {META}", stacklevel=1)

    def log() -> None:
        logging.getLogger("psycopg.pool").debug("a line: %s", DATA)

    def log_an_error() -> None:
        try:
            raise ValueError(PASSWORD)
        except ValueError:
            logging.getLogger("asyncio").exception("unexpected")

    tells: list[Callable[[], None]] = [warn, log, log_an_error]
    for tell in tells:
        with listening() as heard:
            tell()
        assert heard.leaks(), tell


def test_without_curtailing_the_server_is_heard_to_quote_what_it_refuses(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from everlog.adapters.postgres import failures

    monkeypatch.setattr(failures, "curtailed", failures.first_line)
    with pytest.raises(AssertionError, match="DETAIL"):
        test_what_the_server_refuses_it_quotes_to_nobody(server, "a check", "none")
