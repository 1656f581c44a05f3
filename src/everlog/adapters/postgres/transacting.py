"""A transaction of handlers: their statements, and ours behind them, in as few trips as can be."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, cast

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.checkpoint_statements import SET, STILL_OURS
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import (
    Pipeline,
    Row,
    Statement,
    WatchedConnection,
    adapt,
    filled_in,
    rows_of,
)
from everlog.adapters.postgres.failures import as_storage_error
from everlog.adapters.postgres.tries import Tries
from everlog.errors import EverlogError, MisusedStore, StorageFailed
from everlog.ports.checkpoints import Values

MOST_AT_ONCE = 1000
"""So many statements are kept until they are sent."""

SILENCE = 10
"""For so many times `timeout_s` handlers may be silent in the middle of their transaction, and the
server while it does what they ask for."""


class HandlersConnection(WatchedConnection):
    """A connection that carries the statements of handlers.

    With the driver's own ways of loading and dumping, and the server's own ways of planning.
    """


class Transaction:
    """One transaction, from the first statement that needs the database to its end.

    It begins by itself. A handler's statements are kept and sent together; what is asked of the
    database is sent behind them, in the same trip.
    """

    def __init__(
        self, at: Place, lend: Callable[[], AbstractAsyncContextManager[HandlersConnection]]
    ) -> None:
        self._place = at
        self._lend = lend
        self._lent: AbstractAsyncContextManager[HandlersConnection] | None = None
        self._connection: HandlersConnection | None = None
        self._sending = asyncio.Lock()
        self._kept: list[_Theirs] = []
        self._count = 0
        self._is_seen = True
        """Whether no statement of a handler has run since it was seen whose transaction it is."""
        self._failed: Exception | None = None
        """What has broken it: raised again by all that comes, also if it was caught."""
        self._over = False
        self.is_waiting = False
        """Whether it waits for a connection."""
        self.is_lost = False
        """Whether its COMMIT was sent, and its connection lost before the answer."""
        self.mark = secrets.token_hex(8)
        """What it is known by, so that another is not taken for it."""
        self.eager = False
        """Whether each statement is sent at once."""

    @property
    def failure(self) -> Exception | None:
        """What has broken it."""
        return self._failed

    async def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        """Keeps a statement for each of many values, to be sent with others."""
        copies = self._taken(statement, values)
        if not copies:
            return
        if self._kept and self._kept[-1].statement == statement:
            self._kept[-1].values.extend(copies)
        else:
            self._kept.append(_Theirs(statement, copies))
        self._count += len(copies)
        if self.eager or self._count >= MOST_AT_ONCE:
            async with self._sending:
                await self._send(None, None)

    async def fetch(self, statement: str, values: Values = ()) -> list[Row]:
        """Sends what was kept, and a statement; returns its rows."""
        copies = self._taken(statement, [values])
        async with self._sending:
            cursors = await self._send(_Theirs(statement, copies), None)
            return await rows_of(cursors[-1])

    async def ask(self, statements: Sequence[Statement], *, ending: bool) -> list[list[Row]]:
        """Sends what was kept, and ours behind it; returns the rows of ours.

        `ending`: whether no handler comes behind it, so that it is not silent for long.

        Raises what a handler's statement raises as it is; of ours `StorageError`; and
        `MisusedStore` if a handler has ended the transaction.
        """
        self.check()
        async with self._sending:
            cursors = await self._send(None, statements, ending=ending)
            return [await rows_of(cursor) for cursor in cursors[len(cursors) - len(statements) :]]

    def fail(self, error: Exception) -> None:
        """Breaks it: whatever becomes of the error, nothing of it is committed."""
        self._failed = error

    async def commit(self) -> None:
        """Commits, if anything was sent. Raises what `ask` does; see also `is_lost`."""
        if self._kept or not self._is_seen:
            await self.ask((), ending=True)
        async with self._sending:
            await self._commit()

    async def _commit(self) -> None:
        if self._failed is not None:
            raise self._failed
        self._over = True
        connection = self._connection
        if connection is None:
            return
        connection.silence_s = self._place.silence_s
        cursor = psycopg.AsyncCursor(connection)
        try:
            await cursor.execute(schema.COMMIT.encode(), prepare=False)
        except psycopg.Error as error:
            self._failed = error
            self.is_lost = _is_lost(connection, error)
            if self.is_lost:
                raise  # whoever knows what was written finds out what became of it
            raise self._told(error, ours=False) from None
        except BaseException:
            self._failed = self._called_off
            raise
        if cursor.statusmessage != schema.COMMIT:  # of a failed transaction it is a rollback
            raise StorageFailed(f"{self._place}: the transaction was rolled back")

    async def let_go(self) -> None:
        """Ends it, rolled back unless it was committed, and gives its connection back."""
        self._over = True
        self._kept.clear()
        lent, self._lent = self._lent, None
        connection, self._connection = self._connection, None
        if lent is None or connection is None:
            return
        try:
            if not await self._is_at_rest(connection):
                await connection.close()
        except BaseException:
            await connection.close()
            raise
        finally:
            await lent.__aexit__(None, None, None)

    async def _is_at_rest(self, connection: HandlersConnection) -> bool:
        """Rolls back where there is something to roll back, and nothing has failed."""
        # Of statements that were skipped in a pipeline that failed, psycopg believes for ever that
        # they are prepared.
        if connection.closed or self._failed is not None:
            return False
        if connection.info.transaction_status == TransactionStatus.INTRANS:
            connection.silence_s = self._place.margin_s
            try:
                await psycopg.AsyncCursor(connection).execute(b"ROLLBACK", prepare=False)
            except psycopg.Error:
                return False
        return connection.info.transaction_status == TransactionStatus.IDLE

    def check(self) -> None:
        """Raises what it has failed with, or `MisusedStore` if it is over."""
        if self._over:
            raise MisusedStore(
                "the transaction of a handler ends when the handler returns: await in it what you "
                "do with it, and do not keep it"
            )
        if self._failed is not None:
            raise self._failed

    def _taken(self, statement: str, values: Sequence[Values]) -> list[Values | None]:
        """Returns a statement's values as they are now: a handler may change them meanwhile.

        Raises `TypeError`, and `MisusedStore` for what begins or ends a transaction.
        """
        self.check()
        try:
            _require_no_control(statement)
            return [_copied(one) for one in values]
        except (TypeError, MisusedStore) as error:
            self._failed = error
            raise

    async def _send(
        self,
        fetched: _Theirs | None,
        ours: Sequence[Statement] | None,
        *,
        ending: bool = False,
    ) -> list[psycopg.AsyncCursor[Row]]:
        """Sends what was kept, and what is asked, in one trip; what was asked last comes last."""
        theirs, self._kept, self._count = self._kept, [], 0
        if fetched is not None:
            theirs.append(fetched)
        self.check()  # again: it may have waited for another task of the handler
        if not theirs and not ours and self._is_seen:
            return []
        if ours is not None:
            idle = self._idle_ending if ending else self._idle
            ours = [Statement(STILL_OURS, {"idle": idle}), *ours]
        try:
            return await self._try(theirs, ours)
        except Exception:
            raise
        except BaseException:  # nobody knows how far it has got
            self._failed = self._called_off
            raise

    @property
    def _called_off(self) -> EverlogError:
        # Of the handler and not of the place, which would be tried again for ever: perhaps it has
        # set a statement a time that this never keeps.
        return EverlogError(
            f"{self._place}: a statement of this transaction was called off, so nothing of it can "
            "be committed"
        )

    async def _try(
        self, theirs: Sequence[_Theirs], ours: Sequence[Statement] | None
    ) -> list[psycopg.AsyncCursor[Row]]:
        tries = Tries(self._place.timeout_s)
        while True:
            begins = self._connection is None
            connection = await self._connected()
            # What a handler asks for may take long, and so may what is waited for in its place.
            connection.silence_s = (SILENCE if theirs else 1) * self._place.silence_s
            sent: list[_Sent] = []
            try:
                await self._send_over(connection, begins, theirs, ours, sent)
            except psycopg.Error as error:
                again = begins and not self._over and not tries.over
                if again and _is_lost(connection, error):
                    # Nothing of it was answered or committed, and all of it is still at hand.
                    await self._discard()
                    await tries.pause()
                    continue
                failure = self._failed = self._told(error, ours=_is_ours(sent))
                if failure is error:
                    raise
                raise failure from error
            except Exception as error:  # a value that cannot be bound
                self._failed = error
                raise
            cursors = [one.cursor for one in sent]
            await self._see(connection, theirs, ours, cursors)
            return cursors

    async def _connected(self) -> HandlersConnection:
        if self._connection is None:
            self.is_waiting = True
            try:
                lent = self._lend()
                self._connection = await lent.__aenter__()
            except Exception as error:
                self._failed = error  # what was kept is not kept any more
                raise
            finally:
                self.is_waiting = False
            self._lent = lent
        return self._connection

    async def _discard(self) -> None:
        lent, self._lent = self._lent, None
        connection, self._connection = self._connection, None
        assert lent is not None
        assert connection is not None
        try:
            await connection.close()
        finally:
            await lent.__aexit__(None, None, None)

    async def _send_over(
        self,
        connection: HandlersConnection,
        begins: bool,
        theirs: Sequence[_Theirs],
        ours: Sequence[Statement] | None,
        sent: list[_Sent],
    ) -> None:
        async with connection.pipeline() as pipeline:
            pipeline.__class__ = Pipeline
            if begins:
                for statement in self._beginning:
                    await self._send_ours(connection, statement, sent)
            for one in theirs:
                await self._send_theirs(connection, one, sent)
            for statement in ours or ():
                await self._send_ours(connection, statement, sent)

    @property
    def _idle(self) -> str:
        return f"{int(SILENCE * 1000 * max(self._place.timeout_s, 1))}ms"

    @property
    def _idle_ending(self) -> object:
        return self._place.patience["idle"]

    @property
    def _beginning(self) -> list[Statement]:
        values = self._place.patience | {"idle": self._idle, "mark": self.mark}
        return [Statement(schema.BEGIN), Statement(SET, values)]

    async def _send_ours(
        self, connection: HandlersConnection, statement: Statement, sent: list[_Sent]
    ) -> None:
        cursor = _OurCursor(connection, row_factory=tuple_row)
        sent.append(_Sent(cursor, ours=True))
        text = filled_in(statement.template, self._place.schema)
        await cursor.execute(text, statement.values, binary=True)

    async def _send_theirs(
        self, connection: HandlersConnection, one: _Theirs, sent: list[_Sent]
    ) -> None:
        cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
        sent.append(_Sent(cursor, ours=False))
        text = one.statement.encode()
        if len(one.values) > 1 and None not in one.values:
            many: list[Any] = one.values
            await cursor.executemany(text, many)
            return
        for values in one.values:
            await cursor.execute(text, values)

    async def _see(
        self,
        connection: HandlersConnection,
        theirs: Sequence[_Theirs],
        ours: Sequence[Statement] | None,
        cursors: Sequence[psycopg.AsyncCursor[Row]],
    ) -> None:
        """Raises `MisusedStore` if a handler's statement has ended the transaction."""
        ended = connection.info.transaction_status != TransactionStatus.INTRANS
        self._is_seen = ours is not None or (self._is_seen and not theirs)
        if ours is not None:
            [[mark, _]] = await rows_of(cursors[len(cursors) - len(ours)])
            ended = ended or mark != self.mark
        if ended:
            self._failed = MisusedStore(
                "a handler has ended the transaction that it was given: what it wrote before may "
                "stand, and its records have not been counted as done; leave both to everlog"
            )
            raise self._failed

    def _told(self, error: psycopg.Error, *, ours: bool) -> Exception:
        """Returns what is raised for an error: of the place another one, of a handler itself."""
        connection = self._connection
        state = error.sqlstate or ""
        of_the_place = ours or not {state[:2], state[:3], state}.isdisjoint(_OF_THE_PLACE)
        if of_the_place or (connection is not None and _is_lost(connection, error)):
            return as_storage_error(error, str(self._place))
        return error


