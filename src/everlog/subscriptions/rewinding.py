"""Rewinding: a subscription that nobody runs goes back, and handles records again."""

from __future__ import annotations

from everlog.errors import InvalidInput, LeaseLost, MisusedStore, NotFound
from everlog.ports.checkpoints import Checkpoints, Move

LEASE_S = 30.0
"""For so long nobody else takes it, should this process die on the way."""
MANY = 1_000_000_000


async def rewind(
    checkpoints: Checkpoints, name: str, *, to: int, token: str | None, worker: str
) -> None:
    """Sets all checkpoints of a subscription that are further back to a position, in one go.

    What was set aside behind it is forgotten: it is met again. Raises `NotFound`, `MisusedStore`
    while somebody runs it, and `InvalidInput` if it has not got further than there.
    """
    slices = [each for each in await checkpoints.statuses() if each.name == name]
    if not slices:
        raise NotFound(f"there is no subscription {name!r}")
    furthest = max(each.position for each in slices)
    if furthest <= to:
        raise InvalidInput(
            f"subscription {name!r} has got to position {furthest}, so it cannot go back to {to}"
        )
    held = await checkpoints.claim(
        name, worker, ttl_s=LEASE_S, most=len(slices), version=slices[0].version
    )
    fences = {each.slice: each.fence for each in held}
    try:
        if len(held) < len(slices):
            raise MisusedStore(
                f"subscription {name!r} is running: stop its workers, or wait until their leases "
                "have run out, and rewind it then"
            )
        moves = [
            Move(each.slice, each.fence, each.position, to, token)
            if each.position > to
            else Move(each.slice, each.fence, each.position, each.position, each.token)
            for each in held
        ]
        aside = await checkpoints.parked(name, limit=MANY)
        async with checkpoints.transaction() as transaction:
            for each in aside:
                if each.position > to:
                    await transaction.unpark(name, each.position)
            await transaction.move(name, moves)
    except LeaseLost as error:
        raise MisusedStore(f"another worker took subscription {name!r} meanwhile") from error
    finally:
        await checkpoints.release(name, fences)
