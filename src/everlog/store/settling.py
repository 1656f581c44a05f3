"""Settling: what a person says of an effect that waits for one, or is not to go on."""

from __future__ import annotations

from typing import Literal, TypeAlias

from everlog.core.portable import canonical
from everlog.errors import InvalidInput, NotFound
from everlog.ports.checkpoints import Checkpoints
from everlog.ports.effects import Change, Effect

Settled: TypeAlias = Literal["done", "retry", "drop"]
"""It has happened; it is to be tried again; it is given up."""


async def settle(
    checkpoints: Checkpoints,
    name: str,
    position: int,
    *,
    handler: str | None,
    as_: Settled,
    result: object,
) -> None:
    """Has an effect go on as a person says; raises `NotFound` and `InvalidInput`."""
    if as_ not in ("done", "retry", "drop"):
        raise InvalidInput(f"as_={as_!r} is not known; use 'done', 'retry' or 'drop'")
    if result is not None and as_ != "done":
        raise InvalidInput(f"as_={as_!r} takes no result; only 'done' does")
    text = canonical(result, at="result")
    effect = await _chosen(checkpoints, name, position, handler, as_)
    if not await checkpoints.change_effect(name, _change(effect, as_, text)):
        raise InvalidInput(
            f"the effect {effect.handler} of the record at position {position} was settled by "
            "somebody else, or goes on already; look again: store.subscriptions.effects()"
        )


def _change(effect: Effect, as_: Settled, text: str) -> Change:
    place = (effect.handler, effect.position, effect.status, effect.tries)
    match as_:
        case "drop":
            kept = (effect.result, effect.happened, effect.error)
            return Change(*place, "dropped", effect.tries, None, *kept)
        case "done" if effect.happened:
            return Change(*place, "done", effect.tries, None, effect.result, True)
        case "done":
            return Change(*place, "succeeded", 0, 0.0, text, True)
        case "retry" if effect.happened:
            return Change(*place, "succeeded", 0, 0.0, effect.result, True)
        case "retry":
            return Change(*place, "retrying", 0, 0.0, error=effect.error)


async def _chosen(
    checkpoints: Checkpoints, name: str, position: int, handler: str | None, as_: Settled
) -> Effect:
    """Returns the one effect of a record that waits for a person, or can be given up by one."""
    found = [
        each
        for each in await checkpoints.effects(name, position=position)
        if handler in (None, each.handler)
    ]
    if not found:
        of = "" if handler is None else f" of {handler}"
        raise NotFound(
            f"subscription {name!r} has no effect{of} of the record at position {position}"
        )
    waiting = [each for each in found if each.status in ("ambiguous", "parked")]
    if not waiting and as_ == "drop":
        # Perhaps nothing goes on with it, as its handler was renamed or removed.
        waiting = [each for each in found if each.status in ("pending", "retrying", "succeeded")]
    if not waiting:
        stand = ", ".join(f"{each.handler} is {each.status!r}" for each in found)
        raise InvalidInput(
            f"no effect of the record at position {position} waits for a person: {stand}; only "
            "ambiguous and parked ones are settled, and those that are owed can be dropped"
        )
    if len(waiting) > 1:
        names = ", ".join(each.handler for each in waiting)
        raise InvalidInput(
            f"several effects of the record at position {position} can be meant: {names}; say "
            "which: handler=..."
        )
    return waiting[0]
