"""Observing: the greatest stamp that a store has seen, so that what it appends is later."""

from __future__ import annotations


class Observed:
    """The greatest stamp that was read or written through a store."""

    __slots__ = ("stamp",)

    def __init__(self) -> None:
        self.stamp = ""

    def take(self, stamp: str) -> None:
        """Takes note of a stamp."""
        if stamp > self.stamp:
            self.stamp = stamp