class _Theirs(NamedTuple):
    """A statement of a handler, for each of its values; None where it has none."""

    statement: str
    values: list[Values | None]


class _Sent(NamedTuple):
    cursor: psycopg.AsyncCursor[Row]
    ours: bool


class _OurCursor(psycopg.AsyncCursor[Row]):
    """Loads and dumps as our statements need it, whatever a program has registered."""

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


_ADAPTERS = AdaptersMap(psycopg.adapters)
adapt(_ADAPTERS)

# The connection, no room or memory, its disk, a fault of its own; the end of a session or server.
_OF_THE_PLACE = frozenset({"08", "53", "58", "XX", "57P", "25P03"})


# What a procedure or a `DO` may do to a transaction the server refuses by itself.
_CONTROL = re.compile(
    r"(begin|start|commit|end|abort|rollback|savepoint|release|prepare\s+transaction)\b",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"(?:[\s;]|--[^\n]*)*")
_COMMENT = re.compile(r"/\*|\*/")


def _require_no_control(statement: str) -> None:
    """Raises `MisusedStore` for a statement that begins or ends a transaction."""
    control = _CONTROL.match(statement, _beginning_of(statement))
    if control is not None:
        raise MisusedStore(
            f"a handler must not run {control[1].upper()} in the transaction that it was given, "
            "which ends by itself: with its return, or with what it raises"
        )


