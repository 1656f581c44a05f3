"""Peers are compared at the same durability: what SQLite says about their own connection."""

from __future__ import annotations

FULL = 2


def require_full(journal_mode: object, synchronous: object) -> None:
    """Raises if a connection that writes does not sync every commit to a write-ahead log."""
    if (journal_mode, synchronous) != ("wal", FULL):
        raise RuntimeError(
            f"journal_mode={journal_mode}, synchronous={synchronous}: not comparable"
        )
