"""Event ids: UUIDs of version 7, which sort by the time they were made."""

from __future__ import annotations

import threading
from collections.abc import Callable


class IdSource:
    """Makes ids that are unique everywhere and ascend within one store, whatever thread asks.

    RFC 9562, UUID version 7 with its "fixed bit-length dedicated counter" (method 1): 48 bits of
    milliseconds, 42 bits that begin at random and count within a millisecond, 32 random bits.
    """

    def __init__(self, now_ms: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._ms = -1
        self._counter = 0
        self._prefix = ""
        """The id up to the counter: milliseconds and the UUID's version."""
        self._lock = threading.Lock()

    def next(self, chance: bytes | None = None) -> str:
        """Returns a new id; `chance`: 4 random bytes, if the caller has some."""
        now_ms = self._now_ms()
        with self._lock:
            if now_ms > self._ms:
                start = int.from_bytes(self._random_bytes(6), "big")
                self._begin(now_ms, start & 0x1FF_FFFF_FFFF)  # the top bit is room to count
            elif self._counter == 0x3FF_FFFF_FFFF:
                self._begin(self._ms + 1, 0)
            else:
                self._counter += 1
            prefix, counter = self._prefix, self._counter
        return (
            f"{prefix}{counter >> 30:03x}-{0x8000 | counter >> 16 & 0x3FFF:04x}"
            f"-{counter & 0xFFFF:04x}{(chance or self._random_bytes(4)).hex()}"
        )

    def _begin(self, ms: int, counter: int) -> None:
        self._ms, self._counter = ms, counter
        text = f"{ms & 0xFFFF_FFFF_FFFF:012x}"
        self._prefix = f"{text[:8]}-{text[8:]}-7"
