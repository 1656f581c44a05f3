"""What PostgreSQL refuses for a moment, and what is lost on the way, the caller never hears of.

Each statement of each kind of write is hit in turn: it fails with a conflict of transactions, its
connection is cut in front of it, or behind it, so that its answer is lost. Each time the write is
there once, its hooks have run once, and its caller has the answer of an undisturbed write.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from everlog import EventStore, OutcomeUnknown, Record, to
from everlog.adapters.postgres import writer
from everlog.adapters.postgres.executing import Run, Script, Statement
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.adapters.postgres.waking import QUIET_S
from everlog.errors import LedgerBusy, StorageFailed
from everlog.subscriptions.projector import Appended
from tests.proxies.faults import (
    COMMIT,
    AnswerLost,
    ArrivesLate,
    AtStatement,
    CutAfterMessages,
    Fails,
    NeverArrives,
    Passive,
)
from tests.scenarios.postgres.site import EVENTS, Noted, Notes, Site, eventually, looked_up, sound

Call: TypeAlias = "Callable[[], Awaitable[object]]"

# --- what is written -----------------------------------------------------------------------------


@dataclass
class Write:
    """A write to be disturbed: another one for each name."""

    prepare: Callable[[EventStore, str], Call]
    """Returns the call, which can be repeated. It gives what is the same for each name."""
    expected: Callable[[str], object]
    """What an undisturbed call gives."""
    ids: Callable[[str], list[str]]
    """The ids of what is stored, where they are known before."""
    besides: Callable[[EventStore, str], Awaitable[None]]
    """Asserts what else is there then."""

    async def call(self, store: EventStore, name: str) -> object:
        return await self.prepare(store, name)()


def one(store: EventStore, name: str) -> Call:
    async def call() -> object:
        return seen(await store.append(name, Noted(1), ids=[f"{name}-a"], expect=0))

    return call


def two(store: EventStore, name: str) -> Call:
    return some(store, name, relations=[])


def some(store: EventStore, name: str, relations: Sequence[str] | None = None) -> Call:
    relations = [f"{name}-r"] if relations is None else relations
    items = [
        to(f"{name}-1", Noted(1), id=f"{name}-a", relations=relations, expect=0),
        to(f"{name}-2", Noted(2), id=f"{name}-b"),
        to(f"{name}-1", Noted(3), id=f"{name}-c"),
    ]

    async def call() -> object:
        return seen(await store.append_many(items))

    return call


def copied(store: EventStore, name: str) -> Call:
    events = [Noted(number) for number in range(LARGE)]

    async def call() -> object:
        return seen(await store.append(name, *events, ids=large_ids(name)))

    return call


def imported(store: EventStore, name: str) -> Call:
    records = [
        store.past(name, Noted(n), created=f"{n:012x}0000" + "a" * 16, id=f"{name}-{n}")
        for n in range(1, 4)
    ]

    async def call() -> object:
        result = await store.import_records(records)
        return result.stored + result.known

    return call


def saved(store: EventStore, name: str) -> Call:
    notes = store.new(Notes, id=name)
    for number in (1, 2):
        notes.push(Noted(number))

    async def call() -> object:
        await notes.save()
        return (notes.log.version, notes.log.is_dirty)

    return call


def related(store: EventStore, name: str) -> Call:
    async def call() -> object:
        return await store.relations.add(name, "s-1", "s-2")

    return call


def seen(records: list[Record[Any]]) -> object:
    return [(record.id, record.version) for record in records]


LARGE = 150
"""Events enough for COPY."""


def large_ids(name: str) -> list[str]:
    return [f"{name}-{number}" for number in range(LARGE)]


def letters(text: str) -> Callable[[str], list[str]]:
    return lambda name: [f"{name}-{letter}" for letter in text]


async def nothing(store: EventStore, name: str) -> None:
    assert await store.relations.streams_of(name) == []


async def its_relation(store: EventStore, name: str) -> None:
    assert await store.relations.streams_of(f"{name}-r") == [f"{name}-1"]


async def its_records(store: EventStore, name: str) -> None:
    assert [record.data.number async for record in store.read(name)] == [1, 2]


async def its_streams(store: EventStore, name: str) -> None:
    assert await store.relations.streams_of(name) == ["s-1", "s-2"]


WRITES = {
    "one event": Write(one, lambda name: [(f"{name}-a", 1)], letters("a"), nothing),
    "two streams": Write(
        two,
        lambda name: [(f"{name}-a", 1), (f"{name}-b", 1), (f"{name}-c", 2)],
        letters("abc"),
        nothing,
    ),
    "some streams": Write(
        some,
        lambda name: [(f"{name}-a", 1), (f"{name}-b", 1), (f"{name}-c", 2)],
        letters("abc"),
        its_relation,
    ),
    "many events": Write(
        copied,
        lambda name: [(id, n) for n, id in enumerate(large_ids(name), 1)],
        large_ids,
        nothing,
    ),
    "an import": Write(imported, lambda name: 3, letters("123"), nothing),
    "a save": Write(saved, lambda name: (2, False), lambda name: [], its_records),
    "a relation": Write(related, lambda name: 2, lambda name: [], its_streams),
}

# --- what goes wrong -----------------------------------------------------------------------------

NOTIFY = "^SELECT pg_notify"
OTHERS = "^(?!SELECT pg_notify)"
"""All but NOTIFY, which comes with some commits and not with others."""

GUESS = r"(?s)pg_advisory_xact_lock.*INSERT INTO"
"""A commit in one statement: by who was alone for a while, and takes it that it still is."""

IN_ONE_STATEMENT = ["one event", "two streams", "a save"]

DISTURBANCES: dict[str, Callable[[str, int], AtStatement]] = {
    "40001": lambda statement, nth: Fails("40001", statement, nth=nth),
    "40P01": lambda statement, nth: Fails("40P01", statement, nth=nth),
    "it never arrives": lambda statement, nth: NeverArrives(statement, nth=nth),
    "its answer is lost": lambda statement, nth: AnswerLost(statement, nth=nth),
}

CUTS: dict[str, Callable[[int], Passive]] = {
    "the client's": lambda nth: CutAfterMessages("client", nth),
    "the server's": lambda nth: CutAfterMessages("server", nth),
}


class Told:
    """What the hook of a store was told."""

    def __init__(self, store: EventStore) -> None:
        self.ids: list[str] = []
        store.on_appended(self._tell)

    async def _tell(self, appended: Appended) -> None:
        self.ids += [record.id for record in appended.records]


async def disturbed(
    site: Site, write: Write, disturbance: Callable[[int], Passive], *, alone: bool
) -> list[str]:
    """Disturbs a write at its first statement or message, the next at its second, and so on.

    `alone`: nobody else writes, so that the store may take for granted where the head is. Returns
    what was hit, until nothing was.
    """
    hit: list[str] = []
    async with (
        EventStore.open(site.url(), events=EVENTS) as store,
        EventStore.open(site.straight_url(readers=1), events=EVENTS) as rival,
    ):
        told = Told(store)
        while True:
            name = f"n{len(hit) + 1}"
            await alone_for_a_while(store, name)
            if not alone:
                await rival.append("rival", Noted(0), ids=[f"rival-{name}"])
            fault = site.relay.plan(disturbance(len(hit) + 1))
            assert await write.call(store, name) == write.expected(name)
            site.relay.forget()
            ids = [id for id in site.ids() if not id.startswith("rival-")]
            assert len(ids) == len(set(ids))
            assert [id for id in ids if id.startswith(f"{name}-")] == write.ids(name)
            assert told.ids == ids
            await write.besides(store, name)
            if not fault.happened:
                break
            hit.append(fault.sql or "a message")
            assert len(hit) < 200
        await sound(store)
    return hit


def pids(site: Site) -> set[int]:
    return {pid for pid, *_ in site.backends()}


async def alone_for_a_while(store: EventStore, name: str) -> None:
    """Lets a store see that nobody else writes."""
    for number in range(3):
        await store.append("undisturbed", Noted(0), ids=[f"undisturbed-{name}-{number}"])


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_is_disturbed_at_any_statement_is_there_once_and_its_caller_never_hears(
    site: Site, write: str, disturbance: str
) -> None:
    disturb = DISTURBANCES[disturbance]
    hit = asyncio.run(disturbed(site, WRITES[write], lambda nth: disturb(OTHERS, nth), alone=False))
    print(f"{len(hit)} statements hit")
    for kind in ("BEGIN", "pg_advisory_xact_lock", "SELECT", "COMMIT"):
        assert any(kind in sql for sql in hit), hit


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("write", IN_ONE_STATEMENT)
def test_an_append_in_one_statement_that_is_disturbed_is_there_once_and_its_caller_never_hears(
    site: Site, write: str, disturbance: str
) -> None:
    disturb = DISTURBANCES[disturbance]
    hit = asyncio.run(disturbed(site, WRITES[write], lambda nth: disturb(OTHERS, nth), alone=True))
    [statement] = hit
    assert re.search(GUESS, statement)


@pytest.mark.parametrize("side", CUTS)
@pytest.mark.parametrize(
    ("write", "alone"), [("two streams", True), ("two streams", False), ("many events", False)]
)
def test_a_write_whose_line_is_cut_behind_any_message_is_there_once_and_its_caller_never_hears(
    site: Site, write: str, side: str, alone: bool
) -> None:
    hit = asyncio.run(disturbed(site, WRITES[write], CUTS[side], alone=alone))
    print(f"{len(hit)} messages hit")
    assert len(hit) > (3 if alone else 20)


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_notification_that_fails_costs_nothing(site: Site, disturbance: str) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(), events=EVENTS) as store:
            await looked_up(store)
            told = Told(store)
            for turn in range(5):
                fault = site.relay.plan(DISTURBANCES[disturbance](NOTIFY, 1))
                number = 0
                while (
                    not fault.happened
                ):  # most travel with a commit, but of a burst the last is owed
                    for _ in range(3):
                        call = WRITES["one event"].call(store, f"n{turn}-{number}")
                        assert await call == WRITES["one event"].expected(f"n{turn}-{number}")
                        number += 1
                    for _ in range(20):  # it comes when no other commit has
                        if not fault.happened:
                            await asyncio.sleep(QUIET_S)
                    assert number < 1000, "none was sent by itself"
                site.relay.forget()
            assert told.ids == site.ids()
            await sound(store)

    asyncio.run(main())


# --- the answer to a COMMIT, and no server to ask about it ---------------------------------------


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is dropped"])
@pytest.mark.parametrize("write", WRITES)
def test_a_commit_that_is_still_under_way_when_its_connection_is_lost_is_waited_for(
    site: Site, write: str, arrives: bool
) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(), events=EVENTS) as store:
            await looked_up(store)
            told = Told(store)
            fault = site.relay.plan(ArrivesLate(COMMIT))
            writing = asyncio.create_task(awaited(WRITES[write].prepare(store, "late")))
            await fault.wait()
            # The lock of the transaction is held: whoever wants to know its fate has to wait.
            await eventually(lambda: site.waiting_for_a_lock() == 1, "the store waits for the lock")
            assert not writing.done()
            assert site.ids() == []
            if arrives:
                assert await asyncio.to_thread(fault.deliver) == "COMMIT"
            else:
                await asyncio.to_thread(fault.drop)
            assert await writing == WRITES[write].expected("late")
            assert told.ids == site.ids()
            await WRITES[write].besides(store, "late")
            await sound(store)

    asyncio.run(main())


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is dropped"])
@pytest.mark.parametrize("write", IN_ONE_STATEMENT)
def test_an_append_in_one_statement_that_is_still_under_way_changes_nothing_when_it_comes_too_late(
    site: Site, write: str, arrives: bool
) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(), events=EVENTS) as store:
            await looked_up(store)
            told = Told(store)
            await alone_for_a_while(store, "late")
            fault = site.relay.plan(ArrivesLate(GUESS))
            # Nothing holds a lock: it is written again, and stands where the late one wants to.
            assert await WRITES[write].call(store, "late") == WRITES[write].expected("late")
            assert fault.happened
            ids = site.ids()
            if arrives:
                assert await asyncio.to_thread(fault.deliver) == "SELECT 1"
            else:
                await asyncio.to_thread(fault.drop)
            assert told.ids == site.ids() == ids
            await WRITES[write].besides(store, "late")
            await sound(store)

    asyncio.run(main())


@pytest.mark.parametrize("committed", [True, False], ids=["it was committed", "it was not"])
@pytest.mark.parametrize(
    ("write", "alone"),
    [*((write, False) for write in WRITES), *((write, True) for write in IN_ONE_STATEMENT)],
)
def test_where_the_server_stays_away_the_outcome_is_unknown_until_the_write_is_repeated(
    site: Site, write: str, committed: bool, alone: bool
) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(timeout_s=0.3), events=EVENTS) as store:
            await looked_up(store)
            call, ids = WRITES[write].prepare(store, "far"), WRITES[write].ids("far")
            if alone:
                await alone_for_a_while(store, "far")
            before = site.ids()
            decisive = GUESS if alone else COMMIT
            site.relay.refuse()  # who is connected stays so
            connected = pids(site)
            site.relay.plan(AnswerLost(decisive) if committed else NeverArrives(decisive))
            with pytest.raises(OutcomeUnknown) as unknown:
                await call()
            if ids:
                assert list(unknown.value.ids) == ids
            await eventually(lambda: not connected <= pids(site), "the writer's connection is gone")
            there = site.ids()[len(before) :]
            if write != "a relation":
                assert bool(there) is committed
            site.relay.accept()
            again = await call()
            if write == "a relation":
                assert again == (0 if committed else 2)
            else:
                assert again == WRITES[write].expected("far")
            stored = site.ids()[len(before) :]
            assert stored == there or not there
            assert len(stored) == len(set(stored))
            assert stored == ids or not ids
            await WRITES[write].besides(store, "far")
            await sound(store)

    asyncio.run(main())


@pytest.mark.parametrize("write", ["one event", "two streams", "many events", "an import"])
def test_a_write_that_was_lost_is_not_taken_for_what_another_wrote_in_its_place(
    site: Site, write: str
) -> None:
    async def main() -> None:
        async with (
            EventStore.open(site.url(), events=EVENTS) as store,
            EventStore.open(site.straight_url(), events=EVENTS) as other,
        ):
            fault = site.relay.plan(NeverArrives(COMMIT))
            site.relay.refuse()
            writing = asyncio.create_task(awaited(WRITES[write].prepare(store, "lost")))
            await fault.wait()
            count = len(WRITES[write].ids("lost"))
            await other.append("other", *[Noted(number) for number in range(count)])
            site.relay.accept()
            assert await writing == WRITES[write].expected("lost")
            assert site.ids()[count:] == WRITES[write].ids("lost")
            await sound(store)

    asyncio.run(main())


def test_a_server_that_stays_away_before_a_commit_has_written_nothing(site: Site) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(timeout_s=0.3), events=EVENTS) as store:
            await looked_up(store)
            for statement in ("BEGIN", "pg_advisory_xact_lock", "SELECT ledger, node"):
                before = site.ids()
                site.relay.plan(NeverArrives(statement))
                site.relay.refuse()
                with pytest.raises(StorageFailed, match="nothing was written"):
                    await one(store, "near")()
                assert site.ids() == before
                site.relay.accept()
                assert await one(store, statement)() == [(f"{statement}-a", 1)]

    asyncio.run(main())


def test_what_is_not_known_stays_so_while_a_repetition_fails_for_another_reason(site: Site) -> None:
    async def main() -> None:
        ledger = await PostgresLedger.open(site.relay.url, schema=site.schema, timeout_s=0.3)
        async with EventStore(ledger, events=EVENTS) as store:
            await looked_up(store)
            site.relay.plan(AnswerLost(COMMIT))
            site.relay.refuse()
            with pytest.raises(OutcomeUnknown):
                await one(store, "far")()
            assert site.ids() == ["far-a"]
            # The server is still away, and then it is back and somebody writes for too long. Both
            # times "nothing was written" would not be true of this event, as it is of others.
            with pytest.raises(OutcomeUnknown):
                await one(store, "far")()
            with pytest.raises(StorageFailed, match="nothing was written"):
                await one(store, "other")()
            site.relay.accept()
            with somebody_writing(site, ledger):
                with pytest.raises(OutcomeUnknown):
                    await one(store, "far")()
                with pytest.raises(LedgerBusy, match="nothing was written"):
                    await one(store, "other")()
            assert await one(store, "far")() == [("far-a", 1)]
            with somebody_writing(site, ledger), pytest.raises(LedgerBusy):
                await one(store, "far")()  # of which is known now that it is there

    asyncio.run(main())


@contextmanager
def somebody_writing(site: Site, ledger: PostgresLedger) -> Generator[None]:
    """Somebody else holds the lock of the ledger."""
    with site.direct.transaction():
        site.direct.execute("SELECT pg_advisory_xact_lock(%s)", (ledger.place.lock_key,))
        yield


async def awaited(call: Call) -> object:
    return await call()


# --- tests of the tests --------------------------------------------------------------------------


@pytest.mark.parametrize("guess", [True, False], ids=["as written", "as not written"])
@pytest.mark.parametrize("write", ["some streams", "a relation"])
def test_a_lost_commit_that_is_taken_for_one_or_the_other_without_a_look_is_seen(
    site: Site, write: str, guess: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> Script[bool]:
        yield Run([Statement("SELECT 1")])
        return guess

    monkeypatch.setattr(writer, "has_committed", taken)

    def disturb(nth: int) -> Passive:
        return NeverArrives(COMMIT, nth=nth) if guess else AnswerLost(COMMIT, nth=nth)

    with pytest.raises(AssertionError):
        asyncio.run(disturbed(site, WRITES[write], disturb, alone=True))
