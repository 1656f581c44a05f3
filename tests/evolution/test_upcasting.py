"""What is stored stays as it is, and is read as today's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

from everlog import EventStore, Projector, Record, event, reducer, upcast
from everlog.core.event import Known, Registry
from everlog.errors import (
    DecodeError,
    EventAlreadyRegistered,
    EventDefinitionError,
    InvalidInput,
    InvalidName,
)
from everlog.testing import PostgresServer
from tests.evolution.loops import in_a_loop
from tests.evolution.old_and_new import (
    BETWEEN,
    FIRST,
    TODAY,
    UPCASTS,
    By,
    Clerk,
    Noted,
    Order,
    Placed,
    Placed1,
    Placed2,
    Sent1,
    Shipped,
    cents,
    order,
    shipped,
    two_names,
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


async def write_history(url: str) -> None:
    """Two orders, written by the first program and by the second."""
    async with EventStore.open(url, events=FIRST) as store:
        await store.append("o-1", Placed1(customer="Jane Doe", euros=12.34))
        await store.append("o-1", Sent1(to="Oslo"), meta=By(name="ann"))
        await store.append("o-2", Placed1(customer="Joe Bloggs", euros=0.99), Noted("twice"))
    async with EventStore.open(url, events=BETWEEN) as store:
        await store.append("o-2", Placed2(customer="Joe Bloggs", cents=150))
        await store.append("o-2", Sent1(to="Bergen"), meta=By(name="bob"))


async def write_migrated(store: EventStore) -> None:
    """The same, as if it had been written by today's program."""
    await store.append("o-1", Placed(given="Jane", family="Doe", cents=1234))
    await store.append("o-1", Shipped(address="Oslo"), meta=Clerk(clerk="ann"))
    await store.append("o-2", Placed(given="Joe", family="Bloggs", cents=99), Noted("twice"))
    await store.append("o-2", Placed(given="Joe", family="Bloggs", cents=150))
    await store.append("o-2", Shipped(address="Bergen"), meta=Clerk(clerk="bob"))


@in_a_loop
async def test_upcasted_folds_equal_those_of_a_history_migrated_by_hand(url: str) -> None:
    await write_history(url)
    async with (
        EventStore.open(url, events=[*TODAY, *UPCASTS]) as store,
        EventStore.open("memory:", events=TODAY) as migrated,
    ):
        await write_migrated(migrated)
        for stream in ("o-1", "o-2"):
            state = await store.reduce(order, stream)
            assert state == await migrated.reduce(order, stream)
            assert state is not None
        for ours, theirs in zip(
            await store.read().to_list(), await migrated.read().to_list(), strict=True
        ):
            assert (ours.data, ours.meta, ours.type) == (theirs.data, theirs.meta, theirs.type)


@in_a_loop
async def test_what_is_stored_and_its_hash_stay_as_they_were(url: str) -> None:
    await write_history(url)
    async with EventStore.open(url) as plain:
        before = [record.stored async for record in plain.read()]
    async with EventStore.open(url, events=[*TODAY, *UPCASTS], snapshots="auto") as store:
        for record in await store.read().to_list():
            assert record.data is not None
        assert [record.json for record in await store.read("o-1").to_list()] == [
            {"customer": "Jane Doe", "euros": 12.34},
            {"to": "Oslo"},
        ]
        await store.snapshots.create(order, "o-1")
        assert (await store.verify()).ok
    async with EventStore.open(url) as plain:
        assert [record.stored async for record in plain.read()] == before
    assert [(row.type, row.schema) for row in before[:2]] == [
        ("order:placed", 1),
        ("order:sent", 1),
    ]


@in_a_loop
async def test_upcasted_records_travel_as_they_were_stored(url: str) -> None:
    await write_history(url)
    async with (
        EventStore.open(url, events=[*TODAY, *UPCASTS]) as store,
        EventStore.open("memory:") as other,
    ):
        records = await store.read().to_list()
        assert [record.data for record in records]
        await other.import_records(records)
        taken = [(record.hash, record.stored.type) async for record in other.read()]
    assert taken == [(record.hash, record.stored.type) for record in records]


