"""Rebuilds: a new version of a projection takes the place of the live one.

Made from `everlog.subscriptions.rebuild`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from everlog.blocking.portal import Portal
from everlog.subscriptions.rebuild import Rebuild as AsyncRebuild
from everlog.subscriptions.rebuild import RebuildProgress


class Rebuild:
    """A new version of a projection, on its way to be the live one.

    Made by `store.rebuild`: `with store.rebuild(...) as rebuild:` starts and stops it.

    It has a checkpoint of its own, `emails@2`, so one that was stopped or killed goes on where
    it was. Several processes may run it: one works, and another goes on where it dies.

    >>> def swap(tx: Tx) -> None:
    ...     tx.execute("UPDATE pointers SET version = 2 WHERE name = 'emails'")
    >>> rebuild = store.rebuild("emails", projector, version=2, swap=swap)
    >>> rebuild.name
    'emails@2'
    """

    def __init__(self, portal: Portal, rebuild: AsyncRebuild) -> None:
        self._portal = portal
        self._rebuild = rebuild

    @property
    def name(self) -> str:
        """The name under which its checkpoint is kept until it is swapped in.

        >>> def swap(tx: Tx) -> None: ...
        >>> store.rebuild("emails", projector, version=3, swap=swap).name
        'emails@3'
        """
        return self._rebuild.name

    @property
    def is_swapped(self) -> bool:
        """Whether it has taken the place of the live version.

        >>> def swap(tx: Tx) -> None: ...
        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.caught_up()
        >>> with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     rebuild.swap()
        >>> rebuild.is_swapped
        True
        """
        return self._rebuild.is_swapped

    def progress(self) -> RebuildProgress:
        """Returns how far it has got. The position never goes back.

        >>> def swap(tx: Tx) -> None: ...
        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.caught_up()
        >>> with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     rebuild.progress().head
        2
        """
        return self._portal.run(self._rebuild.progress)

    def caught_up(self, *, timeout_s: float | None = None) -> None:
        """Returns when it has dealt with all that is in the log now, by whichever worker.

        Raises `TimeoutError` after `timeout_s` seconds, what its worker has stopped of, and
        `NotFound` if it was swapped in or removed elsewhere.

        >>> def swap(tx: Tx) -> None: ...
        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.caught_up()
        >>> with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     rebuild.caught_up(timeout_s=60)
        """
        self._portal.run(self._rebuild.caught_up, timeout_s=timeout_s)

    def swap(self) -> None:
        """Puts it in the place of the live version, in one transaction, once it is caught up.

        The live version's workers are stopped by new fences, so that none of them can commit any
        more; what the log has up to where they have come is dealt with; then, in one transaction,
        your own `swap(tx)` runs, and the checkpoint of the live version becomes this one's. Its own
        is kept, as `emails@1`, for the way back: `store.rebuild("emails", old, version=1, ...)`.
        Records that are set aside belong to their version, and are swapped with it.

        Does nothing if it is swapped already. What `swap(tx)` raises is raised; then nothing has
        changed, the live version goes on, and so does the rebuild. Raises `NotFound` if either is
        not there any more, `LeaseLost` and `StorageError` if they came between again and again.

        >>> def swap(tx: Tx) -> None: ...
        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.caught_up()
        >>> with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     rebuild.swap()
        >>> [(each.name, each.version) for each in store.subscriptions.status()]
        [('emails', 2), ('emails@1', 1)]
        """
        self._portal.run(self._rebuild.swap)

    def __enter__(self) -> Self:
        try:
            self._portal.run(self._rebuild.__aenter__)
        except Exception:
            raise
        except BaseException:  # an interrupt, perhaps when it had just been started
            self._portal.run(self._rebuild.__aexit__, None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.run(self._rebuild.__aexit__, kind, error, trace)
