"""Transactions: events that commit with the user's own tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from everlog.core.aggregate import AggregateRoot
from everlog.core.record import Record
from everlog.core.sequencer import Append, check_append
from everlog.core.stream import ANY, Expectation
from everlog.errors import InvalidInput
from everlog.ports.ledger import Joined
from everlog.ports.owner import Owner
from everlog.store.observing import Observed
from everlog.store.preparing import Preparer, To, of_pending
from everlog.store.writing import Writing, run_out


class Transaction:
    """Events that commit together with what else a transaction writes: all of it, or nothing.

    What `append`, `append_many` and `save` are given is checked at once and kept. At the end of the
    block the ledger's lock is taken, conditions are checked, the events are written, and the
    transaction is committed. If the block raises, or an event is refused, it is rolled back.

    If all its events are stored already, by their ids, it is a retry: then what the block wrote is
    rolled back, as it was committed with them, and `is_retry` says so.

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
        self._is_retry = False
        self._joined = joined
        self._preparer = preparer
        self._writing = writing
        self._observed = observed
        self._owner = owner
        self._emit = emit
        self._taken: list[Append] = []
        self._saved: list[AggregateRoot] = []
        self._used = False
        self._open = False

    @property
    def records(self) -> list[Record[Any]]:
        """The records of all events, with their positions, once the block has ended.

        >>> async with store.transaction(connection) as tx:
        ...     tx.append("user-1", EmailSet("jane@acme.com"))
        >>> tx.records
        [<Record 3 user:email-set of 'user-1' version 3 id ...>]
        """
        return list(self._records)

    @property
    def is_retry(self) -> bool:
        """Whether the events were stored already, and what the block wrote was rolled back.

        >>> for _ in range(2):
        ...     async with store.transaction(connection) as tx:
        ...         tx.append("user-1", EmailSet("jane@acme.com"), ids=["message-17"])
        ...     print(tx.is_retry, tx.records)
        False [<Record 3 user:email-set of 'user-1' version 3 id message-17>]
        True [<Record 3 user:email-set of 'user-1' version 3 id message-17>]
        """
        return self._is_retry

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
        What depends on the log (`WrongVersion`, `IdConflict`, `PartialRetry`), or on all events of
        the block (`TooLarge`, an id that stands twice), is raised at the end.

        >>> async with store.transaction(connection) as tx:
        ...     tx.append("user-1", EmailSet("jane@acme.com"), expect=2, ids=["message-17"])
        """
        self._check_open()
        self._taken.append(
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
        self._taken.append(self._preparer.append_many(list(items), observed=self._observed.stamp))

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
            raise InvalidInput(
                "a transaction saves an aggregate once, and one of a stream: push first, then save"
            )
        self._taken.append(of_pending(dirty, observed=self._observed.stamp))
        self._saved += dirty

    async def __aenter__(self) -> Self:
        self._owner.check()
        if self._used:
            raise InvalidInput("a transaction is used once; make another: store.transaction(...)")
        self._used = True
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
        if self._owner.forked:  # the connection is the parent's
            self._owner.check()
        if error is not None:
            await self._joined.roll_back()
            return
        try:
            self._owner.check()
            request = _as_one(self._taken)
            await self._joined.prepare()
            self._owner.check()  # it may have been closed while somebody's lock was waited for
            hooks = await self._writing.join(
                self._joined, request, self._took_effect, emit=self._emit
            )
        except BaseException:
            await self._joined.roll_back()
            raise
        await run_out(hooks)

    def _took_effect(self, records: list[Record[Any]], new: bool) -> None:
        self._records, self._is_retry = records, not new
        versions = {record.id: record.version for record in records}
        for aggregate in self._saved:
            aggregate.log.saved(versions)

    def _check_open(self) -> None:
        self._owner.check()
        if not self._open:
            raise InvalidInput(
                "the transaction is not open; call it inside the `with` block of "
                "store.transaction(connection)"
            )


def _as_one(requests: Sequence[Append]) -> Append | None:
    """Returns one request for all, so that what is true of one append is true of a transaction."""
    if len(requests) < 2:
        return requests[0] if requests else None
    return check_append(
        Append(
            tuple(event for request in requests for event in request.events),
            tuple(dict.fromkeys(pair for request in requests for pair in request.relations)),
            max(request.observed for request in requests),
        )
    )
