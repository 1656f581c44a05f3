"""Syncing: a ledger that is kept in step with a hub, for as long as that takes.

Made from `everlog.sync.syncing`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from everlog.blocking.portal import Portal
from everlog.sync.edge import Round
from everlog.sync.syncing import Sync as AsyncSync
from everlog.sync.syncing import SyncStatus


class Sync:
    """A ledger that is kept in step with a hub: `with store.sync(hub)` starts and stops it.

    What was written in either is in both, whatever was lost on the way, and however long one of
    them was away. Nothing is lost by stopping at any time.

    >>> with EventStore.open("memory:") as hub:
    ...     with store.sync(hub) as sync:
    ...         sync.in_step()
    ...     [record.id for record in hub.read()] == [record.id for record in store.read()]
    True
    """

    def __init__(self, portal: Portal, sync: AsyncSync) -> None:
        self._portal = portal
        self._sync = sync

    def once(self) -> Round:
        """Brings both into step, once; returns what came of it in all.

        For a program that synchronises now and then, without `with`. Raises `SyncError` where
        the hub cannot be worked with, such as `TransportFailed` where it is not reached, and what
        the ledger raises; then what was done until then stands, and the next call goes on.

        >>> with EventStore.open("memory:") as hub:
        ...     store.sync(hub).once()
        Round(pulled=2, new=0, pushed=2, held=0, forks=0, restamped=0, in_step=True, purged=0)
        """
        return self._portal.run(self._sync.once)

    @property
    def is_running(self) -> bool:
        """Whether it goes on by itself.

        >>> with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     sync.is_running
        True
        """
        return self._sync.is_running

    def in_step(self, *, timeout_s: float | None = 30.0) -> None:
        """Returns when all that was in both ledgers when it was called is in both.

        But for what is held: see `status`. Raises `TimeoutError` after `timeout_s` seconds (None:
        never), and what it has stopped of.

        >>> with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     [record] = store.append("user-1", EmailSet("jane@acme.com"))
        ...     sync.in_step()
        ...     hub.find(record.id) is not None
        True
        """
        self._portal.run(self._sync.in_step, timeout_s=timeout_s)

    def status(self) -> SyncStatus:
        """Returns how the ledger stands to the hub, as far as is known here.

        >>> with EventStore.open("memory:") as hub:
        ...     store.sync(hub).status().reached_s is None
        True
        """
        return self._portal.run(self._sync.status)

    def release(self, *ids: str) -> int:
        """Offers records again that are held, all without `ids`; returns how many.

        For when what was wrong with them has been put right at the hub. What it still does not take
        is held again.

        >>> with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     sync.in_step()
        ...     sync.release()
        0
        """
        return self._portal.run(self._sync.release, *ids)

    def stop(self) -> None:
        """Stops it after the message at hand, or cuts that short after 10 s without its answer.

        Nothing is lost: it goes on from there next time.

        >>> with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     sync.stop()
        ...     sync.is_running
        False
        """
        self._portal.run(self._sync.stop)

    def wait(self) -> None:
        """Returns when it was stopped; raises what it has stopped of, if it failed for good.

        >>> with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     sync.stop()  # as somebody else does
        ...     sync.wait()
        """
        self._portal.run(self._sync.wait)

    def __enter__(self) -> Self:
        try:
            self._portal.run(self._sync.__aenter__)
        except Exception:
            raise
        except BaseException:  # an interrupt, perhaps when it had just been started
            self._portal.run(self._sync.stop)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.run(self._sync.__aexit__, kind, error, trace)
