"""Observing: the greatest stamp that a store has seen, so that what it appends is later."""

from __future__ import annotations


class Observed:
    """The greatest stamp that was read or written through a store."""

    __slots__ = ("_right", "_wrong", "stamp")

    def __init__(self) -> None:
        self.stamp = ""
        self._right = self._wrong = ""

    def take(self, stamp: str) -> None:
        """Takes note of a stamp."""
        if stamp > self.stamp and not self._right < stamp <= self._wrong:
            self.stamp = stamp

    def set_back(self, right: str, wrong: str) -> None:
        """From now on what lies behind `right` and up to `wrong` is of a clock that ran ahead."""
        self._right, self._wrong = right, max(wrong, self._wrong)
        if right < self.stamp <= self._wrong:
            self.stamp = right
