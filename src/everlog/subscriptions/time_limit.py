"""For how long one call of a handler may take, and what is said when it takes longer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from everlog.core.record import Record
from everlog.errors import HandlerTimedOut, InvalidInput
from everlog.subscriptions.calling import name_of

LONG_S = 60.0
"""A call that takes so many seconds is told of in the log, once, if it may take longer."""

GRACE_S = 5.0
"""So long one that was cancelled may clean up, in seconds, before it is not waited for any more."""

MOST_S = 1e9
"""The longest limit, in seconds: thirty years. What is longer is none."""

_log = logging.getLogger("everlog")


class TimeLimit:
    """For how long one call of a handler of a subscription may take."""

    def __init__(self, subscription: str, seconds: float | None) -> None:
        """`seconds`: as `checked_timeout` returns it; None for as long as it takes."""
        self.subscription = subscription
        self.seconds = seconds

    def error(self, handler: Callable[..., Any], record: Record[Any]) -> HandlerTimedOut:
        """Returns what a call has failed with that took longer."""
        assert self.seconds is not None
        return HandlerTimedOut(
            self.subscription,
            name_of(handler),
            record_id=record.id,
            stream=record.stream,
            position=record.position,
            timeout_s=self.seconds,
        )

    def say_it_is_long(self, handler: Callable[..., Any], record: Record[Any]) -> None:
        """Warns of a call that takes long: without a limit nothing else would."""
        ends = "no limit" if self.seconds is None else f"a limit of {self.seconds:g} s"
        _log.warning(
            "subscription %r: handler %s has run for %g s for record %s (position %d), and its "
            "subscription waits for it; handler_timeout_s=... would cut it off, it has %s",
            self.subscription,
            name_of(handler),
            LONG_S,
            record.id,
            record.position,
            ends,
        )


def checked_timeout(name: str, seconds: object) -> float | None:
    """Returns a limit as it was given; raises `InvalidInput` for what is none."""
    if seconds is None:
        return None
    # From programs that no type checker has seen. NaN is above nothing.
    if (
        not isinstance(seconds, (int, float))
        or isinstance(seconds, bool)
        or not 0 < seconds <= MOST_S
    ):
        raise InvalidInput(
            f"{name}={seconds!r:.80} must be a number of seconds above 0, {MOST_S:g} at most; "
            "None is for as long as it takes"
        )
    return float(seconds)
