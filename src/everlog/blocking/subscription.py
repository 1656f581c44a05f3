"""Subscriptions: named, durable runs of handlers over a ledger.

Made from `everlog.subscriptions.subscription`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from everlog.blocking.portal import Portal
from everlog.subscriptions.subscription import Subscription as AsyncSubscription


class Subscription:
    """A worker of a durable subscription: `with store.subscription(...)` starts and stops it.

    In every process, and as often as you like: one of the workers of a name works, or several
    share its slices, and another goes on where one dies. What its handlers write by `tx` stands
    exactly once.

    >>> with store.subscription("emails", projector) as subscription:
    ...     subscription.caught_up()
    """

    def __init__(self, portal: Portal, subscription: AsyncSubscription) -> None:
        self._portal = portal
        self._subscription = subscription

    @property
    def name(self) -> str:
        """The name under which its checkpoints are kept.

        >>> store.subscription("emails", projector).name
        'emails'
        """
        return self._subscription.name

    @property
    def is_running(self) -> bool:
        """Whether this worker works, or waits for its turn.

        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.is_running
        True
        >>> subscription.is_running
        False
        """
        return self._subscription.is_running

    def position(self) -> int:
        """Returns up to where everything has been dealt with, by whichever worker.

        Raises `NotFound` if it was removed meanwhile.

        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.caught_up()
        ...     subscription.position()
        2
        """
        return self._portal.run(self._subscription.position)

    def caught_up(self, position: int | None = None, *, timeout_s: float | None = 30.0) -> None:
        """Returns when everything up to a position has been dealt with, by whichever worker.

        For reading your own writes: `subscription.caught_up(record.position)`. Without a
        position it is the head of the log as it is now. A record that was parked or skipped has
        been dealt with. The effects of `once` handlers run beside it and are not waited for.

        Raises `TimeoutError` after `timeout_s` seconds (None: never), and what this worker has
        stopped of.

        >>> with store.subscription("emails", projector) as subscription:
        ...     [record] = store.append("user-1", EmailSet("jane@acme.com"))
        ...     subscription.caught_up(record.position)
        """
        self._portal.run(self._subscription.caught_up, position, timeout_s=timeout_s)

    def wait(self) -> None:
        """Returns when this worker has been stopped; raises what it has stopped of, if it failed.

        An interrupt (Ctrl-C) ends the wait, and leaving the `with` block then stops the worker.

        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.stop()  # as somebody else does
        ...     subscription.wait()
        """
        self._portal.run(self._subscription.wait)

    def stop(self) -> None:
        """Stops this worker after the record at hand; what has been dealt with is committed.

        Cancelled, it cancels the handler at hand, of which nothing stands then. Inside of a handler
        of its own it returns at once.

        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.stop()
        ...     subscription.is_running
        False
        """
        self._portal.run(self._subscription.stop)

    def __enter__(self) -> Self:
        try:
            self._portal.run(self._subscription.__aenter__)
        except Exception:
            raise
        except BaseException:  # an interrupt, perhaps when it had just been started
            self._portal.run(self._subscription.stop)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.run(self._subscription.__aexit__, kind, error, trace)
