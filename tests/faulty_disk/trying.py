"""Writes on a disk that fails: what they are told must be true, then and after a crash."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from everlog import EventStore, OutcomeUnknown, StorageError, to
from everlog.errors import StorageFailed, StorageFull
from tests.faulty_disk.disk import CHOICES, Image
from tests.faulty_disk.exploring import write_image
from tests.faulty_disk.faults import Faults, Kind, Plan, faulty
from tests.faulty_disk.workload import NAME, Noted, seen

BASE, BASE_SIZE = "base", 8
"""A stream that is there before anything fails, and how many events it has."""
NO_END = 400
"""More calls than any of our operations makes."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write that can be repeated: an append by its ids, everything else as it is."""

    do: Callable[[EventStore], Awaitable[object]]
    is_there: Callable[[EventStore], Awaitable[bool]]
    ids: tuple[str, ...] = ()


Operation = Callable[[EventStore, int], Awaitable[Sequence[Write]]]
"""Makes the n-th writes of their kind, to be done at the same time."""

Told = StorageError | None
"""What became of a write: the error that it raised, or None."""


@dataclass(slots=True)
class Tally:
    """How often what happened."""

    attempts: int = 0
    images: int = 0
    """Disks after a crash that were opened and looked at."""
    fired: Counter[Kind] = field(default_factory=Counter[Kind])
    told: Counter[tuple[Kind, str]] = field(default_factory=Counter[tuple[Kind, str]])
    calls: dict[tuple[str, Kind], int] = field(default_factory=dict[tuple[str, Kind], int])
    """How many calls an operation makes that a kind of fault can make fail: all were made to."""
    come_back: int = 0
    """Writes of unknown outcome that were not there, and were after a crash."""

    def note(self, kind: Kind, fired: int, told: Sequence[Told]) -> None:
        """Counts an attempt."""
        self.attempts += 1
        self.fired[kind] += fired
        for error in told if fired else ():
            self.told[kind, type(error).__name__ if error else "nothing"] += 1

    def __str__(self) -> str:
        lines = [f"{self.attempts} attempts, {self.images} disks opened after a crash"]
        lines += [f"{count:5} times {kind}" for kind, count in sorted(self.fired.items())]
        lines += [
            f"{count:5} times told {told} for {kind}"
            for (kind, told), count in sorted(self.told.items())
        ]
        lines += [f"{n:5} calls of {name}: {kind}" for (name, kind), n in self.calls.items() if n]
        lines.append(f"{self.come_back:5} came back after a crash, unknown as said")
        return "\n".join(lines)


# --- the operations ---


async def append(_: EventStore, n: int) -> Sequence[Write]:
    """One event."""
    return [_append(f"append-{n}", 1)]


async def append_several(_: EventStore, n: int) -> Sequence[Write]:
    """One call with several events, for several streams."""
    ids = tuple(f"several-{n}-{number}" for number in range(5))

    async def do(store: EventStore) -> object:
        return await store.append_many(
            [
                to(f"stream-{number}", Noted(number, "x" * 900), id=id, relations=["several"])
                for number, id in enumerate(ids)
            ]
        )

    return [Write(do, _all_or_none(ids), ids)]


async def append_together(_: EventStore, n: int) -> Sequence[Write]:
    """Several calls, of which all but the first are committed as one."""
    return [_append(f"together-{n}-{number}", 1 + number % 2) for number in range(4)]


async def import_late(store: EventStore, n: int) -> Sequence[Write]:
    """A list of records from long ago."""
    ids = tuple(f"past-{n}-{number}" for number in range(4))
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    records = [store.past("past", Noted(n, "x" * 300), created=moment, id=id) for id in ids]

    async def do(store: EventStore) -> object:
        return await store.import_records(records)

    return [Write(do, _all_or_none(ids), ids)]


async def relate(_: EventStore, n: int) -> Sequence[Write]:
    """A relation, which has no id."""

    async def do(store: EventStore) -> object:
        return await store.relations.add("team", f"member-{n}")

    async def is_there(store: EventStore) -> bool:
        return f"member-{n}" in await store.relations.streams_of("team")

    return [Write(do, is_there)]


async def snapshot(store: EventStore, n: int) -> Sequence[Write]:
    """A snapshot of a stream that has grown since the last one."""
    [record] = await store.append("folded", Noted(n, "x"))

    async def do(store: EventStore) -> object:
        return await store.snapshots.create(seen, "folded")

    async def is_there(store: EventStore) -> bool:
        found = await store.snapshots.get(seen, "folded")
        return found is not None and found.position == record.position

    return [Write(do, is_there)]


def _append(name: str, count: int) -> Write:
    ids = tuple(f"{name}-{number}" for number in range(count))

    async def do(store: EventStore) -> object:
        events = [Noted(number, "x" * 200) for number in range(count)]
        return await store.append(f"s-{name}"[:8], *events, ids=ids)

    return Write(do, _all_or_none(ids), ids)