@in_a_loop
async def test_classes_and_todays_name_select_what_is_stored_under_older_names(url: str) -> None:
    await write_history(url)
    async with EventStore.open(url, events=[*TODAY, *UPCASTS]) as store:
        await store.append("o-3", Shipped(address="Hamar"), meta=Clerk(clerk="cy"))
        for types in ([Shipped], ["order:shipped"]):
            found = await store.read(types=types).to_list()
            assert [record.data.address for record in found] == ["Oslo", "Bergen", "Hamar"]
            assert {record.type for record in found} == {"order:shipped"}
        old = await store.read(types=["order:sent"]).to_list()
        assert [record.stored.type for record in old] == ["order:sent"] * 2
        state = await store.reduce(order, "o-1", types=[Shipped])
        assert state == Order(sent=["Oslo by ann"], types=["order:shipped"])


@in_a_loop
async def test_an_old_name_and_the_new_one_outdate_each_other(url: str) -> None:
    await write_history(url)
    async with EventStore.open(url, events=[*TODAY, *UPCASTS]) as store:
        [first, *_] = await store.read(types=[Shipped]).to_list()
        assert not (await store.status(first)).outdated
        await store.append("o-1", Shipped(address="Voss"), meta=Clerk(clerk="cy"))
        assert (await store.status(first)).outdated


@in_a_loop
async def test_handlers_see_todays_data_in_process_and_durably(url: str) -> None:
    await write_history(url)
    seen: list[str] = []
    states: dict[str, Order] = {}
    projector = Projector()

    @projector.all(Shipped)
    async def note(record: Record[Shipped]) -> None:
        seen.append(f"{record.type} {record.data.address}")

    @projector.state(order, Shipped)
    async def keep(state: Order, record: Record[Any]) -> None:
        states[record.stream] = state

    async with EventStore.open(url, events=[*TODAY, *UPCASTS]) as store:
        async with store.subscription("ships", projector) as subscription:
            await subscription.caught_up()
        assert sorted(seen) == ["order:shipped Bergen", "order:shipped Oslo"]
        for name in ("o-1", "o-2"):
            folded = await store.reduce(order, name)
            assert states[name] == folded
        seen.clear()
        replayed = Projector()
        replayed.on(Shipped)(note)
        assert await replayed.replay(store.read()) == 6
        assert sorted(seen) == ["order:shipped Bergen", "order:shipped Oslo"]


# --- snapshots ---


@pytest.fixture
def history(url: str) -> str:
    asyncio.run(write_history(url))
    return url


@in_a_loop
async def test_a_snapshot_of_older_code_is_not_used_by_newer_code_and_the_other_way(
    history: str,
) -> None:
    calls: list[str] = []

    @reducer("total", initial=int)
    def total(state: int, record: Record[Any]) -> int:
        calls.append(record.id)
        return state + getattr(record.data, "cents", 1)

    async def folded(*known: Known, types: list[type[Any]] | None = None) -> tuple[int | None, int]:
        calls.clear()
        async with EventStore.open(history, events=known) as store:
            state = await store.reduce(total, "o-1", types=types)
            await store.snapshots.create(total, "o-1", types=types)
        return state, len(calls)

    async def again(*known: Known, types: list[type[Any]] | None = None) -> tuple[int | None, int]:
        calls.clear()
        async with EventStore.open(history, events=known) as store:
            return await store.reduce(total, "o-1", types=types), len(calls)

    old = await folded(*FIRST)
    assert old == (2, 4)
    assert await again(*FIRST) == (2, 0)
    new = await again(*TODAY, *UPCASTS)
    assert new == (1235, 2)
    assert await folded(*TODAY, *UPCASTS) == (1235, 4)
    assert await again(*TODAY, *UPCASTS) == (1235, 0)
    assert await again(*FIRST) == (2, 0)  # a program that has not been replaced yet

    @upcast("order:placed", 1, 2)
    def dearer(data: dict[str, Any]) -> dict[str, Any]:
        return {"customer": data["customer"], "cents": round(data["euros"] * 110)}

    mended = [dearer, two_names, shipped]
    assert await again(*TODAY, *mended) == (1358, 2)
    # What has not changed of what is folded leaves its snapshots alone.
    assert (await folded(*TODAY, *UPCASTS, types=[Shipped]))[0] == 1
    assert await again(*TODAY, *mended, types=[Shipped]) == (1, 0)


