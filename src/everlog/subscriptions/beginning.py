"""Beginning: from where on the effects of a handler are owed, said when it first really runs.

Not when its worker starts: that may wait for others, who do not know the handler and pass records.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from everlog.ports.checkpoints import Checkpoints
from everlog.subscriptions.holding import Holding

FIRST = ""
"""The name, which no handler has, under which is kept where those begin that a subscription is
first started with: so it is known also after a crash before they have begun."""


class Beginning:
    """Where the handlers of one worker begin."""

    def __init__(
        self, checkpoints: Checkpoints, name: str, handlers: Collection[str], *, head: int
    ) -> None:
        """`head`: of the log when the worker started; nothing before it is for a new handler."""
        self._checkpoints = checkpoints
        self._name = name
        self._handlers = sorted(handlers)
        self._head = head

    async def of(self, holding: Holding) -> Mapping[str, int]:
        """Returns behind which position each handler begins, for who has just claimed something.

        Raises `LeaseLost` if that is lost already: then others may have passed more.
        """
        known = await self._checkpoints.handlers(self._name)
        if known.keys() >= set(self._handlers):
            return known
        floor = self._head if known.keys() - {FIRST} else known.get(FIRST, self._head)
        statuses = await self._checkpoints.statuses()
        # Behind what was passed in any slice: a handler has one beginning and no gap behind it.
        # Nobody without the handler passes more while one slice is held here under its fence.
        passed = [each.position for each in statuses if each.name == self._name]
        async with self._checkpoints.transaction() as transaction:
            await transaction.begin_handlers(
                self._name, self._handlers, position=max(floor, *passed)
            )
            standing = [holding.standing(slice) for slice in sorted(holding.slices)[:1]]
            await transaction.move(self._name, standing)
        return await self._checkpoints.handlers(self._name)

    async def unlike(self) -> str:
        """Returns in words, behind a comma, which effects others know and this does not, if any.

        Of other handlers it is not known what they are called.
        """
        known = (await self._checkpoints.handlers(self._name)).keys() - {FIRST}
        found = [
            ("missing here", sorted(known - set(self._handlers))),
            ("new here", sorted(set(self._handlers) - known)),
        ]
        return "".join(
            f", once handlers {what}: {', '.join(names)}" for what, names in found if names
        )
