"""For how long a transaction may hold the log's own file, as every append waits meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from everlog.errors import EverlogError, HandlerHeldTransaction, LedgerBusy

LIMIT_S = 0.05
"""A transaction of handlers that is not at its commit by then is rolled back."""

_FIRST_KEPT = 64
_MOST_KEPT = 1000


class FileHold:
    """The transaction that holds the file, or the last one. `full` apart, of the writer's thread.

    That thread ends it, as it alone is surely not held up: a handler may sleep on the event loop.
    """

    def __init__(self, limit_s: float, path: str) -> None:
        self.is_cut = False
        """Whether the transaction was rolled back, as it took too long."""
        self._limit_s = limit_s
        self._path = path
        self._began = 0.0
        self._is_limited = False
        self._of_handlers = False
        self._roll_back: Callable[[], None] | None = None
        self._away_until = 0.0
        self._values = 0
        self._most_kept = _FIRST_KEPT

    def stay_away(self) -> None:
        """Waits until others have had the file for as long as the last transaction had it."""
        # Whoever waits for the file looks for it now and then only: without a pause between two
        # transactions it could miss all of them.
        wait_s = self._away_until - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)

    def begin(self, roll_back: Callable[[], None], *, limited: bool) -> None:
        """The transaction has begun, and the file is held. `limited`: for so long at most."""
        self._began = time.monotonic()
        self._is_limited = limited
        self._of_handlers = False
        self._roll_back = roll_back
        self._values = 0
        self.is_cut = False

    def wrote(self, values: int) -> None:
        """Notes that statements of a handler's own, or so many values of them, are carried out."""
        self._of_handlers = True
        self._values += values

    def stepped(self) -> None:
        """Notes that a step of ours was made behind them: what takes long now is no handler."""
        self._of_handlers = False

    def check(self) -> None:
        """Raises `HandlerHeldTransaction` if it took too long; then it has been rolled back."""
        if self.is_over():
            self.ring()
        if self.is_cut:
            raise self.error()

    def is_over(self) -> bool:
        """Whether it is to be rolled back now."""
        return self._is_limited and time.monotonic() - self._began > self._limit_s

    def error(self) -> EverlogError:
        """Returns what to raise for a transaction that was rolled back."""
        if self._of_handlers:
            return HandlerHeldTransaction(self._limit_s)
        # Handlers were done, or had nothing in it: something else keeps the event loop busy.
        return LedgerBusy(
            f"the step of a subscription on {self._path} took over {self._limit_s * 1000:.0f} ms "
            "and was rolled back, so that appends go on; look for what blocks the event loop"
        )

    def left_s(self) -> float | None:
        """Returns for how long it may go on; None if there is none, or if it is not limited."""
        if not self._is_limited:
            return None
        return max(0.0, self._began + self._limit_s - time.monotonic())

    def ring(self) -> None:
        """Rolls it back: its time is over."""
        self.is_cut = True
        self._most_kept = max(1, self._most_kept // 2)
        assert self._roll_back is not None
        self._roll_back()

    def full(self, kept: int, *, begun: bool) -> bool:
        """Whether a batch ends with the record at hand, with so many values kept to be written.

        For what is kept by the time that the last ones took; if it has begun, by its own time.
        """
        if kept >= self._most_kept:
            return True
        return begun and self._is_limited and time.monotonic() - self._began > self._enough_s

    def stop(self) -> None:
        """It is ending: that is not a handler's doing, and is done to its end."""
        self._is_limited = False

    def to_commit(self) -> None:
        """It is ending by a commit, after what was in it."""
        self.stop()
        worked_s = time.monotonic() - self._began
        if worked_s > self._enough_s:
            self._most_kept = max(1, min(self._most_kept, self._values) // 2)
        elif self._values >= self._most_kept and worked_s < self._enough_s / 4:
            self._most_kept = min(_MOST_KEPT, self._most_kept * 2)

    def end(self) -> None:
        """The file is free."""
        self._is_limited = False
        if self._roll_back is not None:
            now = time.monotonic()
            self._away_until = now + min(now - self._began, self._limit_s)
            self._roll_back = None

    @property
    def _enough_s(self) -> float:
        # So that the next handler in a batch has more than half of the time for itself.
        return 0.4 * self._limit_s
