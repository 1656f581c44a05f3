"""Trying again: after which pauses, and for how long."""

from __future__ import annotations

import asyncio
import random
import time


class Tries:
    """The pauses between tries: doubled each time, each drawn from between half and the whole."""

    def __init__(
        self, timeout_s: float = float("inf"), *, first_s: float = 0.01, longest_s: float = 0.5
    ) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._first_s = first_s
        self._longest_s = longest_s
        self._pause_s = first_s

    @property
    def left_s(self) -> float:
        """How much of the time is left."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is up before another try."""
        return time.monotonic() + self._pause_s > self._deadline

    async def pause(self) -> None:
        """Waits until the next try."""
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
        self._pause_s = min(2 * self._pause_s, self._longest_s)

    def succeeded(self) -> None:
        """Begins with the first pause again."""
        self._pause_s = self._first_s
