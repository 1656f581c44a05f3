"""Reading: what `store.read` returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from everlog.blocking.portal import Portal
from everlog.core.record import Record
from everlog.store.reading import Reading as AsyncReading
from everlog.store.reading import rest_of_page

E = TypeVar("E")


class Reading(Generic[E]):
    """Records, read page by page as they are asked for. Iterate over it, as often as you like.

    Each iteration sees one consistent prefix of the log, up to its head when it began. It holds no
    resource between pages: it may be left anywhere, and be as slow as it likes.

    >>> emails = store.read(types=[EmailSet])
    >>> [record.data.root for record in emails]
    ['jane@work.com']
    """

    def __init__(self, portal: Portal, reading: AsyncReading[E]) -> None:
        self._portal = portal
        self._reading = reading

    def __iter__(self) -> Iterator[Record[E]]:
        iteration = aiter(self._reading)
        while page := self._portal.run(rest_of_page, iteration):
            yield from page

    def to_list(self) -> list[Record[E]]:
        """Returns all of it at once. Mind the size: `limit=` bounds it.

        >>> store.read("user-1", limit=10).to_list()
        [<Record 1 user:created ...>, <Record 2 user:email-set ...>]
        """
        return self._portal.run(self._reading.to_list)

    def first(self) -> Record[E] | None:
        """Returns the first record, or None if there is none.

        >>> store.read("user-1", backwards=True).first()
        <Record 2 user:email-set of 'user-1' version 2 id ...>
        """
        return self._portal.run(self._reading.first)


def asynchronous(records: Any, portal: Portal) -> AsyncReading[Any] | None:
    """Returns what the portal itself reads, if these records are a reading of a store of it."""
    if not issubclass(type(records), Reading):
        return None
    reading: Reading[Any] = records
    if reading._portal is not portal:  # pyright: ignore[reportPrivateUsage]  # its friend
        return None
    return reading._reading  # pyright: ignore[reportPrivateUsage]  # its friend
