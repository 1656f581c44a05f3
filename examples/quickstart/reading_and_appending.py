"""What can be asked of an append and of a read."""

import asyncio
from datetime import UTC, datetime, timedelta

from events import Auditor, EmailSet, GivenNameSet, UserActivated, UserCreated
from pydantic import BaseModel

from everlog import (
    EXISTS,
    NEW,
    EventStore,
    EventValidationError,
    UnknownEvent,
    WrongVersion,
    event,
    to,
)


@event("door:opened")
class DoorOpened(BaseModel): ...  # an event without a meta class, so nothing is said about it


EVENTS = [UserCreated, GivenNameSet, EmailSet, DoorOpened]


async def main() -> None:
    async with EventStore.open("memory:", events=EVENTS) as store:
        await append(store)
        await be_refused(store)
        await read(store)
        await relate(store)
        async with EventStore.open("memory:", events=EVENTS) as other:
            await carry_over(store, other)


async def append(store: EventStore) -> None:
    m = Auditor(auditor="me")
    created = UserCreated(email="jane@doe.com")
    await store.append("user-1", created, meta=m, expect=NEW, ids=["jane-1"])
    await store.append("user-1", GivenNameSet("Jane"), EmailSet("jane@new.com"), meta=m)
    await store.append("b", DoorOpened(), DoorOpened(), DoorOpened())

    # The same ids again are a retry: it gets the first try's records, and stores nothing.
    [record] = await store.append("user-1", created, meta=m, expect=NEW, ids=["jane-1"])
    print(f"retried: {record.id} is still at position {record.position}")

    e1, e2, i = UserCreated(email="a@doe.com"), DoorOpened(), "door-4"
    await store.append_many([to("a", e1, meta=m), to("b", e2, expect=3, id=i)])  # all or nothing


async def be_refused(store: EventStore) -> None:
    """Nothing of a failed append remains."""
    m = Auditor(auditor="me")
    try:
        await store.append("user-1", GivenNameSet("Janet"), meta=m, expect=1)
    except WrongVersion as error:
        print(f"too late: {error}")
    try:
        await store.append("user-2", GivenNameSet("John"), meta=m, expect=EXISTS)
    except WrongVersion as error:
        print(f"not there: {error}")

    wrong = UserCreated.model_construct(email=7)  # pydantic does not look; the store does
    try:
        await store.append("user-2", wrong, meta=m)
    except EventValidationError as error:
        print(f"bad data: {error.problems}")
    try:
        await store.append("user-2", UserActivated(), meta=m)
    except UnknownEvent as error:
        print(f"unregistered: {error}")


async def read(store: EventStore) -> None:
    """Reads are by position; `async for`, `.to_list()` or `.first()` begin them."""
    stream = "user-1"
    print("a stream:   ", [record.type async for record in store.read(stream)])
    print("several:    ", [record.stream async for record in store.read(streams=["a", "b"])])
    print("all:        ", [record.position async for record in store.read()])

    async for found in store.read(types=[UserCreated], after=1, limit=1):
        print("one type:   ", found.data.email)  # type checkers know that it is a UserCreated
    print("backwards:  ", [r.position async for r in store.read(until=4, backwards=True)])

    yesterday = datetime.now(UTC) - timedelta(days=1)
    print("yesterday:  ", await store.read(as_of=yesterday).to_list())

    record = await store.read(stream, backwards=True).first()
    assert record is not None
    print("status:     ", await store.status(record))  # -> exists, outdated


async def relate(store: EventStore) -> None:
    """A relation is a key that names a set of streams."""
    for stream in ("a", "b"):
        await store.relations.add("tenant:acme", stream)
    await store.relations.add_many([("tenant:acme", "user-1"), ("tenant:doe", "user-1")])
    await store.relations.remove("tenant:acme", "b")
    await store.relations.remove_many([("tenant:acme", "user-1")])
    print("streams of: ", await store.relations.streams_of("tenant:acme", "tenant:doe"))
    print("a relation: ", [r.stream async for r in store.read(relation="tenant:acme")])
    print("cleared:    ", await store.relations.clear("tenant:acme", "tenant:doe"))


async def carry_over(store: EventStore, other: EventStore) -> None:
    """Imported records keep id, created, origin and nonce, and are hydrated."""
    records = store.read()
    print(await other.import_records(records))
    print(await other.import_records(records), "the second time")

    # Something that happened before all this, and is known only now.
    moment, m = datetime(2020, 1, 1, tzinfo=UTC), Auditor(auditor="me")
    late = other.past("user-1", EmailSet("old@doe.com"), created=moment, meta=m)
    await other.import_records([late])
    record = await other.find(late.id)
    assert record is not None
    print(f"late: hydrated {record.hydrated}, outdated {record.outdated}")


if __name__ == "__main__":
    asyncio.run(main())
