"""Event ids: UUIDs of version 7, which sort by the time they were made."""

from __future__ import annotations

from collections.abc import Callable


class IdSource:
    """Makes ids that are unique everywhere and ascend within one store.

    RFC 9562, UUID version 7 with its "fixed bit-length dedicated counter" (method 1): 48 bits of
    milliseconds, 42 bits that begin at random and count within a millisecond, 32 random bits.
    """

    def __init__(self, now_ms: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._ms = -1
        self._counter = 0

    def next(self) -> str:
        """Returns a new id."""
        now_ms = self._now_ms()
        chance = int.from_bytes(self._random_bytes(10), "big")
        if now_ms > self._ms:
            self._ms = now_ms
            self._counter = chance >> 32 & 0x1FF_FFFF_FFFF  # the top bit is room to count
        else:
            self._counter += 1
            if self._counter > 0x3FF_FFFF_FFFF:
                self._ms, self._counter = self._ms + 1, 0
        value = (
            (self._ms & 0xFFFF_FFFF_FFFF) << 80
            | 7 << 76
            | self._counter >> 30 << 64
            | 2 << 62
            | (self._counter & 0x3FFF_FFFF) << 32
            | chance & 0xFFFF_FFFF
        )
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
