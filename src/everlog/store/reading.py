"""Reading: what `store.read` returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from everlog.core.event import Registry
from everlog.core.record import Record, StoredRecord
from everlog.core.selection import Cursor, Selection, page_records
from everlog.core.stamp import moment_bound
from everlog.core.stream import check_name
from everlog.core.token import ResumeToken, decode
from everlog.errors import InvalidInput
from everlog.ports.ledger import Ledger

E = TypeVar("E")

_HOW_TO_READ = "write `async for record in store.read(...)`"

Observe = Callable[[str], None]
"""Told the greatest stamp of each page."""


class Reading(Generic[E]):
    """Records, read page by page as they are asked for. Iterate over it, as often as you like.

    Each iteration sees one consistent prefix of the log, up to its head when it began. It holds no
    resource between pages: it may be left anywhere, and be as slow as it likes.

    >>> emails = store.read(types=[EmailSet])
    >>> [record.data.root async for record in emails]
    ['jane@work.com']
    """

    def __init__(
        self, ledger: Ledger, registry: Registry, selection: Selection, observe: Observe
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._selection = selection
        self._observe = observe

    def __aiter__(self) -> AsyncIterator[Record[E]]:
        return _Iteration[E](self._ledger, self._registry, self._selection, self._observe)

    if not TYPE_CHECKING:  # a type checker says it better

        def __iter__(self) -> object:
            raise TypeError(f"{_HOW_TO_READ}, or call .to_list()")

        def __await__(self) -> object:
            raise TypeError(f"a reading is not awaited itself: {_HOW_TO_READ}, or await .to_list()")

    async def to_list(self) -> list[Record[E]]:
        """Returns all of it at once. Mind the size: `limit=` bounds it.

        >>> await store.read("user-1", limit=10).to_list()
        [<Record 1 user:created ...>, <Record 2 user:email-set ...>]
        """
        return [record async for record in self]

    async def first(self) -> Record[E] | None:
        """Returns the first record, or None if there is none.

        >>> await store.read("user-1", backwards=True).first()
        <Record 2 user:email-set of 'user-1' version 2 id ...>
        """
        page = await self._ledger.read(self._selection, size=1)
        for row in page.records:
            self._observe(row.recorded)
            return Record(row, self._registry)
        return None


class _Iteration(AsyncIterator[Record[E]]):
    def __init__(
        self, ledger: Ledger, registry: Registry, selection: Selection, observe: Observe
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._selection = selection
        self._observe = observe
        self._rows: Iterator[StoredRecord] = iter(())
        self._cursor: Cursor | None = None
        self._ended = False

    async def __anext__(self) -> Record[E]:
        while True:
            for row in self._rows:
                return Record(row, self._registry)
            await self._turn_page()

    async def rest_of_page(self) -> list[Record[E]]:
        records = [Record[E](row, self._registry) for row in self._rows]
        if not records:
            try:
                await self._turn_page()
            except StopAsyncIteration:
                return []
            records = [Record[E](row, self._registry) for row in self._rows]
        return records

    async def _turn_page(self) -> None:
        while True:
            if self._ended:
                raise StopAsyncIteration
            size = page_records(self._selection)
            page = await self._ledger.read(self._selection, cursor=self._cursor, size=size)
            self._selection, self._cursor = page.selection, page.cursor
            self._ended = page.cursor is None
            self._rows = iter(page.records)
            if page.records:
                # recorded ascends with position, and is never before created
                self._observe(max(page.records[0].recorded, page.records[-1].recorded))
                return


def select(
    registry: Registry,
    *,
    stream: str | None = None,
    streams: Sequence[str] | None = None,
    prefix: str | None = None,
    relation: str | None = None,
    types: Sequence[type[Any] | str] | None = None,
    after: int | str = 0,
    until: int | None = None,
    as_of: datetime | str | None = None,
    limit: int | None = None,
    backwards: bool = False,
) -> Selection:
    """Returns a checked selection; raises `InvalidInput` saying which argument is wrong."""
    given = [
        name
        for name, value in (
            ("stream", stream),
            ("streams", streams),
            ("prefix", prefix),
            ("relation", relation),
        )
        if value is not None
    ]
    if len(given) > 1:
        raise InvalidInput(
            f"pass one of stream, streams, prefix and relation, not {' and '.join(given)}"
        )
    if stream is not None:
        streams = (stream,)
    elif isinstance(streams, str):
        raise InvalidInput(f"streams= is a list of names; for one stream pass {streams!r} itself")
    if isinstance(types, (str, type)):
        raise InvalidInput("types= is a list of event classes or type names, not a single one")
    position, seen = place_of(after)
    return Selection(
        streams=None
        if streams is None
        else tuple(dict.fromkeys(check_name("stream", name) for name in streams)),
        prefix=None if prefix is None else check_name("stream prefix", prefix),
        relation=None if relation is None else check_name("relation", relation),
        types=None
        if types is None
        else tuple(dict.fromkeys(name for entry in types for name in registry.names_of(entry))),
        after=position,
        until=None if until is None else whole("until", until),
        as_of=None if as_of is None else moment_bound(as_of, where="as_of"),
        limit=None if limit is None else whole("limit", limit),
        backwards=bool(backwards),
        seen=seen,
    )


def place_of(after: int | str) -> tuple[int, ResumeToken | None]:
    """Returns the position of a position or resume token, and the token; raises `InvalidInput`."""
    if isinstance(after, str):
        seen = decode(after)
        return seen.position, seen
    return whole("after", after), None


def check_timeout(timeout_s: float) -> None:
    """Raises `InvalidInput` for what is no time to wait, in seconds, of a day at most."""
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput(f"timeout_s={timeout_s!r} must be a number of seconds")
    if not 0 <= timeout_s <= 86_400:
        raise InvalidInput(f"timeout_s={timeout_s} must be from 0 to 86400 seconds")


def whole(name: str, value: object) -> int:
    """Returns a position or count; raises `InvalidInput` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidInput(f"{name}={value!r} must be a whole number from 0")
    return value


async def rest_of_page(iteration: AsyncIterator[Record[E]]) -> list[Record[E]]:
    """Returns what an iteration over a reading gives before it reads again; nothing at its end.

    For who crosses threads once a page and not once a record.
    """
    return await cast("_Iteration[E]", iteration).rest_of_page()
