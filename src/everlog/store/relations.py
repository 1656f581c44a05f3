"""`store.relations`: keys that name sets of streams."""

from __future__ import annotations

from collections.abc import Iterable

from everlog.core.relation import Pair, Relate, Related, check_relate
from everlog.core.stream import check_name
from everlog.errors import InvalidInput
from everlog.ports.ledger import Ledger
from everlog.store.committer import Committer


class Relations:
    """Adds streams to relations and takes them out. Each call is one atomic change.

    A stream may be added before it has events. Methods raise `InvalidName` for what cannot be a
    relation or stream, and `InvalidInput` for what is no pair; then nothing is changed.

    >>> await store.relations.add("tenant:acme", "user-1", "user-2")
    2
    >>> await store.relations.relations_of("user-1")
    ['tenant:acme']
    >>> [record.stream async for record in store.read(relation="tenant:acme")]
    ['user-1', 'user-1']
    """

    def __init__(self, ledger: Ledger, committer: Committer) -> None:
        self._ledger = ledger
        self._committer = committer

    async def add(self, relation: str, *streams: str) -> int:
        """Adds streams to a relation. Returns how many were not in it.

        >>> await store.relations.add("tenant:acme", "user-1", "user-2")
        2
        >>> await store.relations.add("tenant:acme", "user-2", "user-3")
        1
        """
        return (await self._change(add=((relation, stream) for stream in streams))).added

    async def add_many(self, pairs: Iterable[Pair]) -> int:
        """Adds `(relation, stream)` pairs. Returns how many are new.

        >>> await store.relations.add_many([("tenant:acme", "user-1"), ("tenant:duck", "user-2")])
        2
        """
        return (await self._change(add=pairs)).added

    async def remove(self, relation: str, *streams: str) -> int:
        """Takes streams out of a relation. Returns how many were in it.

        >>> await store.relations.add("tenant:acme", "user-1")
        1
        >>> await store.relations.remove("tenant:acme", "user-1", "user-2")
        1
        """
        return (await self._change(remove=((relation, stream) for stream in streams))).removed

    async def remove_many(self, pairs: Iterable[Pair]) -> int:
        """Removes `(relation, stream)` pairs. Returns how many there were.

        >>> await store.relations.add_many([("tenant:acme", "user-1"), ("admins", "user-1")])
        2
        >>> await store.relations.remove_many([("tenant:acme", "user-1"), ("admins", "user-1")])
        2
        """
        return (await self._change(remove=pairs)).removed

    async def clear(self, *relations: str) -> int:
        """Takes all streams out of relations. Returns how many pairs there were.

        >>> await store.relations.add("tenant:acme", "user-1", "user-2")
        2
        >>> await store.relations.clear("tenant:acme")
        2
        """
        return (await self._change(clear=relations)).removed

    async def clear_streams(self, *streams: str) -> int:
        """Takes streams out of all their relations. Returns how many pairs there were.

        >>> await store.relations.add_many([("tenant:acme", "user-1"), ("tenant:duck", "user-1")])
        2
        >>> await store.relations.clear_streams("user-1")
        2
        """
        return (await self._change(clear_streams=streams)).removed

    async def streams_of(self, *relations: str) -> list[str]:
        """Returns the streams in any of the relations, each once, sorted by code point.

        >>> await store.relations.add("tenant:acme", "user-2", "user-1")
        2
        >>> await store.relations.streams_of("tenant:acme", "tenant:duck")
        ['user-1', 'user-2']
        """
        return list(
            await self._ledger.streams_of([check_name("relation", name) for name in relations])
        )

    async def relations_of(self, *streams: str) -> list[str]:
        """Returns the relations that any of the streams is in, each once, sorted by code point.

        >>> await store.relations.add_many([("tenant:duck", "user-1"), ("admins", "user-1")])
        2
        >>> await store.relations.relations_of("user-1")
        ['admins', 'tenant:duck']
        """
        return list(
            await self._ledger.relations_of([check_name("stream", name) for name in streams])
        )

    async def _change(
        self,
        *,
        add: Iterable[Pair] = (),
        remove: Iterable[Pair] = (),
        clear: Iterable[str] = (),
        clear_streams: Iterable[str] = (),
    ) -> Related:
        request = Relate(_pairs(add), _pairs(remove), tuple(clear), tuple(clear_streams))
        outcome = await self._committer.commit(check_relate(request))
        assert isinstance(outcome, Related)
        return outcome


def _pairs(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    result: list[Pair] = []
    for pair in pairs:
        # From programs that no type checker has seen.
        if not isinstance(pair, tuple) or len(pair) != 2:  # type: ignore[redundant-expr]  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"{pair!r} is no (relation, stream) pair")
        result.append(pair)
    return tuple(result)
