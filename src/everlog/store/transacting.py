"""Transactions: events that commit with the user's own tables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

from everlog.core.aggregate import AggregateRoot
from everlog.core.record import Record
from everlog.core.sequencer import Append
from everlog.core.stream import ANY, Expectation
from everlog.errors import InvalidInput
from everlog.ports.ledger import Joined
from everlog.ports.owner import Owner
from everlog.store.observing import Observed
from everlog.store.preparing import Preparer, To, of_pending
from everlog.store.writing import Writing, run_out, to_wait_for


class Transaction:
    """Events that commit together with what else a transaction writes: all of it, or nothing.

    What `append`, `append_many` and `save` are given is checked at once and kept. At the end of the
    block the ledger's lock is taken, conditions are checked, the events are written, and the
    transaction is committed. If the block raises, or an event is refused, it is rolled back.

    >>> async with store.transaction(connection) as tx:
    ...     _ = await connection.execute("INSERT INTO mails VALUES ('joe@doe.com')")
    ...     tx.append("user-2", UserCreated(email="joe@doe.com"))
    """

    def __init__(
        self,
        joined: Joined,
        *,
        preparer: Preparer,
        writing: Writing,
        observed: Observed,
        owner: Owner,
        emit: bool,
    ) -> None:
        """Use `store.transaction`."""
        self._records: list[Record[Any]] = []
        self._joined = joined
        self._preparer = preparer
        self._writing = writing
        self._observed = observed
        self._owner = owner
        self._emit = emit
        self._requests: list[Append] = []
        self._saved: list[AggregateRoot] = []
        self._open: bool | None = None

    @property
    def records(self) -> list[Record[Any]]:
        """The records of all events, with their positions, once the block has ended.

        >>> async with store.transaction(connection) as tx:
        ...     tx.append("user-1", EmailSet("jane@acme.com"))
        >>> tx.records
        [<Record 3 user:email-set of 'user-1' version 3 id ...>]
        """
        return list(self._records)

    def append(
        self,
        stream: str,
        *events: object,
        meta: object = None,
        expect: Expectation = ANY,
        ids: Sequence[str] | None = None,
        relations: Iterable[str] = (),
    ) -> None:
        """Takes events to be appended to a stream at the end of the block.

        As `store.append`, which says what is raised here: what is wrong with the events themselves.
        What depends on the log (`WrongVersion`, `IdConflict`, `PartialRetry`) is raised at the end.

        >>> async with store.transaction(connection) as tx:
        ...     tx.append("user-1", EmailSet("jane@acme.com"), expect=2, ids=["message-17"])
        """
        self._check_open()
        self._requests.append(
            self._preparer.append(
                stream,
                events,
                meta=meta,
                expect=expect,
                ids=ids,
                relations=relations,
                observed=self._observed.stamp,
            )
        )

    def append_many(self, items: Iterable[To]) -> None:
        """Takes events for several streams. Made of `to(stream, event, ...)`.

        >>> async with store.transaction(connection) as tx:
        ...     tx.append_many([to("user-1", UserBlocked(), meta=Auditor(auditor="ann"))])
        """
        self._check_open()
        self._requests.append(
            self._preparer.append_many(list(items), observed=self._observed.stamp)
        )

    def save(self, *aggregates: AggregateRoot) -> None:
        """Takes the pending events of aggregates, each at the version that it was loaded at.

        They stay pending until the transaction has been committed. Raises `InvalidInput` for two
        aggregates of one stream.

        >>> jane = await store.get(User, "user-1")
        >>> async with store.transaction(connection) as tx:
        ...     tx.save(jane.set_email("jane@acme.com"))
        >>> jane
        <User 'user-1' version 3>
        """
        self._check_open()
        dirty = [each for each in dict.fromkeys(aggregates) if each.log.is_dirty]
        if not dirty:
            return
        streams = [each.log.stream for each in (*self._saved, *dirty)]
        if len(set(streams)) < len(streams):
            raise InvalidInput("two of these aggregates are of the same stream; save one of them")
        self._requests.append(of_pending(dirty, observed=self._observed.stamp))
        self._saved += dirty

    async def __aenter__(self) -> Self:
        self._owner.check()
        if self._open is not None:
            raise InvalidInput("a transaction is used once; make another: store.transaction(...)")
        await self._joined.begin()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        if error is not None:
            await self._joined.roll_back()
            return
        committing, hooks = self._writing.join(
            self._joined, self._requests, self._records, emit=self._emit, context=copy_context()
        )
        await _to_its_end(committing)
        versions = {record.id: record.version for record in self._records}
        for aggregate in self._saved:
            aggregate.log.saved(versions)
        await run_out(to_wait_for(hooks))

    def _check_open(self) -> None:
        self._owner.check()
        if not self._open:
            raise InvalidInput(
                "the transaction is not open; call it inside "
                "`async with store.transaction(connection) as tx:`"
            )


async def _to_its_end(committing: asyncio.Future[Any]) -> None:
    """Waits for a commit, and stays when it is cancelled.

    The connection is the caller's, who would go on to use it, or roll it back, between two
    statements of the commit.
    """
    cancelled: asyncio.CancelledError | None = None
    while not committing.done():
        try:
            await asyncio.wait([committing])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        committing.exception()  # looked at, so that nobody is told that it was not
        raise cancelled
    committing.result()