def test_an_upcast_is_known_again_wherever_it_stands() -> None:
    def make(factor: int, at: set[str]) -> Known:
        @upcast("order:placed", 1, 3)
        def once(data: dict[str, Any]) -> dict[str, Any]:
            return {key: data[key] * factor for key in data if key not in at}

        return once

    def evolution(step: Known) -> str:
        return Registry([Placed, step]).evolution(None)

    first = evolution(make(2, {"a"}))
    assert evolution(make(2, {"a"})) == first
    assert evolution(make(3, {"a"})) != first
    assert evolution(cents_to_three(100)) != evolution(cents_to_three(110))
    assert Registry([Placed1, Sent1, Noted]).evolution(None) == ""
    assert Registry(TODAY).evolution(["order:noted"]) == ""


def cents_to_three(factor: int) -> Known:
    class Step:
        def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
            return data

    if factor == 100:
        return upcast("order:placed", 1, 3)(Step())
    return upcast("order:placed", 1, 3)(lambda data: {**data, "given": factor})


# --- what cannot be read ---


@in_a_loop
async def test_data_of_a_newer_schema_is_not_guessed_at(history: str) -> None:
    async with EventStore.open(history, events=FIRST) as store:
        records = await store.read("o-2").to_list()
        assert records[0].data == Placed1(customer="Joe Bloggs", euros=0.99)
        with pytest.raises(DecodeError, match=r"schema 2 .* knows 1.*newer.*up to date"):
            _ = records[2].data
        assert records[2].json == {"customer": "Joe Bloggs", "cents": 150}
        with pytest.raises(DecodeError):
            await store.reduce(order, "o-2")


@in_a_loop
async def test_data_of_an_older_schema_needs_an_upcast(history: str) -> None:
    async with EventStore.open(history, events=TODAY) as store:
        record = await store.read("o-1").first()
        assert record is not None
        with pytest.raises(DecodeError, match=r"@upcast\('order:placed', 1, 3\)") as caught:
            _ = record.data
        assert caught.value.problems[0][0] == "schema"
    async with EventStore.open(history, events=[*TODAY, two_names]) as store:
        record = await store.read("o-1").first()
        assert record is not None
        with pytest.raises(DecodeError, match=r"leads on from 1"):
            _ = record.data


@in_a_loop
async def test_a_subscription_holds_up_the_stream_of_what_it_cannot_read(history: str) -> None:
    seen: set[int] = set()
    projector = Projector()

    @projector.all(Placed1)
    async def note(record: Record[Placed1]) -> None:
        seen.add(round(record.data.euros * 100))

    async with EventStore.open(history, events=FIRST) as store:
        async with store.subscription("notes", projector, on_error="park") as subscription:
            await subscription.caught_up()
        [parked] = await store.subscriptions.parked("notes")
        assert (parked.stream, seen) == ("o-2", {99, 1234})


BAD: dict[str, Callable[[Any], Any]] = {
    "raised KeyError": lambda data: {"cents": data["nothing"]},
    "returned None": lambda data: data.clear(),
    "is of type datetime": lambda data: {"at": __import__("datetime").datetime(2026, 1, 1)},
    "is not a finite number": lambda data: {"cents": float("nan")},
    "data.given: Field required": lambda data: {"family": "x", "cents": 1},
}


@pytest.mark.parametrize("says", BAD)
def test_an_upcast_that_fails_is_named_with_what_it_did(says: str) -> None:
    registry = Registry([Placed, upcast("order:placed", 1, 3)(BAD[says])])
    record = stored("order:placed", '{"customer":"x","euros":1}')
    with pytest.raises(DecodeError) as caught:
        registry.decode_data(record.stored)
    assert says in str(caught.value)


@pytest.mark.parametrize("found", [{"a": 1, "b": 2}, "ab", None, ({},), ({}, {}, {})], ids=repr)
def test_an_upcast_of_data_and_meta_returns_both(found: Any) -> None:
    def both(data: Any, meta: Any) -> Any:
        return found

    registry = Registry([Shipped, upcast("order:shipped", 1, 2)(both)])
    with pytest.raises(DecodeError, match="tuple of two"):
        registry.decode_data(stored("order:sent", '{"to":"x"}').stored)


def test_a_bare_value_may_become_null() -> None:
    @event("bare", schema=2)
    class Bare(RootModel[int | None]): ...

    @upcast("bare", 1, 2)
    def no_zero(data: int) -> int | None:
        return data or None

    assert Registry([Bare, no_zero]).decode_data(stored("bare", "0").stored) == Bare(None)


