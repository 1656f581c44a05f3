"""Guessing: what an append comes to if nobody else has written since the last one.

The head of a ledger with one busy writer is where that writer left it. So an append can be placed
before anything is asked, and stored by a statement that checks what was assumed: one trip instead
of two, and no lock that is held across a trip. Where somebody else was faster it changes nothing,
and is done again under the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from everlog.adapters.postgres.writing import Found, Written, placed_by_guess
from everlog.core.sequencer import Append, Head, Identity
from everlog.core.stream import NEW, Expectation
from everlog.ports.ledger import Request

REMEMBERED = 20_000
"""Streams whose version is remembered, at most."""


_AFTER_OTHERS = 2
"""After somebody else has written, so many commits have to find nobody else."""


class Guess(NamedTuple):
    """What a batch comes to if what was assumed is so."""

    written: Written
    versions: dict[str, int]
    """Of all its streams, after it."""
    guessed: dict[str, int]
    """Of the streams whose version was not known: what was assumed."""


class Guesses:
    """What the writer knows of the ledger, as of the last commit that it made or saw."""

    def __init__(self) -> None:
        self._head: Head | None = None
        self._versions: dict[str, int] = {}
        self._alone = False
        """Whether nobody else had written between the last commits that looked."""
        self._others = 0
        """How many commits more have to find nobody else: a guess that fails is a trip in vain."""
        self._streams_are_new = True
        """Whether streams that are not remembered turned out to be new, the last time."""

    def of(self, requests: Sequence[Request], identity: Identity, now_ms: int) -> Guess | None:
        """Returns a guess worth trying, or None."""
        if self._head is None or not self._alone:
            return None
        if self._head.position == 0:  # as far as any new ledger: it may be another one by now
            return None
        appends = [request for request in requests if isinstance(request, Append)]
        if len(appends) < len(requests) or any(request.relations for request in appends):
            return None
        versions: dict[str, int] = {}
        guessed: dict[str, int] = {}
        for request in appends:
            for event in request.events:
                stream = event.stream
                if stream in versions:
                    continue
                version = self._versions.get(stream)
                if version is None:
                    version = _expected(event.expect)
                    if version is None:
                        if not self._streams_are_new:
                            return None
                        version = 0
                    guessed[stream] = version
                versions[stream] = version
        written = placed_by_guess(appends, self._head, versions, identity, now_ms)
        return None if written is None else Guess(written, versions, guessed)

    def came_true(self, guess: Guess) -> None:
        """Takes what was assumed as known."""
        self._head = guess.written.head
        self._remember(guess.versions)

    def came_false(self, guess: Guess) -> None:
        """Something was otherwise; `learn` will tell what."""
        if guess.guessed:
            self._streams_are_new = False

    def learn(self, found: Found, written: Written) -> None:
        """Takes what was found under the lock, and what was written then, as known."""
        # The whole head, not its position: after a fail-over another history can have got as far.
        if found.head == self._head:
            self._others = max(0, self._others - 1)
        else:
            self._versions.clear()
            self._others = 1 if self._head is None else _AFTER_OTHERS
        self._alone = self._others == 0
        self._head = written.head
        if any(row.version == 1 for row in written.rows):
            self._streams_are_new = True
        self._remember({row.stream: row.version for row in written.rows})

    def forget(self) -> None:
        """Forgets everything: it cannot be told what has been written."""
        self._head = None
        self._versions.clear()

    def _remember(self, versions: dict[str, int]) -> None:
        self._versions.update(versions)
        if len(self._versions) > REMEMBERED:
            self._versions.clear()


def _expected(expect: Expectation) -> int | None:
    """Returns the version that an expectation names, if it names one."""
    if expect is NEW:
        return 0
    return expect if isinstance(expect, int) else None
