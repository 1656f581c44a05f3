"""`store.subscriptions`: what is known of durable subscriptions.

Made from `everlog.store.subscribing`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from everlog.blocking.portal import Portal
from everlog.ports.checkpoints import Parked
from everlog.ports.effects import Effect, EffectStatus
from everlog.store.settling import Settled
from everlog.store.subscribing import Subscriptions as AsyncSubscriptions
from everlog.store.subscribing import SubscriptionStatus


class Subscriptions:
    """What is known of the durable subscriptions of a ledger, and what failed in them.

    >>> store.subscriptions.status()
    []
    """

    def __init__(self, portal: Portal, subscriptions: AsyncSubscriptions) -> None:
        self._portal = portal
        self._subscriptions = subscriptions

    def status(self) -> list[SubscriptionStatus]:
        """Returns what is known of all subscriptions, in order of their names.

        >>> [each.name for each in store.subscriptions.status()]
        []
        """
        return self._portal.run(self._subscriptions.status)

    def parked(
        self, name: str | None = None, *, stream: str | None = None, limit: int = 1000
    ) -> list[Parked]:
        """Returns the records that are set aside: of all subscriptions, of one, or of one stream.

        With those that were skipped or dropped, whose traces are kept. In order of name and
        position, `limit` at most.

        >>> store.subscriptions.parked("emails")
        []
        """
        return self._portal.run(self._subscriptions.parked, name, stream=stream, limit=limit)

    def retry(self, name: str, *, stream: str | None = None, position: int | None = None) -> int:
        """Has parked records tried again: all, those of a stream, or one. Returns how many.

        What they have been tried is forgotten. What waits behind them follows by itself. Raises
        `NotFound` if there is no subscription of this name.

        >>> store.subscriptions.retry("emails", stream="user-1")
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        return self._portal.run(self._subscriptions.retry, name, stream=stream, position=position)

    def drop(self, name: str, *, stream: str | None = None, position: int | None = None) -> int:
        """Gives parked records up: all, those of a stream, or one. Returns how many.

        They stay listed, as dropped. What waits behind them follows. Raises `NotFound` if there is
        no subscription of this name.

        >>> store.subscriptions.drop("emails", position=17)
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        return self._portal.run(self._subscriptions.drop, name, stream=stream, position=position)

    def effects(
        self,
        name: str | None = None,
        *,
        status: EffectStatus | None = None,
        stream: str | None = None,
        limit: int = 1000,
    ) -> list[Effect]:
        """Returns the effects of `once` handlers: of all subscriptions, of one, or of one stream.

        With those that are done. In order of name, position and handler, `limit` at most.

        >>> store.subscriptions.effects("emails", status="ambiguous")
        []
        """
        return self._portal.run(
            self._subscriptions.effects, name, status=status, stream=stream, limit=limit
        )

    def settle(
        self,
        name: str,
        position: int,
        *,
        handler: str | None = None,
        as_: Settled,
        result: object = None,
    ) -> None:
        """Says what becomes of an effect that waits for a person: ambiguous, or parked.

        - `handler`: which, if several effects of the record wait
        - `as_`: `"done"`: it has happened, with this `result` (JSON values), and its `on_success`
          follows; `"retry"`: it is called again, or if it is known to have happened its
          `on_success` is; `"drop"`: it is given up, also if it is owed and waits for nobody, as one
          of a handler that was renamed or removed
        - what waits behind it in its stream follows

        Of one that has happened and was parked by its `on_success`, `"done"` leaves that out.

        Raises `NotFound` if there is no such effect or subscription, `InvalidInput` if it does not
        wait for anybody or if several do, `NotPortable` for a result that is not JSON.

        >>> store.subscriptions.settle("emails", 17, as_="done")
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        self._portal.run(
            self._subscriptions.settle, name, position, handler=handler, as_=as_, result=result
        )

    def rewind(self, name: str, *, to: int | str) -> None:
        """Has a subscription that nobody runs go back, and handle what is behind it again.

        `to`: a position, 0 for the beginning, or a resume token. `on`, `all` and `state` handlers
        are called again for what stands behind it, so what they have written has to bear that, or
        to be deleted first; a read model that stays in use meanwhile is better built anew by
        `store.rebuild`. Effects (`once`) that were owed once are not owed again. What was set aside
        behind it is forgotten.

        Raises `NotFound` if there is none, `MisusedStore` while it runs somewhere, `InvalidInput`
        if it has not got as far as that, `LogDiverged` for a token of another log.

        >>> with store.subscription("emails", projector) as subscription:
        ...     subscription.caught_up()
        >>> store.subscriptions.rewind("emails", to=0)
        >>> [status] = store.subscriptions.status()
        >>> status.position, status.lag
        (0, 2)
        """
        self._portal.run(self._subscriptions.rewind, name, to=to)

    def remove(self, name: str) -> None:
        """Forgets a subscription that nobody runs, with all that is kept of it.

        What its handlers have written stays. Raises `NotFound` if there is none, `MisusedStore`
        while it runs somewhere.

        >>> store.subscriptions.remove("emails")
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        self._portal.run(self._subscriptions.remove, name)
