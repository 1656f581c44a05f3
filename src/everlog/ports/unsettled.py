"""What may have been stored although its caller was told that nobody knows.

A later try of the same may fail in a way that wrote nothing, such as a lock that is held for too
long. "Nothing was written" is then true of that try and not of the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from everlog.core.sequencer import Append, Import, ids_of
from everlog.core.taking import Link, Take
from everlog.ports.ledger import Request

Key: TypeAlias = str | Link | Request

AT_MOST = 100_000
"""So many are remembered, the newest: what is broken for good must not fill the memory."""


class Unsettled:
    """Requests of unknown outcome, until it is known."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[Key, None] = {}

    def add(self, requests: Sequence[Request]) -> None:
        """Remembers requests that may have been stored."""
        self._keys.update(dict.fromkeys(_keys_of(requests)))
        while len(self._keys) > AT_MOST:
            del self._keys[next(iter(self._keys))]

    def has_one_of(self, requests: Sequence[Request]) -> bool:
        """Whether an earlier try of one of the requests may have been stored."""
        return bool(self._keys) and any(key in self._keys for key in _keys_of(requests))

    def discard(self, requests: Sequence[Request]) -> None:
        """Forgets requests that have been answered."""
        if self._keys:
            for key in _keys_of(requests):
                self._keys.pop(key, None)

    def clear(self) -> None:
        """Forgets them all: something else stands in their place, or they themselves."""
        self._keys.clear()


def _keys_of(requests: Sequence[Request]) -> list[Key]:
    keys: list[Key] = []
    for request in requests:
        # Events by their ids, whoever brings them; what has no id by what it is.
        if isinstance(request, (Append, Import, Take)):
            keys += ids_of([request])
            if isinstance(request, Take) and request.link is not None:
                keys.append(request.link._replace(receipts=()))  # which may be a list
        else:
            keys.append(request)
    return keys
