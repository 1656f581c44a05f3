"""Rates: token buckets, one for each of those who ask, in bounded memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

MOST = 10_000
"""So many are told apart; who has not asked for longest is forgotten, and begins anew."""


class Rates:
    """Lets each of those who ask do `per_s` things a second, and `burst` at once."""

    def __init__(self, per_s: float, burst: float, *, now_s: Callable[[], float]) -> None:
        """`now_s`: a clock that never goes back, in seconds."""
        self._per_s = per_s
        self._burst = max(1.0, burst)
        self._now_s = now_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Of each, what was left, and when that was."""

    def take(self, who: str, cost: float = 1.0) -> float:
        """Returns 0 if they may, and counts it; otherwise the seconds after which they may."""
        now_s = self._now_s()
        left, then_s = self._left.pop(who, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_s)
        may = left >= 1.0
        # What fails may cost more than is left: then the next has to wait longer.
        self._left[who] = (max(left - cost, -self._burst) if may else left, now_s)
        if len(self._left) > MOST:
            self._left.popitem(last=False)
        return 0.0 if may else math.ceil((1.0 - left) / self._per_s * 1_000) / 1_000

    def charge(self, who: str, cost: float) -> None:
        """Counts more for what was done already."""
        now_s = self._now_s()
        left, then_s = self._left.pop(who, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_s)
        self._left[who] = (max(left - cost, -self._burst), now_s)
