"""Transactions: events that commit with the user's own tables.

Made from `everlog.store.transacting`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from everlog.blocking.portal import Portal
from everlog.core.aggregate import AggregateRoot
from everlog.core.record import Record
from everlog.core.stream import ANY, Expectation
from everlog.store.preparing import To
from everlog.store.transacting import Transaction as AsyncTransaction


class Transaction:
    """Events that commit together with what else a transaction writes: all of it, or nothing.

    What `append`, `append_many` and `save` are given is checked at once and kept. At the end of
    the block the ledger's lock is taken, conditions are checked, the events are written, and
    the transaction is committed. If the block raises, or an event is refused, it is rolled
    back.

    If all its events are stored already, by their ids, it is a retry: then what the block wrote
    is rolled back, as it was committed with them, and `is_retry` says so.

    >>> with store.transaction(connection) as tx:
    ...     _ = connection.execute("INSERT INTO mails VALUES ('joe@doe.com')")
    ...     tx.append("user-2", UserCreated(email="joe@doe.com"))
    """

    def __init__(self, portal: Portal, transaction: AsyncTransaction) -> None:
        self._portal = portal
        self._transaction = transaction

    @property
    def records(self) -> list[Record[Any]]:
        """The records of all events, with their positions, once the block has ended.

        >>> with store.transaction(connection) as tx:
        ...     tx.append("user-1", EmailSet("jane@acme.com"))
        >>> tx.records
        [<Record 3 user:email-set of 'user-1' version 3 id ...>]
        """
        return self._transaction.records

    @property
    def is_retry(self) -> bool:
        """Whether the events were stored already, and what the block wrote was rolled back.

        >>> for _ in range(2):
        ...     with store.transaction(connection) as tx:
        ...         tx.append("user-1", EmailSet("jane@acme.com"), ids=["message-17"])
        ...     print(tx.is_retry, tx.records)
        False [<Record 3 user:email-set of 'user-1' version 3 id message-17>]
        True [<Record 3 user:email-set of 'user-1' version 3 id message-17>]
        """
        return self._transaction.is_retry

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

        >>> with store.transaction(connection) as tx:
        ...     tx.append("user-1", EmailSet("jane@acme.com"), expect=2, ids=["message-17"])
        """
        self._portal.here(
            self._transaction.append,
            stream,
            *events,
            meta=meta,
            expect=expect,
            ids=ids,
            relations=relations,
        )

    def append_many(self, items: Iterable[To]) -> None:
        """Takes events for several streams. Made of `to(stream, event, ...)`.

        >>> with store.transaction(connection) as tx:
        ...     tx.append_many([to("user-1", UserBlocked(), meta=Auditor(auditor="ann"))])
        """
        self._portal.here(self._transaction.append_many, items)

    def save(self, *aggregates: AggregateRoot) -> None:
        """Takes the pending events of aggregates, each at the version that it was loaded at.

        They stay pending until the transaction has been committed. Raises `InvalidInput` for two
        aggregates of one stream.

        >>> jane = store.get(User, "user-1")
        >>> with store.transaction(connection) as tx:
        ...     tx.save(jane.set_email("jane@acme.com"))
        >>> jane
        <User 'user-1' version 3>
        """
        self._portal.here(self._transaction.save, *aggregates)

    def __enter__(self) -> Self:
        self._portal.run(self._transaction.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.run(self._transaction.__aexit__, kind, error, trace)
