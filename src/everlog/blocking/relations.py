"""`store.relations`: keys that name sets of streams.

Made from `everlog.store.relations`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from everlog.blocking.handing_over import own
from everlog.blocking.portal import Portal
from everlog.core.relation import Pair
from everlog.store.relations import Relations as AsyncRelations


class Relations:
    """Adds streams to relations and takes them out. Each call is one atomic change.

    A stream may be added before it has events. Methods raise `InvalidName` for what cannot be a
    relation or stream, and `InvalidInput` for what is no pair; then nothing is changed.

    >>> store.relations.add("tenant:acme", "user-1", "user-2")
    2
    >>> store.relations.relations_of("user-1")
    ['tenant:acme']
    >>> [record.stream for record in store.read(relation="tenant:acme")]
    ['user-1', 'user-1']
    """

    def __init__(self, portal: Portal, relations: AsyncRelations) -> None:
        self._portal = portal
        self._relations = relations

    def add(self, relation: str, *streams: str) -> int:
        """Adds streams to a relation. Returns how many were not in it.

        >>> store.relations.add("tenant:acme", "user-1", "user-2")
        2
        >>> store.relations.add("tenant:acme", "user-2", "user-3")
        1
        """
        return self._portal.run(self._relations.add, relation, *streams)

    def add_many(self, pairs: Iterable[Pair]) -> int:
        """Adds `(relation, stream)` pairs. Returns how many are new.

        >>> store.relations.add_many([("tenant:acme", "user-1"), ("tenant:duck", "user-2")])
        2
        """
        return self._portal.run(self._relations.add_many, own(pairs))

    def remove(self, relation: str, *streams: str) -> int:
        """Takes streams out of a relation. Returns how many were in it.

        >>> store.relations.add("tenant:acme", "user-1")
        1
        >>> store.relations.remove("tenant:acme", "user-1", "user-2")
        1
        """
        return self._portal.run(self._relations.remove, relation, *streams)

    def remove_many(self, pairs: Iterable[Pair]) -> int:
        """Removes `(relation, stream)` pairs. Returns how many there were.

        >>> store.relations.add_many([("tenant:acme", "user-1"), ("admins", "user-1")])
        2
        >>> store.relations.remove_many([("tenant:acme", "user-1"), ("admins", "user-1")])
        2
        """
        return self._portal.run(self._relations.remove_many, own(pairs))

    def clear(self, *relations: str) -> int:
        """Takes all streams out of relations. Returns how many pairs there were.

        >>> store.relations.add("tenant:acme", "user-1", "user-2")
        2
        >>> store.relations.clear("tenant:acme")
        2
        """
        return self._portal.run(self._relations.clear, *relations)

    def clear_streams(self, *streams: str) -> int:
        """Takes streams out of all their relations. Returns how many pairs there were.

        >>> store.relations.add_many([("tenant:acme", "user-1"), ("tenant:duck", "user-1")])
        2
        >>> store.relations.clear_streams("user-1")
        2
        """
        return self._portal.run(self._relations.clear_streams, *streams)

    def streams_of(self, *relations: str) -> list[str]:
        """Returns the streams in any of the relations, each once, sorted by code point.

        >>> store.relations.add("tenant:acme", "user-2", "user-1")
        2
        >>> store.relations.streams_of("tenant:acme", "tenant:duck")
        ['user-1', 'user-2']
        """
        return self._portal.run(self._relations.streams_of, *relations)

    def relations_of(self, *streams: str) -> list[str]:
        """Returns the relations that any of the streams is in, each once, sorted by code point.

        >>> store.relations.add_many([("tenant:duck", "user-1"), ("admins", "user-1")])
        2
        >>> store.relations.relations_of("user-1")
        ['admins', 'tenant:duck']
        """
        return self._portal.run(self._relations.relations_of, *streams)
