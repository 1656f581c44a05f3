"""Scripts and their executors: what is asked of the database, apart from how it is carried there.

A script is a generator. It yields steps and is sent what they gave, so it neither awaits nor
blocks: one text serves an async connection, a blocking one, and somebody else's transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

import psycopg
from psycopg import capabilities, generators, sql
from psycopg.adapt import AdaptersMap
from psycopg.rows import tuple_row
from psycopg.types.array import ListBinaryDumper, ListDumper
from psycopg.types.bool import BoolBinaryDumper, BoolBinaryLoader, BoolDumper, BoolLoader
from psycopg.types.numeric import (
    Int4BinaryLoader,
    Int8BinaryLoader,
    Int8Dumper,
    IntBinaryDumper,
    IntLoader,
)
from psycopg.types.string import (
    ByteaBinaryLoader,
    ByteaLoader,
    BytesBinaryDumper,
    BytesDumper,
    StrBinaryDumper,
    StrDumperUnknown,
    TextBinaryLoader,
    TextLoader,
)

from everlog.adapters.postgres.silence import Attempts, ServerSilent, Watch, cut

T = TypeVar("T")

Row: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """One statement of `schema`, and its values."""

    template: str
    values: Mapping[str, object] = {}


class Run(NamedTuple):
    """A step: statements in one trip, where the connection allows. Gives the rows of each."""

    statements: Sequence[Statement]


class Copy(NamedTuple):
    """A step: rows through COPY. Gives nothing."""

    template: str
    rows: Iterable[Sequence[object]]


class Think(NamedTuple):
    """A step: work that takes long enough to be kept off an event loop. Gives nothing."""

    work: Callable[[], object]


Step: TypeAlias = Run | Copy | Think
Script: TypeAlias = Generator[Step, list[list[Row]], T]


def ask(template: str, values: Mapping[str, object] | None = None) -> Script[list[Row]]:
    """Is a script of one statement; returns its rows."""
    [rows] = yield Run([Statement(template, values or {})])
    return rows


CALLED_OFF_S = 1.0
"""So long a server has to end a statement that was called off, and to be told of it."""


_BEGUN: ContextVar[list[Generator[Any, Any, Any]]] = ContextVar("everlog_connections_begun")
"""What the present call to connect has begun, one for each host."""


class WatchedConnection(psycopg.AsyncConnection[Row]):
    """A connection that does not wait for ever."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._watch = Watch(lambda: cut(self.pgconn.socket))
        self._called_off = False

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Returns a connection; raises `psycopg.Error`, also if `attempts` take no longer."""
        attempts: Attempts | None = options.pop("attempts", None)
        begun: list[Generator[Any, Any, Self]] = []
        _BEGUN.set(begun)
        connecting = super().connect(conninfo, **options)
        try:
            return await (connecting if attempts is None else attempts.make(connecting))
        finally:
            # What was called off is closed now. The driver leaves it to the garbage: as long as
            # anything keeps the error, as a task does, the server would keep the connection.
            for making in begun:
                making.close()
            begun.clear()

    @classmethod
    def _connect_gen(cls, *args: Any, **kw: Any) -> Any:
        making = super()._connect_gen(*args, **kw)
        _BEGUN.get().append(making)
        return making

    @property
    def silence_s(self) -> float | None:
        """How long the server may neither say nor take anything; None for as long as it likes.

        Then the connection is closed, and `ServerSilent` is raised.
        """
        return self._watch.limit_s

    @silence_s.setter
    def silence_s(self, limit_s: float | None) -> None:
        self._watch.limit_s = limit_s

    async def wait(self, gen: Any, *args: Any, **kw: Any) -> Any:
        """Waits for the server, as all that the driver does here."""
        watch = self._watch
        watch.begin()
        try:
            return await super().wait(watch.noting(gen), *args, **kw)
        except psycopg.Error:
            if self._called_off:  # some versions of the driver tell of the connection instead
                raise asyncio.CancelledError from None
            if not watch.has_cut:
                raise
        finally:
            watch.end()
            self._called_off = False
        watch.close()
        self.pgconn.finish()
        raise ServerSilent(f"the server has said nothing for {watch.limit_s:.3g} s")

    async def _try_cancel(self, *, timeout: float = CALLED_OFF_S) -> None:
        """Asks the server to end the statement that is waited for, as it has been called off."""
        self._called_off = True
        self.silence_s = min(timeout, CALLED_OFF_S)
        self._watch.begin()
        if capabilities.has_cancel_safe():  # otherwise it would be a thread that cannot be ended
            with suppress(psycopg.Error, OSError):
                await self.cancel_safe(timeout=self.silence_s)

    async def close(self) -> None:
        """Closes it at once, whatever it is doing."""
        self._watch.close()
        await super().close()


class OurConnection(WatchedConnection):
    """A connection of our own, with a cursor at hand: making one costs a tenth of a short query."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        adapt(self.adapters)
        self.cursor_at_hand = psycopg.AsyncCursor(self, row_factory=tuple_row)


class Pipeline(psycopg.AsyncPipeline):
    """A pipeline at whose end a server begins to count how long the transaction is idle.

    psycopg sends a Flush behind the Sync. It asks for nothing that has not been answered, but ends
    the counting: a process that is stopped behind its first trip would hold the lock for ever.
    """

    def _fetch_gen(self, *, flush: bool) -> Any:
        # With the Flush goes that all is sent. Of a large statement a part may be left, and to wait
        # for the answer to a part is to wait for ever.
        if self.result_queue:
            yield from generators.send(self.pgconn)
        yield from super()._fetch_gen(flush=False)


