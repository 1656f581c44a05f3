"""Members: the streams of the relations by which somebody may see or write."""

from __future__ import annotations

from collections.abc import Sequence

from everlog.ports.ledger import Ledger
from everlog.server.access import relations_in
from everlog.server.tokens import Pattern


async def members_of(ledger: Ledger, patterns: Sequence[Pattern]) -> dict[str, set[str]]:
    """Returns the streams of each relation that patterns name."""
    return {relation: {*await ledger.streams_of([relation])} for relation in relations_in(patterns)}