def _beginning_of(statement: str) -> int:
    """Returns where a statement begins: behind blanks, empty statements and comments."""
    at = _NOTHING.match(statement, 0)
    assert at is not None
    begin = at.end()
    if not statement.startswith("/*", begin):
        return begin
    depth = 0
    for mark in _COMMENT.finditer(statement, begin):  # one may be inside of another
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end() + _beginning_of(statement[mark.end() :])
    return len(statement)


def _copied(values: Values) -> Values | None:
    """Returns a copy of values, None where there are none; raises `TypeError`."""
    given: Any = cast("Any", values)
    if not isinstance(given, (Mapping, Sequence)) or isinstance(given, (str, bytes, bytearray)):
        raise TypeError(f"values are a sequence or a mapping, not {type(values).__name__}")
    if isinstance(values, Mapping):
        return dict(values) or None
    return tuple(values) or None


def _is_lost(connection: HandlersConnection, error: psycopg.Error) -> bool:
    """Whether an error may be no answer of the server to the statement."""
    return connection.closed or (
        error.sqlstate is None
        and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    )


def _is_ours(sent: Sequence[_Sent]) -> bool:
    """Whether it was a statement of ours that has failed.

    Those of handlers stand between two of ours, of which the second is never the one that fails.
    """
    between = False
    for cursor, ours in sent:
        if not ours:
            between = True
        elif cursor.pgresult is None:
            return not between
        else:
            between = False
    return not between
