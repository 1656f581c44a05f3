"""`Tx`: the transaction of a subscription, as a `def` handler has it.

Made from `everlog.ports.checkpoints`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from everlog.ports.checkpoints import Values


class Tx(Protocol):
    """The transaction in which a checkpoint moves: what is written in it stands exactly once.

    Given to handlers that ask for it, by a parameter of the name `tx`. An `async def` handler
    gets `everlog.Tx`. All of a handler's statements are in it, and nothing of them is left if
    the handler fails. It ends with the handler's return: it is not to be kept.

    >>> projector = Projector()
    >>> @projector.on(EmailSet)
    ... def keep(record: Record[EmailSet], tx: Tx) -> None:
    ...     tx.execute("CREATE TABLE IF NOT EXISTS emails (stream PRIMARY KEY, email)")
    ...     values = (record.stream, record.data.root)
    ...     tx.execute("INSERT OR REPLACE INTO emails VALUES (?, ?)", values)
    ...     print(tx.fetch("SELECT * FROM emails"))
    >>> with store.subscription("emails", projector) as subscription:
    ...     subscription.caught_up()
    [('user-1', 'jane@work.com')]
    """

    def execute(self, statement: str, values: Values = ()) -> None:
        """Runs a statement that gives nothing.

        It may be carried out later, together with others, in their order: at the latest before the
        next `fetch` and before the commit. If it fails then, the records of the batch are handled
        again one by one, and each statement at once, so that the error is raised here (not in the
        log's own file: there it is raised behind the handler). The values
        are copied.

        Raises the driver's own error where the statement or its values are wrong, `TypeError` at
        once for values that are no sequence and no mapping, `StorageError` where the place fails,
        `MisusedStore` for a statement that would begin or end a transaction or write to the log's
        own tables, and once this one has ended. In the log's own file (`views="same"` of SQLite) a
        handler may wait for nothing but `tx` behind its first `fetch`, and for 50 ms in all: after
        that it is rolled back, and raises `HandlerHeldTransaction`. After a statement that
        has failed nothing of the transaction can be committed, also if the error was caught.
        """
        ...

    def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        """Runs a statement for each of many values; as `execute`."""
        ...

    def fetch(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement, which sees all that was executed before."""
        ...
