"""Leasing: of all the processes that would keep a ledger in step, one does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from everlog.errors import StorageError, StoreClosed
from everlog.ports.checkpoints import Checkpoints, Held

TTL_S = 10.0
"""So many seconds after who kept it in step was last heard of, another one does."""
RENEWALS = 3
"""How often a lease is renewed within its time."""

PREFIX = "$sync:"
"""What the names of these leases begin with, among those of subscriptions."""


class Lease:
    """The right to work without being asked; what is done without it is as safe, and in vain."""

    def __init__(self, open: Callable[[], Awaitable[Checkpoints | None]], worker: str) -> None:
        """`open`: where leases are kept; None: nobody else can work."""
        self._open = open
        self._worker = worker
        self._name = ""
        self._checkpoints: Checkpoints | None = None
        """Where the lease of this name is kept; None: nowhere, or it is not known yet."""
        self._held: Held | None = None
        self._asked = float("-inf")

    @property
    def due_s(self) -> float:
        """In how many seconds it is to be asked again."""
        return max(0.05, self._asked + TTL_S / RENEWALS - time.monotonic())

    async def hold(self, hub: str) -> bool:
        """Whether it is held, or is got now. Asks the database now and then.

        As long as the database does not say that another one has it, it is as good as held: after
        what this raises, too.
        """
        name = PREFIX + hub
        if name != self._name:  # another hub is reached now
            await self.release()
            self._name, self._checkpoints = name, None
        elif time.monotonic() < self._asked + TTL_S / RENEWALS:
            return self._held is not None or self._checkpoints is None
        self._asked = time.monotonic()
        checkpoints = self._checkpoints or await self._open()
        if checkpoints is None:
            return True
        if self._checkpoints is None:
            await checkpoints.register(name, slices=1, position=0, token=None)
            self._checkpoints = checkpoints
        if self._held is not None:
            fences = {self._held.slice: self._held.fence}
            still = await checkpoints.renew(name, self._worker, fences, ttl_s=TTL_S)
            if not still:
                self._held = None
        if self._held is None:
            taken = await checkpoints.claim(name, self._worker, ttl_s=TTL_S, most=1)
            self._held = taken[0] if taken else None
        return self._held is not None

    async def release(self) -> None:
        """Lets go of it, for the next one to work at once."""
        if self._checkpoints is None or self._held is None:
            return
        fences, self._held = {self._held.slice: self._held.fence}, None
        try:
            await self._checkpoints.release(self._name, fences)
        except (StorageError, StoreClosed):
            return  # it runs out by itself