def _all_or_none(ids: Sequence[str]) -> Callable[[EventStore], Awaitable[bool]]:
    async def is_there(store: EventStore) -> bool:
        found = [await store.find(id) is not None for id in ids]
        assert all(found) or not any(found), f"half of {ids} is there"
        return found[0]

    return is_there


# --- trying them ---


async def try_every_call(
    folder: Path,
    name: str,
    operation: Operation,
    plan: Plan,
    tally: Tally,
    rng: random.Random,
    *,
    cold: bool = False,
    care: float = 1.0,
) -> None:
    """Does an operation again and again, and lets its first call fail, its second, to its last.

    `cold`: each time as the first write of a store just opened, which begins a WAL.
    `care`: the part of the power cuts that are looked at; what a killed process leaves always is.
    """
    make(folder)
    # A store that is warm hardly reads.
    cold = cold or plan.kind in ("EIO on read", "EIO on everything")
    with faulty(folder) as faults:
        await fill(folder)
        n = 0
        while n < NO_END:
            async with EventStore.open(folder / NAME, events=[Noted]) as store:
                trial = _Trial(faults, store, folder, plan.kind, tally, rng, care)
                while (n := n + 1) < NO_END:
                    if not cold:  # this also ends a checkpoint that the last fault cut short
                        await store.append("warm", Noted(0, "x"))
                    nth = Plan(plan.kind, n, plan.lasting, plan.threads)
                    if not await trial.go(await operation(store, n), nth):
                        tally.calls[name, plan.kind] = n - 1
                        assert (await store.verify()).ok
                        return
                    if cold:
                        break
    raise AssertionError(f"{name} makes more than {NO_END} calls")


def make(folder: Path) -> None:
    """Makes a folder."""
    folder.mkdir()


async def fill(folder: Path) -> None:
    """Makes a ledger with the stream that must stay readable."""
    async with EventStore.open(folder / NAME, events=[Noted]) as store:
        await store.append(BASE, *[Noted(n, "x" * 99) for n in range(BASE_SIZE)])


class _Trial:
    """Writes on a store whose disk fails at one place, with all that must hold then."""

    def __init__(
        self,
        faults: Faults,
        store: EventStore,
        folder: Path,
        kind: Kind,
        tally: Tally,
        rng: random.Random,
        care: float,
    ) -> None:
        self._care = care
        self._faults = faults
        self._store = store
        self._folder = folder
        self._kind: Kind = kind
        self._tally = tally
        self._rng = rng

    async def go(self, writes: Sequence[Write], plan: Plan) -> bool:
        """Returns whether the plan's call was reached."""
        self._faults.plan(plan)
        told = await self._attempt(writes)
        fired = self._faults.fired
        self._tally.note(self._kind, fired, told)
        failed = [write for write, error in zip(writes, told, strict=True) if error]
        if failed:
            assert fired, told
            if self._now_and_then():
                await self._after_crash(writes, told, self._power_cut())
            if not plan.lasting:  # so that a second attempt fails as well, and in another way
                self._faults.plan(Plan("ENOSPC on write", 1, threads=plan.threads))
            # What the first attempt left open, a second one that fails does not close.
            await self._attempt(failed, look=any(isinstance(e, OutcomeUnknown) for e in told))
        self._faults.end()
        for write in failed:
            await write.do(self._store)
        for write in writes:
            assert await write.is_there(self._store)
        if not failed or self._now_and_then():
            await self._after_crash(writes, [None] * len(writes), self._power_cut())
        return fired > 0

    async def _attempt(self, writes: Sequence[Write], *, look: bool = True) -> list[Told]:
        told = await asyncio.gather(*(_try(write, self._store) for write in writes))
        read = await self._store.read(BASE).to_list()
        assert len(read) == BASE_SIZE, "reads go on"
        for write, error in zip(writes, told, strict=True):
            if isinstance(error, OutcomeUnknown):
                assert error.ids == write.ids
            else:
                assert await write.is_there(self._store) == (error is None)
        if look and any(told):
            await self._after_crash(writes, told, self._faults.disk().now())
        return told

    def _now_and_then(self) -> bool:
        return self._rng.random() < self._care

    def _power_cut(self) -> Image:
        return self._faults.disk().cut(self._rng.choice(CHOICES), self._rng)

    async def _after_crash(
        self, writes: Sequence[Write], told: Sequence[Told], image: Image
    ) -> None:
        """Opens what a killed process or a power cut leaves: what was told must be true there."""
        self._tally.images += 1
        place = self._folder.with_name(f"{self._folder.name}-crashed")
        write_image(image, place)
        async with EventStore.open(place / NAME, events=[Noted]) as store:
            verification = await store.verify()
            assert verification.ok, verification.problems
            for write, error in zip(writes, told, strict=True):
                there = await write.is_there(store)
                if isinstance(error, OutcomeUnknown):
                    self._tally.come_back += there
                else:
                    assert there == (error is None), f"was told {error!r}, then came a crash"
        shutil.rmtree(place)


async def _try(write: Write, store: EventStore) -> Told:
    try:
        await write.do(store)
    except (StorageFull, StorageFailed, OutcomeUnknown) as error:
        return error
    return None
