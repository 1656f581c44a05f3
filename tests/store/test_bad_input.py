"""What cannot be right is refused with a name and a way out, and nothing of it remains."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from everlog import (
    EXISTS,
    AggregateRoot,
    CannotOpen,
    EventStore,
    EventValidationError,
    InvalidInput,
    NotPortable,
    Projector,
    Record,
    StoreClosed,
    Tx,
    UnknownEvent,
    WrongVersion,
    event,
    every,
    to,
)
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.stamp import to_original
from everlog.errors import (
    EventAlreadyRegistered,
    EventDefinitionError,
    EverlogError,
    InvalidExpectation,
    InvalidName,
    InvalidStamp,
    InvalidUrl,
    NaiveDatetime,
    WrongEventLoop,
)
from everlog.store.relations import Relations
from everlog.store.snapshots import Snapshots
from everlog.store.subscribing import Subscriptions
from tests.store.programs import (
    EVENTS,
    MOMENT,
    NAIVE,
    Address,
    Auditor,
    Bare,
    Data,
    Model,
    NotGiven,
    Struct,
    Thing,
    names,
    unchecked,
)

Call = Callable[[EventStore], Awaitable[object]]
META = Auditor(auditor="me")


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/log.db"


_numbers = count()


@asynccontextmanager
async def unchanged(url: str) -> AsyncGenerator[EventStore]:
    """A new store with something in it, which must be the same afterwards, and go on."""
    url = url.replace("log.db", f"log-{next(_numbers)}.db")
    async with EventStore.open(url, events=EVENTS) as store:
        await store.append("thing-1", Data("first"), relations=["group"])
        await store.snapshots.create(names, "thing-1")
        told: list[object] = []
        store.on_appended(told.append)
        before = await _picture(store)
        yield store
        assert await _picture(store) == before
        assert told == [], "hooks are told of what was appended, and nothing was"
        assert (await store.verify()).ok
        [record] = await store.append("thing-1", Data("last"))
        assert record.version == record.position == 2


async def _picture(store: EventStore) -> object:
    info = await store.info()
    return (
        info.position,
        info.chain,
        info.clock,
        [record.stored async for record in store.read()],
        await store.relations.streams_of("group", "other"),
        await store.relations.relations_of("thing-1", "thing-2"),
        await store.snapshots.get(names, "thing-1"),
    )


def refused(url: str, kind: type[EverlogError], call: Call, *says: str) -> EverlogError:
    """Asserts that a call is refused with exactly this kind of error, saying these words."""

    async def main() -> EverlogError:
        async with unchanged(url) as store:
            with pytest.raises(kind) as caught:
                await call(store)
        assert type(caught.value) is kind
        return caught.value

    error = asyncio.run(main())
    for words in says:
        assert words in str(error)
    return error


# --- URLs ---

WRONG_URLS: list[tuple[Any, str]] = [
    ("", "sqlite:///"),
    ("users.db", "did you mean 'sqlite:///users.db'"),
    ("sqlite:", "sqlite:///users.db"),
    ("sqlite:users.db", "three slashes"),
    ("sqlite:/users.db", "three slashes"),
    ("sqlite://users.db", "three slashes"),
    ("sqlite://[users", "three slashes"),
    ("sqlite://///users.db", "three slashes"),
    ("sqlite:///", "names no file"),
    ("sqlite:///:memory:", "use 'memory:'"),
    ("sqlite:///a%00b.db", "control character"),
    ("sqlite:///a%ffb.db", "no UTF-8"),
    ("sqlite:///a\nb.db", "control character"),
    ("sqlite:///a\ud800b.db", "control character"),
    ("sqlite:///users.db#1", "%23"),
    ("sqlite:///users.db?mode=ro", "'mode'"),
    ("sqlite:///users.db?durability", "name=value"),
    ("sqlite:///users.db?durability=none", "'full' or 'relaxed'"),
    ("sqlite:///users.db?timeout_s=soon", "no number"),
    ("sqlite:///users.db?timeout_s=-1", "from 0"),
    ("sqlite:///users.db?timeout_s=nan", "from 0"),
    ("sqlite:///users.db?timeout_s=inf", "from 0"),
    ("memory:name", "use 'memory:'"),
    ("memory://name", "use 'memory:'"),
    ("ftp://example.com", "unknown kind of store 'ftp'"),
    ("postgresql:/host/db", "postgresql://user@host/database"),
    ("postgresql:db", "begins with postgresql://"),
    ("postgresql://host/db?mode=ro", "cannot be understood"),
    ("postgresql://host/db?schema=Mine", "lower-case"),
    ("postgresql://host/db?schema=pg_mine", "PostgreSQL's own"),
    ("postgresql://host/db?migrate=perhaps", "true or false"),
    ("postgresql://host/db?pooler=session", "'none' or 'transaction'"),
    ("postgresql://host/db?readers=many", "no whole number"),
    ("postgresql://host/db?readers=0", "from 1 to 1000"),
    ("postgresql://host/db?timeout_s=soon", "no number"),
    ("postgresql://host/d\nb", "control character"),
    ("nonsense:users.db", "unknown kind of store 'nonsense'"),
    (None, "not NoneType"),
    (7, "not int"),
    (b"memory:", "not bytes"),
    (Path("no\udcffname.db"), "no UTF-8"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG_URLS, ids=[repr(u) for u, _ in WRONG_URLS])
def test_a_wrong_url_is_refused_with_what_to_write_instead(
    wrong: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        with pytest.raises(InvalidUrl) as caught:
            await EventStore.open(wrong, events=EVENTS)
        assert says in str(caught.value)

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql:me:s3cret@host/db",
        "postgresql://me:s3cret@host/db?schema=A",
        "postgresql://me:s3cret@host/db?colour=red",
        "postgresql://me:s3cret@host/db?mode=ro",
        "postgresql://me:s3cret@host/db?schema=Mine",
        "postgresql://host/db?user=me&password=s3cret&schema=Mine",
        "postgresql://me:s3cret@host/db\x00",
        "mysql://me:s3cret@host/db",
        "mysql://host/db?user=me&password=s3cret",
        "https://host?token=s3cret",
        "sqlite://me:s3cret@host/users.db",
        "sqlite://host/users.db?key=s3cret",
        "sqlite:///users.db?key=s3cret",
        "sqlite:///users.db?s3cret",
        "sqlite:///users.db?durability=full#s3cret",
        "memory://me:s3cret@host",
        "memory:?password=s3cret",
        "me:s3cret@host",
        "s3cret@host",
    ],
)
def test_a_password_in_a_wrong_url_is_not_shown(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        with pytest.raises(InvalidUrl) as caught:
            await EventStore.open(wrong)
        shown = "".join(traceback.format_exception(caught.value))  # with all that caused it
        assert "s3cret" not in shown

    asyncio.run(main())


WRONG_OPTIONS: list[tuple[dict[str, Any], type[EverlogError]]] = [
    ({"color": "red"}, InvalidUrl),
    ({"snapshots": "sometimes"}, InvalidInput),
    ({"snapshots": 100}, InvalidInput),
    ({"max_offset_s": -1}, InvalidInput),
    ({"max_offset_s": "1"}, InvalidInput),
    ({"max_offset_s": float("nan")}, InvalidInput),
    ({"events": [Data, Data, "Data"]}, EventDefinitionError),
    ({"events": [Auditor]}, UnknownEvent),
    ({"events": Data}, InvalidInput),
]


@pytest.mark.parametrize(
    ("options", "kind"), WRONG_OPTIONS, ids=[str(options) for options, _ in WRONG_OPTIONS]
)
def test_a_wrong_option_is_refused_before_a_file_is_made(
    options: dict[str, Any], kind: type[EverlogError], tmp_path: Path
) -> None:
    async def main() -> None:
        with pytest.raises(kind):
            await EventStore.open(f"sqlite:///{tmp_path}/log.db", **options)

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_two_classes_of_one_type_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    @event("test:data")
    class Again(Bare):
        pass

    async def main() -> None:
        with pytest.raises(EventAlreadyRegistered, match=r"claimed by .*Data and by .*Again"):
            await EventStore.open(f"sqlite:///{tmp_path}/log.db", events=[Data, Again])

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_policy_of_no_records_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1 record or more"):
        every(0)


# --- events ---

UNKNOWN: dict[str, tuple[object, str]] = {
    "an event that the store was not given": (NotGiven(name="x"), "events=[...]"),
    "a class in the place of an instance": (Data, "pass an instance, Data(...)"),
    "a class that is no event": (Auditor(auditor="x"), "decorate its class"),
    "a dict": ({"name": "x"}, "instance of an event class"),
    "None": (None, "instance of an event class"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unregistered_event_is_refused(url: str, case: str) -> None:
    wrong, says = UNKNOWN[case]
    refused(url, UnknownEvent, lambda store: store.append("thing-1", wrong), says)
    refused(
        url,
        UnknownEvent,
        lambda store: store.append_many([to("thing-2", Data("good")), to("thing-1", wrong)]),
        says,
    )

    async def push(store: EventStore) -> None:
        store.new(Thing).push(wrong)

    refused(url, UnknownEvent, push, says)

    async def past(store: EventStore) -> None:
        store.past("thing-1", wrong, created=MOMENT)

    refused(url, UnknownEvent, past, says)


def _mutated() -> Model:
    model = Model(name="x", address=Address(city="y"))
    model.name = unchecked(5)
    return model


def _deep() -> Model:
    model = Model(name="x", address=Address(city="y"))
    assert model.address is not None
    model.address.zip = unchecked("no")
    return model


def _emptied() -> Data:
    data = Data("x")
    del data.name
    return data


def _struct_emptied() -> Struct:
    struct = Struct("x")
    del struct.name
    return struct


ANYTHING: Any = object()
INVALID: dict[str, tuple[object, str]] = {
    "a mutated model": (_mutated(), "data.name"),
    "a model mutated in a part": (_deep(), "data.address.zip"),
    "a constructed model without its data": (Model.model_construct(), "data.name"),
    "a constructed model with the wrong type": (Model.model_construct(name=5), "data.name"),
    "a constructed model with anything": (Model.model_construct(name=ANYTHING), "data"),
    "a constructed model with null": (Model.model_construct(name=None), "data.name"),
    "a constructed bare value of the wrong type": (Bare.model_construct(unchecked(5)), "data"),
    "a constructed bare value of null": (Bare.model_construct(unchecked(None)), "data"),
    "a dataclass with the wrong type": (Data(name=unchecked(5)), "data.name"),
    "a dataclass with null": (Data(name=unchecked(None)), "data.name"),
    "a dataclass with anything": (Data(name=ANYTHING), "data"),
    "a dataclass with a wrong default": (Data("x", count=unchecked("y")), "data.count"),
    "a dataclass that lost a field": (_emptied(), "data"),
    "a Struct with the wrong type": (Struct(name=unchecked(5)), "data.name"),
    "a Struct with null": (Struct(name=unchecked(None)), "data.name"),
    "a Struct with anything": (Struct(name=ANYTHING), "data"),
    "a Struct that lost a field": (_struct_emptied(), "data"),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_data_is_refused_naming_the_field(url: str, case: str) -> None:
    wrong, path = INVALID[case]
    meta = META if isinstance(wrong, Model) else None
    errors = [
        refused(url, EventValidationError, lambda store: store.append("thing-1", wrong, meta=meta)),
        refused(
            url,
            EventValidationError,
            lambda store: store.append_many(
                [to("thing-2", Data("good")), to("thing-1", wrong, meta=meta)]
            ),
        ),
    ]
    for error in errors:
        assert isinstance(error, EventValidationError)
        assert [at for at, _ in error.problems if at.startswith(path)], error.problems
        assert path in str(error)
        assert "nothing was written" in str(error)


def test_an_unknown_field_is_refused_on_write_by_all_three_kinds() -> None:
    for cls in (Model, Data, Struct):
        with pytest.raises((TypeError, ValueError)):
            unchecked(cls)(name="x", nickname="y")
    with pytest.raises(ValueError, match="nickname"):
        unchecked(Model(name="x")).nickname = "y"


WRONG_META: dict[str, tuple[object, object, str]] = {
    "missing": (Model(name="x"), None, "pass meta=Auditor(...)"),
    "of another class": (Model(name="x"), Address(city="x"), "must be a Auditor"),
    "a dict": (Model(name="x"), {"auditor": "me"}, "must be a Auditor"),
    "not expected": (Data("x"), META, "not expected"),
    "of the wrong type": (Model(name="x"), Auditor.model_construct(auditor=5), "meta.auditor"),
    "of null": (Model(name="x"), Auditor.model_construct(auditor=None), "meta.auditor"),
    "without its data": (Model(name="x"), Auditor.model_construct(), "meta.auditor"),
}


@pytest.mark.parametrize("case", WRONG_META)
def test_invalid_meta_is_refused_naming_it(url: str, case: str) -> None:
    good, meta, says = WRONG_META[case]
    refused(url, EventValidationError, lambda store: store.append("thing-1", good, meta=meta), says)

    async def push(store: EventStore) -> None:
        thing = store.new(Thing)
        try:
            thing.push(good, meta=meta)
        finally:
            assert not thing.log.is_dirty
            assert thing.name == ""

    refused(url, EventValidationError, push, says)


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"], ids=["NUL", "surrogate"])
def test_data_that_not_every_database_keeps_is_refused_naming_the_path(url: str, bad: str) -> None:
    error = refused(url, NotPortable, lambda store: store.append("thing-1", Data(bad)))
    assert isinstance(error, NotPortable)
    assert error.path == "data.name"


# --- names ---

TOO_LONG = "é" * 128  # 128 characters, 256 bytes
WRONG_NAMES: dict[str, tuple[Any, str]] = {
    "empty": ("", "must not be empty"),
    "too long": ("x" * 256, "longer than 255 bytes"),
    "too long in bytes": (TOO_LONG, "longer than 255 bytes"),
    "with NUL": ("a\x00b", "control characters"),
    "with a line break": ("a\nb", "control characters"),
    "with a surrogate": ("a\ud800b", "surrogates"),
    "None in a list": (None, "must be text"),
    "a number": (5, "must be text"),
    "bytes": (b"thing-1", "must be text"),
}

STREAM_DOORS: dict[str, Callable[[EventStore, Any], Awaitable[object]]] = {
    "append": lambda store, name: store.append(name, Data("x")),
    "append_many": lambda store, name: store.append_many(
        [to("thing-2", Data("x")), to(name, Data("x"))]
    ),
    "read streams": lambda store, name: _read(store, streams=["thing-1", name]),
    "reduce streams": lambda store, name: store.reduce(names, streams=[name]),
    "relations.add": lambda store, name: store.relations.add("other", "thing-2", name),
    "relations.add_many": lambda store, name: store.relations.add_many(
        [("other", "thing-2"), ("other", name)]
    ),
    "relations.remove": lambda store, name: store.relations.remove("group", "thing-1", name),
    "relations.remove_many": lambda store, name: store.relations.remove_many(
        [("group", "thing-1"), ("group", name)]
    ),
    "relations.clear_streams": lambda store, name: store.relations.clear_streams("thing-1", name),
    "relations.relations_of": lambda store, name: store.relations.relations_of(name),
    "past": lambda store, name: _past(store, name),
}
# In these doors None means that no stream was given.
OPTIONAL_STREAM_DOORS: dict[str, Callable[[EventStore, Any], Awaitable[object]]] = {
    "read": lambda store, name: _read(store, stream=name),
    "reduce": lambda store, name: store.reduce(names, name),
    "get": lambda store, name: store.get(Thing, name),
    "retrying": lambda store, name: store.retrying(Thing, name, lambda thing: None),
    "new": lambda store, name: _new(store, name),
    "snapshots.create": lambda store, name: store.snapshots.create(names, name),
    "snapshots.get": lambda store, name: store.snapshots.get(names, name),
    "snapshots.delete": lambda store, name: store.snapshots.delete(names, name),
}
RELATION_DOORS: dict[str, Callable[[EventStore, Any], Awaitable[object]]] = {
    "append": lambda store, name: store.append("thing-1", Data("x"), relations=["other", name]),
    "to": lambda store, name: store.append_many([to("thing-1", Data("x"), relations=[name])]),
    "relations.add": lambda store, name: store.relations.add(name, "thing-1"),
    "relations.clear": lambda store, name: store.relations.clear("group", name),
    "relations.streams_of": lambda store, name: store.relations.streams_of(name),
}
OTHER_DOORS: dict[str, Callable[[EventStore, Any], Awaitable[object]]] = {
    "find": lambda store, name: store.find(name),
}
# The same again where None means that there is none.
OPTIONAL_DOORS: dict[str, Callable[[EventStore, Any], Awaitable[object]]] = {
    "read relation": lambda store, name: _read(store, relation=name),
    "reduce relation": lambda store, name: store.reduce(names, relation=name),
    "get relation": lambda store, name: store.get(Thing, relation=name),
    "snapshots relation": lambda store, name: store.snapshots.create(names, relation=name),
    "ids": lambda store, name: store.append("thing-1", Data("x"), ids=[name]),
    "to id": lambda store, name: store.append_many([to("thing-1", Data("x"), id=name)]),
    "batch": lambda store, name: store.append("thing-1", Data("x"), batch=name),
}


async def _read(store: EventStore, **options: Any) -> object:
    return await store.read(**options).to_list()


async def _new(store: EventStore, name: Any) -> object:
    return store.new(Thing, id=name)


async def _transaction(store: EventStore) -> object:
    return store.transaction(object())


async def _token(store: EventStore) -> object:
    return store.token(RECORDS[0])


async def _follow(store: EventStore) -> object:
    return await anext(store.follow())


async def _sync(store: EventStore) -> None:
    store.sync(store.as_hub())


async def _as_hub(store: EventStore) -> None:
    store.as_hub()


async def _subscription(store: EventStore) -> object:
    projector = Projector()
    projector.all(Data)(lambda record: None)
    return store.subscription("view", projector)


async def _rebuild(store: EventStore) -> object:
    async def swap(tx: Tx) -> None: ...

    projector = Projector()
    projector.all(Data)(lambda record: None)
    return store.rebuild("view", projector, version=2, swap=swap)


async def _past(store: EventStore, name: Any) -> object:
    return store.past(name, Data("x"), created=MOMENT)


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_a_name_that_cannot_be_one_is_refused_at_every_door(url: str, case: str) -> None:
    name, says = WRONG_NAMES[case]
    doors = [STREAM_DOORS, RELATION_DOORS, OTHER_DOORS]
    if name is not None:
        doors += [OPTIONAL_STREAM_DOORS, OPTIONAL_DOORS]

    async def main() -> None:
        async with unchanged(url) as store:
            for kind in doors:
                for door, call in kind.items():
                    with pytest.raises(InvalidName) as caught:
                        await call(store, name)
                    assert says in str(caught.value), door

    asyncio.run(main())


def test_a_name_of_255_bytes_is_a_name(url: str) -> None:
    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            for name in ("x" * 255, "é" * 127 + "x"):
                await store.append(name, Data("x"), relations=[name], ids=[name])
                assert [record.id async for record in store.read(name)] == [name]

    asyncio.run(main())


WRONG_QUESTIONS: dict[str, dict[str, Any]] = {
    "a stream and streams": {"stream": "a", "streams": ["b"]},
    "a stream and a relation": {"stream": "a", "relation": "b"},
    "streams that are one text": {"streams": "abc"},
    "types that are one class": {"types": Data},
    "types that are one text": {"types": "test:data"},
    "types that are no types": {"types": [5]},
    "a negative position": {"after": -1},
    "a position that is no number": {"after": "1"},
    "a fraction": {"until": 1.0},
    "True": {"limit": True},
    "a position beyond every database": {"after": 2**63},
    "a moment that is no moment": {"as_of": "yesterday"},
    "a moment before 1970": {"as_of": MOMENT.replace(year=1969)},
    "a number for a moment": {"as_of": 1_700_000_000},
}


@pytest.mark.parametrize("case", WRONG_QUESTIONS)
def test_what_cannot_be_asked_is_refused(url: str, case: str) -> None:
    async def main() -> None:
        async with unchanged(url) as store:
            with pytest.raises(InvalidInput):
                await _read(store, **WRONG_QUESTIONS[case])

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [-1, 1.0, "1", True, None])
def test_an_expectation_that_is_none_is_refused(url: str, wrong: Any) -> None:
    says = "use ANY, NEW, EXISTS or the stream's version"
    refused(
        url,
        InvalidExpectation,
        lambda store: store.append("thing-1", Data("x"), expect=wrong),
        says,
    )
    refused(
        url,
        InvalidExpectation,
        lambda store: store.append_many([to("thing-1", Data("x"), expect=wrong)]),
        says,
    )


WRONG_CALLS: dict[str, Call] = {
    "no events": lambda store: store.append("thing-1"),
    "no items": lambda store: store.append_many([]),
    "too few ids": lambda store: store.append("thing-1", Data("x"), Data("y"), ids=["a"]),
    "a text for ids": lambda store: store.append("thing-1", Data("x"), ids="a"),
    "one id twice": lambda store: store.append("thing-1", Data("x"), Data("y"), ids=["a", "a"]),
    "a text for relations": lambda store: store.append("thing-1", Data("x"), relations="other"),
    "records that are none": lambda store: store.import_records(unchecked([Data("x")])),
    "items that are none": lambda store: store.append_many(unchecked([Data("x")])),
    "pairs that are none": lambda store: store.relations.add_many(unchecked(["ab"])),
    "a reducer that is none": lambda store: store.reduce(unchecked(list), "thing-1"),
    "a stored reducer that is none": lambda store: store.snapshots.create(
        unchecked(list), "thing-1"
    ),
    "nothing to get": lambda store: store.get(Thing),
    "nothing to take a snapshot of": lambda store: store.snapshots.create(names),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_a_call_that_cannot_be_meant_is_refused(url: str, case: str) -> None:
    refused(url, InvalidInput, WRONG_CALLS[case])


# --- moments ---

NAIVE_DOORS: dict[str, Call] = {
    "read": lambda store: _read(store, as_of=NAIVE),
    "reduce": lambda store: store.reduce(names, "thing-1", as_of=NAIVE),
    "get": lambda store: store.get(Thing, "thing-1", as_of=NAIVE),
    "past": lambda store: _past_created(store, NAIVE),
}


async def _past_created(store: EventStore, created: Any) -> object:
    return store.past("thing-1", Data("x"), created=created)


@pytest.mark.parametrize("door", NAIVE_DOORS)
def test_a_naive_datetime_is_refused_at_every_door(url: str, door: str) -> None:
    refused(url, NaiveDatetime, NAIVE_DOORS[door], "timezone.utc")


@pytest.mark.parametrize("wrong", ["yesterday", None, 5, "0" * 31])
def test_a_past_that_is_no_moment_is_refused(url: str, wrong: Any) -> None:
    refused(
        url, InvalidStamp, lambda store: _past_created(store, wrong), "datetime with a time zone"
    )


# --- what no record or effect of a subscription can be found by ---

WRONG_SEARCHES: list[tuple[str, dict[str, Any], type[EverlogError], str]] = [
    ("retry", {"position": 2**63}, InvalidInput, "position="),
    ("retry", {"position": "1"}, InvalidInput, "position="),
    ("retry", {"stream": 1}, InvalidName, "stream"),
    ("drop", {"position": True}, InvalidInput, "position="),
    ("drop", {"stream": ""}, InvalidName, "stream"),
    ("settle", {"position": 2**63, "as_": "done"}, InvalidInput, "position="),
    ("settle", {"position": "1", "as_": "done"}, InvalidInput, "position="),
    ("parked", {"limit": 2**63}, InvalidInput, "limit="),
    ("parked", {"limit": 0}, InvalidInput, "limit="),
    ("parked", {"name": 7}, InvalidName, "subscription"),
    ("effects", {"limit": "10"}, InvalidInput, "limit="),
    ("effects", {"status": "finished"}, InvalidInput, "done, retrying"),
    ("effects", {"stream": 1}, InvalidName, "stream"),
]


@pytest.mark.parametrize(("method", "words", "error", "says"), WRONG_SEARCHES)
def test_what_no_record_or_effect_can_be_found_by_is_refused(
    url: str, method: str, words: dict[str, Any], error: type[EverlogError], says: str
) -> None:
    async def main() -> None:
        async with EventStore.open(url) as store:
            with pytest.raises(error, match=says):
                await getattr(store.subscriptions, method)(**{"name": "view", **words})

    asyncio.run(main())


# --- a store that is closed, or another loop's ---

METHODS: dict[str, Call] = {
    "append": lambda store: store.append("thing-1", Data("x")),
    "append_many": lambda store: store.append_many([to("thing-1", Data("x"))]),
    "import_records": lambda store: store.import_records([]),
    "past": lambda store: _past(store, "thing-1"),
    "read": lambda store: _read(store),
    "status": lambda store: store.status(RECORDS[0]),
    "find": lambda store: store.find("x"),
    "reduce": lambda store: store.reduce(names, "thing-1"),
    "new": lambda store: _new(store, "thing-2"),
    "get": lambda store: store.get(Thing, "thing-1"),
    "save": lambda store: store.save(),
    "retrying": lambda store: store.retrying(Thing, "thing-1", lambda thing: None),
    "transaction": lambda store: _transaction(store),
    "drained": lambda store: store.drained(),
    "info": lambda store: store.info(),
    "verify": lambda store: store.verify(),
    "backup": lambda store: store.backup("never-made.db"),
    "begin_epoch": lambda store: store.begin_epoch(),
    "streams": lambda store: store.streams(),
    "export": lambda store: store.export("never-made.ndjson"),
    "import_file": lambda store: store.import_file("never-made.ndjson"),
    "diagnose": lambda store: store.diagnose(),
    "relations.add": lambda store: store.relations.add("group", "thing-2"),
    "relations.add_many": lambda store: store.relations.add_many([("group", "thing-2")]),
    "relations.remove": lambda store: store.relations.remove("group", "thing-1"),
    "relations.remove_many": lambda store: store.relations.remove_many([("group", "thing-1")]),
    "relations.clear": lambda store: store.relations.clear("group"),
    "relations.clear_streams": lambda store: store.relations.clear_streams("thing-1"),
    "relations.streams_of": lambda store: store.relations.streams_of("group"),
    "relations.relations_of": lambda store: store.relations.relations_of("thing-1"),
    "token": lambda store: _token(store),
    "follow": lambda store: _follow(store),
    "wait": lambda store: store.wait(timeout_s=0),
    "snapshots.create": lambda store: store.snapshots.create(names, "thing-1"),
    "snapshots.get": lambda store: store.snapshots.get(names, "thing-1"),
    "snapshots.delete": lambda store: store.snapshots.delete(names, "thing-1"),
    "sync": lambda store: _sync(store),
    "as_hub": lambda store: _as_hub(store),
    "orphans": lambda store: store.orphans(),
    "subscription": lambda store: _subscription(store),
    "rebuild": lambda store: _rebuild(store),
    "subscriptions.status": lambda store: store.subscriptions.status(),
    "subscriptions.parked": lambda store: store.subscriptions.parked(),
    "subscriptions.retry": lambda store: store.subscriptions.retry("view"),
    "subscriptions.drop": lambda store: store.subscriptions.drop("view"),
    "event_from": lambda store: _event_from(store),
    "subscriptions.rewind": lambda store: store.subscriptions.rewind("view", to=0),
    "subscriptions.remove": lambda store: store.subscriptions.remove("view"),
    "subscriptions.effects": lambda store: store.subscriptions.effects("name"),
    "subscriptions.settle": lambda store: store.subscriptions.settle("name", 1, as_="done"),
}


async def _event_from(store: EventStore) -> object:
    return store.event_from("test:data", {"name": "x"})


HARMLESS = {
    "open",  # makes a store
    "close",  # may be called again
    "on_appended",  # takes a note, as does on_error
    "on_error",
    "observe",
    "capabilities",  # say what kind of store it is, or was
    "ledger",
    "relations",  # their own methods are in the table
    "snapshots",
    "subscriptions",
    "subscriptions.place",  # what `sync` and `subscription` call
    "subscriptions.make",  # what `subscription`, `rebuild` and `close` call
    "subscriptions.make_rebuild",
    "subscriptions.close",
    "subscriptions.close_later",
    "pend",  # what aggregates call, tested with them
    "snapshot_aggregate",
}
RECORDS: list[Record[Any]] = []


def test_the_table_of_methods_is_complete() -> None:
    public = {name for name, _ in inspect.getmembers(EventStore) if not name.startswith("_")}
    public |= {f"relations.{n}" for n, _ in inspect.getmembers(Relations) if not n.startswith("_")}
    public |= {f"snapshots.{n}" for n, _ in inspect.getmembers(Snapshots) if not n.startswith("_")}
    public |= {
        f"subscriptions.{n}" for n, _ in inspect.getmembers(Subscriptions) if not n.startswith("_")
    }
    assert public - HARMLESS == set(METHODS) - HARMLESS


def test_a_closed_store_refuses_everything(url: str) -> None:
    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            RECORDS[:] = await store.append("thing-1", Data("x"))
            thing = store.new(Thing).push(Data("y"))
            clean = await store.get(Thing, "thing-1")
            assert clean is not None
            reading = store.read()
            half_read = aiter(store.read())
            await anext(half_read)
        await store.close()  # once more does no harm
        methods: dict[str, Call] = {
            **METHODS,
            "save of an aggregate": lambda _: thing.save(),
            "snapshot of an aggregate": lambda _: clean.snapshot(),
            "push on an aggregate": lambda _: _push(thing),
            "a reading made before": lambda _: reading.to_list(),
            "the first of a reading made before": lambda _: reading.first(),
        }
        for name, method in methods.items():
            with pytest.raises(StoreClosed) as caught:
                await method(store)
            assert "use it inside the `with` block" in str(caught.value), name
        assert thing.log.is_dirty, "what was pending is still pending"

    asyncio.run(main())


async def _push(thing: Thing) -> None:
    thing.push(Data("z"))


def test_a_store_refuses_everything_in_another_event_loop(url: str) -> None:
    with asyncio.Runner() as one, asyncio.Runner() as two:

        async def open_one() -> EventStore:
            store = await EventStore.open(url, events=EVENTS)
            RECORDS[:] = await store.append("thing-1", Data("x"), relations=["group"])
            return store

        async def use(name: str, method: Call) -> None:
            with pytest.raises(WrongEventLoop) as caught:
                await method(store)
            assert "open a store in each loop" in str(caught.value), name

        async def judge() -> None:
            assert (await store.info()).position == 1
            assert await store.relations.streams_of("group") == ["thing-1"]
            assert (await store.verify()).ok
            await store.append("thing-1", Data("y"))
            await store.close()

        store = one.run(open_one())
        for name, method in METHODS.items():
            two.run(use(name, method))
        two.run(use("close", EventStore.close))
        one.run(judge())


def test_a_store_refuses_what_is_not_awaited_outside_of_any_loop(url: str) -> None:
    with asyncio.Runner() as runner:

        async def open_one() -> EventStore:
            return await EventStore.open(url, events=EVENTS)

        store = runner.run(open_one())
        calls: list[Callable[[], object]] = [
            lambda: store.read(),
            lambda: store.new(Thing),
            lambda: store.past("thing-1", Data("x"), created=MOMENT),
        ]
        for call in calls:
            with pytest.raises(WrongEventLoop):
                call()
        runner.run(store.close())


def test_another_loop_is_refused_also_while_the_store_is_writing(url: str) -> None:
    # It must not queue behind what is being written: its future would be set from another thread.
    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            commit, started, go_on = store.ledger.commit, asyncio.Event(), asyncio.Event()

            async def slow(requests: Any) -> Any:
                started.set()
                await go_on.wait()
                return await commit(requests)

            object.__setattr__(store.ledger, "commit", slow)
            writing = asyncio.create_task(store.append("thing-1", Data("x")))
            await started.wait()

            def elsewhere() -> None:
                for name in ("append", "relations.add", "snapshots.delete"):
                    with pytest.raises(WrongEventLoop):
                        asyncio.run(asyncio.wait_for(_await(METHODS[name], store), 5))

            try:
                await asyncio.to_thread(elsewhere)
            finally:
                go_on.set()
                await writing

    asyncio.run(main())


async def _await(method: Call, store: EventStore) -> None:
    await method(store)


def test_a_path_opens_the_sqlite_file_of_that_name_however_odd_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        for name in ("plain.db", "a b%20#c?d.db", "größe.db"):
            async with EventStore.open(tmp_path / name) as store:
                assert (await store.info()).position == 0
            assert (tmp_path / name).exists()

    asyncio.run(main())


class Counter(AggregateRoot, name="counter"):
    def apply(self, record: Record[Any]) -> None: ...


def test_a_first_mistake_is_told_what_to_write_instead(tmp_path: Path) -> None:
    async def main() -> None:
        opening: Any = EventStore.open("memory:", events=EVENTS)
        with pytest.raises(AttributeError, match="async with EventStore"):
            await opening.append("thing-1", Data("x"))
        async with EventStore.open("memory:", events=EVENTS) as store:
            anything: Any = store
            with pytest.raises(TypeError, match="async for"):
                list(anything.read())
            with pytest.raises(TypeError, match="async for"):
                await anything.read()
            with pytest.raises(InvalidInput, match="aggregate class"):
                await anything.get("thing-1")
            with pytest.raises(InvalidInput, match=r"projector\.handle"):
                anything.on_appended(Projector())
            with pytest.raises(InvalidName, match="stream"):
                await anything.append(Data("x"))
            with pytest.raises(UnknownEvent, match="one by one"):
                await anything.append("thing-1", [Data("x")])
            with pytest.raises(WrongVersion, match="has no events"):
                await store.append("thing-1", Data("x"), expect=EXISTS)
            assert (await store.info()).position == 0
            assert store.ledger.identity.ledger in repr(store)
        with pytest.raises(EventDefinitionError, match="above the handler"):
            unchecked(Projector().once)(lambda record: None)  # pyright: ignore[reportUnknownLambdaType]
        with pytest.raises(EventDefinitionError, match=r"store\.new"):
            Counter()
        with pytest.raises(EventDefinitionError, match="never be called"):

            class WithInit(Counter, name="with-init"):  # pyright: ignore[reportUnusedClass]
                def __init__(self) -> None: ...

    asyncio.run(main())


def test_where_the_lock_cannot_be_no_ledger_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "log.db-lock").mkdir()

    async def main() -> None:
        with pytest.raises(CannotOpen, match=r"log\.db-lock"):
            await SqliteLedger.open(str(tmp_path / "log.db"), guard_checkpoints=True)

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["log.db-lock"]


def test_a_stamp_of_the_original_is_a_moment_of_the_past() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as store:
            record = store.past("thing-1", Data("x"), created="mkdsn5a8-00003")
            await store.import_records([record])
            [found] = await store.read().to_list()
            assert to_original(found.created) == "mkdsn5a8-00003"

    asyncio.run(main())


def test_plain_with_on_an_async_store_says_which_word_is_missing() -> None:
    opening: Any = EventStore.open("memory:")
    with pytest.raises(TypeError, match=r"async with .*everlog\.blocking"), opening:
        pass
