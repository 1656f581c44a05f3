"""Following: what `store.follow` returns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

from everlog.blocking.portal import Portal
from everlog.core.record import Record
from everlog.errors import MisusedStore
from everlog.store.following import Following as AsyncFollowing
from everlog.store.following import fill, take

E = TypeVar("E")


class Following(Iterator[Record[E]], Generic[E]):
    """Records as they are stored, without an end: those that are there, then those that come.

    Iterate over it in one thread at a time; `MisusedStore` is raised where two do at once. Left and
    iterated again it goes on behind the last record that it has handed out. It holds nothing of the
    store between two pages and one page at most itself, so it may be left anywhere, interrupted
    anywhere, and be as slow as it likes: writers never wait for it. After an error it can be
    iterated again, too.

    >>> following = store.follow(types=[EmailSet])
    >>> for record in following:
    ...     print(record.position, record.data.root)
    ...     break
    2 jane@work.com
    """

    def __init__(self, portal: Portal, following: AsyncFollowing[E]) -> None:
        self._portal = portal
        self._following = following
        self._iterating = threading.Lock()

    @property
    def position(self) -> int:
        """Everything that is followed up to this position has been handed out.

        That of the last record, or beyond it: past what is not followed.

        >>> following = store.follow(stream="user-1")
        >>> record = next(following)
        >>> following.position
        1
        """
        return self._following.position

    @property
    def token(self) -> str | None:
        """The resume token of `position`: `store.follow(after=...)` goes on behind it.

        Keep it with what is made of the records. None only where `after` was a number above 0 and
        nothing has been read yet.

        >>> following = store.follow()
        >>> record = next(following)
        >>> following.token == store.token(record)
        True
        """
        return self._following.token

    @property
    def is_caught_up(self) -> bool:
        """Whether all that the log had when it was last read has been handed out.

        >>> following = store.follow()
        >>> [next(following).position, following.is_caught_up]
        [1, False]
        >>> [next(following).position, following.is_caught_up]
        [2, True]
        """
        return self._following.is_caught_up

    def caught_up(self, position: int | None = None) -> None:
        """Returns when everything up to a position has been handed to whoever iterates.

        The position is that of the log's last record at the call, if None. Handed out is not worked
        through: what the loop does with the last record may still be under way. To be awaited
        beside the loop, in another thread: where nobody iterates, it waits. Raises what the loop is
        ended with by the store meanwhile, `StoreClosed` when that is closed, and `InvalidInput` for
        what is no position.

        >>> following = store.follow()
        >>> import threading
        >>> from contextlib import suppress
        >>> def work() -> None:
        ...     with suppress(StoreClosed):
        ...         for record in following:
        ...             _ = record.data
        >>> threading.Thread(target=work).start()
        >>> [record] = store.append("user-1", EmailSet("jane@acme.com"))
        >>> following.caught_up(record.position)
        >>> following.position
        3
        """
        self._portal.run(self._following.caught_up, position)

    def __iter__(self) -> Iterator[Record[E]]:
        return self

    def __next__(self) -> Record[E]:
        if not self._iterating.acquire(blocking=False):
            raise MisusedStore(
                "two threads iterate over one following, and each would miss what the other gets; "
                "call store.follow() once for each"
            )
        try:
            # A page crosses over and not a record; whoever is interrupted finds it the next time.
            while (record := take(self._following)) is None:
                self._portal.run(fill, self._following)
            return record
        finally:
            self._iterating.release()
