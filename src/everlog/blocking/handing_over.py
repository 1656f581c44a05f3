"""Handing over: what a caller can iterate is iterated by the caller, never on the portal."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, TypeVar, cast

from everlog.blocking.portal import Caller, Portal
from everlog.blocking.reading import asynchronous
from everlog.core.record import Record, StoredRecord
from everlog.errors import InvalidInput

T = TypeVar("T")
R = TypeVar("R")

BLOCK_BYTES = 1024 * 1024
"""Bytes of data and meta, about, after which a block ends; a single record may have more."""

_PLAIN: tuple[type[Any], ...] = (bytes, list, tuple, set, frozenset, dict)


def own(items: Iterable[T]) -> Iterable[T]:
    """Returns the items as something that runs nobody's code when it is iterated.

    A generator may use a blocking store itself, which on the portal's thread would wait for itself.
    """
    # A text passes: what takes a list of names says so if it is given one name.
    plain = issubclass(type(items), str) or type(items) in _PLAIN
    return items if plain else list(items)


def hand_over(
    portal: Portal,
    records: Iterable[Any],
    take: Callable[[Iterable[Any] | AsyncIterable[Any]], Coroutine[Any, Any, R]],
    *,
    block: int,
) -> R:
    """Returns what `take` returns of the records, however they can be iterated.

    A list is handed over whole and a reading as what it is underneath. Anything else stays in the
    caller's thread, which gives blocks of at most so many while it waits. A generator that an error
    cuts short is closed.
    """
    here = asynchronous(records, portal)
    if here is not None:
        return portal.run(take, here)
    if isinstance(records, AsyncIterable):
        raise InvalidInput(
            f"{records!r} is asynchronous; everlog.blocking takes what a plain `for` can iterate, "
            "such as the `read()` of a blocking store"
        )
    if isinstance(records, (list, tuple)):
        return portal.run(take, cast("Iterable[Any]", records))
    iterator = iter(records)
    try:
        return portal.serve(lambda caller: take(_Handed(caller, iterator, block)))
    finally:
        if isinstance(iterator, Generator):
            cast("Generator[Any, None, None]", iterator).close()


class _Handed(AsyncIterator[T]):
    """An iterator of the caller's as the portal sees it. It asks the caller block by block."""

    def __init__(self, caller: Caller, iterator: Iterator[T], block: int) -> None:
        self._caller = caller
        self._iterator = iterator
        self._size = block
        self._block: deque[T] = deque()
        self._error: Exception | None = None
        self._ended = False

    async def __anext__(self) -> T:
        if not self._block and not self._ended:
            await self._caller.do(self._take)
        if self._block:
            return self._block.popleft()
        if self._error is not None:  # after what came before it
            error, self._error = self._error, None
            raise error
        raise StopAsyncIteration

    def _take(self) -> None:
        weight = 0
        try:
            while len(self._block) < self._size and weight < BLOCK_BYTES:
                item = next(self._iterator)
                self._block.append(item)
                weight += _weight(item)
        except StopIteration:
            self._ended = True
        except Exception as error:
            self._ended, self._error = True, error


def _weight(item: object) -> int:
    row = item.stored if isinstance(item, Record) else item
    if not isinstance(row, StoredRecord):
        return 0
    return len(row.data or "") + len(row.meta or "")
