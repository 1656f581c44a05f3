"""Scripts and their executors: what is asked of the database, apart from how it is carried there.

A script is a generator. It yields steps and is sent what they gave, so it neither awaits nor
blocks: one text serves an async connection, a blocking one, and somebody else's transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg import sql
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


class OurConnection(psycopg.AsyncConnection[Row]):
    """A connection of our own, with a cursor at hand: making one costs a tenth of a short query."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        adapt(self.adapters)
        self.cursor_at_hand = psycopg.AsyncCursor(self, row_factory=tuple_row)


class _Pipeline(psycopg.AsyncPipeline):
    """A pipeline at whose end a server begins to count how long the transaction is idle.

    psycopg sends a Flush behind the Sync. It asks for nothing that has not been answered, but ends
    the counting: a process that is stopped behind its first trip would hold the lock for ever.
    """

    def _fetch_gen(self, *, flush: bool) -> Any:
        return super()._fetch_gen(flush=False)


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
                pipeline.__class__ = _Pipeline
                for statement in step.statements:
                    cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
                    cursors.append(cursor)
                    await cursor.execute(
                        self._filled_in(statement.template), statement.values, binary=True
                    )
            return [await _rows_of(cursor) for cursor in cursors]
        answers: list[list[Row]] = []
        if isinstance(connection, OurConnection):
            cursor = connection.cursor_at_hand
        else:
            cursor = _as_ours(psycopg.AsyncCursor(connection, row_factory=tuple_row))
        for template, values in step.statements:
            await cursor.execute(self._filled_in(template), values, binary=True)
            answers.append(await _rows_of(cursor))
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
        return _filled_in(template, self._schema)


@lru_cache(maxsize=1024)
def _filled_in(template: str, schema: str) -> bytes:
    # The one place in which the name of a schema comes into a statement, quoted by the driver.
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


async def _rows_of(cursor: psycopg.AsyncCursor[Row]) -> list[Row]:
    return await cursor.fetchall() if cursor.description is not None else []
