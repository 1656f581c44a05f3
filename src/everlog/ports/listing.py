"""Listing: which streams there are. A ledger that can tell has this beside its port."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from everlog.core.stamp import stamp_time


class StreamInfo(NamedTuple):
    """A stream, by its last record; what `store.streams` returns.

    >>> [stream] = await store.streams()
    >>> stream.stream, stream.version, stream.position, stream.type
    ('user-1', 2, 2, 'user:email-set')
    """

    stream: str
    version: int
    """Of its last record: so many count."""
    position: int
    """That of its last record in the ledger."""
    type: str
    """That of its last record."""
    recorded: str
    """The stamp of its recording."""

    @property
    def recorded_at(self) -> datetime:
        """The time of its recording, in UTC, to the millisecond."""
        return stamp_time(self.recorded)


@runtime_checkable
class Listing(Protocol):
    """A ledger that knows its streams by name."""

    async def streams(self, *, prefix: str, after: str, limit: int) -> Sequence[StreamInfo]:
        """Returns streams in order of their names, by code point, at most `limit` of them.

        Those whose names begin with `prefix` and come behind `after`; either may be empty. Each
        costs a look into an index, however many records it has.
        """
        ...