class Executor:
    """Runs scripts over connections of psycopg, in one schema."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    async def run(self, connection: psycopg.AsyncConnection[Any], script: Script[T]) -> T:
        """Runs a script; returns what it returns."""
        try:
            step = next(script)
            while True:
                try:
                    answers = await self._take(connection, step)
                except BaseException as error:
                    step = script.throw(error)
                else:
                    step = script.send(answers)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def run_blocking(self, connection: psycopg.Connection[Any], script: Script[T]) -> T:
        """Runs a script over a blocking connection, which is somebody else's."""
        try:
            step = next(script)
            while True:
                try:
                    answers = self._take_blocking(connection, step)
                except BaseException as error:
                    step = script.throw(error)
                else:
                    step = script.send(answers)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _take(self, connection: psycopg.AsyncConnection[Any], step: Step) -> list[list[Row]]:
        if isinstance(step, Think):
            await asyncio.to_thread(step.work)
            return []
        if isinstance(step, Copy):
            cursor = _as_ours(psycopg.AsyncCursor(connection, row_factory=tuple_row))
            async with cursor, cursor.copy(self._filled_in(step.template)) as copy:
                for row in step.rows:
                    await copy.write_row(row)
            return []
        if isinstance(connection, OurConnection) and len(step.statements) > 1:
            cursors: list[psycopg.AsyncCursor[Row]] = []
            async with connection.pipeline() as pipeline:
                pipeline.__class__ = Pipeline
                for statement in step.statements:
                    cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
                    cursors.append(cursor)
                    await cursor.execute(
                        self._filled_in(statement.template), statement.values, binary=True
                    )
            return [await rows_of(cursor) for cursor in cursors]
        answers: list[list[Row]] = []
        if isinstance(connection, OurConnection):
            cursor = connection.cursor_at_hand
        else:
            cursor = _as_ours(psycopg.AsyncCursor(connection, row_factory=tuple_row))
        for template, values in step.statements:
            await cursor.execute(self._filled_in(template), values, binary=True)
            answers.append(await rows_of(cursor))
        return answers

    def _take_blocking(self, connection: psycopg.Connection[Any], step: Step) -> list[list[Row]]:
        if isinstance(step, Think):
            step.work()
            return []
        if isinstance(step, Copy):
            cursor = _as_ours(psycopg.Cursor(connection, row_factory=tuple_row))
            with cursor, cursor.copy(self._filled_in(step.template)) as copy:
                for row in step.rows:
                    copy.write_row(row)
            return []
        answers: list[list[Row]] = []
        for statement in step.statements:
            cursor = _as_ours(psycopg.Cursor(connection, row_factory=tuple_row))
            cursor.execute(self._filled_in(statement.template), statement.values, binary=True)
            answers.append(cursor.fetchall() if cursor.description is not None else [])
        return answers

    def _filled_in(self, template: str) -> bytes:
        return filled_in(template, self._schema)


@lru_cache(maxsize=1024)
def filled_in(template: str, schema: str) -> bytes:
    """Returns a statement with the name of a schema in it.

    The one place in which a name comes into a statement, quoted by the driver.
    """
    return template.replace("{schema}", quoted(schema)).encode()


def quoted(schema: str) -> str:
    """Returns the name of a schema as it stands in a statement."""
    return sql.Identifier(schema).as_string(None)


def adapt(adapters: AdaptersMap) -> None:
    """Makes the driver load and dump what our statements need in one way only.

    A program may have registered others, for one connection or for all. And json comes as the text
    that is stored: nothing is decoded.
    """
    for name, loader in _LOADERS:
        adapters.register_loader(name, loader)
    for type, dumper in _DUMPERS:
        adapters.register_dumper(type, dumper)


_C = TypeVar("_C", "psycopg.AsyncCursor[Row]", "psycopg.Cursor[Row]")


def _as_ours(cursor: _C) -> _C:
    adapt(cursor.adapters)
    return cursor


_LOADERS = (
    ("json", TextLoader),
    ("json", TextBinaryLoader),
    ("text", TextLoader),
    ("text", TextBinaryLoader),
    ("bytea", ByteaLoader),
    ("bytea", ByteaBinaryLoader),
    ("int4", IntLoader),
    ("int4", Int4BinaryLoader),
    ("int8", IntLoader),
    ("int8", Int8BinaryLoader),
    ("bool", BoolLoader),
    ("bool", BoolBinaryLoader),
)
# Of each type the last one is what `%s` means, as the driver has it; the binary one is for `%b`.
_DUMPERS = (
    (str, StrBinaryDumper),
    (str, StrDumperUnknown),
    (bytes, BytesDumper),
    (bytes, BytesBinaryDumper),
    (bool, BoolDumper),
    (bool, BoolBinaryDumper),
    (int, IntBinaryDumper),
    (int, Int8Dumper),  # always the same type, so that a statement is prepared once
    (list, ListBinaryDumper),
    (list, ListDumper),
)


async def rows_of(cursor: psycopg.AsyncCursor[Row]) -> list[Row]:
    """Returns the rows of what a cursor has run; none where it has no rows."""
    # Not by its `description`, which is made anew of every column.
    result = cursor.pgresult
    return await cursor.fetchall() if result is not None and result.nfields else []