def test_upcasts_of_an_alias_are_for_its_records_alone() -> None:
    @event("c", schema=2, aliases=["a", "b"], register="a")
    class Now(BaseModel):
        x: int

    steps = [
        upcast("a", 1, 2)(lambda data: {"x": data["x"] + 100}),
        upcast("c", 1, 2)(lambda data: {"x": data["x"] + 1}),
    ]
    registry = Registry([Now, *steps])
    found = [registry.decode_data(stored(name, '{"x":0}').stored).x for name in "abc"]
    assert found == [100, 1, 1]


def stored(type: str, data: str) -> Record[Any]:
    """A record of schema 1, as it lies in a ledger."""
    from everlog.testing import record_of

    record = record_of(Noted("x"))
    row = record.stored._replace(type=type, data=data, meta='{"name":"ann"}')
    return Record(row, Registry([]))


# --- what is refused before anything is opened ---


def not_leading() -> list[Known]:
    return [Placed, cents]


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "a gap": (not_leading, r"@upcast\('order:placed', 2, 3\)"),
    "past today's": (lambda: [Placed2, two_names], "past today's, which is schema 2"),
    "two from one schema": (
        lambda: [Placed, *UPCASTS[:2], upcast("order:placed", 1, 3)(lambda data: data)],
        "two upcasts of 'order:placed' begin at schema 1",
    ),
    "of no class": (lambda: [Placed, two_names, shipped], "none of this store's events"),
    "no class at all": (lambda: [cents.__wrapped__], "classes and upcasts"),
}


@pytest.mark.parametrize("case", REFUSED)
@in_a_loop
async def test_upcasts_that_cannot_work_are_refused_before_a_ledger_is_made(
    case: str, tmp_path: Path
) -> None:
    known, says = REFUSED[case]
    with pytest.raises(EventDefinitionError, match=says):
        await EventStore.open(f"sqlite:///{tmp_path}/log.db", events=known())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert os.listdir(tmp_path) == []


async def later(data: Any) -> Any:
    return data


def three(data: Any, meta: Any, more: Any) -> Any:
    return data


MISUSED: dict[str, Callable[[], object]] = {
    "backwards": lambda: upcast("a", 2, 1),
    "nowhere": lambda: upcast("a", 1, 1),
    "from nothing": lambda: upcast("a", 0, 1),
    "text": lambda: upcast("a", "1", 2),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "a truth": lambda: upcast("a", True, 2),
    "too far": lambda: upcast("a", 1, 2**31),
    "async": lambda: upcast("a", 1, 2)(later),
    "a class": lambda: upcast("a", 1, 2)(dict),
    "nothing to take": lambda: upcast("a", 1, 2)(lambda: 1),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "too much to take": lambda: upcast("a", 1, 2)(three),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    "not a function": lambda: upcast("a", 1, 2)(5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("case", MISUSED)
def test_an_upcast_that_cannot_work_is_refused_where_it_is_declared(case: str) -> None:
    with pytest.raises(EventDefinitionError):
        MISUSED[case]()


def test_names_are_checked_where_they_are_declared() -> None:
    with pytest.raises(InvalidName):
        upcast("", 1, 2)
    with pytest.raises(InvalidName):
        event("a", aliases=["\0"], register="a")
    with pytest.raises(EventDefinitionError, match=r"aliases=\['b'\]"):
        event("a", aliases="b", register="a")
    for aliases in (["a"], ["b", "b"]):
        with pytest.raises(EventDefinitionError, match="twice"):
            event("a", aliases=aliases, register="a")
    with pytest.raises(EventDefinitionError, match="register='b'"):
        event("a", aliases=["b"])


def test_two_classes_cannot_claim_one_name_old_or_new() -> None:
    @event("now", aliases=["order:noted"], register="order:noted")
    class Now(BaseModel): ...

    for known in ([Now, Noted], [Noted, Now]):
        with pytest.raises(EventAlreadyRegistered, match="order:noted"):
            Registry(known)


@in_a_loop
async def test_an_upcast_in_the_place_of_a_list_is_told() -> None:
    with pytest.raises(InvalidInput, match=r"events=\[cents\]"):
        EventStore.open("memory:", events=cents)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_upcast_can_be_called_and_says_what_it_is() -> None:
    assert cents({"customer": "x", "euros": 1}) == {"customer": "x", "cents": 100}
    assert shipped({"to": "x"}, {"name": "y"}) == ({"address": "x"}, {"clerk": "y"})
    assert repr(cents) == "<Upcast of 'order:placed' from schema 1 to 2>"
