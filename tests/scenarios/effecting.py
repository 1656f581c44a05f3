"""Workers of effects that stop at a point, to be killed there: forked, as importing takes long."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from everlog import EventStore, Projector, Record, event
from everlog.subscriptions.carrying_out import CarryingOut
from everlog.subscriptions.effects import Outcome

POINTS: tuple[str, ...] = (
    "before intent",
    "after intent",
    "during the call",
    "after the call",
    "before done",
)
MODES: tuple[Literal["key", "park"], ...] = ("key", "park")
LEASE_S = 0.3
LONGEST_S = 100.0
"""So long, in seconds, a worker lives that nobody kills."""

_CarryingOut: Any = CarryingOut


@event("effecting:ordered")
@dataclass
class Ordered:
    """Something for which an effect is owed."""

    number: int


@event("effecting:delivered")
@dataclass
class Delivered:
    """What an effect has ended in."""

    by: str


EVENTS = [Ordered, Delivered]


class Held(Exception):
    """The receiver has taken a request, and does not answer."""


async def send(address: Sequence[Any], name: str, record: Record[Any]) -> str:
    """Has the receiver do something, once for each key."""
    host, port = address
    reader, writer = await asyncio.open_connection(host, port)
    try:
        # Of one event for many subscriptions, so each adds a word of its own.
        request = {"name": name, "key": f"{record.idempotency_key}-{name}"}
        writer.write(json.dumps(request).encode() + b"\n")
        answer = (await reader.readline()).decode().strip()
        if answer == "held":
            raise Held
        assert answer == "done"
        return answer
    finally:
        writer.close()


def projector_of(
    name: str, mode: str, address: Sequence[Any], held: Callable[[], Any] | None = None
) -> Projector:
    """Returns the effect of a subscription; `held`: awaited where the receiver does not answer."""
    projector = Projector()

    async def tell(record: Record[Any], result: str, outcome: Outcome) -> None:
        outcome.append(f"outcome-{name}", Delivered(result))

    @projector.once(
        Ordered,
        name="deliver",
        on_success=tell,
        on_ambiguous="park" if mode == "park" else None,
        idempotent=mode == "key",
    )
    async def deliver(record: Record[Ordered]) -> str:
        try:
            return await send(address, name, record)
        except Held:
            assert held is not None
            await held()
            raise

    return projector


async def work(
    url: str, names: Sequence[tuple[str, str]], address: Sequence[Any], held: Callable[[], Any]
) -> None:
    """Works on subscriptions, each by its name and mode, until it is killed."""
    async with asyncio.timeout(LONGEST_S), EventStore.open(url, events=EVENTS) as store:
        for name, mode in names:
            subscription = store.subscription(
                name, projector_of(name, mode, address, held), from_="beginning", lease_s=LEASE_S
            )
            await subscription.__aenter__()
        await asyncio.Event().wait()


def stop_at(point: str, here: Callable[[], Any]) -> None:
    """Has this process stop at a point of each of its effects."""
    change, tell = _CarryingOut._change, _CarryingOut._tell

    async def stop_changing(self: Any, effect: Any, status: str, **options: Any) -> bool:
        if (point, status) == ("before intent", "intent"):
            await here()
        changed: bool = await change(self, effect, status, **options)
        if (point, status) == ("after intent", "intent"):
            await here()
        return changed

    async def stop_telling(self: Any, effect: Any, before: str, *rest: Any, **options: Any) -> bool:
        if (point, before) == ("after the call", "intent"):
            await here()
        if (point, before) == ("before done", "succeeded"):
            await here()
        told: bool = await tell(self, effect, before, *rest, **options)
        return told

    _CarryingOut._change, _CarryingOut._tell = stop_changing, stop_telling


def plant_intent_after_the_call() -> None:
    """Has each intent be written when the call is over."""
    change, tell = _CarryingOut._change, _CarryingOut._tell

    async def change_later(self: Any, effect: Any, status: str, **options: Any) -> bool:
        if status == "intent":
            return True
        changed: bool = await change(self, effect, status, **options)
        return changed

    async def tell_both(
        self: Any, effect: Any, before: str, tries: int, *rest: Any, **options: Any
    ) -> bool:
        if before == "intent":
            await change(self, effect, "intent", tries=tries, due_s=None)
        told: bool = await tell(self, effect, before, tries, *rest, **options)
        return told

    _CarryingOut._change, _CarryingOut._tell = change_later, tell_both


def say(value: object) -> None:
    """Says something in one piece, as several processes speak into one pipe."""
    os.write(1, json.dumps(value).encode() + b"\n")


async def fork_workers(
    url: str, address: Sequence[Any], planted: bool, hear: Callable[[], Any]
) -> None:
    """Forks a worker for each line `[number, point]` that it hears; says when one has got there."""
    await (await EventStore.open(url, events=EVENTS)).close()  # imports all that there is
    say("ready")
    while line := await hear():
        number, point = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _be_a_worker(url, address, planted, number, point)
        say({"number": number, "pid": pid})


def _be_a_worker(
    url: str,
    address: Sequence[Any],
    planted: bool,
    number: int,
    point: str,
) -> None:
    there = 0

    async def here() -> None:
        nonlocal there
        there += 1
        if there == len(MODES):
            say({"number": number, "pid": os.getpid(), "there": point})
        await asyncio.Event().wait()

    try:
        if planted:
            plant_intent_after_the_call()
        stop_at(point, here)
        names = [(f"{mode}-{number}", mode) for mode in MODES]
        asyncio.run(work(url, names, address, here))
    finally:
        os._exit(1)
