"""The floor on PostgreSQL: what a good engineer writes by hand with psycopg, hashlib and msgspec.

It keeps what the floor on SQLite keeps (`sqlite_floor.py`), and any number of processes may write:
the row of the head is their lock. Three ways lead past it, each the fastest measured in its place:

- Whoever wrote last guesses that nobody has written since: one statement, which commits by itself.
- Otherwise a function on the server places the events, so that nobody waits, under the lock, for a
  client that waits for a core.
- Retries by id, expected versions and large batches look first and write then, under the lock;
  large ones by COPY, so that the server stores some while the next are hashed.

It has no framework: see there. Nor does it try again, migrate, or wake anybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from json.encoder import encode_basestring as quote
from typing import Any, LiteralString, NamedTuple, TypeAlias, TypeVar

import msgspec

from benchmarks.floor import postgres_schema as sql
from benchmarks.floor.postgres_placing import Head, Log, Outcome, Placing, prepare
from benchmarks.floor.sqlite_floor import Appending, Row
from benchmarks.floor.taking_in import Here, take_in
from benchmarks.floor.verifying import Verifying

T = TypeVar("T")
S = TypeVar("S")

COPY_FROM = 200
"""From so many events on, COPY is faster, though it takes more trips."""
KNOWN_STREAMS = 10_000
"""So many versions are remembered, at most."""
PAGE = 500


class Ask(NamedTuple):
    """A step: one statement, one trip. Gives its rows."""

    statement: LiteralString
    values: Any = ()


class Together(NamedTuple):
    """A step: several statements in one trip. Gives the rows of each."""

    asked: Sequence[Ask]


class Fill(NamedTuple):
    """A step: rows through COPY. Gives nothing."""

    statement: LiteralString
    rows: Iterable[Sequence[object]]


Step: TypeAlias = Ask | Together | Fill

Script: TypeAlias = "Generator[Step, Any, T]"
"""Yields steps and is sent what they gave, so one text serves async and blocking connections."""


class PostgresFloor:
    """The scripts of one connection that writes, or reads, or both."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._left = -1
        """The position at which this connection left the log."""
        self._head: Head | None = None
        """The head there, if nobody else has written lately."""
        self._versions: dict[str, int] = {}
        """The versions of some streams at that head."""

    # --- writing ---

    def append(self, appending: Appending) -> Script[list[Row]]:
        """Appends in a transaction of its own; returns the stored rows."""
        [outcome] = yield from self.write([appending])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def write(self, batch: Sequence[Appending]) -> Script[list[Outcome]]:
        """Appends all in one transaction; each has an outcome of its own."""
        plain = all(one.ids is None and one.expect is None for one in batch)
        if plain and self._head is not None:
            known = self._versions
            if all(one.stream in known for one in batch):
                outcomes = yield from self._guess(batch, self._head)
                if outcomes is not None:
                    return outcomes
        if plain and sum(len(one.events) for one in batch) < COPY_FROM:
            return (yield from self._call(batch))
        return (yield from self._look_and_write(batch))

    def _guess(self, batch: Sequence[Appending], head: Head) -> Script[list[Outcome] | None]:
        versions = {one.stream: self._versions[one.stream] for one in batch}
        placing = Placing(self._log, head, versions, {})
        rows = list(placing.rows(batch))
        moved = (*placing.head, head.position)
        self._head = None  # unless this succeeds
        if len(rows) == 1:
            [row] = rows
            id, stream, type = row[2:5]
            created, data, meta = row[10], row[14], row[15]
            # fmt: off
            values: tuple[object, ...] = (
                *moved, row[1], id, stream, type, type, row[7], id, created, created, row[13],
                row[16], row[17], data, meta, stream, type, created, id,
            )
            # fmt: on
            found = yield Ask(sql.GUESS_ONE, values)
        else:
            values = (*moved, *placing.columns(rows), *placing.registers())
            found = yield Ask(sql.GUESS_MANY, values)
        if not found:
            return None
        self._leave(placing.head, versions, found=head.position)
        return placing.outcomes

    def _call(self, batch: Sequence[Appending]) -> Script[list[Outcome]]:
        log = self._log
        events = prepare(log, batch)
        streams, ids, nonces, commitments, datas, metas = zip(*events, strict=True)
        type, origin, join = log.type, log.origin, "\n".join
        self._head = None  # unless this succeeds
        # fmt: off
        found = yield Ask(
            sql.CALL,
            (join(ids), join(streams), join(map(quote, streams)), b"".join(nonces),
             join(commitments), join(datas), join(metas), type, quote(type),
             time.time_ns() // 1_000_000 << 16),
        )
        rows = [
            (position, version, id, stream, type, 1, type, origin, id, None, created, created, 0,
             nonce, data, meta, hashed, chain)
            for (stream, id, nonce, _, data, meta), (position, version, created, hashed, chain)
            in zip(events, found, strict=True)
        ]
        # fmt: on
        last = rows[-1]
        head = Head(last[0], last[17], int(last[10][:16], 16))
        self._leave(head, {row[3]: row[1] for row in rows}, found=rows[0][0] - 1)
        taken = iter(rows)
        return [[next(taken) for _ in one.events] for one in batch]

    def _look_and_write(self, batch: Sequence[Appending]) -> Script[list[Outcome]]:
        streams = "\n".join({one.stream for one in batch})
        ids = "\n".join(id for one in batch if one.ids is not None for id in one.ids)
        looking = [
            Ask("BEGIN"),
            # By itself: the statements after it see all that was committed before.
            Ask(sql.LOCK),
            Ask(sql.SELECT_HEAD),
            Ask(sql.SELECT_VERSIONS, (streams,)),
        ]
        if ids:
            looking.append(Ask(sql.SELECT_IDS, (ids,)))
        self._head = None  # unless this succeeds
        try:
            _, _, [head], found, *stored = yield Together(looking)
            versions = {stream: version or 0 for stream, version in found}
            by_id = {row[2]: row for row in stored[0]} if ids else {}
            placing = Placing(self._log, Head(*head), versions, by_id)
            ending = list[Ask]()
            if sum(len(one.events) for one in batch) >= COPY_FROM:
                yield Fill(sql.COPY, map(_copied, placing.rows(batch)))
            elif rows := list(placing.rows(batch)):
                ending.append(Ask(sql.INSERT, placing.columns(rows)))
            if placing.rows_placed:
                ending.append(Ask(sql.UPSERT_REGISTERS, placing.registers()))
                ending.append(Ask(sql.UPDATE_HEAD, placing.head))
            yield Together([*ending, Ask("COMMIT")])
        except BaseException:
            yield Ask("ROLLBACK")
            raise
        self._leave(placing.head, versions, found=head[0])
        return placing.outcomes

    def _leave(self, head: Head, versions: dict[str, int], *, found: int) -> None:
        """Remembers what is true at a head; `found`: the position before, which tells of others."""
        alone = found == self._left
        if not alone or len(self._versions) + len(versions) > KNOWN_STREAMS:
            self._versions.clear()
        self._versions.update(versions)
        self._left = head.position
        self._head = head if alone else None

    def take_in(self, rows: Sequence[Row]) -> Script[int]:
        """Takes in records of another log, all or nothing; returns how many were new."""
        streams = "\n".join({row[3] for row in rows})
        looking = [
            Ask("BEGIN"),
            Ask(sql.LOCK),
            Ask(sql.SELECT_HEAD),
            Ask(sql.SELECT_NEWEST),
            Ask(sql.SELECT_HASHES, ("\n".join([row[2] for row in rows]),)),
            Ask(sql.SELECT_VERSIONS, (streams,)),
            Ask(sql.SELECT_REGISTERS, (streams,)),
        ]
        self._head = None  # what is known of the streams is not kept
        try:
            _, _, [found], newest, known, versions, registers = yield Together(looking)
            head = Head(*found)
            here = Here(
                head.position,
                head.chain,
                head.clock,
                newest[0] if newest else ("", ""),
                dict(known),
                {stream: version or 0 for stream, version in versions},
                {stream: (created, id) for stream, created, id in registers},
            )
            taken = take_in(rows, here, self._log.node)
            ending = [Ask("COMMIT")]
            if taken.rows:
                yield Fill(sql.COPY, [(*row, _size(row)) for row in taken.rows])
                places = taken.registers.items()
                columns = zip(*((stream, *place) for stream, place in places), strict=True)
                ending[:0] = [
                    Ask(sql.UPSERT_REGISTERS, (self._log.type, *map("\n".join, columns))),
                    Ask(sql.UPDATE_HEAD, (taken.position, taken.chain, taken.clock)),
                ]
            yield Together(ending)
        except BaseException:
            yield Ask("ROLLBACK")
            raise
        return len(taken.rows)

    # --- reading ---

    def page(self, after: int, size: int = PAGE) -> Script[list[Row]]:
        """Returns the next rows of the log."""
        return (yield Ask(sql.SELECT_PAGE, (after, size)))  # type: ignore[no-any-return]

    def stream(self, stream: str) -> Script[list[Row]]:
        """Returns the rows of a stream."""
        return (yield Ask(sql.SELECT_STREAM, (stream,)))  # type: ignore[no-any-return]

    def changes(self, after: int) -> Script[list[Row]]:
        """Returns the next rows of the log, without a look at it if the head has not moved."""
        [[position]] = yield Ask(sql.SELECT_POSITION)
        return (yield from self.page(after)) if position > after else []

    def fold(
        self, stream: str, reducer: str, initial: S, step: Callable[[S, Row, Any], S]
    ) -> Script[S]:
        """Folds a stream in the order of creation, from its snapshot if that holds."""
        state, _ = yield from self._fold(stream, reducer, initial, step)
        return state

    def snapshot(
        self, stream: str, reducer: str, initial: S, step: Callable[[S, Row, Any], S]
    ) -> Script[None]:
        """Stores the folded state of a stream."""
        state, position = yield from self._fold(stream, reducer, initial, step)
        text = msgspec.json.encode(state).decode()
        yield Ask(sql.UPSERT_SNAPSHOT, (stream, reducer, position, text))

    def _fold(
        self, stream: str, reducer: str, initial: S, step: Callable[[S, Row, Any], S]
    ) -> Script[tuple[S, int]]:
        decode = self._log.decode
        found = yield Ask(sql.SELECT_FOLD, {"stream": stream, "reducer": reducer})
        state, after = initial, 0
        if found and not found[0][-1]:
            [snapshot, *found] = found
            after, state = snapshot[0], msgspec.json.decode(snapshot[14])
        last = found[-1][0] if found else after
        if any(row[-2] for row in found):
            found.sort(key=_creation)
        for row in found:
            state = step(state, row, decode(row[14]))
        return state, last

    # --- looking after it ---

    def verify(self) -> Script[int]:
        """Computes every hash and the chain again; returns how many records there are."""
        verifying = Verifying()
        while rows := (yield Ask(sql.SELECT_PAGE, (verifying.count, PAGE))):
            verifying.check(rows)
        return verifying.count


def _copied(row: Row) -> Row:
    return (*row, False, _size(row))


def _size(row: Row) -> int:
    return len(row[14].encode()) + len(row[15].encode())


def _creation(row: Row) -> tuple[str, str]:
    return row[10], row[2]
