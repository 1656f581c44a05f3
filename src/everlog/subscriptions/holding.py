"""Holding: the slices of a subscription that this worker has, and its leases on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from everlog.errors import LeaseLost
from everlog.ports.checkpoints import Checkpoints, Held, Move
from everlog.subscriptions.fingerprint import fingerprint_in

SAFE = 2 / 3
"""The part of a lease's time after which its holder does nothing more with it. Only the fence makes
it safe (Kleppmann, "How to do distributed locking"); this makes it rare that it is needed."""

RENEWALS = 3
"""How often a lease is renewed within its time."""


class Holding:
    """What one worker holds. Leases are taken and renewed by the database's time."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        name: str,
        worker: str,
        *,
        slices: int,
        ttl_s: float,
        version: int = 1,
    ) -> None:
        self._checkpoints = checkpoints
        self._name = name
        self._worker = worker
        self._slices = slices
        self._ttl_s = ttl_s
        self._version = version
        self._held: dict[int, Held] = {}
        self.others: Sequence[str] = ()
        """Workers with other handlers that held something when it was last tried to claim: nothing
        is claimed beside them."""
        self._safe_until = 0.0
        self._renewed = 0.0

    @property
    def slices(self) -> frozenset[int]:
        """Those that are held."""
        return frozenset(self._held)

    @property
    def all(self) -> Iterable[Held]:
        """Those that are held, with fence and checkpoint."""
        return self._held.values()

    @property
    def fences(self) -> dict[int, int]:
        """The fence of each slice that is held."""
        return {slice: held.fence for slice, held in self._held.items()}

    @property
    def whole(self) -> bool:
        """Whether all slices of the subscription are held here."""
        return len(self._held) == self._slices

    @property
    def is_safe(self) -> bool:
        """Whether the leases surely hold: most of their time is left."""
        return time.monotonic() < self._safe_until

    @property
    def renewal_in_s(self) -> float:
        """In how many seconds the leases are to be renewed."""
        return self._renewed + self._ttl_s / RENEWALS - time.monotonic()

    def holds(self, slice: int, position: int) -> bool:
        """Whether the record of a slice at a position is to be dealt with here."""
        held = self._held.get(slice)
        return held is not None and position > held.position

    def fence(self, slice: int) -> int:
        """Returns the fence under which a slice is held; raises `LeaseLost` if it is not."""
        return self._of(slice).fence

    async def claim(self, may_leave: Callable[[int], bool] = lambda slice: True) -> list[Held]:
        """Takes the share of the slices that is due to one of so many workers; returns the new.

        Lets go of what is more than that: whoever comes later gets some. `may_leave`: whether it
        can let go of one now; if not, it is asked again next time.
        """
        ours = fingerprint_in(self._worker)
        workers = await self._checkpoints.workers(self._name)
        self.others = [
            each.worker
            for each in workers
            if each.holds and fingerprint_in(each.worker) not in ("", ours)
        ]
        # Those that wait for this one to end take nothing of what it would let go of.
        kin = [each for each in workers if fingerprint_in(each.worker) in ("", ours)]
        share = -(-self._slices // max(1, len(kin)))
        if len(self._held) > share:
            surplus = [slice for slice in sorted(self._held)[share:] if may_leave(slice)]
            await self._release(surplus)
        began = time.monotonic()
        # With what is held, too: who asks for nothing is not counted among the workers.
        taken = await self._checkpoints.claim(
            self._name,
            self._worker,
            ttl_s=self._ttl_s,
            most=max(0, share - len(self._held)),
            version=self._version,
        )
        if taken and not self._held:
            self._renewed, self._safe_until = began, began + self._ttl_s * SAFE
        self._held |= {held.slice: held for held in taken}
        return list(taken)

    async def renew(self) -> bool:
        """Prolongs the leases; returns whether all still hold. Those that do not are forgotten."""
        began = time.monotonic()
        fences = {held.slice: held.fence for held in self._held.values()}
        still = await self._checkpoints.renew(self._name, self._worker, fences, ttl_s=self._ttl_s)
        # Of those alone that were asked for: others may have been claimed meanwhile.
        lost = [
            slice
            for slice, held in self._held.items()
            if slice not in still and fences.get(slice) == held.fence
        ]
        for slice in lost:
            del self._held[slice]
        self._renewed, self._safe_until = began, began + self._ttl_s * SAFE
        return not lost

    def moves(self, after: int, token: str | None, *, of: Iterable[int] = ()) -> list[Move]:
        """Returns the steps of all checkpoints that are before a position up to it.

        Raises `LeaseLost` if one of the slices `of` which something was done is not held any more:
        without its step nothing would hold what was done against its fence.
        """
        for slice in of:
            self._of(slice)
        return [
            Move(held.slice, held.fence, held.position, after, token)
            for held in self._held.values()
            if held.position < after
        ]

    def standing(self, slice: int) -> Move:
        """Returns a step of one checkpoint that leaves it where it is: it checks the fence.

        Raises `LeaseLost` if the slice is not held.
        """
        held = self._of(slice)
        return Move(slice, held.fence, held.position, held.position, held.token)

    def moved(self, moves: Iterable[Move]) -> None:
        """Takes in that steps have been committed."""
        for move in moves:
            held = self._held.get(move.slice)
            if held is not None and held.fence == move.fence:
                self._held[move.slice] = held._replace(position=move.after, token=move.token)

    async def release(self, *, error: str = "") -> None:
        """Lets go of everything, for the next worker to take at once."""
        if self._held:
            await self._release(list(self._held), error=error)

    def forget(self) -> None:
        """Holds nothing any more, without a word to the database."""
        self._held.clear()

    def _of(self, slice: int) -> Held:
        held = self._held.get(slice)
        if held is None:
            raise LeaseLost(f"slice {slice} of subscription {self._name!r} is another worker's now")
        return held

    async def _release(self, slices: list[int], *, error: str = "") -> None:
        fences = {slice: self._held.pop(slice).fence for slice in slices}
        await self._checkpoints.release(self._name, fences, error=error)


async def keep(holding: Holding, failed: Callable[[Exception], None]) -> None:
    """Renews the leases of a holding until it is cancelled, beside the one who works.

    A renewal that fails is tried again: what is not renewed in time is not safe, and says so.
    """
    while True:
        await asyncio.sleep(max(0.01, holding.renewal_in_s))
        try:
            await holding.renew()
        except Exception as error:
            failed(error)
            await asyncio.sleep(0.2)
