"""The seams through which time and chance come in, so that tests can hold both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass


def wall_clock_ms() -> int:
    """Returns the time of this machine, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class CorrectedClock:
    """A wall clock that is known to be wrong, and by how much."""

    machine: Callable[[], int]
    """The clock that it corrects, in milliseconds since 1970."""
    ahead_ms: int = 0
    """By so much that one runs ahead."""

    def __call__(self) -> int:
        return self.machine() - self.ahead_ms


@dataclass(frozen=True, slots=True)
class Seams:
    """Where a store gets the time and random bytes from."""

    now_ms: Callable[[], int] = wall_clock_ms
    """The wall clock, in milliseconds since 1970. May jump; order never depends on it alone."""
    random_bytes: Callable[[int], bytes] = os.urandom
    """So many random bytes, fit for secrets."""
